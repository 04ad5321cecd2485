"""Devices as a mesh with one axis, "data", and the two placements that are needed: sharded by image, or replicated.

With several processes (several hosts of a TPU pod, say) the mesh spans the devices of all of them; each reads its part
of a batch, and embeds test images on its own devices.

Not here: what is computed on them (`train_step.py` of each paper).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from faces.errors import ConfigError

DATA = "data"
"""Name of the mesh axis over which a batch's images are sharded."""


def make_mesh(devices: int | None = None) -> Mesh:
    """A mesh over the first `devices` devices of all processes; over all of them if None.

    Raises:
        ConfigError: there are fewer devices, or none is asked for.
    """
    available = jax.devices()
    count = len(available) if devices is None else devices
    if not 1 <= count <= len(available):
        raise ConfigError(f"{count} devices asked for; 1 to {len(available)} can be had here.")
    return jax.make_mesh((count,), (DATA,), axis_types=(AxisType.Auto,), devices=available[:count])


def check_division(mesh: Mesh, images: Mapping[str, int]) -> None:
    """Refuse numbers of images that cannot be divided among the devices.

    Args:
        mesh: the devices.
        images: numbers by the config's keys.
    Raises:
        ConfigError: which, and among how many.
    """
    devices = mesh.devices.size
    for key, count in images.items():
        if count % devices:
            raise ConfigError(f"{key} = {count}: cannot be divided among {devices} devices; change it, or take fewer.")


def local_mesh(mesh: Mesh) -> Mesh:
    """The devices of `mesh` that belong to this process, as a mesh of their own; `mesh` itself with one process."""
    if jax.process_count() == 1:
        return mesh
    mine = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    return jax.make_mesh((len(mine),), (DATA,), axis_types=(AxisType.Auto,), devices=mine)


def sharded(mesh: Mesh) -> NamedSharding:
    """Placement of an array whose first axis is divided among the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def replicated(mesh: Mesh) -> NamedSharding:
    """Placement of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def localised(mesh: Mesh, tree: Any) -> Any:
    """Arrays that are replicated on all processes' devices -> the same on this process's `local_mesh`."""
    if jax.process_count() == 1:
        return tree
    return jax.device_put(jax.device_get(tree), replicated(local_mesh(mesh)))


def place_batch(mesh: Mesh, batch: Any) -> Any:
    """Arrays of this process's part of a batch -> global arrays divided among the mesh's devices."""
    return jax.tree.map(lambda part: jax.make_array_from_process_local_data(sharded(mesh), np.asarray(part)), batch)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def gathered(x: jax.Array, mesh: Mesh) -> jax.Array:
    """Rows that are divided among the devices, whole on every device; for what a step differentiates.

    The gradient comes back divided: a device needs its own rows' alone. The transpose of a placement would be the same
    placement, and send all of it to all devices once more.
    """
    return jax.lax.with_sharding_constraint(x, replicated(mesh))


def _gathered_forward(x: jax.Array, mesh: Mesh) -> tuple[jax.Array, None]:
    return gathered(x, mesh), None


def _gathered_backward(mesh: Mesh, _: None, gradient: jax.Array) -> tuple[jax.Array]:
    # Summed over the devices first: of divided rows alone XLA would exchange the gradients of all (B, B) pairs instead.
    summed = jax.lax.with_sharding_constraint(gradient, replicated(mesh))
    return (jax.lax.with_sharding_constraint(summed, sharded(mesh)),)


gathered.defvjp(_gathered_forward, _gathered_backward)


def agreed(text: str) -> str:
    """What process 0 says, in every process; all of them must ask."""
    if jax.process_count() == 1:
        return text
    said = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(said))))
    heard = said if jax.process_index() == 0 else np.zeros(length, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(heard))).decode() if length else ""
