"""A remark on training images that look like whole photographs: training does not look for faces.

Not here: cutting faces out (`faces.cut_faces`), preparing a set (`preparing.py`).
"""

import numpy as np

from faces.data.source import FaceSource
from faces.errors import ImageError

_LOOKED_AT = 32
_TIMES = 2.0
"""Crops are seldom so many times as large as the input."""


def remark(source: FaceSource, size: tuple[int, int]) -> str:
    """What to say of a training set whose images differ in size, or are far larger than the input; or "".

    Args:
        source: the training set, of which a few images are looked at.
        size: rows and columns of the network's input.
    """
    rows = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)).tolist()
    shapes = np.array([shape for row in rows if (shape := _shape(source, row)) is not None])  # (images, 2)
    if not len(shapes):
        return ""
    (low, narrow), (high, wide) = shapes.min(axis=0).tolist(), shapes.max(axis=0).tolist()
    if (low, narrow) != (high, wide):
        what = f"differ in size, {narrow} to {wide} pixels wide and {low} to {high} high"
    elif min(low / size[0], narrow / size[1]) >= _TIMES:
        what = f"are {narrow}x{low} pixels, and the network sees them whole at {size[1]}x{size[0]}"
    else:
        return ""
    return (
        f"remark: the training images {what}. Where they are whole photographs, cut the faces out first: "
        "python -m experiments.prepare finds the face of each with --detector, or takes the same box with --crop."
    )


def _shape(source: FaceSource, row: int) -> tuple[int, int] | None:
    try:
        return source[row].shape[:2]
    except ImageError:  # which training names, with the remedy
        return None
