"""Batch-hard triplets (Hermans, Beyer, Leibe, 2017, arXiv 1703.07737), beside FaceNet's Sec. 3.2.

    L = sum over anchors a of slack( m + max_p D(a, p) - min_n D(a, n) )

with p over the images of a's person in the batch, n over all others, and D the Euclidean distance, not squared.

Its place: FaceNet takes all positives and warns of the hardest negatives, which may drive a network to one point. In a
batch of P people with K images each, Hermans et al. find the hardest positive and the hardest negative of every anchor
to train well, as they are hard only among few images. Margin-based losses answered that such triplets have gradients
whose direction is noise where distances are small.

Geometry: the ball around an anchor that holds all of its person must not touch the nearest stranger.

The hardest positive is the FARTHEST, the largest d(a, p); the hardest negative the NEAREST, the smallest d(a, n): the
other way around one trains on the triplets that are solved.

Not here: `slack` (`triplet_variant.py`), the batch of P people (`facenet_jax.sampling`).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from facenet_jax.related.pairs import Pairs


def hardest(
    distance: Float[Array, "anchors batch"], pairs: Pairs
) -> tuple[Float[Array, "anchors"], Float[Array, "anchors"]]:
    """Distances of each anchor to its farthest positive and to its nearest negative.

    Args:
        distance: of whatever kind, at least 0.
        pairs: of the batch.
    Returns:
        d_ap, d_an: float32 (anchors,) each, for the anchors that `pairs.meets_both` names; of others they mean nothing
        and are finite. Of equally far ones each has its part of the gradient.
    """
    d_ap = jnp.max(jnp.where(pairs.is_positive, distance, 0.0), axis=1)
    beyond_all = jnp.max(distance, axis=1, keepdims=True)
    d_an = jnp.min(jnp.where(pairs.is_negative, distance, beyond_all), axis=1)
    return d_ap, d_an
