"""Which triplets a batch yields: Sec. 3.2 of FaceNet (arXiv 1503.03832).

Most triplets of a data set already satisfy the margin and teach nothing. FaceNet looks for the useful ones inside a
large batch, with the network as it is now: every anchor meets ALL its positives (PAPER Sec. 3.2: steadier, and a little
faster at first, than only the hardest), and each such pair meets one negative. Taking the hardest negative early in
training ends in a collapsed model, f(x) = 0; hence the semi-hard one, farther than the positive but not yet by alpha:
    ||f(x_a) - f(x_p)||^2 < ||f(x_a) - f(x_n)||^2.                                                               (Eq. 4)

Every rule here has the same form: (embeddings, identities) -> (negative, is_pair), both (batch, batch).

- `negative[a, p]`: index of the negative of the pair (a, p), int32. Where `is_pair` is false it is 0 and means nothing.
- `is_pair[a, p]`: a and p are two images of one identity, and the batch holds a negative for them to meet.

An anchor's negatives are sorted once, and each of its positives finds its place among them by binary search:
O(B^2 log B) time and O(B^2) memory, where a mask over all (a, p, n) costs O(B^3) of both. Indices carry no gradient;
the loss takes its own distances. The batch is the GLOBAL one: under a mesh, a negative may live on another device.

CHOICE: one rule for the whole of a training. The paper wants semi-hard negatives "early on", and does not say until
when.

Not here: how the batch is composed (`sampling.py`), the loss (`losses.py`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from faces import ops


class Mined(NamedTuple):
    """The negative chosen for every pair of a batch."""

    negative: Int[Array, "batch batch"]
    is_pair: Bool[Array, "batch batch"]


class _Ranked(NamedTuple):
    """Each anchor's negatives in order of distance."""

    distance: Float[Array, "anchors gallery"]
    index: Int[Array, "anchors gallery"]  # gallery indices, nearest negative first
    sorted_distance: Float[Array, "anchors gallery"]  # their distances; +inf behind the last negative
    count: Int[Array, "anchors 1"]  # number of negatives
    is_pair: Bool[Array, "anchors gallery"]


def _rank_negatives(embeddings: Float[Array, "batch d"], identities: Int[Array, "batch"]) -> _Ranked:
    embeddings = jax.lax.stop_gradient(embeddings)
    batch = identities.shape[0]
    distance = ops.squared_distances(embeddings, embeddings)  # (anchors, gallery)
    same = identities[:, None] == identities[None, :]  # (anchors, gallery)
    gallery = jnp.broadcast_to(jnp.arange(batch, dtype=jnp.int32), same.shape)
    masked = jnp.where(same, jnp.inf, distance)
    sorted_distance, index = jax.lax.sort((masked, gallery), num_keys=1, is_stable=True)
    count = jnp.sum(~same, axis=1, keepdims=True, dtype=jnp.int32)  # (anchors, 1)
    is_pair = same & ~jnp.eye(batch, dtype=bool) & (count > 0)
    return _Ranked(distance, index, sorted_distance, count, is_pair)


def _take(ranked: _Ranked, rank: Int[Array, "anchors positives"], is_pair: Bool[Array, "anchors positives"]) -> Mined:
    negative = jnp.take_along_axis(ranked.index, rank, axis=1)  # (anchors, positives)
    return Mined(jnp.where(is_pair, negative, 0), is_pair)


def semi_hard(embeddings: Float[Array, "batch d"], identities: Int[Array, "batch"]) -> Mined:
    """The nearest negative that is farther than the positive, Eq. (4).

        negative(a, p) = argmin { D(a, n) : D(a, n) > D(a, p), id(n) != id(a) }

    CHOICE: the paper draws "a" semi-hard negative; we take the nearest of them, the most violating one. Farther than
    D(a, p) + alpha its loss is zero, so the margin needs no test here.

    CHOICE: where no negative is farther than the positive, the farthest negative is taken ("easiest of the too hard"):
    it is the limit of the rule, and the one that pulls least towards collapse. Dropping those pairs instead would train
    on fewer pairs the worse the model is.

    Ties: a negative exactly as far as the positive is not semi-hard; of equally far negatives the lowest index is
    taken, except in the case without a semi-hard one, where it is the highest.

    Args:
        embeddings: (batch, d), any float type; distances are taken in float32.
        identities: integer label of each image, (batch,).
    Returns:
        `Mined(negative, is_pair)`, see the module's header.
    """
    ranked = _rank_negatives(embeddings, identities)
    nearer_or_equal = _search(ranked.sorted_distance, ranked.distance, "right")  # (anchors, positives)  Eq. (4)
    return _take(ranked, jnp.clip(nearer_or_equal, 0, jnp.maximum(ranked.count - 1, 0)), ranked.is_pair)


def hardest(embeddings: Float[Array, "batch d"], identities: Int[Array, "batch"]) -> Mined:
    """The nearest negative of all, whatever the positive: argmin_n D(a, n) (Sec. 3.2).

    What the paper warns of early in training. The lowest index is taken of equally near ones.

    Args and Returns: as `semi_hard`.
    """
    ranked = _rank_negatives(embeddings, identities)
    return _take(ranked, jnp.zeros_like(ranked.index), ranked.is_pair)


def random_violator(
    embeddings: Float[Array, "batch d"],
    identities: Int[Array, "batch"],
    alpha: float | Float[Array, ""],
    key: Key[Array, ""],
) -> Mined:
    """One of the negatives that violate the margin, uniformly at random: D(a, n) < D(a, p) + alpha.

    The rule of Parkhi et al. (Deep Face Recognition, BMVC 2015) and of most code that is called FaceNet. A pair without
    a violator has loss zero with every negative and is no pair here.

    Args:
        embeddings, identities: as `semi_hard`.
        alpha: the margin.
        key: a JAX random key.
    Returns:
        As `semi_hard`.
    """
    ranked = _rank_negatives(embeddings, identities)
    violators = _search(ranked.sorted_distance, ranked.distance + alpha, "left")  # (anchors, positives)
    violators = jnp.minimum(violators, ranked.count)
    draw = jnp.floor(jax.random.uniform(key, violators.shape) * violators).astype(jnp.int32)
    rank = jnp.clip(draw, 0, jnp.maximum(violators - 1, 0))  # a draw of nearly 1 can round up to the count itself
    return _take(ranked, rank, ranked.is_pair & (violators > 0))


def _search(sorted_rows: Float[Array, "rows n"], values: Float[Array, "rows m"], side: str) -> Int[Array, "rows m"]:
    """`numpy.searchsorted`, row by row."""

    def one_row(row: Float[Array, "n"], row_values: Float[Array, "m"]) -> Int[Array, "m"]:
        return jnp.searchsorted(row, row_values, side=side, method="scan").astype(jnp.int32)

    return jax.vmap(one_row)(sorted_rows, values)
