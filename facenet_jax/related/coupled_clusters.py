"""The coupled clusters loss (Liu et al., "Deep Relative Distance Learning", CVPR 2016), beside FaceNet's Eq. (3).

    L = sum over i of 1/2 max(0, ||f(x_i) - c||^2 + alpha - ||f(x_n*) - c||^2),

with c the mean of the images of one identity, x_i each of them, and x_n* the negative that is nearest to c.

Its place: made for vehicles. A triplet's pull depends on which of an identity's images happens to be the anchor; one
that lies badly moves everything. Here the mean is the anchor of all. The centre loss, in the same year, kept such a
mean across batches, beside a classifier.

Geometry: a ball around the mean of an identity's images, which no image of another may come near by alpha.

CHOICE: the gradient reaches all images through their mean as well.

Not here: how an identity's images come into one batch (`facenet_jax.sampling`).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from facenet_jax.related.pairs import Pairs
from faces import ops


def coupled_clusters_loss(
    embeddings: Float[Array, "anchors d"], pairs: Pairs, alpha: float, gallery: Float[Array, "batch d"] | None = None
) -> Float[Array, "anchors"]:
    """Loss of each image x_i.

        1/2 max(0, ||f(x_i) - c||^2 + alpha - ||f(x_n*) - c||^2)

    Args:
        embeddings: f(x_i), (anchors, d).
        pairs: of the batch.
        alpha: the margin, in units of squared distance.
        gallery: embeddings of the batch, (batch, d); None where every image of it is an anchor.
    Returns:
        float32 (anchors,), for the anchors that `pairs.meets_both` names; of others it means nothing and is finite.
    """
    gallery = embeddings if gallery is None else gallery
    embeddings, gallery = embeddings.astype(jnp.float32), gallery.astype(jnp.float32)
    is_own = ~pairs.is_negative  # (anchors, batch), the anchor itself included
    share = is_own / jnp.sum(is_own, axis=1, keepdims=True)
    c = jnp.dot(share, gallery, precision=lax.Precision.HIGHEST)  # (anchors, d)
    d_i = jnp.sum(jnp.square(embeddings - c), axis=1)  # (anchors,)
    to_all = ops.squared_distances(c, gallery)  # (anchors, batch)
    beyond_all = jnp.max(to_all, axis=1, keepdims=True)
    d_n = jnp.min(jnp.where(pairs.is_negative, to_all, beyond_all), axis=1)  # (anchors,)
    return 0.5 * jax.nn.relu(d_i + alpha - d_n)
