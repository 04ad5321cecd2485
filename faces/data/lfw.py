"""Labeled Faces in the Wild: its pair lists, and its images by the names that the lists use.

A pair list starts with a line of two numbers, folds and n, or of one number n for a single fold (pairsDevTrain.txt,
pairsDevTest.txt). Each fold is then n lines `name, i, j` (two images of one person) and n lines `name, i, name, j` (of
two), fields separated by tabs. Image i of a person is `name/name_%04d.jpg`.

Not here: the protocol that makes an accuracy of pairs (`faces.evaluate`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from faces.data.image_folder import FolderSource
from faces.data.lists import numbered_lines
from faces.data.named_files import Names
from faces.data.prepared import MANIFEST, EncodedSource, PreparedFaces
from faces.errors import DataError

PAIRS = "pairs.txt"
PAIR_LISTS = (PAIRS, "pairsDevTrain.txt", "pairsDevTest.txt")


@dataclass(frozen=True)
class Pairs:
    """Pairs of images in their folds, in the order of the file.

    Args:
        folds: int32 (pairs,), 0 .. number of folds - 1.
        same: bool (pairs,), whether both images show one person.
        first: relative path of each pair's first image.
        second: and of its second.
    """

    folds: np.ndarray
    same: np.ndarray
    first: tuple[str, ...]
    second: tuple[str, ...]


def read_pairs(path: Path | str) -> Pairs:
    """Read a pair list.

    Raises:
        DataError: as `read_lines`; a malformed line, by number; a name that would leave the folder; a count that is not
            the header's.
    """
    lines = numbered_lines(Path(path))
    folds, n = _header(path, next(lines, (1, ""))[1])
    rows = [(number, line) for number, line in lines if line.strip()]
    if len(rows) != folds * 2 * n:
        raise DataError(
            f"{path}, line 1: promises {folds} x 2 x {n} = {folds * 2 * n} pairs, {len(rows)} found; the file was cut "
            "or lines were added: fetch it again."
        )
    first, second, same = [], [], []
    for number, line in rows:
        fields = line.split("\t")
        if len(fields) not in (3, 4):
            shown = line.replace("\t", "<TAB>")
            raise DataError(
                f'{path}, line {number}: 3 or 4 tab-separated fields expected, {len(fields)} found ("{shown[:80]}").'
            )
        same.append(len(fields) == 3)
        first.append(_image(path, number, fields[0], fields[1]))
        second.append(_image(path, number, fields[-2] if len(fields) == 4 else fields[0], fields[-1]))
    fold_of = np.repeat(np.arange(folds, dtype=np.int32), 2 * n)  # (pairs,)
    is_same = np.array(same, bool)  # (pairs,)
    per_fold = is_same.reshape(folds, 2 * n).sum(axis=1)  # (folds,)
    if (per_fold != n).any():
        fold = int(np.argmax(per_fold != n))
        start, end = rows[fold * 2 * n][0], rows[(fold + 1) * 2 * n - 1][0]
        raise DataError(
            f"{path}, lines {start} to {end}: fold {fold + 1} should hold {n} pairs of one person (3 fields) and "
            f"{n} of two (4 fields), {per_fold[fold]} of one person found."
        )
    return Pairs(fold_of, is_same, tuple(first), tuple(second))


def _header(path: Path | str, line: str) -> tuple[int, int]:
    """Folds, and pairs of one person in each."""
    fields = line.split()
    numbers = [int(field) for field in fields if field.isascii() and field.isdigit() and len(field) < 10]
    if len(numbers) != len(fields) or len(numbers) not in (1, 2) or min(numbers) < 1:
        raise DataError(
            f"{path}, line 1: the number of folds and of pairs in each (10<TAB>300), or one number for a single fold, "
            f'expected, found "{" ".join(fields)[:80]}".'
        )
    return (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _image(path: Path | str, line: int, person: str, number: str) -> str:
    """Relative path of a person's image, which cannot leave the person's folder."""
    if not person.strip() or person in (".", "..") or set(person) & set("/\\\0:"):
        raise DataError(f'{path}, line {line}: "{person[:80]}" is no person\'s name, it would leave the image folder.')
    if not (number.isascii() and number.isdigit() and 0 < len(number) < 10 and int(number) > 0):
        raise DataError(f'{path}, line {line}: "{number[:80]}" is not the number of an image (1, 2, 3, ...).')
    return f"{person}/{person}_{int(number):04d}.jpg"


@dataclass(frozen=True)
class Lfw:
    """A pair list and the images at hand.

    Args:
        pairs: the list.
        source: the images, prepared or in their folders.
        index: position in `source` of each image that the list names and `source` holds.
    """

    pairs: Pairs
    source: PreparedFaces | FolderSource
    index: dict[str, int]
    remark = ""

    @property
    def passed_over(self) -> dict[str, str]:
        """What lies between the images and is none, with the reason."""
        return self.source.ignored if isinstance(self.source, FolderSource) else {}

    @property
    def missing(self) -> tuple[str, ...]:
        """Paths that the list names and `source` does not hold, sorted."""
        return tuple(sorted(path for path in self._named() if path not in self.index))

    def load(self, path: str) -> np.ndarray:
        """The image at a relative path of the list: uint8 (height, width, 3), RGB. DataError where it is missing."""
        if path not in self.index:
            raise DataError(f"{self.source.name}: {path} is missing, though the list of pairs names it.")
        return self.source[self.index[path]]

    def _named(self) -> set[str]:
        return {*self.pairs.first, *self.pairs.second}


def read_lfw(path: Path | str, pairs: str = PAIRS) -> Lfw:
    """Open LFW for evaluation: a folder that `experiments.prepare` wrote, or the raw images.

    Raw images lie in `path` itself or in its only sub-folder whose name starts with "lfw"; the list lies in `path` or
    beside it. Images may have another extension than .jpg, as aligned copies do, but only one may be the one that the
    list names; names may differ from the list's in case and in Unicode's form (`named_files.py`).

    Args:
        path: the folder.
        pairs: file name of the list.

    Raises:
        DataError: no list, a malformed one, no images, two that could be the one that the list names. Missing images
            raise nothing: see `Lfw.missing`.
    """
    folder = Path(path)
    list_path = find_pairs(folder, pairs)
    if list_path is None:
        raise DataError(f"{folder}: {pairs} is neither in it nor beside it; put the list of pairs there.")
    read = read_pairs(list_path)
    source = PreparedFaces(folder) if (folder / MANIFEST).is_file() else FolderSource(image_root(folder))
    return Lfw(read, source, positions({*read.first, *read.second}, source))


def positions(listed: Iterable[str], source: EncodedSource) -> dict[str, int]:
    """Position in a source of each image of a list that it holds, whatever the extension.

    Raises:
        DataError: two images could be the one that the list names.
    """
    rows: dict[str, list[int]] = {}
    for row in range(len(source)):
        rows.setdefault(_stem(source.source_name(row)), []).append(row)
    names, index = Names(rows, source.name), dict[str, int]()
    for path in sorted(listed):
        stem = names.find(_stem(path))
        if stem is None:
            continue
        first, *others = rows[stem]
        if others:
            both = f"{source.source_name(first)} and {source.source_name(others[0])}"
            raise DataError(f"{source.name}: {both} could both be {path} of the list of pairs; remove one.")
        index[path] = first
    return index


def find_pairs(folder: Path, name: str = PAIRS) -> Path | None:
    """The pair list in a folder or beside it."""
    places = (folder / name, folder.absolute().parent / name)
    return next((place for place in places if place.exists()), None)


def image_root(folder: Path) -> Path:
    """The folder of identities in an LFW folder.

    Raises:
        DataError: more than one sub-folder could be it.
    """
    inner = sorted(_lfw_folders(folder))
    if len(inner) > 1:
        names = ", ".join(entry.name for entry in inner)
        raise DataError(f"{folder}: several folders could hold the images ({names}); move the list beside one of them.")
    return inner[0] if inner else folder


def _lfw_folders(folder: Path) -> Iterator[Path]:
    try:
        yield from (e for e in folder.iterdir() if e.name.lower().startswith("lfw") and e.is_dir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder ({error.strerror}).") from None


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
