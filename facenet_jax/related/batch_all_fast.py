"""Every valid triplet of a batch in O(B^2 log B): `batch_all.py` for a compiled step, beside FaceNet's Sec. 3.2.

Equal to the definition up to rounding, in value and gradient. For a pair (a, p) let t = D(a, p) + alpha. Of a's
negatives in ascending order of distance, the k nearer than t are those of the active triplets, and the losses are

    sum over n of max(0, t - D(a, n)) = k t - (sum of the k least D(a, n)).

One sort of an anchor's negatives and their prefix sums serve all of its positives, and k is found by binary search. The
gradient goes the same way back: t has weight k, and a negative the sum of the pairs whose k is beyond its own rank, a
suffix sum. No array has more than (anchors, batch) entries.

Where identities have few images, a CPU is quicker without the sort, as in `facenet_jax.mining_fast`: each anchor looks
through its negatives once for every positive, O(B^2 K) time in the same memory.

Not here: what the loss means (`batch_all.py`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from facenet_jax.mining_fast import Groups, count_below, groups_of, image_of, key_of
from facenet_jax.related.batch_all import TripletsOfPairs
from facenet_jax.related.pairs import Pairs

MOST_LOOKS = 16
"""With more images of one identity than this, sorting is quicker on a CPU too: a look costs what a 20th of it does."""


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
    given = (threshold, distance, is_negative)
    loss, k, sorted_keys = _few_or_many(_sums_by_looks, _sums_by_sort, *given)
    return (loss, k), (*given, k, sorted_keys)


def _backward(residuals: tuple[Array, ...], gradient: tuple[Array, Array]) -> tuple[Array, Array, None]:
    threshold, distance, is_negative, k, sorted_keys = residuals
    g = gradient[0]  # (anchors, positives)
    weight = _few_or_many(_weights_by_looks, _weights_by_sort, threshold, distance, is_negative, g, k, sorted_keys)
    return k * g, jnp.where(is_negative, -weight, 0.0), None


_sums.defvjp(_forward, _backward)


def _few_or_many(by_looks: Callable[..., Any], by_sort: Callable[..., Any], *given: Array) -> Any:
    """On a CPU, where nobody has many images, a look through the negatives for each positive in place of the sort."""
    groups = groups_of(jnp.argmax(~given[2], axis=1))  # an identity is called by its first image

    def on_cpu() -> Any:
        few = jnp.max(groups.size) <= MOST_LOOKS
        return jax.lax.cond(few, lambda: by_looks(groups, *given), lambda: by_sort(*given))

    return jax.lax.platform_dependent(cpu=on_cpu, default=lambda: by_sort(*given))


def _sums_by_sort(threshold: Array, distance: Array, is_negative: Array) -> tuple[Array, Array, Array]:
    sorted_keys = jnp.sort(key_of(jnp.where(is_negative, distance, jnp.inf)), axis=1, stable=False)
    nearest_first = jax.lax.bitcast_convert_type(sorted_keys, jnp.float32)  # (anchors, ranks)
    sums = jnp.cumsum(jnp.where(jnp.isinf(nearest_first), 0.0, nearest_first), axis=1)
    k = count_below(sorted_keys, key_of(threshold))  # (anchors, positives)
    of_nearer = jnp.take_along_axis(sums, jnp.maximum(k - 1, 0), axis=1, mode="promise_in_bounds")
    return jnp.where(k > 0, k * threshold - of_nearer, 0.0), k, sorted_keys


def _weights_by_sort(_: Array, distance: Array, is_negative: Array, g: Array, k: Array, sorted_keys: Array) -> Array:
    """Of each negative, the sum of the gradients of the pairs that it makes active."""
    ending_at = jax.vmap(lambda row, end: jnp.zeros_like(row).at[end - 1].add(jnp.where(end > 0, row, 0.0)))(g, k)
    beyond = jax.lax.cumsum(ending_at, axis=1, reverse=True)  # (anchors, ranks): of the negative of each rank
    rank = count_below(sorted_keys, key_of(jnp.where(is_negative, distance, jnp.inf)))  # (anchors, batch)
    return jnp.take_along_axis(beyond, jnp.minimum(rank, rank.shape[1] - 1), axis=1, mode="promise_in_bounds")


def _sums_by_looks(groups: Groups, threshold: Array, distance: Array, is_negative: Array) -> tuple[Array, Array, Array]:
    column = jnp.broadcast_to(jnp.arange(distance.shape[1], dtype=jnp.int32), distance.shape)

    def look(number: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        positive = image_of(groups, number)[:, None]  # (anchors, 1)
        lacks = jnp.take_along_axis(threshold, positive, axis=1) - distance  # (anchors, negatives)
        is_active = is_negative & (lacks > 0)
        loss = jnp.sum(jnp.where(is_active, lacks, 0.0), axis=1, keepdims=True)
        active = jnp.sum(is_active, axis=1, keepdims=True, dtype=jnp.int32)
        is_here = column == positive
        return jnp.where(is_here, loss, found[0]), jnp.where(is_here, active, found[1])

    loss, k = jax.lax.fori_loop(0, jnp.max(groups.size), look, (jnp.zeros_like(distance), jnp.zeros_like(column)))
    return loss, k, jnp.zeros_like(column)


def _weights_by_looks(
    groups: Groups, threshold: Array, distance: Array, is_negative: Array, g: Array, k: Array, sorted_keys: Array
) -> Array:
    def look(number: Array, weight: Array) -> Array:
        positive = image_of(groups, number)[:, None]  # (anchors, 1)
        is_active = jnp.take_along_axis(threshold, positive, axis=1) > distance  # (anchors, negatives)
        is_own = number < groups.size[:, None]  # beyond its last image an anchor meets another's, or one twice
        return weight + jnp.where(is_active & is_own, jnp.take_along_axis(g, positive, axis=1), 0.0)

    return jax.lax.fori_loop(0, jnp.max(groups.size), look, jnp.zeros_like(distance))
