"""Every valid triplet of a batch in O(B^2 log B): `batch_all.py` for a compiled step, beside FaceNet's Sec. 3.2.

Equal to the definition up to rounding, in value and gradient. For a pair (a, p) let t = D(a, p) + alpha. Of a's
negatives in ascending order of distance, the k nearer than t are those of the active triplets, and the losses are

    sum over n of max(0, t - D(a, n)) = k t - (sum of the k least D(a, n)).

One sort of an anchor's negatives and their prefix sums serve all of its positives, and k is found by binary search. The
gradient goes the same way back: t has weight k, and a negative the sum of the pairs whose k is beyond its own rank, a
suffix sum. No array has more than (anchors, batch) entries.

Not here: what the loss means (`batch_all.py`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from facenet_jax.mining_fast import count_below, key_of
from facenet_jax.related.batch_all import TripletsOfPairs
from facenet_jax.related.pairs import Pairs


def batch_all(distance: Float[Array, "anchors batch"], pairs: Pairs, alpha: float) -> TripletsOfPairs:
    """As `batch_all.batch_all`."""
    loss, active = _sums(distance + alpha, distance, pairs.is_negative)
    return TripletsOfPairs(jnp.where(pairs.is_positive, loss, 0.0), jnp.where(pairs.is_positive, active, 0))


@jax.custom_vjp
def _sums(
    threshold: Float[Array, "anchors positives"],
    distance: Float[Array, "anchors batch"],
    is_negative: Bool[Array, "anchors batch"],
) -> tuple[Float[Array, "anchors positives"], Int[Array, "anchors positives"]]:
    """Of each row: sum over negatives of max(0, t - D), and how many negatives have D < t."""
    return _forward(threshold, distance, is_negative)[0]


def _forward(threshold: Array, distance: Array, is_negative: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
    keys = key_of(jnp.where(is_negative, distance, jnp.inf))
    sorted_keys = jnp.sort(keys, axis=1, stable=False)
    nearest_first = jax.lax.bitcast_convert_type(sorted_keys, jnp.float32)  # (anchors, ranks)
    sums = jnp.cumsum(jnp.where(jnp.isinf(nearest_first), 0.0, nearest_first), axis=1)
    k = count_below(sorted_keys, key_of(threshold))  # (anchors, positives)
    of_nearer = jnp.take_along_axis(sums, jnp.maximum(k - 1, 0), axis=1, mode="promise_in_bounds")
    loss = jnp.where(k > 0, k * threshold - of_nearer, 0.0)
    return (loss, k), (k, keys, sorted_keys, is_negative)


def _backward(residuals: tuple[Array, ...], gradient: tuple[Array, Array]) -> tuple[Array, Array, None]:
    k, keys, sorted_keys, is_negative = residuals
    g = gradient[0]  # (anchors, positives)
    ending_at = jax.vmap(lambda row, end: jnp.zeros_like(row).at[end - 1].add(jnp.where(end > 0, row, 0.0)))(g, k)
    beyond = jax.lax.cumsum(ending_at, axis=1, reverse=True)  # (anchors, ranks): weight of the negative of each rank
    rank = jnp.minimum(count_below(sorted_keys, keys), keys.shape[1] - 1)  # (anchors, batch)
    of_negatives = jnp.take_along_axis(beyond, rank, axis=1, mode="promise_in_bounds")
    return k * g, jnp.where(is_negative, -of_negatives, 0.0), None


_sums.defvjp(_forward, _backward)
