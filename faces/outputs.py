"""Where results go: places that are checked before the work, files that are there whole or not at all.

One rule for every command. A folder of results belongs to one command at a time (`locked`). One that holds anything is
not written into, unless the person says that the results in it may be replaced; and then they are replaced together,
when the new ones are complete (`results_folder`). What a command has put there stands in a list (`CONTENTS`), and
nothing else is ever taken away. A single file is written under a name that no other program uses, and takes its place
in one step (`replacing`). What the disk refuses becomes an `OutputError` (`refused.py`).

What is written is its owner's alone (`private.py`); a folder that was there keeps its mode.

Not here: what is written (`run_record.py` and whoever computes it), reading what others wrote.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from faces.errors import OutputError, option
from faces.locks import lock_file
from faces.opening import MIB, read_bytes
from faces.private import PRIVATE_FILE, PRIVATE_FOLDER, make_folders, make_private, open_to_append
from faces.refused import PARTIAL, writing

LOCK = ".lock"
REPLACED = ".replaced"
"""Within a folder of results: where those before them lie for the moment in which they change places."""
CONTENTS = ".contents"
"""Likewise: the names of what a command wrote there, a line each, which another may replace when it may overwrite."""
RECORDS = ("environment.json", "result.json", "settings.json", "config.toml", "prepared.json", "model.toml")
"""A folder with one of these may be called one of results."""

ROOM = 32768
"""Bytes that must fit on the disk before the work starts."""
_CHECKS = 20  # again, where another command has been quicker


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to in place of `path`, in the same folder, which is made: it takes the place of `path` when the
    block ends well, and vanishes when it does not.

    No two programs get the same name. What lies at `path` stays until then. The new file is on the disk before it has
    the name. It is its owner's alone.

    Raises:
        OutputError: the disk refuses.
    """
    with writing(path):
        make_folders(path.parent)
        temporary = path.with_name(f".{path.stem[:20]}.{secrets.token_hex(8)}{path.suffix[:20]}")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE))
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by a file of these bytes, in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by a file of this text in UTF-8, in one step; halves of characters become backslash escapes."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def append_bytes(path: Path, content: bytes) -> None:
    """Add bytes to the end of a file, which is made if need be.

    Raises:
        OutputError: the disk refuses; a part of them may be there.
    """
    with writing(path), open_to_append(path) as file:
        file.write(content)


def append_text(path: Path, text: str) -> None:
    """Add text in UTF-8 to the end of a file, as `append_bytes`."""
    append_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Replace `path` by this content as JSON, in one step; on one line where `indent` is None."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Replace `path` by these arrays by their names, uncompressed, in one step."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **cast(dict[str, Any], arrays))


def check_folder(folder: Path) -> None:
    """See that files can be written to a folder that many commands share, such as a cache; it is not yet made.

    Another command may look at the same time, and take away in between what both have made: then it is tried again.

    Raises:
        OutputError: they cannot.
    """
    for is_last in (*[False] * _CHECKS, True):
        made = list[Path]()
        try:
            made = _make(folder)
            with writing(folder):
                _try(folder)
            return
        except OutputError as error:
            if is_last or not isinstance(error.__cause__, FileExistsError | FileNotFoundError):
                raise
        finally:
            _remove_empty(made)
        time.sleep(0.01)


def _try(folder: Path) -> None:
    """Write a file of `ROOM` bytes and take it away again: a full disk still makes empty ones. OSError if refused."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ROOM))


def check_file(path: Path, overwrite: bool = False) -> None:
    """Refuse a file that is there already and may not be replaced, and a place that files cannot be written to.

    Raises:
        OutputError: with the way out.
    """
    with writing(path):
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file to write.")
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: is there already; name another file, or replace it with {option('overwrite')}.")
    check_folder(path.parent)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder and keep it for this program while the block runs; the system frees it however the program ends.

    What the block leaves empty and was not there before is taken away again.

    Raises:
        OutputError: another program has it, or it cannot be made or written.
    """
    made = _make(folder)
    try:
        with lock_file(folder / LOCK, folder, timeout=0):
            yield
    finally:
        _remove_empty(made)


@contextlib.contextmanager
def results_folder(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """Where a command writes its results: a folder inside `folder`, whose files move into it when the block ends well.

    Until then `folder` holds what it held, and it does so again when the block breaks off.

    Args:
        folder: where results go.
        overwrite: replace all results of an earlier command there; what lies beside them stays.
    Raises:
        OutputError: something is there already, or another command is writing there, or the disk refuses.
    """
    check_free(folder, overwrite)
    with locked(folder):
        check_free(folder, overwrite)
        partial = folder / PARTIAL
        try:
            with writing(folder):
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(PRIVATE_FOLDER)
                _try(partial)
            yield partial
            with writing(folder):
                _change_places(folder, partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _change_places(folder: Path, partial: Path) -> None:
    """Move what is in `partial` into `folder`, and what was there out of it; where that fails, all is as before."""
    new = sorted(entry.name for entry in partial.iterdir())
    list_contents(partial, new)
    make_private(partial)
    replaced = folder / REPLACED
    shutil.rmtree(replaced, ignore_errors=True)
    replaced.mkdir(PRIVATE_FOLDER)
    out: list[str] = []
    into: list[str] = []
    try:
        for name in sorted(_listed_contents(folder)):
            if os.path.lexists(folder / name):
                (folder / name).rename(replaced / name)
                out.append(name)
        for name in new:
            if os.path.lexists(folder / name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            (partial / name).rename(folder / name)
            into.append(name)
        (partial / CONTENTS).replace(folder / CONTENTS)
    except BaseException:
        for name in into:
            (folder / name).rename(partial / name)
        for name in out:
            (replaced / name).rename(folder / name)
        raise
    finally:
        shutil.rmtree(replaced, ignore_errors=True)


def check_free(folder: Path, overwrite: bool = False, other_way: str = "") -> None:
    """Refuse a folder that holds anything, but for results that may be replaced: what a command listed there.

    What else lies beside them is left alone.

    Args:
        folder: where results go.
        overwrite: whether results may be replaced.
        other_way: what else the person can do, such as "add --resume to continue it"; "" for nothing.
    Raises:
        OutputError: it is a file, or holds files of others, or results that may not be replaced.
    """
    with writing(folder):
        _refuse_file(folder)
        there = contents(folder) if folder.exists() else []
        is_listed = (folder / CONTENTS).is_file()
    if not there or (overwrite and is_listed):
        return
    if not is_listed and not any((folder / record).exists() for record in RECORDS):
        raise OutputError(
            f"{folder}: is not empty, and no results of these commands ({there[0].name} is in it); name another folder."
        )
    ways = [*([other_way] if other_way else []), "name another folder"]
    ways += [f"replace them with {option('overwrite')}"] if is_listed else []
    raise OutputError(f"{folder}: holds results already; {', '.join(ways[:-1])}{', or ' * (len(ways) > 1)}{ways[-1]}.")


def list_contents(folder: Path, names: Iterable[str]) -> None:
    """Say that entries of a folder are results, which a later command may replace when it may overwrite."""
    write_text(folder / CONTENTS, "".join(f"{name}\n" for name in names))


def remove_contents(folder: Path) -> None:
    """Take away the results that are listed in a folder, for a command that writes its own there bit by bit.

    Raises:
        OutputError: the disk refuses.
    """
    with writing(folder):
        for name in _listed_contents(folder):
            entry = folder / name
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
        (folder / CONTENTS).unlink(missing_ok=True)


def _listed_contents(folder: Path) -> set[str]:
    try:
        text = read_bytes(folder / CONTENTS, MIB).decode("utf-8", "backslashreplace")
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise OutputError(
            f"{folder / CONTENTS}: cannot be read ({error.strerror}), so that nobody knows which files there may be "
            "replaced; name another folder."
        ) from None
    return {name for name in text.split("\n") if name and not set(name) & set("/\0") and name not in (".", "..")}


def contents(folder: Path) -> list[Path]:
    """What a folder holds, by name, but for what this module puts there."""
    return sorted(entry for entry in folder.iterdir() if entry.name not in (LOCK, PARTIAL, REPLACED, CONTENTS))


def numbered(base: Path) -> Path:
    """The first of BASE, BASE-2, BASE-3, ... that was not there, made: no other program gets the same.

    Raises:
        OutputError: the disk refuses.
    """
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        with writing(folder):
            make_folders(folder.parent)
            try:
                folder.mkdir(PRIVATE_FOLDER)
                return folder
            except FileExistsError:
                number += 1


def _refuse_file(folder: Path) -> None:
    if folder.exists():
        with contextlib.suppress(FileNotFoundError):  # another command has just taken it away
            if not stat.S_ISDIR(folder.stat().st_mode):
                raise OutputError(f"{folder}: is a file; name a folder to write to.")


def _make(folder: Path) -> list[Path]:
    """Make a folder; those that were not there before, the innermost first."""
    with writing(folder):
        _refuse_file(folder)
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        try:
            make_folders(folder)
        except OSError:
            _remove_empty(missing)
            raise
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Take away folders, the innermost first, but for those that hold something or were never made."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
