"""FDDB, faces marked as ellipses, in `FDDB-fold-01-ellipseList.txt` to `-10-`.

For each image its path without the ending, the number of its faces, and a line for each: half the major axis, half the
minor axis, the angle of the major axis to the horizontal in radians, the centre's x and y, and a 1.

Not here: the curves (`faces.evaluate.fddb`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faces.data.pair_files import read_lines
from faces.errors import DataError

FOLDS = 10


@dataclass(frozen=True, eq=False)
class EllipseImage:
    """The faces of one image.

    Args:
        path: of the image in the folder of originals, without `.jpg`.
        ellipses: float64 (n, 5): half axes (major, minor), angle in radians from x towards y (down), centre x, y.
    """

    path: str
    ellipses: np.ndarray


def read_folds(folder: Path | str) -> list[EllipseImage]:
    """All ten lists of the folder FDDB-folds, one after the other. DataError as `read_ellipses`."""
    lists = [Path(folder) / f"FDDB-fold-{fold:02d}-ellipseList.txt" for fold in range(1, FOLDS + 1)]
    return [image for path in lists for image in read_ellipses(path)]


def read_ellipses(path: Path | str) -> list[EllipseImage]:
    """One list.

    Raises:
        DataError: no such file, or a malformed line, by its number.
    """
    lines = read_lines(Path(path))
    images, at = [], 0
    while at < len(lines):
        line, name = lines[at]
        if any(part in ("", ".", "..") or set(part) & set("\\\0:") for part in name.split("/")):
            raise DataError(f'{path}, line {line}: a path inside the folder of images expected, found "{name[:80]}".')
        count = lines[at + 1][1] if at + 1 < len(lines) else ""
        if not (count.isascii() and count.isdigit() and len(count) < 7):
            raise DataError(f'{path}, line {line + 1}: the number of faces of "{name}" expected, found "{count[:80]}".')
        at += 2
        if at + int(count) > len(lines):
            raise DataError(f"{path}, line {line + 1}: {count} faces declared, {len(lines) - at:,} lines follow.")
        rows = [_ellipse(path, *one) for one in lines[at : at + int(count)]]
        at += int(count)
        images.append(EllipseImage(name, np.array(rows, np.float64).reshape(-1, 5)))
    if not images:
        raise DataError(f"{path}: no image in it; a list of FDDB is expected.")
    return images


def _ellipse(path: Path | str, line: int, text: str) -> list[float]:
    try:
        values = [float(field) for field in text.split()]
    except ValueError:
        values = []
    if len(values) != 6 or not np.isfinite(values).all() or min(values[:2]) <= 0:
        raise DataError(f'{path}, line {line}: two half axes, angle, centre and 1 expected, found "{text[:80]}".')
    return values[:5]
