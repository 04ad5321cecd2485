"""Sec. 3.2 of FaceNet (arXiv 1503.03832) in less time: the rules of `mining.py`, for a compiled step.

`semi_hard` and `random_violator` here are equal to those of `mining.py` in every entry, ties included; tests hold them
to it. The definitions look at all (a, p, n), O(B^3) time. Here an anchor's negatives are sorted once, and every image
finds its place among them by binary search: O(B^2 log B) time and O(B^2) memory. Distances are compared as integers:
the bits of a float that is not negative order as it does, and XLA sorts one row of integers several times quicker on
CPUs than pairs of distance and index.

Where identities have few images, as in batches of Sec. 3.2, a CPU is quicker without the sort: each anchor looks
through its negatives once for every positive, O(B^2 K) time; sorting takes XLA there as long as 64 such looks.

`python -m benchmarks.triplet` measures it; RESULTS.md has what it found.

Not here: what the rules mean (`mining.py`); `hardest`, whose definition is quick.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Num

from facenet_jax.mining import Mined, distances


class _Compared(NamedTuple):
    """Every anchor against the whole batch."""

    key: Int[Array, "anchors gallery"]  # of the distance: greater where that is greater
    negative_key: Int[Array, "anchors gallery"]  # the same; _BEHIND where the identity is the anchor's
    gallery: Int[Array, "anchors gallery"]  # 0, 1, 2 ... in every row
    is_negative: Bool[Array, "anchors gallery"]
    is_pair: Bool[Array, "anchors gallery"]


_BEHIND = jnp.iinfo(jnp.int32).max  # behind the key of every distance, infinity included


def key_of(distance: Float[Array, "anchors gallery"]) -> Int[Array, "anchors gallery"]:
    """Integers that order as distances do, which are at least 0."""
    return jax.lax.bitcast_convert_type(distance, jnp.int32)


def _compare(distance: Float[Array, "batch batch"], identities: Int[Array, "batch"]) -> _Compared:
    batch = identities.shape[0]
    is_negative = identities[:, None] != identities[None, :]  # (anchors, gallery)
    gallery = jnp.broadcast_to(jnp.arange(batch, dtype=jnp.int32), is_negative.shape)
    key = key_of(distance)
    is_pair = ~is_negative & ~jnp.eye(batch, dtype=bool) & jnp.any(is_negative, axis=1, keepdims=True)
    return _Compared(key, jnp.where(is_negative, key, _BEHIND), gallery, is_negative, is_pair)


def semi_hard(embeddings: Float[Array, "batch d"], identities: Int[Array, "batch"]) -> Mined:
    """As `mining.semi_hard`, Eq. (4)."""
    distance = distances(embeddings)
    compared = _compare(distance, identities)
    farthest_key = jnp.max(jnp.where(compared.is_negative, compared.key, -1), axis=1, keepdims=True)  # (anchors, 1)
    is_farthest = compared.is_negative & (compared.key == farthest_key)
    farthest = jnp.max(jnp.where(is_farthest, compared.gallery, 0), axis=1, keepdims=True)  # (anchors, 1)

    def by_sort() -> Int[Array, "anchors positives"]:
        return _by_sort(compared, farthest)

    def on_cpu() -> Int[Array, "anchors positives"]:
        groups = groups_of(identities)
        few = jnp.max(groups.size) <= MOST_LOOKS
        return jax.lax.cond(few, lambda: _by_looks(distance, compared, farthest, groups), by_sort)

    return _only_pairs(jax.lax.platform_dependent(cpu=on_cpu, default=by_sort), compared.is_pair)


def _by_sort(compared: _Compared, farthest: Int[Array, "anchors 1"]) -> Int[Array, "anchors positives"]:
    """`semi_hard`'s negative of every pair; `farthest` is what a pair without a semi-hard one takes."""
    batch, is_negative = len(compared.gallery), compared.is_negative
    sorted_keys = jnp.sort(compared.negative_key, axis=1, stable=False)
    # From one float to the next the key grows by 1: a positive counts the negatives as near as it, too.
    rank = count_below(sorted_keys, compared.key + ~is_negative)  # (anchors, gallery)  Eq. (4)
    nearest = jax.vmap(_lowest_index)(jnp.where(is_negative, rank, batch), compared.gallery)  # (anchors, ranks)
    negative = jnp.take_along_axis(nearest, jnp.minimum(rank, batch - 1), axis=1)  # (anchors, positives)
    none_farther = rank == jnp.sum(is_negative, axis=1, keepdims=True)
    return jnp.where(none_farther, farthest, negative)


class Groups(NamedTuple):
    """The batch ordered by identity: an anchor's identity has the images order[start], ..., order[start + size - 1]."""

    order: Int[Array, "batch"]
    start: Int[Array, "anchors"]
    size: Int[Array, "anchors"]


def groups_of(identities: Int[Array, "batch"]) -> Groups:
    """The images of each identity."""
    order = jnp.argsort(identities).astype(jnp.int32)
    ordered = identities[order]
    first, behind = (jnp.searchsorted(ordered, identities, side=side).astype(jnp.int32) for side in ("left", "right"))
    return Groups(order, first, behind - first)


def image_of(groups: Groups, number: Int[Array, ""]) -> Int[Array, "anchors"]:
    """The image of that number, from 0, of each anchor's identity; beyond its last one of another."""
    return groups.order[jnp.minimum(groups.start + number, len(groups.order) - 1)]


MOST_LOOKS = 64
"""With more images of one identity than this, sorting is quicker on a CPU too."""


def _by_looks(
    distance: Float[Array, "anchors gallery"],
    compared: _Compared,
    farthest: Int[Array, "anchors 1"],
    groups: Groups,
) -> Int[Array, "anchors positives"]:
    """As `_by_sort`: one look through the negatives for each image of the anchor's identity."""
    batch = len(distance)
    of_negatives = jnp.where(compared.is_negative, distance, jnp.inf)  # (anchors, gallery)

    def look(number: Int[Array, ""], negative: Int[Array, "anchors positives"]) -> Int[Array, "anchors positives"]:
        # Beyond its last image an anchor looks for one of another identity, which is no pair.
        positive = image_of(groups, number)[:, None]  # (anchors, 1)
        farther = of_negatives > jnp.take_along_axis(distance, positive, axis=1)  # (anchors, gallery)  Eq. (4)
        nearest = jnp.min(jnp.where(farther, of_negatives, jnp.inf), axis=1, keepdims=True)  # (anchors, 1)
        index = jnp.min(jnp.where(of_negatives == nearest, compared.gallery, batch), axis=1, keepdims=True)
        chosen = jnp.where(jnp.isinf(nearest), farthest, index)  # (anchors, 1)
        return jnp.where(compared.gallery == positive, chosen, negative)

    return jax.lax.fori_loop(0, jnp.max(groups.size), look, jnp.zeros((batch, batch), jnp.int32))


def _lowest_index(rank: Int[Array, "gallery"], index: Int[Array, "gallery"]) -> Int[Array, "ranks"]:
    """For each rank the lowest index of an anchor's negatives that have it; a rank out of range is left out."""
    return jnp.full_like(index, _BEHIND).at[rank].min(index, mode="drop")


def _only_pairs(negative: Int[Array, "anchors positives"], is_pair: Bool[Array, "anchors positives"]) -> Mined:
    return Mined(jnp.where(is_pair, negative, 0), is_pair)


def random_violator(
    embeddings: Float[Array, "batch d"],
    identities: Int[Array, "batch"],
    alpha: float | Float[Array, ""],
    key: Key[Array, ""],
) -> Mined:
    """As `mining.random_violator`, the same draws."""
    distance = distances(embeddings)
    compared = _compare(distance, identities)
    sorted_keys, order = jax.lax.sort((compared.negative_key, compared.gallery), num_keys=1, is_stable=True)
    violators = count_below(sorted_keys, key_of(jnp.maximum(distance + alpha, 0)))  # (anchors, positives)
    draw = jnp.floor(jax.random.uniform(key, violators.shape) * violators).astype(jnp.int32)
    rank = jnp.clip(draw, 0, jnp.maximum(violators - 1, 0))  # a draw of nearly 1 can round up to the count itself
    negative = jnp.take_along_axis(order, rank, axis=1)  # (anchors, positives)
    return _only_pairs(negative, compared.is_pair & (violators > 0))


def count_below(sorted_rows: Num[Array, "rows n"], values: Num[Array, "rows m"]) -> Int[Array, "rows m"]:
    """How many of a row are smaller than each value, by binary search: `numpy.searchsorted`, row by row.

    On CPUs several times quicker than `jnp.searchsorted` under `vmap`.
    """
    n = sorted_rows.shape[1]
    bits = n.bit_length()

    def try_bit(step: Int[Array, ""], below: Int[Array, "rows m"]) -> Int[Array, "rows m"]:
        candidate = below + jnp.left_shift(1, bits - 1 - step).astype(jnp.int32)
        last = jnp.take_along_axis(sorted_rows, jnp.minimum(candidate, n) - 1, axis=1, mode="promise_in_bounds")
        return jnp.where((candidate <= n) & (last < values), candidate, below)

    return jax.lax.fori_loop(0, bits, try_bit, jnp.zeros_like(values, jnp.int32))
