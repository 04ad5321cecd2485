"""The triplet loss: Sec. 3.1 of FaceNet (arXiv 1503.03832).

An anchor's embedding must lie nearer to every image of the same person than to any image of another, by a margin:
    ||f(x_a) - f(x_p)||^2 + alpha < ||f(x_a) - f(x_n)||^2.                                                       (Eq. 1)
What a triplet lacks of that margin is its loss. A pair loss would ask all images of a person to fall on one point;
this asks only that others stay out, so that a person may occupy a manifold.

Not here: which triplets are formed (`mining.py`), how a batch is composed (`sampling.py`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from faces import ops


def triplet_loss(
    x_a: Float[Array, "triplets d"],
    x_p: Float[Array, "triplets d"],
    x_n: Float[Array, "triplets d"],
    alpha: float,
) -> Float[Array, "triplets"]:
    """Loss of each triplet, Eq. (3) before its sum.

        l_i = max(0, ||x_a - x_p||^2 - ||x_a - x_n||^2 + alpha)

    Args:
        x_a, x_p, x_n: embeddings of anchors, positives and negatives, (triplets, d), any float type.
        alpha: the margin, in units of squared distance.
    Returns:
        Loss per triplet, float32 (triplets,).
    Numerics: float32 throughout; the gradient is zero, not undefined, where embeddings coincide.
    """
    x_a, x_p, x_n = (x.astype(jnp.float32) for x in (x_a, x_p, x_n))
    d_ap = jnp.sum(jnp.square(x_a - x_p), axis=-1)  # (triplets,)
    d_an = jnp.sum(jnp.square(x_a - x_n), axis=-1)
    return jax.nn.relu(d_ap - d_an + alpha)  # Eq. (3)


def triplet_loss_of_pairs(
    embeddings: Float[Array, "anchors d"],
    negative: Int[Array, "anchors batch"],
    alpha: float,
    gallery: Float[Array, "batch d"] | None = None,
) -> Float[Array, "anchors batch"]:
    """Eq. (3) for every pair (a, p) of a batch and the negative chosen for it.

    The same numbers as `triplet_loss(embeddings[a], embeddings[p], embeddings[negative[a, p]], alpha)`, from one matrix
    of distances instead of B^2 gathered vectors: O(B^2) memory, and gradients reach all three images.

    Args:
        embeddings: of the anchors, (anchors, d).
        negative: index into the batch for each pair, int32 (anchors, batch), as `mining` gives it.
        alpha: the margin.
        gallery: embeddings of the batch, (batch, d); None where every image of it is an anchor.
    Returns:
        Loss of pair (a, p), float32 (anchors, batch). Entries that are no pair mean nothing: mask them with `is_pair`.
    """
    distance = ops.squared_distances(embeddings, embeddings if gallery is None else gallery)  # (anchors, gallery)
    d_an = jnp.take_along_axis(distance, negative, axis=1)  # (anchors, positives)
    return jax.nn.relu(distance - d_an + alpha)  # Eq. (3)
