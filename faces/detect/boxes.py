"""Overlap of boxes, and greedy non-maximum suppression with static shapes.

Both detectors find a face many times over and keep, of the boxes that overlap, the one with the best score. The loop
here runs once for each box that is KEPT, not for each box there is, and holds one row of overlaps, never all pairs.

Not here: anchors and the decoding of boxes (each detector's own), the loop over images (`buckets.py`).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

Over = Literal["union", "min"]
"""What the area of an intersection is divided by: the area of the union, or of the smaller box."""

_Loop = tuple[jax.Array, jax.Array, jax.Array]  # boxes not decided on (n,), indices kept (limit,), their number


def iou(
    a: Float[Array, "n 4"], b: Float[Array, "m 4"], over: Over = "union", inclusive: bool = False
) -> Float[Array, "n m"]:
    """Area of the intersection of every two boxes, over the area of their union or of the smaller one.

    Args:
        a: boxes (left, top, right, bottom).
        b: other boxes in the same unit.
        over: "union", the usual measure, or "min", which is 1 for a box inside another.
        inclusive: right and bottom are the last pixels inside, so that a width is right - left + 1. Published
            detectors count so in their suppression, although their boxes are not whole numbers.

    Returns:
        (n, m), 0 to 1; 0 where the divisor is not positive.
    """
    pixel = 1.0 if inclusive else 0.0
    lower = jnp.maximum(a[:, None, :2], b[None, :, :2])  # (n, m, 2)
    upper = jnp.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = jnp.maximum(upper - lower + pixel, 0.0)
    shared = sides[..., 0] * sides[..., 1]  # (n, m)
    area_a, area_b = (jnp.prod(boxes[:, 2:] - boxes[:, :2] + pixel, axis=-1) for boxes in (a, b))  # (n,), (m,)
    area_a, area_b = area_a[:, None], area_b[None, :]
    divisor = area_a + area_b - shared if over == "union" else jnp.minimum(area_a, area_b)
    return jnp.where(divisor > 0, shared / jnp.where(divisor > 0, divisor, 1.0), 0.0)


def box_iou(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"], pixel: float = 0.0) -> Float64[np.ndarray, "n m"]:
    """Intersection over union of every two boxes in float64, 0 where they do not meet.

    Args:
        a, b: left, top, right, bottom.
        pixel: what is added to every width and height; 1 where right and bottom are the last pixels inside.
    """
    a, b = a.astype(np.float64)[:, None], b.astype(np.float64)[None]  # (n, 1, 4), (1, m, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + pixel  # (n, m, 2)
    shared = np.where((sides > 0).all(axis=2), sides[..., 0] * sides[..., 1], 0.0)  # (n, m)
    area_a, area_b = (np.prod(box[..., 2:] - box[..., :2] + pixel, axis=-1) for box in (a, b))
    return np.divide(shared, area_a + area_b - shared, out=np.zeros_like(shared), where=shared > 0)


def nms(
    boxes: Float[Array, "n 4"],
    scores: Float[Array, "n"],
    threshold: float,
    valid: Bool[Array, "n"],
    over: Over = "union",
    *,
    limit: int | None = None,
    inclusive: bool = False,
) -> Int[Array, "limit"]:
    """Greedy non-maximum suppression: keep the best box, drop what overlaps it by more than `threshold`, repeat.

    Of equal scores the lower index is better. An overlap of exactly `threshold` drops nothing. `jax.vmap` over images
    takes as many rounds as the image that keeps most.

    Args:
        boxes: (left, top, right, bottom).
        scores: higher is better.
        threshold: largest overlap of two boxes that are both kept.
        valid: which rows take part; the others are padding. Scores of nan and -inf are taken for padding too.
        over: as for `iou`.
        limit: most boxes to keep; all of them by default. Static, like `over` and `inclusive`.
        inclusive: as for `iou`.

    Returns:
        int32 indices of the kept boxes, best first, then -1.
    """
    limit = len(boxes) if limit is None else limit
    def unfinished(loop: _Loop) -> jax.Array:
        active, _, kept = loop
        return active.any() & (kept < limit)

    def keep_best(loop: _Loop) -> _Loop:
        active, indices, kept = loop
        best = jnp.argmax(jnp.where(active, scores, -jnp.inf)).astype(jnp.int32)
        overlap = iou(boxes[best][None], boxes, over, inclusive)[0]  # (n,)
        # A box without area overlaps nothing, not even itself.
        active = (active & (overlap <= threshold)).at[best].set(False)
        return active, indices.at[kept].set(best), kept + 1

    start = (valid & (scores > -jnp.inf), jnp.full((limit,), -1, jnp.int32), jnp.int32(0))
    return jax.lax.while_loop(unfinished, keep_best, start)[1]
