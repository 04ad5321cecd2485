"""Whether a face shows enough to be told from others: how large it is in its photograph, and how sharp.

Not here: cutting faces out (`cut_faces.py`), what becomes of those that show too little.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

SMALLEST = 24.0
"""CHOICE: shorter side of a face's box in pixels, below which it shows too little."""
COARSE = 20
"""Pixels a side that hold all that a face of `LEAST_DETAIL` shows."""
LEAST_DETAIL = 0.05
"""CHOICE: of 1,500 training faces 99.5% show more than 0.085, and half of them more than this when shrunk to 16x16."""
_SIDE, _MARGIN = 112, 16


def detail(face: UInt8[np.ndarray, "rows columns 3"]) -> float:
    """How much of a face's contrast is finer than `COARSE` pixels a side: 0 of a blurred one, 0.2 of a usual one.

    The standard deviation of what is lost when the middle of the face is shrunk and enlarged again, as a part of that
    of its grey values.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    coarse = cv2.resize(grey, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    lost = grey - cv2.resize(coarse, grey.shape[::-1], interpolation=cv2.INTER_CUBIC)
    contrast = float(np.std(grey))
    return float(np.std(lost)) / contrast if contrast > 0 else 0.0


def too_small(boxes: Float[np.ndarray, "faces 4"], least: float = SMALLEST) -> Bool[np.ndarray, " faces"]:
    """Which boxes are of faces that show too little; none of those that are NaN, of which no size is known."""
    return np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) < least


def too_blurred(faces: UInt8[np.ndarray, "faces rows columns 3"]) -> Bool[np.ndarray, " faces"]:
    """Which faces, cut out, show too little."""
    return np.array([detail(face) < LEAST_DETAIL for face in faces], bool)
