"""The losses of a batch's examples as one number, and what the log says of them; beside Sec. 3.1 of FaceNet.

Eq. (3) is a sum over triplets. Its size goes with the batch and with how many triplets teach anything, so that
configs choose what it is divided by (D01).

Not here: the losses.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Metrics = dict[str, jax.Array]


class Summed(NamedTuple):
    """The losses of a batch."""

    total: Array
    """Their sum."""
    counted: Array
    """Number of examples: pairs, anchors or triplets."""
    active: Array
    """Number of them whose loss is above zero."""


def summed(values: Float[Array, "*examples"], counts: Bool[Array, "*examples"]) -> Summed:
    """The sum of the losses that count.

    Args:
        values: one loss for each example; where it does not count it may be anything finite.
        counts: which of them do.
    """
    values = jnp.where(counts, values, 0.0)
    return Summed(jnp.sum(values), jnp.sum(counts), jnp.sum(values > 0))


def reduced(losses: Summed, reduction: str) -> Float[Array, ""]:
    """One number of a batch's losses, 0 where there are none.

    Args:
        losses: of the batch.
        reduction: "sum"; "mean" or "mean_of_pairs", over all that count; "mean_of_active", over those above zero.
    """
    counted, active = jnp.maximum(losses.counted, 1), jnp.maximum(losses.active, 1)
    divisor = {"sum": 1, "mean": counted, "mean_of_pairs": counted, "mean_of_active": active}
    return losses.total / divisor[reduction]  # DEVIATION D01: Eq. (3) is the sum, which "sum" gives


def described(losses: Summed) -> Metrics:
    """For the log: how many examples there are, how many are active, which fraction, and the mean of all."""
    count = jnp.maximum(losses.counted, 1)
    return {
        "pairs": losses.counted,
        "active_triplets": losses.active,
        "active": losses.active / count,
        "loss_per_pair": jax.lax.stop_gradient(losses.total) / count,
    }


def spread(embeddings: Float[Array, "batch d"]) -> Float[Array, ""]:
    """Mean squared distance from the mean embedding: 0 when all coincide, up to 1 on the unit sphere."""
    embeddings = jax.lax.stop_gradient(embeddings)
    mean = jnp.mean(embeddings, axis=0)  # (d,)
    return jnp.mean(jnp.sum(jnp.square(embeddings - mean[None, :]), axis=1))
