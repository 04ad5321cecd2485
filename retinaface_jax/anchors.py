"""RetinaFace's anchors: two squares at every place of each map, the smallest face 16 pixels, the largest 512.

DEVIATION D25: arXiv 1905.00641, Table 2, has five levels with three sizes each. These are those of
biubug6/Pytorch_Retinaface.

Not here: matching anchors to faces (training), what the network says of them (`decode.py`).
"""

import numpy as np

from retinaface_jax.network import STRIDES

SIDES = ((16, 32), (64, 128), (256, 512))
"""Sides of the anchors of each stride, in pixels."""


def make_anchors(height: int, width: int) -> np.ndarray:
    """Anchors of an image, in the order of the network's outputs: stride, row, column, size.

    The anchor at row i and column j of a map of stride s has its centre at x = (j + 0.5) s, y = (i + 0.5) s. Published
    code divides by the image's sides here and multiplies again after decoding, which changes nothing.

    Args:
        height, width: of the image in pixels; a map has as many rows as height / stride, rounded up.

    Returns:
        float32 (anchors, 4): x and y of the centre, width, height, in pixels.
    """
    levels = []
    for stride, sides in zip(STRIDES, SIDES, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        i, j, side = np.meshgrid(np.arange(rows), np.arange(columns), sides, indexing="ij")  # (rows, columns, 2)
        anchors = np.stack([(j + 0.5) * stride, (i + 0.5) * stride, side, side], axis=-1)  # (rows, columns, 2, 4)
        levels.append(anchors.reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)


def first_pixels(height: int, width: int) -> np.ndarray:
    """Top left pixel of each anchor's place in the map, in the order of `make_anchors`.

    An image that was padded to height x width has as its own those anchors whose first pixel it contains.

    Returns:
        int32 (anchors, 2): row and column.
    """
    places = []
    for stride, sides in zip(STRIDES, SIDES, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        i, j, _ = np.meshgrid(np.arange(rows), np.arange(columns), sides, indexing="ij")  # (rows, columns, 2)
        places.append(np.stack([i, j], axis=-1).reshape(-1, 2) * stride)
    return np.concatenate(places).astype(np.int32)
