"""Which files are photographs: one rule for every command, and nothing is left out silently.

| what | becomes of it |
|---|---|
| a file with an image's extension, in either case, or whose first bytes are an image's | a photograph |
| raw camera files, videos, images of other formats, all other files | passed over |
| names that begin with a dot; folders that systems keep beside images (`@eaDir`, `__MACOSX`) | passed over |
| a link to a file | as the file |
| a link to a folder | as the folder, once: not where it was looked into already, nor where it holds the link |
| a link to nothing; a pipe, socket or device, which is never opened; what may not be read | passed over |
| a folder without a photograph in it, or below more than a hundred others | passed over |

Whether a photograph can be decoded, and HEIF is where pillow-heif is installed, shows when it is read. What a person
names on the command line is taken by its path, hidden or not.

Not here: formats (`file_kinds.py`, `images.py`), folders that are people (`image_folder.py`).
"""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faces.data.file_kinds import EXTENSIONS, HEAD, described, format_of, why_no_picture
from faces.errors import DataError
from faces.opening import read_head, special
from faces.printable import on_one_line

HIDDEN = "hidden, by a dot before the name"
SYSTEM = "kept by a system or program beside pictures"
EMPTY = "a folder without a photograph"
AGAIN = "a link to a folder that is looked into already"
AROUND = "a link to a folder around it"
DEEPEST = 100
"""Folders within each other that are looked into, below one that is named or linked to."""
TOO_DEEP = f"a folder below more than {DEEPEST} others"
_SYSTEM_NAMES = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin", "lost+found", "system volume information"})
Kind = Literal["photograph", "folder", "other"]


@dataclass(frozen=True)
class Found:
    """What lies at some places.

    Args:
        files: the photographs, in the order of their paths.
        passed_over: every other path, a folder's with a slash at its end, with the reason; in the order of the paths.
    """

    files: tuple[Path, ...]
    passed_over: dict[str, str]


def find_photographs(places: Sequence[Path]) -> Found:
    """The photographs among files, and in folders with all they contain.

    Raises:
        DataError: there is no such place; there is no photograph in any.
    """
    walk = _Walk()
    for place in places:
        walk.take(place)
    found = walk.end(places)
    if not found.files:
        some = "; ".join(f"{name}: {reason}" for name, reason in list(found.passed_over.items())[:3])
        count = f"passed over: {len(found.passed_over):,}"
        raise DataError(f"{', '.join(map(str, places))}: no photograph found ({count}; {some}).")
    return found


def scan(folder: Path | str) -> list[os.DirEntry[str]]:
    """Entries of a folder by name. OSError as of `os.scandir`."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def classify(entry: os.DirEntry[str] | Path) -> tuple[Kind, str]:
    """What an entry of a folder is, links followed, and of what is neither photograph nor folder the reason."""
    try:
        if entry.name.startswith("."):
            return "other", HIDDEN
        if entry.is_dir():
            return ("other", SYSTEM) if entry.name.lower() in _SYSTEM_NAMES else ("folder", "")
        if not entry.is_file():
            return "other", _special(entry)
        reason = _why_not(entry)
    except OSError as error:
        reason = unreadable(error)
    return ("other", reason) if reason else ("photograph", "")


def why_not_followed(link: str, seen: Mapping[str, str], around: Iterable[str]) -> str | None:
    """Why a link to a folder is not followed; None where it is.

    Args:
        link: its path.
        seen: real path of each folder that is looked into, and the name to call it by.
        around: real paths of folders; a folder that holds one of them is not followed to.
    """
    target = os.path.realpath(link)
    if target in seen:
        return f"{AGAIN} ({seen[target]})"
    holds = os.path.join(target, "")  # noqa: PTH118, the root ends in a slash already
    return AROUND if any(f"{real}/".startswith(holds) for real in around) else None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, links followed; False where the system does not tell."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def printable(name: str) -> str:
    """A file's name as text that can be written anywhere, on one line: bytes that are no UTF-8, line breaks and what
    commands a terminal become backslash escapes."""
    return on_one_line(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _why_not(entry: os.DirEntry[str] | Path) -> str | None:
    """Why a file is no photograph; None for one. It is opened unless its name is an image's."""
    extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122, a Path for each of millions of files is slow
    if extension in EXTENSIONS:
        return None
    by_name = why_no_picture(extension)
    head = read_head(entry, HEAD)
    format_ = format_of(head)
    if format_ and not (format_ == "TIFF" and by_name):
        return None
    return by_name or described(head)


def _special(entry: os.DirEntry[str] | Path) -> str:
    try:
        mode = os.stat(entry).st_mode  # noqa: PTH116, an entry of a scan is no Path
    except FileNotFoundError:
        return "a link to nothing"
    return special(mode)


def unreadable(error: OSError) -> str:
    return f"cannot be read ({error.strerror})"


class _Walk:
    """Looking through places; a folder is looked into once, under its own name if it has one among them."""

    def __init__(self):
        self._files: dict[str, Path] = {}  # by real folder and name
        self._folders: list[Path] = []  # looked into, by the paths they were come to
        self._links: list[Path] = []  # to folders, to be followed
        self._seen: dict[str, str] = {}
        self._passed_over: dict[str, str] = {}

    def take(self, place: Path) -> None:
        """A file, or a folder with all below it but for linked ones."""
        try:
            mode = place.stat().st_mode
        except OSError as error:
            if place.is_symlink():
                raise DataError(f"{place}: is a link to nothing.") from None
            if isinstance(error, FileNotFoundError):
                raise DataError(f"{place}: no such file or folder.") from None
            raise DataError(f"{place}: cannot be read ({error.strerror}).") from None
        if stat.S_ISDIR(mode):
            self._look_into(place)
        elif not stat.S_ISREG(mode):
            self._pass_over(place, _special(place))
        else:
            try:
                reason = _why_not(place)
            except OSError as error:
                reason = unreadable(error)
            if reason:
                self._pass_over(place, reason)
            else:
                self._add(os.path.realpath(place.parent), place)

    def end(self, places: Sequence[Path]) -> Found:
        """Follow the links, and sum up."""
        while self._links:
            links, self._links = sorted(map(str, self._links)), []
            for link in links:
                around = map(os.path.realpath, (Path(link).parent, *places))
                if reason := why_not_followed(link, self._seen, around):
                    self._pass_over(Path(link), reason, "/")
                else:
                    self._look_into(Path(link))
        files = sorted(self._files.values())
        filled = {folder for parent in {file.parent for file in files} for folder in (parent, *parent.parents)}
        for folder in self._folders:
            if folder not in filled and (folder.parent in filled or folder in places):
                self._passed_over.setdefault(printable(f"{folder}/"), EMPTY)
        return Found(tuple(files), dict(sorted(self._passed_over.items())))

    def _look_into(self, folder: Path) -> None:
        waiting = [(folder, os.path.realpath(folder), 0)]
        while waiting:
            folder, real, depth = waiting.pop()
            if depth > DEEPEST:
                self._pass_over(folder, TOO_DEEP, "/")
                continue
            if real in self._seen:
                continue  # named twice on the command line, or once inside the other
            self._seen[real] = printable(str(folder))
            try:
                entries = scan(folder)
            except OSError as error:
                self._pass_over(folder, unreadable(error), "/")
                continue
            self._folders.append(folder)
            for entry in entries:
                kind, reason = classify(entry)
                path = folder / entry.name
                if kind == "photograph":
                    self._add(real, path)
                elif kind == "other":
                    self._pass_over(path, reason, "/" if is_folder(entry) else "")
                elif entry.is_symlink():
                    self._links.append(path)
                else:
                    waiting.append((path, os.path.join(real, entry.name), depth + 1))  # noqa: PTH118, no link

    def _add(self, real_folder: str, path: Path) -> None:
        self._files.setdefault(f"{real_folder}/{path.name}", path)

    def _pass_over(self, path: Path, reason: str, end: str = "") -> None:
        self._passed_over[printable(f"{path}{end}")] = reason

