"""Pairs of images in a folder by their paths, and the two-line lists of CALFW and CPLFW.

`pairs_CALFW.txt` and `pairs_CPLFW.txt` have no header: two lines are a pair, `NAME_0001.jpg TOKEN` each with the same
token, 0 for two people, otherwise 1 (CPLFW) or the fold of the pair, 1 to 10 (CALFW, which gives pairs of two people
none). The images lie in one folder, `aligned images` or `images`, or beside the list.

Not here: LFW's own layout (`lfw.py`), which both sets also come in; CFP's (`cfp.py`).
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faces.data.images import read_image
from faces.data.lfw import Pairs
from faces.data.lists import read_lines
from faces.data.named_files import NamedFiles
from faces.errors import DataError

LISTS = ("pairs_CALFW.txt", "pairs_CPLFW.txt")
IMAGE_FOLDERS = ("aligned images", "aligned_images", "images", ".")
FOLDS = 10


@dataclass(frozen=True)
class PairFolder:
    """A list of pairs, and the folder from which its paths start.

    Args:
        root: the folder.
        pairs: the list.
        remark: what a reader of the number must know about the folds; empty where the list itself states them.
    """

    root: Path
    pairs: Pairs
    remark: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """Paths that the list names and the folder does not hold, sorted."""
        named = {*self.pairs.first, *self.pairs.second}
        return tuple(sorted(path for path in named if self._files.file(path) is None))

    def load(self, path: str) -> np.ndarray:
        """The image at a path of the list: uint8 (height, width, 3), RGB. ImageError where it cannot be read."""
        return read_image(self._files.file(path) or self.root / path)

    @functools.cached_property
    def _files(self) -> NamedFiles:
        return NamedFiles(self.root)


def ten_folds(same: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    """Folds for pairs whose file states none.

    Contiguous tenths of the file, as InsightFace cuts its own, as long as each holds pairs of one person and of two.
    In a file that lists one kind first and then the other no tenth does: then the pairs of one person are cut into ten
    contiguous runs, those of two people likewise, and the remark says so.

    Args:
        same: whether each pair shows one person, bool (pairs,).
        name: of the file, for the message of an error.

    Returns:
        Fold of each pair, 0 to 9, int32 (pairs,), and the remark, empty for contiguous tenths.

    Raises:
        DataError: fewer than ten pairs of either kind.
    """
    people = {"of one person": np.flatnonzero(same), "of two people": np.flatnonzero(~same)}
    for kind, pairs in people.items():
        if len(pairs) < FOLDS:
            raise DataError(
                f"{name}: {len(pairs)} of {len(same)} pairs are {kind}; ten folds that each hold both kinds need ten."
            )
    fold = np.empty(len(same), np.int32)  # (pairs,)
    for number, run in enumerate(np.array_split(np.arange(len(same)), FOLDS)):
        fold[run] = number
    if all(len(set(same[fold == number].tolist())) == 2 for number in range(FOLDS)):
        return fold, ""
    for pairs in people.values():
        for number, run in enumerate(np.array_split(pairs, FOLDS)):
            fold[run] = number
    return fold, (
        "folds of our own, not the official ones: contiguous tenths of the file would hold one kind of pair only, so "
        "the pairs of one person were cut into ten runs in the order of the file, and those of two people likewise"
    )


def find_list(folder: Path) -> Path | None:
    """The two-line list in a folder, if it has one. DataError where it has both."""
    found = [folder / name for name in LISTS if (folder / name).exists()]
    if len(found) > 1:
        raise DataError(f"{folder}: {LISTS[0]} and {LISTS[1]} are both in it; give each set a folder of its own.")
    return found[0] if found else None


def read_pair_files(path: Path | str) -> PairFolder:
    """Read a two-line list and find the folder of its images.

    Args:
        path: the list.

    Raises:
        DataError: a malformed line, by number; a name that would leave the folder; as `ten_folds`.
    """
    path = Path(path)
    lines = read_lines(path)
    if len(lines) % 2:
        raise DataError(f"{path}: {len(lines)} lines, but two make a pair; the file was cut: fetch it again.")
    names, tokens = [], []
    for number, line in lines:
        fields = line.split()
        if len(fields) != 2 or not (fields[1].isascii() and fields[1].isdigit() and len(fields[1]) < 10):
            raise DataError(f'{path}, line {number}: "NAME.jpg 0" or "NAME.jpg 1" expected, found "{line[:80]}".')
        if fields[0] in (".", "..") or set(fields[0]) & set("/\\\0:"):
            raise DataError(f'{path}, line {number}: "{fields[0][:80]}" is no file\'s name, it would leave the folder.')
        names.append(fields[0])
        tokens.append(int(fields[1]))
        if len(tokens) % 2 == 0 and tokens[-2] != tokens[-1]:
            raise DataError(
                f"{path}, line {number}: {tokens[-1]} here and {tokens[-2]} one line above; two lines of a pair carry "
                "the same number: a line is missing or was added."
            )
    same = np.array(tokens[::2], int) > 0  # (pairs,)
    fold, remark = ten_folds(same, str(path))
    inner = next(name for name in IMAGE_FOLDERS if (path.parent / name).is_dir())
    return PairFolder(path.parent / inner, Pairs(fold, same, tuple(names[::2]), tuple(names[1::2])), remark)
