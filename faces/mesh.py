"""Devices as a mesh with one axis, "data", and the two placements that are needed: sharded by image, or replicated.

With several processes (several hosts of a TPU pod, say) the mesh spans the devices of all of them; each reads its part
of a batch, and embeds its part of the test images.

Not here: what is computed on them (`train_step.py` of each paper).
"""

from collections import Counter
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
        ConfigError: there are fewer devices, or none is asked for, or one process would have more than another.
    """
    available = jax.devices()
    count = len(available) if devices is None else devices
    if not 1 <= count <= len(available):
        raise ConfigError(f"{count} devices asked for; 1 to {len(available)} can be had here.")
    of_each = Counter(device.process_index for device in available[:count])
    if len({of_each[process] for process in range(jax.process_count())}) > 1:
        shares = ", ".join(str(of_each[process]) for process in range(jax.process_count()))
        raise ConfigError(
            f"{count} devices asked for, of which the {jax.process_count()} processes have {shares}: each needs the "
            "same number; leave --devices out, or start other numbers of processes and devices."
        )
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


def sharded(mesh: Mesh) -> NamedSharding:
    """Placement of an array whose first axis is divided among the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def replicated(mesh: Mesh) -> NamedSharding:
    """Placement of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


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
    return first_said(text if jax.process_index() == 0 else "")


def first_said(text: str) -> str:
    """What the first process says that says anything, in every process; "" where none does; all of them must ask."""
    if jax.process_count() == 1:
        return text
    said = np.frombuffer(text.encode(), np.uint8)
    lengths = np.ravel(multihost_utils.process_allgather(np.int32(len(said))))  # (processes,)
    speaker = int(np.argmax(lengths > 0))
    if not lengths[speaker]:
        return ""
    speaks = jax.process_index() == speaker
    heard = said if speaks else np.zeros(lengths[speaker], np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(heard, is_source=speaks))).decode()
