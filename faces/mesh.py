"""Devices as a mesh with one axis, "data", and the two placements that this project needs: split by image, or copied.

Not here: what is computed on them (`train_step.py` of each paper).
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"
"""Name of the mesh axis over which a batch's images are split."""


def make_mesh(devices: int | None = None) -> Mesh:
    """A mesh over the first `devices` devices of all processes; over all of them if None.

    Raises:
        ValueError: there are fewer devices.
    """
    available = jax.devices()
    count = len(available) if devices is None else devices
    if count > len(available):
        raise ValueError(f"{count} devices asked for, {len(available)} available")
    return jax.make_mesh((count,), (DATA,), axis_types=(AxisType.Auto,), devices=available[:count])


def split(mesh: Mesh) -> NamedSharding:
    """Placement of an array whose first axis is divided among the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def copied(mesh: Mesh) -> NamedSharding:
    """Placement of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def place_batch(mesh: Mesh, batch: Any) -> Any:
    """Arrays of this process's part of a batch -> global arrays divided among the mesh's devices."""
    return jax.tree.map(lambda part: jax.make_array_from_process_local_data(split(mesh), np.asarray(part)), batch)
