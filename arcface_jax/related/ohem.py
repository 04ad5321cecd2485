"""OHEM (Shrivastava et al., CVPR 2016, arXiv 1604.03540) on top of any classifier: the hardest images alone.

It answered sampling by rules of thumb in detectors: look at everything, train on what has the largest loss. With faces
the loss is that of ArcFace's Eq. (1) to (4) and the choice is among the images of a batch. Focal loss answered it with
weights in place of a cut; both weigh what is labelled wrongly most, which is why `sub_center.py` drops it instead.

Geometry: none of its own; the images farthest from their centres move, the rest stay.

Not here: the classifier (`classifiers.py`); hard triplets, which are another thing (`losses.py`).
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from faces.detect.losses import largest


def hardest(per_image: Float[Array, "batch"], kept: float) -> Bool[Array, "batch"]:
    """Which images of the batch, over all devices, have the largest losses.

    Args:
        per_image: (batch,).
        kept: fraction of the batch, above 0 and at most 1, rounded up to whole images.
    Returns:
        bool (batch,), so many true; of equal losses the first. Carries no gradient.
    """
    number = math.ceil(kept * len(per_image) - 1e-9)  # 0.7 of 10 is 7, though 0.7 * 10 may be above it
    losses = lax.stop_gradient(per_image)
    return largest(losses, jnp.ones(len(losses), bool), jnp.float32(number))
