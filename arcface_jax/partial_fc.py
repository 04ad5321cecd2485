"""Partial FC (An et al., arXiv 2010.05222): each step trains a sample of the class centres.

With millions of classes the scores, and the optimiser's work on the centres, outgrow the network. Most centres are
negatives of the whole batch, and a tenth of the negatives serves as well as all. So each device keeps the centres of
the batch's own classes among its rows, adds negatives drawn at random, and leaves the rest untouched. At rate 1 it is
ArcFace's own parallel head (arXiv 1801.07698 v3, Appendix 5.1). In a step:

    sampled = sample(key, labels, rows, classes, rate, mesh)
    centres, momentum = take((state.centres, state.momentum), sampled.indices, mesh)
    ... gradient of class_loss(embeddings, centres, sampled.labels, head, mesh, sampled.valid), update of both ...
    update_sampled((state.centres, state.momentum), (centres, momentum), sampled.indices, mesh)

A centre that is not sampled keeps its momentum and is not decayed in that step.

Not here: the loss (`head.py`), the update (`train_step.py`).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Int, Key

from faces.mesh import DATA

_SPLIT, _COPIED = PartitionSpec(DATA), PartitionSpec()


class Sampled(NamedTuple):
    """Which centres take part in a step; all arrays are divided over the mesh."""

    indices: Int[Array, "sampled"]
    """Rows of the centres, ascending; each device has rows of its own share, as many as `num_sampled`."""
    labels: Int[Array, "batch"]
    """Position of each image's class in `indices`."""
    valid: Bool[Array, "sampled"]
    """False where the row is padding, which is drawn only where a device has too few classes."""


def num_sampled(rows: int, batch: int, rate: float) -> int:
    """How many of a device's rows are sampled: the part `rate` of them, but room for every class of the batch.

    DEVIATION D05: in the authors' code a device with more positives than its part takes these alone. Compiled code
    needs one size for all steps; so the part is never smaller than the batch, and the rest of it is negatives.

    Args:
        rows: of the centres, on one device.
        batch: images of all devices together.
        rate: in (0, 1].
    Raises:
        ValueError: the rate is not in (0, 1].
    """
    if not 0 < rate <= 1:
        raise ValueError(f"the sampling rate must lie in (0, 1], {rate} given")
    return min(rows, max(math.ceil(rate * rows), min(batch, rows)))


def sample(
    key: Key[Array, ""], labels: Int[Array, "batch"], rows: int, classes: int, rate: float, mesh: Mesh
) -> Sampled:
    """Draw the centres of a step: on each device all that the batch belongs to, then negatives, uniformly.

    Args:
        key: a JAX random key, another one in each step.
        labels: class of each image, divided over the mesh.
        rows: of the centres, padding included: a multiple of the devices.
        classes: how many of the rows are classes.
        rate: part of each device's rows that takes part, see `num_sampled`.
        mesh: over which the centres are divided.
    Returns:
        What to `take`, and what `head.class_loss` needs in place of the labels and the number of classes.
    """
    held_rows = rows // mesh.size
    n = num_sampled(held_rows, labels.shape[0], rate)

    def on_one_device(key: Array, labels: Array) -> Sampled:
        device = lax.axis_index(DATA)
        first = device * held_rows
        labels = lax.all_gather(labels, DATA, tiled=True) - first  # (batch,)
        held = (labels >= 0) & (labels < held_rows)
        is_positive = jnp.zeros(held_rows, bool).at[jnp.where(held, labels, held_rows)].set(True, mode="drop")
        is_class = first + jnp.arange(held_rows) < classes
        draw = jax.random.uniform(jax.random.fold_in(key, device), (held_rows,))
        # Positives before all negatives, and those before all padding.
        order = jnp.where(is_positive, 2.0, jnp.where(is_class, draw, -1.0))
        chosen = jnp.sort(lax.top_k(order, n)[1])  # (n,)
        position = jnp.where(held, device * n + jnp.searchsorted(chosen, labels).astype(jnp.int32), 0)
        return Sampled(first + chosen, lax.psum_scatter(position, DATA, tiled=True), is_class[chosen])

    run = jax.shard_map(on_one_device, mesh=mesh, in_specs=(_COPIED, _SPLIT), out_specs=_SPLIT)
    return run(key, labels)


def take(tree: Any, indices: Int[Array, "sampled"], mesh: Mesh) -> Any:
    """The sampled rows of the centres, or of anything that has a row for each: each device takes them from its own.

    Args:
        tree: arrays (rows, ...), divided over the mesh; numbers among them, such as an optimiser's count, stay.
        indices: of `sample`.
        mesh: that of both.
    Returns:
        Arrays (sampled, ...), divided over the mesh.
    """

    def on_one_device(part: Array, indices: Array) -> Array:
        return part[_local(indices, part)]

    run = jax.shard_map(on_one_device, mesh=mesh, in_specs=_SPLIT, out_specs=_SPLIT)
    return jax.tree.map(lambda array: run(array, indices) if array.ndim else array, tree)


def update_sampled(tree: Any, sampled: Any, indices: Int[Array, "sampled"], mesh: Mesh) -> Any:
    """Put sampled rows back in their places; all others stay as they are.

    Args:
        tree: arrays (rows, ...), divided over the mesh.
        sampled: the same tree of arrays (sampled, ...), as `take` gives them and an update changed them; numbers among
            them are taken from here.
        indices: of `sample`.
        mesh: that of all.
    Returns:
        As `tree`.
    """

    def on_one_device(part: Array, rows: Array, indices: Array) -> Array:
        return part.at[_local(indices, part)].set(rows, indices_are_sorted=True, unique_indices=True)

    run = jax.shard_map(on_one_device, mesh=mesh, in_specs=_SPLIT, out_specs=_SPLIT)
    return jax.tree.map(lambda array, rows: run(array, rows, indices) if array.ndim else rows, tree, sampled)


def _local(indices: Array, part: Array) -> Array:
    return indices - lax.axis_index(DATA) * part.shape[0]
