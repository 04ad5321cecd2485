"""From SCRFD's outputs to faces (arXiv 2105.04714, Sec. 5): distances from places, sigmoid, top-k, suppression.

Not here: images of several sizes (`detector.py`), the suppression itself (`faces.detect.boxes`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from faces.detect.boxes import nms
from scrfd_jax.architectures import PLACES_ANCHORS, STRIDES
from scrfd_jax.network import Outputs


class Found(NamedTuple):
    """Faces of one image, best first; beyond the last, scores are 0."""

    boxes: jax.Array  # (keep, 4), left, top, right, bottom, in pixels
    points: jax.Array  # (keep, 5, 2)
    scores: jax.Array  # (keep,)


def make_places(height: int, width: int) -> np.ndarray:
    """Where the anchors of an image are, in the order of the network's outputs: stride, row, column, anchor.

    The place at row i and column j of a map of stride s is x = j s, y = i s: no half is added, as in the authors' code.

    Args:
        height, width: of the image in pixels, multiples of 32.

    Returns:
        float32 (anchors, 3): x, y, and the stride, all in pixels.
    """
    levels = []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        i, j, _ = np.meshgrid(*map(np.arange, (rows, columns, PLACES_ANCHORS)), indexing="ij")  # (rows, columns, 2)
        levels.append(np.stack([j * stride, i * stride, np.full_like(i, stride)], axis=-1).reshape(-1, 3))
    return np.concatenate(levels).astype(np.float32)


def decode_boxes(distances: Float[Array, "n 4"], places: Float[Array, "n 3"]) -> Float[Array, "n 4"]:
    """left = x - stride d_0, top = y - stride d_1, right = x + stride d_2, bottom = y + stride d_3.

    Args:
        distances: of the network, to the left, top, right and bottom side, in strides.
        places: as `make_places` returns.

    Returns:
        (n, 4) left, top, right, bottom in pixels.
    """
    far = distances * places[:, 2:]
    return jnp.concatenate([places[:, :2] - far[:, :2], places[:, :2] + far[:, 2:]], axis=-1)


def decode_points(distances: Float[Array, "n 10"], places: Float[Array, "n 3"]) -> Float[Array, "n 5 2"]:
    """point = place + stride d, for five points (x, y)."""
    return places[:, None, :2] + distances.reshape(-1, 5, 2) * places[:, None, 2:]


def find_faces(
    outputs: Outputs,
    places: jax.Array,
    inside: jax.Array,
    *,
    confidence: float,
    overlap: float,
    top_k: int,
    keep: int,
) -> Found:
    """Faces of one image.

    Args:
        outputs: the network's, of one image: (anchors,), (anchors, 4), (anchors, 10).
        places: float32 (anchors, 3).
        inside: bool (anchors,), which anchors are the image's own and not its padding's.
        confidence: a face scores this or more.
        overlap: largest intersection over union of two faces, with sides counted as right - left + 1.
        top_k: most anchors that enter the suppression.
        keep: most faces that leave it.

    Returns:
        `Found` of `keep` rows, or as many as there are anchors.
    """
    scores = jax.nn.sigmoid(outputs.scores)  # (anchors,)
    scores = jnp.where(inside & (scores >= confidence), scores, 0.0)
    boxes, points = outputs.boxes, outputs.points
    if top_k < len(places):
        scores, chosen = jax.lax.top_k(scores, top_k)
        boxes, points, places = boxes[chosen], points[chosen], places[chosen]
    boxes = decode_boxes(boxes, places)
    kept = nms(boxes, scores, overlap, scores > 0, limit=min(keep, len(places)), inclusive=True)  # (keep,)
    points = decode_points(points[kept], places[kept])
    return Found(boxes[kept], points, jnp.where(kept >= 0, scores[kept], 0.0))
