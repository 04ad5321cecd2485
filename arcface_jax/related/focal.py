"""Focal loss (Lin et al., ICCV 2017, arXiv 1708.02002) on top of any classifier: what is learned counts for little.

It answered detectors' millions of easy backgrounds, whose small losses add up. With p = e^(-l), the probability that an
image's own class has under whatever classifier gives the loss l of ArcFace's Eq. (1) to (4),
    focal = (1 - p)^gamma l.
Those who trained on faces took it over without the paper's weight alpha, there being no background; margins answered
it: they keep the easy from being easy.

Geometry: none of its own; an image's pull towards its centre fades as it arrives, gamma saying how early.

CHOICE: for each image, as in the paper; some code for faces takes p of the batch's mean loss, under which all images of
a batch share one weight.

Not here: the classifier (`classifiers.py`); the hardest alone (`ohem.py`).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def focal(per_image: Float[Array, "batch"], gamma: float) -> Float[Array, "batch"]:
    """(1 - e^(-l))^gamma l of each image.

    Args:
        per_image: l, at least 0, (batch,).
        gamma: 0 or above; 0 leaves the losses as they are, the paper takes 2.
    Returns:
        float32 (batch,). Gradients go through the weight as well, and are 0, not undefined, where l is 0.
    """
    is_zero = per_image == 0
    loss = jnp.where(is_zero, 1.0, per_image)
    return jnp.where(is_zero, 0.0, (-jnp.expm1(-loss)) ** gamma * loss)
