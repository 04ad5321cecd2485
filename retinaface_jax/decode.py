"""From RetinaFace's outputs to faces (arXiv 1905.00641, Sec. 3.1): offsets from anchors, softmax, top-k, suppression.

Not here: images of several sizes (`detector.py`), the suppression itself (`faces.detect.boxes`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from faces.detect.boxes import nms
from retinaface_jax.network import Outputs

CENTRE, SIZE = 0.1, 0.2
"""The "variances" of SSD: what the offsets of centres and points, and of logarithms of sides, are multiplied by."""


class Found(NamedTuple):
    """Faces of one image, best first; beyond the last, scores are 0."""

    boxes: jax.Array  # (keep, 4), left, top, right, bottom, in pixels
    points: jax.Array  # (keep, 5, 2)
    scores: jax.Array  # (keep,)


def decode_boxes(offsets: Float[Array, "n 4"], anchors: Float[Array, "n 4"]) -> Float[Array, "n 4"]:
    """centre = anchor's centre + 0.1 offset x anchor's side; side = anchor's side x exp(0.2 offset).

    Args:
        offsets: of the network: x, y, width, height.
        anchors: as `make_anchors` returns.

    Returns:
        (n, 4) left, top, right, bottom in pixels. Anchors' centres count a pixel's left edge as its beginning and
        annotations of faces count its centre; which of both the network learnt is not known, the difference is half a
        pixel, and the published code's numbers are left as they are.
    """
    centres = anchors[:, :2] + offsets[:, :2] * CENTRE * anchors[:, 2:]
    sides = anchors[:, 2:] * jnp.exp(offsets[:, 2:] * SIZE)
    return jnp.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)


def decode_points(offsets: Float[Array, "n 10"], anchors: Float[Array, "n 4"]) -> Float[Array, "n 5 2"]:
    """point = anchor's centre + 0.1 offset x anchor's side, for five points (x, y)."""
    return anchors[:, None, :2] + offsets.reshape(-1, 5, 2) * CENTRE * anchors[:, None, 2:]


def find_faces(
    outputs: Outputs,
    anchors: jax.Array,
    inside: jax.Array,
    *,
    confidence: float,
    overlap: float,
    top_k: int,
    keep: int,
) -> Found:
    """Faces of one image.

    Args:
        outputs: the network's, of one image: (anchors, 2), (anchors, 4), (anchors, 10).
        anchors: float32 (anchors, 4).
        inside: bool (anchors,), which anchors are the image's own and not its padding's.
        confidence: a face scores more than this.
        overlap: largest intersection over union of two faces, with sides counted as right - left + 1.
        top_k: most anchors that enter the suppression.
        keep: most faces that leave it.

    Returns:
        `Found` of `keep` rows, or as many as there are anchors.
    """
    scores = jax.nn.softmax(outputs.classes, axis=-1)[:, 1]  # (anchors,)
    scores = jnp.where(inside & (scores > confidence), scores, 0.0)
    boxes, points = outputs.boxes, outputs.points
    if top_k < len(anchors):
        scores, chosen = jax.lax.top_k(scores, top_k)
        boxes, points, anchors = boxes[chosen], points[chosen], anchors[chosen]
    boxes = decode_boxes(boxes, anchors)
    kept = nms(boxes, scores, overlap, scores > 0, limit=min(keep, len(anchors)), inclusive=True)  # (keep,)
    points = decode_points(points[kept], anchors[kept])
    return Found(boxes[kept], points, jnp.where(kept >= 0, scores[kept], 0.0))
