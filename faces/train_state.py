"""The state of a training run as one pytree, the batch that a step is given, and when a step leaves the state alone.

Not here: how it changes (`train_step.py` of each paper), how it is stored (`faces.checkpoint`).
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypedDict

import jax
import jax.numpy as jnp

from faces.errors import ConfigError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """State before step `step`.

    Args:
        step: int32 scalar, batches seen so far.
        params: parameters of the backbone, float32.
        batch_stats: running statistics of batch norm; {} where there is none.
        centres: one row a class of the training set, float32, (C, d) as the paper's package lays them out; {} where
            there are no classes.
        opt_state: state of the optax transformation of the parameters and centres.
        key: typed JAX random key of the run; what a step draws comes from `fold_in(key, step)`.
        loss_state: what a loss keeps from step to step beside the centres, by its names: running statistics, a learned
            scale, centres of its own; {} of most.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    centres: Any
    opt_state: Any
    key: jax.Array
    loss_state: Any = field(default_factory=dict)


class Batch(TypedDict):
    """What the train step is given."""

    images: Any  # uint8 (batch, rows, columns, 3), RGB
    identities: Any  # int32 (batch,)


def keep_if_finite(loss: jax.Array, gradient_norm: jax.Array, new: Any, old: Any) -> Any:
    """What a step leaves of a state: the new part, or the old where the loss or the gradient is NaN or infinite.

    The last checkpoint of a run that diverges is then sound. The choice is an array's, made on the devices, so that no
    step waits for the host.

    Args:
        loss, gradient_norm: scalars; the norm, before clipping, is not finite where one gradient is not.
        new, old: trees of the same shapes.
    Returns:
        One of the two, all of it.
    """
    return jax.tree.map(partial(jnp.where, jnp.isfinite(loss) & jnp.isfinite(gradient_norm)), new, old)


def check_classes(classes: int) -> None:
    """Refuse centres of no people, before an array without rows is made.

    Args:
        classes: people of the training set, as `init_state` is given them.
    Raises:
        ConfigError: fewer than one.
    """
    if classes < 1:
        raise ConfigError(
            f"classes = {classes}: the loss of this config compares each image with all people of the training set; "
            "give their number as `classes`."
        )
