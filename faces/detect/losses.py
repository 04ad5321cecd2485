"""The loss that tells faces from what is none, of every detector here, and the choice of the hardest."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def cross_entropy(logits: Float[Array, "anchors 2"], is_face: Bool[Array, "anchors"]) -> Float[Array, "anchors"]:
    """-log softmax of the right class: log(1 + exp(other logit - own logit)), in float32.

    More exact for sure answers than a difference of the log of a sum of exponentials and a logit, as optax has it: with
    the right logit 20 above the other it is 2.1e-9, and there 0. Most anchors are that sure, and the hard negatives
    are chosen by the order of these losses.

    Args:
        logits: background, face.
        is_face: which class is right.
    """
    margin = (logits[:, 1] - logits[:, 0]).astype(jnp.float32)
    return jax.nn.softplus(jnp.where(is_face, -margin, margin))


def largest(
    losses: Float[Array, "anchors"], counts: Bool[Array, "anchors"], number: Float[Array, ""]
) -> Bool[Array, "anchors"]:
    """The `number` places of the largest loss among those that count, all of them where there are fewer.

    Of equal losses the first is taken.

    Args:
        losses: finite, at least 0 where they count.
        counts: the places to choose from.
        number: how many.
    """
    order = jnp.argsort(jnp.where(counts, -losses, jnp.inf), stable=True)  # (anchors,)
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    return counts & (rank < number)
