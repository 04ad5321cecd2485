"""Celebrities in Frontal-Profile (CFP): its two protocols, frontal-frontal (FF) and frontal-profile (FP).

`Protocol/Pair_list_F.txt` numbers the frontal images, `Pair_list_P.txt` the profiles: lines `number path`, the path
relative to `Protocol`. `Protocol/Split/FF` and `Split/FP` hold ten folds, `01` to `10`, of a `same.txt` and a
`diff.txt`: lines `a,b` of such numbers, 350 in the original. In FP the second is the number of a profile.

Not here: the protocol that makes an accuracy of pairs (`faces.evaluate`).
"""

from pathlib import Path
from typing import Literal

import numpy as np

from faces.data.lfw import Pairs
from faces.data.lists import read_lines
from faces.data.pair_files import FOLDS, PairFolder
from faces.errors import DataError

PROTOCOL = "Protocol"


def read_cfp(path: Path | str, protocol: Literal["FF", "FP"]) -> PairFolder:
    """Read one of CFP's protocols.

    Args:
        path: the folder that holds `Protocol` and the images.
        protocol: frontal against frontal, or against profile.

    Returns:
        Pairs in the order of the folds, in each same before different; folds 0 to 9; paths relative to `path`.

    Raises:
        DataError: a missing or malformed list, by line; a number that no list holds; a path that leaves the folder;
            folds of unequal size.
    """
    lists = Path(path) / PROTOCOL
    frontal = _image_paths(lists / "Pair_list_F.txt")
    others = frontal if protocol == "FF" else _image_paths(lists / "Pair_list_P.txt")
    first, second, same, folds = [], [], [], []
    expected, model = 0, ""
    for fold in range(FOLDS):
        for name, is_same in (("same.txt", True), ("diff.txt", False)):
            file = lists / "Split" / protocol / f"{fold + 1:02d}" / name
            pairs = _numbers(file, len(frontal), len(others))
            if not model:
                expected, model = len(pairs), f"Split/{protocol}/01/same.txt"
            if len(pairs) != expected or not pairs:
                raise DataError(f"{file}: {len(pairs)} pairs, but {model} holds {expected}; fetch the protocol again.")
            first += [frontal[a - 1] for a, _ in pairs]
            second += [others[b - 1] for _, b in pairs]
            same += [is_same] * expected
            folds += [fold] * expected
    return PairFolder(Path(path), Pairs(np.array(folds, np.int32), np.array(same, bool), tuple(first), tuple(second)))


def _image_paths(file: Path) -> list[str]:
    """Paths of images 1, 2, 3 ... of a list, relative to the folder that holds `Protocol`."""
    paths = []
    for line, text in read_lines(file):
        fields = text.split(maxsplit=1)
        if len(fields) != 2 or fields[0] != str(len(paths) + 1):
            raise DataError(f'{file}, line {line}: "{len(paths) + 1} PATH" expected, found "{text[:80]}".')
        paths.append(_inside(fields[1], file, line))
    return paths


def _inside(path: str, file: Path, line: int) -> str:
    """A path relative to `Protocol`, made relative to the folder above, which it may not leave."""
    parts = [PROTOCOL]
    for part in path.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part in ("", "..") or set(part) & set("\\\0:"):
            raise DataError(f'{file}, line {line}: "{path[:80]}" is no path inside the folder of the set.')
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _numbers(file: Path, frontal: int, others: int) -> list[tuple[int, int]]:
    """The pairs of numbers of a split's file, each the number of an image."""
    pairs = []
    for line, text in read_lines(file):
        fields = [field.strip() for field in text.split(",")]
        numbers = [int(field) for field in fields if field.isascii() and field.isdigit() and len(field) < 10]
        if len(numbers) != 2 or len(fields) != 2:
            raise DataError(f'{file}, line {line}: two numbers "a,b" expected, found "{text[:80]}".')
        for number, known in zip(numbers, (frontal, others), strict=True):
            if not 1 <= number <= known:
                raise DataError(f"{file}, line {line}: there is no image {number}; the list numbers 1 to {known}.")
        pairs.append((numbers[0], numbers[1]))
    return pairs
