"""An embedding of 128 bytes, one a dimension: Sec. 5.4 of FaceNet (arXiv 1503.03832).

Trained as 128 float values, an embedding is stored in 128 bytes, "without loss of accuracy" there. A gallery takes a
quarter of the memory.

    q = round(127 x / max_i |x_i|), as int8;    x' = q / ||q||

Geometry: the sphere's points are moved to the nearest direction of a grid of whole numbers. With b = max |x_i| the
error of a coordinate is at most b / 254, uniform: a vector is turned by about sqrt(d / 12) b / 127, 0.5 degrees at
d = 128 and b = 0.35, where two photographs of one person are tens of degrees apart.

Not here: what stores embeddings (`experiments.search`) or measures the loss (`experiments.evaluate`).
"""

import numpy as np
from jaxtyping import Float, Float32, Int8

LEVELS = 127
"""The largest value of a byte with a sign, used on both sides of 0."""


def to_bytes(embeddings: Float[np.ndarray, "images d"]) -> Int8[np.ndarray, "images d"]:
    """One byte a dimension.

    CHOICE: the paper does not describe its quantiser. Each vector is divided by its own largest value, which need not
    be stored, since directions alone are compared; so all 255 levels serve whatever d is.

    Args:
        embeddings: of any length, finite.
    Returns:
        int8, -127 to 127; zeros stay zeros.
    """
    largest = np.max(np.abs(embeddings), axis=1, keepdims=True)  # (images, 1)
    scale = LEVELS / np.where(largest > 0, largest, 1).astype(np.float64)
    return np.rint(embeddings * scale).astype(np.int8)


def from_bytes(stored: Int8[np.ndarray, "images d"]) -> Float32[np.ndarray, "images d"]:
    """The embeddings of length 1 that the bytes stand for; zeros stay zeros."""
    whole = stored.astype(np.float64)
    length = np.sqrt(np.einsum("nd,nd->n", whole, whole))[:, None]  # (images, 1)
    return (whole / np.where(length > 0, length, 1)).astype(np.float32)
