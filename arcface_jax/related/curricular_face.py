"""CurricularFace (Huang et al., CVPR 2020, arXiv 2004.00288): easy classes first, hard ones later.

It answered ArcFace (Eq. 3), under which all classes weigh alike at all times, and MV-Softmax (`mv_softmax.py`), which
raises the hard ones from the first step on. A class that exceeds the own one's target, margin included, has
    s cos(theta_j) (t + cos(theta_j)) in place of s cos(theta_j),
where t follows the mean of the own cosines. Early t is near 0, and as cos(theta_j) < 1 hard classes weigh LESS; late,
when own cosines are high, t + cos(theta_j) is above 1, and they weigh more: a curriculum, without a schedule to choose.

Geometry: the derivative by cos(theta_j) is t + 2 cos(theta_j), so that the nearest wrong centre pushes hardest.

Not here: the own class's margin (`margins.py`), the softmax (`head.py`).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def of_others(
    others: Float[Array, "batch classes"], target: Float[Array, "batch 1"], t: Float[Array, ""]
) -> Float[Array, "batch classes"]:
    """What takes the place of the cosines with other classes: cos(theta_j) (t + cos(theta_j)) where that class is hard.

    Args:
        others: cos(theta_j), (batch, classes).
        target: of the own class, margin included, (batch, 1).
        t: how far training has come; it carries no gradient.
    Returns:
        As `others`, which stay where they are at most the target.
    """
    return jnp.where(lax.stop_gradient(others) > target, others * (t + others), others)


def progress(own: Float[Array, "batch"], before: Float[Array, ""], momentum: float) -> Float[Array, ""]:
    """t of a step: momentum mean(cos(theta_y)) + (1 - momentum) t of the step before.

    Args:
        own: cos(theta_y) of all devices' images, without a margin, (batch,).
        before: t of the step before; 0 at the first.
        momentum: weight of this batch, 0 to 1.
    Returns:
        float32 scalar without a gradient, already this batch's own t, as in the authors' code.
    """
    return lax.stop_gradient(momentum * jnp.mean(own) + (1 - momentum) * before)
