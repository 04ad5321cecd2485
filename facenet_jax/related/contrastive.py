"""The contrastive loss of Siamese networks (Hadsell, Chopra, LeCun, CVPR 2006): pairs, before FaceNet's Sec. 3.1.

    L = (1 - Y) 1/2 D^2 + Y 1/2 max(0, m - D)^2,    Y = 0 for two images of one person, 1 for two people's.

Its place: the oldest of the family. Every positive pair is pulled to distance 0 and every negative pair pushed out to
m, each against a fixed number, whatever the person's other images do. DeepID2 added a classifier to it; FaceNet
answered that a person need not fall on one point, only be nearer to himself than others are.

Geometry: each image draws its own kind towards it without end, and pushes others out of a ball of radius m.

Not here: the classifier beside it (`deepid2.py`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def contrastive_loss(
    distance: Float[Array, "anchors batch"], is_positive: Bool[Array, "anchors batch"], margin: float
) -> Float[Array, "anchors batch"]:
    """Loss of each pair.

        1/2 D^2 where the pair is of one person, 1/2 max(0, m - D)^2 where it is of two

    Args:
        distance: D, Euclidean, not squared (`pairs.euclidean`).
        is_positive: 1 - Y.
        margin: m, in units of D.
    Returns:
        float32 (anchors, batch). An image beside itself is no pair: leave its entry out.
    """
    pull, push = jnp.square(distance), jnp.square(jax.nn.relu(margin - distance))
    return 0.5 * jnp.where(is_positive, pull, push)
