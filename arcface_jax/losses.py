"""Losses beside the margin: Eq. (5), Eq. (6) and the angular triplet of ArcFace (Sec. 2.3 of v3; rows of Table 2).

Once features and centres live on the sphere, other wishes can be written as angles too: an embedding should be near its
centre (intra), centres should be far from each other (inter), and a face should be nearer to its own person's other
faces than to anybody else's (triplet). The paper adds them to norm-softmax and to ArcFace, and finds that ArcFace alone
does what they ask for.

Intra and inter are the terms that Eq. (5) and (6) ADD to Eq. (2), for each example; the caller adds and averages.

Not here: Eq. (2) to (4) (`margins.py`, `head.py`).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from arcface_jax.margins import arccos
from faces.ops import l2_normalise

MiningRule = Callable[
    [Float[Array, "batch d"], Int[Array, "batch"]], tuple[Int[Array, "batch batch"], Bool[Array, "batch batch"]]
]
"""(unit embeddings, identities) -> (negative, is_pair): the index of the negative that the pair (anchor, positive)
meets, and which entries are pairs. Angles of unit vectors order as their distances do, so rules made for distances
serve as well."""


def intra_loss(cos_theta: Float[Array, "batch"]) -> Float[Array, "batch"]:
    """What Eq. (5) adds for each example: the angle to its own centre.

        theta_y / pi

    Args:
        cos_theta: cosine between each embedding and the centre of its class, WITHOUT a margin, (batch,).

    Returns:
        float32 (batch,), from 0 to 1. Gradients are finite (`margins.arccos`).
    """
    return arccos(cos_theta) / jnp.pi  # Eq. (5)


def inter_loss(
    target_centres: Float[Array, "batch d"],
    centres: Float[Array, "classes d"],
    labels: Int[Array, "batch"],
    classes: int | None = None,
) -> Float[Array, "batch"]:
    """What Eq. (6) adds for each example: minus the mean angle of its class's centre to all other centres.

        - 1 / (pi (n - 1)) sum_{j != y} arccos(W_y . W_j)

    PAPER Sec. 2.3: a special case of minimum hyperspherical energy. Gradients reach both centres of a pair.

    Args:
        target_centres: W_y of each example, centres[labels], (batch, d). Given apart, because where the centres are
            sharded the caller has gathered them already.
        centres: of every class, (rows, d). Neither needs length 1; both are normalised here.
        labels: class of each example, (batch,).
        classes: n; rows from n on are padding and do not count. All rows, if not given. At least 2.

    Returns:
        float32 (batch,), from -1 to 0.

    Cost: one product of (batch, d) and (d, rows); its (batch, rows) cosines are held in float32, and as much again for
    their gradient: 2 x 22 MB for a batch of 512 on the 10,575 people of CASIA.
    """
    classes = centres.shape[0] if classes is None else classes
    targets, centres = l2_normalise(target_centres.astype(jnp.float32)), l2_normalise(centres.astype(jnp.float32))
    angle = arccos(jnp.dot(targets, centres.T, precision=lax.Precision.HIGHEST))  # (batch, rows)
    row = jnp.arange(centres.shape[0])
    is_other = (row[None, :] != labels[:, None]) & (row < classes)[None, :]
    return -jnp.sum(jnp.where(is_other, angle, 0), axis=1) / (jnp.pi * (classes - 1))  # Eq. (6)


def semi_hard(
    embeddings: Float[Array, "batch d"], identities: Int[Array, "batch"]
) -> tuple[Int[Array, "batch batch"], Bool[Array, "batch batch"]]:
    """For each pair of one identity, the nearest negative that is farther than the positive.

        negative(a, p) = argmin { theta(a, n) : theta(a, n) > theta(a, p), id(n) != id(a) }

    CHOICE: the paper does not say which triplets it trains on. The authors' code draws one at random of the negatives
    that are farther than the positive by less than the margin; we take the nearest of them, which needs no random key.
    Where no negative is farther, we take the farthest one, which pulls least towards collapse; their code drops the
    pair. Of equally far negatives the lowest index is taken, in that last case the highest.

    Args:
        embeddings: (batch, d), of length 1.
        identities: label of each image, (batch,).

    Returns:
        negative: index into the batch for each pair, int32 (batch, batch); 0 where there is no pair.
        is_pair: two different images of one identity, and a negative exists, bool (batch, batch).

    Cost: sorting, O(B^2 log B) time and O(B^2) memory. Carries no gradient.
    """
    cosine = _cosines(lax.stop_gradient(embeddings))  # (anchors, gallery)
    is_negative = identities[:, None] != identities[None, :]
    is_pair = ~is_negative & ~jnp.eye(len(identities), dtype=bool) & is_negative.any(axis=1, keepdims=True)
    distance = jnp.where(is_negative, -cosine, jnp.inf)  # orders as the angle does
    order = jnp.argsort(distance, axis=1, stable=True)  # negatives, nearest first; then the rest
    nearest_first = jnp.take_along_axis(distance, order, axis=1)
    as_near = jax.vmap(partial(jnp.searchsorted, side="right"))(nearest_first, -cosine)  # (anchors, positives)
    last = jnp.sum(is_negative, axis=1, keepdims=True) - 1  # (anchors, 1)
    negative = jnp.take_along_axis(order, jnp.clip(as_near, 0, jnp.maximum(last, 0)), axis=1)
    return jnp.where(is_pair, negative, 0).astype(jnp.int32), is_pair


def angular_triplet_loss(
    embeddings: Float[Array, "batch d"],
    identities: Int[Array, "batch"],
    margin: float,
    rule: MiningRule = semi_hard,
) -> tuple[Float[Array, "batch batch"], Bool[Array, "batch batch"]]:
    """The triplet loss in angles, for every pair (a, p) of one identity in the batch and the negative chosen for it.

        max(0, arccos(x_p . x_a) + m - arccos(x_n . x_a))

    the hinge of Sec. 2.3's arccos(x_pos . x) + m <= arccos(x_neg . x).

    Args:
        embeddings: (batch, d), of any length; normalised here.
        identities: label of each image, (batch,).
        margin: m, radians (Table 2: 0.35).
        rule: which negative each pair meets; it sees the normalised embeddings.

    Returns:
        loss: of the pair (a, p), float32 (batch, batch). Entries that are no pair mean nothing: mask them.
        is_pair: bool (batch, batch), as the rule gave it.

    Numerics: gradients are finite for identical, opposite and zero embeddings; a zero vector counts as 90 degrees from
    everything.
    """
    embeddings = l2_normalise(embeddings.astype(jnp.float32))
    negative, is_pair = rule(embeddings, identities)
    theta = arccos(_cosines(embeddings))  # (anchors, gallery)
    theta_n = jnp.take_along_axis(theta, negative, axis=1)  # (anchors, positives)
    return jax.nn.relu(theta + margin - theta_n), is_pair


def _cosines(embeddings: Float[Array, "batch d"]) -> Float[Array, "batch batch"]:
    return jnp.dot(embeddings, embeddings.T, precision=lax.Precision.HIGHEST)
