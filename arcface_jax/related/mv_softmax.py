"""MV-Softmax (Wang et al., AAAI 2020, arXiv 1912.00833): what is misclassified as counts for more.

It answered CosFace and ArcFace (ArcFace's Eq. 3 and 4), whose margin is on the own class alone, and mining (`ohem.py`,
`focal.py`), which weighs images and knows no margin. An image is still misclassified by class j where cos(theta_j)
exceeds the own class's target, margin included; there the logit is raised before the softmax:
    s (t cos(theta_j) + t - 1) in place of s cos(theta_j), "adaptive";   s (cos(theta_j) + t - 1), "fixed".
CurricularFace answered it: raising hard classes from the first step on is too much for a young network.

Geometry: beside the own class's border, which the margin moves, the borders of those classes that are too near move
towards the image as well, by (t - 1)(cos(theta_j) + 1).

Not here: the own class's margin (`margins.py`), the softmax (`head.py`).
"""

from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Emphasis = Literal["adaptive", "fixed"]


def of_others(
    others: Float[Array, "batch classes"],
    target: Float[Array, "batch 1"],
    number: Array,
    *,
    t: float,
    emphasis: Emphasis,
) -> Float[Array, "batch classes"]:
    """What takes the place of the cosines with other classes.

    Args:
        others: cos(theta_j), (batch, classes).
        target: of the own class, margin included, (batch, 1).
        number: of `Head.of_others`; the loss has no use for it.
        t: at least 1; 1 leaves all as it is.
        emphasis: "adaptive" raises a class by (t - 1)(cos(theta_j) + 1), "fixed" by t - 1.
    Returns:
        As `others`, which stay where they are at most the target. The choice carries no gradient.
    """
    raised = others + (t - 1) * (others + 1 if emphasis == "adaptive" else 1.0)
    return jnp.where(lax.stop_gradient(others) > target, raised, others)
