"""The margin-based loss and distance-weighted sampling (Wu et al., ICCV 2017), beside FaceNet's Sec. 3.2.

    l(i, j) = max(0, alpha + y_ij (D_ij - beta)),    y = +1 for two images of one person, -1 for two people's,

with the Euclidean distance D, and beta, the border between "same" and "different", learned beside the network.

    P(n | a) proportional to min(lambda, 1 / q(D_an)),    q(d) proportional to d^(n-2) (1 - d^2 / 4)^((n-3)/2),

q being the density of the distance of two random points of the unit sphere in n dimensions.

Its place: it answers FaceNet's mining. Semi-hard negatives come from a narrow band of distances; uniform ones nearly
all lie at sqrt(2), where q has its peak; the hardest have gradients whose direction is noise. Drawing by 1/q gives
every distance alike. With such negatives, they argue, a loss of pairs does as well as triplets, once it has their
freedom to move the border.

Geometry: positives within beta - alpha, negatives beyond beta + alpha, and the border goes where the data want it.

CHOICE: beta is one number for all, or one for each person (the anchor's), which the authors' code has; the paper also
speaks of one for each image. CHOICE: an anchor all of whose negatives lie beyond the cut-off draws none.

Not here: beta's learning rate (`objective.py`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from facenet_jax.mining_fast import count_below
from facenet_jax.related.pairs import Pairs

_INSIDE = (1e-3, 2 - 1e-6)
"""Distances at which log q is finite."""


def margin_loss(
    distance: Float[Array, "anchors pairs"], beta: Float[Array, "anchors"], sign: int, alpha: float
) -> Float[Array, "anchors pairs"]:
    """Loss of each pair, max(0, alpha + y (D - beta)).

    Args:
        distance: D, Euclidean, not squared.
        beta: the border of each anchor, in units of D.
        sign: y, +1 or -1.
        alpha: half of the distance between where positives and negatives may lie.
    Returns:
        float32 (anchors, pairs).
    """
    return jax.nn.relu(alpha + sign * (distance - beta[:, None]))


def log_density(distance: Float[Array, "*shape"], dimensions: int) -> Float[Array, "*shape"]:
    """log q(d), up to a constant: (n - 2) log d + (n - 3)/2 log(1 - d^2 / 4).

    Args:
        distance: d, above 0 and below 2.
        dimensions: n, of the space whose unit sphere it is, at least 2.
    """
    return (dimensions - 2) * jnp.log(distance) + (dimensions - 3) / 2 * jnp.log1p(-jnp.square(distance) / 4)


def weights(
    distance: Float[Array, "anchors batch"],
    is_negative: Bool[Array, "anchors batch"],
    dimensions: int,
    shortest: float,
    longest: float,
) -> Float[Array, "anchors batch"]:
    """min(lambda, 1/q(D)) of each anchor's negatives, in proportion: the greatest of a row is 1.

    Args:
        distance: D, Euclidean.
        is_negative: which entries may be drawn.
        dimensions: n.
        shortest: lambda is 1/q(shortest), so that a nearer negative weighs as one at this distance; above 0.
        longest: from here on negatives are not drawn: their loss is 0 at beta + alpha. At most 2.
    Returns:
        float32 (anchors, batch), 0 where there is nothing to draw.
    """
    can_be_drawn = is_negative & (distance < longest)
    log_lambda = -log_density(jnp.asarray(shortest), dimensions)
    log_weight = jnp.minimum(log_lambda, -log_density(jnp.clip(distance, *_INSIDE), dimensions))
    log_weight = jnp.where(can_be_drawn, log_weight, -jnp.inf)
    greatest = jnp.max(log_weight, axis=1, keepdims=True)
    return jnp.exp(log_weight - jnp.where(jnp.isinf(greatest), 0.0, greatest))


def draw(
    weight: Float[Array, "anchors batch"], pairs: Pairs, key: Key[Array, ""]
) -> tuple[Int[Array, "anchors positives"], Bool[Array, "anchors positives"]]:
    """One negative for each positive pair, independent of each other, by the weights: O(B^2 log B), no (B, B, B) array.

    Args:
        weight: of `weights`.
        pairs: of the batch.
        key: a JAX random key.
    Returns:
        negative: index into the batch, int32; 0 where there is none.
        is_drawn: the entry is a positive pair, and its anchor has something to draw.
    """
    sums = jnp.cumsum(weight, axis=1)  # (anchors, batch)
    total = sums[:, -1:]
    # In (0, total]: the first sum that is not below it is that of an image with a weight above 0.
    point = (1 - jax.random.uniform(key, weight.shape)) * total  # (anchors, positives)
    last = jnp.max(jnp.where(weight > 0, jnp.arange(weight.shape[1], dtype=jnp.int32)[None, :], 0), axis=1)
    negative = jnp.minimum(count_below(sums, point), last[:, None])  # rounding may leave the last sum below the total
    is_drawn = pairs.is_positive & (total > 0)
    return jnp.where(is_drawn, negative, 0), is_drawn
