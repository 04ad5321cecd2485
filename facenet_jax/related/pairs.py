"""What all relatives of FaceNet's loss (arXiv 1503.03832, Sec. 3.1) share: who is whose positive, and how far they lie.

Rows are anchors, columns the batch: of images divided among devices, each device has its anchors' rows against all.

Not here: squared distances, and vectors of length 1 (`faces.ops`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from faces import ops

NOWHERE = -1e9
"""In place of the exponent of what does not count: exp(-1e9) is 0, and its gradient too, where that of -inf is none."""


class Pairs(NamedTuple):
    """Which images of a batch are pairs; an image is no pair with itself."""

    is_positive: Bool[Array, "anchors batch"]
    is_negative: Bool[Array, "anchors batch"]


def pairs_of(identities: Int[Array, "batch"]) -> Pairs:
    """The pairs of every two images of a batch.

    Args:
        identities: integer label of each image, (batch,).
    """
    same = identities[:, None] == identities[None, :]  # (anchors, batch)
    return Pairs(same & ~jnp.eye(len(identities), dtype=bool), ~same)


def meets_both(pairs: Pairs) -> Bool[Array, "anchors"]:
    """Which anchors have a positive and a negative in the batch."""
    return jnp.any(pairs.is_positive, axis=1) & jnp.any(pairs.is_negative, axis=1)


def euclidean(squared: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Distances from squared ones: sqrt(d), whose derivative is 0, not infinite, where two points coincide.

    Args:
        squared: at least 0, float32, such as `faces.ops.squared_distances` gives.
    """
    apart = squared > ops.SHORTEST**2
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)


def similarities(x: Float[Array, "rows d"], y: Float[Array, "columns d"]) -> Float[Array, "rows columns"]:
    """Inner products, float32 (rows, columns): cosines, where the vectors have length 1."""
    return jnp.dot(x.astype(jnp.float32), y.astype(jnp.float32).T, precision=lax.Precision.HIGHEST)


def log_sum_exp(
    exponents: Float[Array, "anchors batch"], where: Bool[Array, "anchors batch"]
) -> Float[Array, "anchors"]:
    """log sum exp(x) over a row's entries that count; at most `NOWHERE` + log(batch) where none does."""
    return jax.nn.logsumexp(jnp.where(where, exponents, NOWHERE), axis=1)
