"""The images of a batch on one sheet, each with its place in the training set.

Not here: clusters of faces (`experiments.common.contact_sheets`), photographs with what was found in them
(`faces.detect.sheet`).
"""

import math

import cv2
import numpy as np

GAP, CAPTION = 4, 13
"""Space between images and height of the line below each, in pixels."""
_SIDES = ((16, 224), (64, 144), (512, 72), (2048, 56))  # up to so many images, and the side of each
_SMALLEST = 48
_WIDTHS = 6.5  # pixels of a digit


def batch_sheet(images: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """All images of a batch, row by row, on white.

    Args:
        images: uint8 (batch, rows, columns, 3), RGB.
        indices: the number that is written below each, integers (batch,).
    Returns:
        uint8 (height, width, 3), RGB.
    """
    side = next((side for most, side in _SIDES if len(images) <= most), _SMALLEST)
    wide = max(side, math.ceil(_WIDTHS * len(str(int(indices.max())))))
    columns = max(1, round(math.sqrt(1.6 * len(images) * (side + CAPTION + GAP) / (wide + GAP))))
    rows = -(-len(images) // columns)
    high = side + CAPTION
    sheet = np.full((rows * (high + GAP) + GAP, columns * (wide + GAP) + GAP, 3), 255, np.uint8)
    for place, (image, index) in enumerate(zip(images, indices.tolist(), strict=True)):
        row, column = divmod(place, columns)
        top, left = GAP + row * (high + GAP), GAP + column * (wide + GAP)
        small = _fitted(image, side)
        sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
        corner = (left, top + side + CAPTION - 3)
        cv2.putText(sheet, str(index), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


def _fitted(image: np.ndarray, side: int) -> np.ndarray:
    """The whole image, its longer side `side` pixels long."""
    factor = side / max(image.shape[:2])
    width, height = (max(1, round(length * factor)) for length in (image.shape[1], image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
