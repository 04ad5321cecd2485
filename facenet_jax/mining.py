"""Which triplets a batch yields: Sec. 3.2 of FaceNet (arXiv 1503.03832).

Most triplets of a data set already satisfy the margin and teach nothing. FaceNet looks for the useful ones inside a
large batch, with the network as it is now: every anchor meets ALL its positives (PAPER Sec. 3.2: steadier, and a little
faster at first, than only the hardest), and each such pair meets one negative. Taking the hardest negative early in
training ends in a collapsed model, f(x) = 0; hence the semi-hard one, farther than the positive but not yet by alpha:
    ||f(x_a) - f(x_p)||^2 < ||f(x_a) - f(x_n)||^2.                                                               (Eq. 4)

Every rule here has the same form: (embeddings, identities) -> (negative, is_pair), both (batch, batch).

- `negative[a, p]`: index of the negative of the pair (a, p), int32. Where `is_pair` is false it is 0 and means nothing.
- `is_pair[a, p]`: a and p are two images of one identity, and the batch holds a negative for them to meet.

Each is written as it is defined, one anchor at a time. The train step takes `mining_fast.py`, which gives the same in
less time. Indices carry no gradient; the loss takes its own distances. The batch is the GLOBAL one: under a mesh, a
negative may live on another device.

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
    distance = distances(embeddings)  # (anchors, gallery)
    is_negative, is_pair = _kinds(identities)

    def of_anchor(anchor: tuple[Array, Array]) -> Int[Array, "positives"]:
        d, is_negative = anchor  # (gallery,) each
        farther = is_negative[None, :] & (d[None, :] > d[:, None])  # (positives, gallery)  Eq. (4)
        nearest = jnp.argmin(jnp.where(farther, d[None, :], jnp.inf), axis=1)  # (positives,)
        farthest = len(d) - 1 - jnp.argmax(jnp.where(is_negative, d, -1)[::-1])  # of equals the last
        return jnp.where(farther.any(axis=1), nearest, farthest).astype(jnp.int32)

    return _of_pairs(jax.lax.map(of_anchor, (distance, is_negative)), is_pair)


def hardest(embeddings: Float[Array, "batch d"], identities: Int[Array, "batch"]) -> Mined:
    """The nearest negative of all, whatever the positive: argmin_n D(a, n) (Sec. 3.2).

    What the paper warns of early in training. The lowest index is taken of equally near ones.

    Args and Returns: as `semi_hard`.
    """
    is_negative, is_pair = _kinds(identities)
    nearest = jnp.argmin(jnp.where(is_negative, distances(embeddings), jnp.inf), axis=1).astype(jnp.int32)  # (anchors,)
    return _of_pairs(jnp.broadcast_to(nearest[:, None], is_pair.shape), is_pair)


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
    distance = distances(embeddings)  # (anchors, gallery)
    is_negative, is_pair = _kinds(identities)
    uniform = jax.random.uniform(key, distance.shape)  # (anchors, positives)

    def of_anchor(anchor: tuple[Array, Array, Array]) -> tuple[Int[Array, "positives"], Bool[Array, "positives"]]:
        d, is_negative, uniform = anchor  # (gallery,), (gallery,), (positives,)
        violates = is_negative[None, :] & (d[None, :] < jnp.maximum(d[:, None] + alpha, 0))  # (positives, gallery)
        count = jnp.sum(violates, axis=1)  # (positives,)
        rank = jnp.clip(jnp.floor(uniform * count).astype(jnp.int32), 0, jnp.maximum(count - 1, 0))
        nearest_first = jnp.argsort(jnp.where(is_negative, d, jnp.inf), stable=True).astype(jnp.int32)
        return nearest_first[rank], count > 0  # the violators are the nearest negatives

    negative, any_violates = jax.lax.map(of_anchor, (distance, is_negative, uniform))
    return _of_pairs(negative, is_pair & any_violates)


def distances(embeddings: Float[Array, "batch d"]) -> Float[Array, "batch batch"]:
    """Squared distances of every two images of the batch, float32, without a gradient."""
    embeddings = jax.lax.stop_gradient(embeddings).astype(jnp.float32)
    return ops.squared_distances(embeddings, embeddings)  # (anchors, gallery)


def _kinds(identities: Int[Array, "batch"]) -> tuple[Bool[Array, "batch batch"], Bool[Array, "batch batch"]]:
    """Which entries are negatives, and which are pairs."""
    is_negative = identities[:, None] != identities[None, :]  # (anchors, gallery)
    is_itself = jnp.eye(len(identities), dtype=bool)
    return is_negative, ~is_negative & ~is_itself & jnp.any(is_negative, axis=1, keepdims=True)


def _of_pairs(negative: Int[Array, "anchors positives"], is_pair: Bool[Array, "anchors positives"]) -> Mined:
    return Mined(jnp.where(is_pair, negative, 0), is_pair)
