"""What a training step takes of each device's memory, by what it is for, before anything is compiled; and what is said
where it does not fit.

From the traced program and its shapes (`liveness.py`). XLA's own figure for CPUs, of the compiled program, is 0.9 to
1.7 times as much for the configs that it was compared with (`RESULTS.md`, "Memory of a step"); a compiler for another
device may need more for its convolutions.

Not here: memory on the host of the loader and of test sets; what the head takes by the paper (`arcface_jax.centres`).
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from faces.config import RunConfig
from faces.errors import OutOfMemory
from faces.liveness import Array, most_at_once
from faces.memory import is_out_of_memory
from faces.mesh import sharded
from faces.room import in_words
from faces.schema import flatten
from faces.terminal import warn

FACTOR = 2.0
"""A step may take so many times as much as estimated, or so many times less: what does not fit even then is refused."""
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Estimate:
    """What a step takes on each device.

    Args:
        terms: bytes by what they are for, the largest first.
        ways: what makes a term smaller: keys of the config.
        devices: in all.
        room: bytes that a device has for it; None where it does not say.
    """

    terms: Mapping[str, int]
    ways: Mapping[str, str]
    devices: int
    room: int | None

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.terms.values())

    def said(self) -> str:
        """As a line, printed before the first step."""
        where = "on the device" if self.devices == 1 else f"on each of {self.devices} devices"
        parts = ", ".join(f"{name} {in_words(size)}" for name, size in self.terms.items() if size)
        room = f"; there are {in_words(self.room)}" if self.room is not None else ""
        return f"memory of a step {where}: about {in_words(self.total)} ({parts}){room}"

    def largest(self) -> str:
        """Which term is the largest, and what makes it smaller."""
        name = next(iter(self.terms))
        return f"the largest part is {name} with {in_words(self.terms[name])}; take {self.ways[name]}"

    def table(self) -> str:
        """Each term with what makes it smaller, a line each."""
        rows = [f"  {name:<22} {in_words(size):>10}   {self.ways[name]}" for name, size in self.terms.items() if size]
        return "\n".join([f"  {'a step takes about':<22} {in_words(self.total):>10}   smaller by", *rows])

    def check(self, tell: Callable[[str], None] = warn) -> None:
        """Compare with what there is: `tell` a step that may not fit.

        Raises:
            OutOfMemory: it cannot fit.
        """
        if self.room is None or self.total <= self.room:
            return
        short = f"a step takes about {in_words(self.total)} of a device's memory, and there are {in_words(self.room)}"
        if self.total > FACTOR * self.room:
            raise OutOfMemory(f"{short}: {self.largest()}.")
        tell(f"{short}, which may not be enough: {self.largest()}")


def estimate(step: Any, state: Any, config: RunConfig, mesh: Mesh, columns: frozenset[int] = frozenset()) -> Estimate:
    """The memory of a step of training a network for recognition.

    Args:
        step: as `make_train_step` gives it; it is traced, and its first call need not do so again.
        state: before it, on the devices, or shapes.
        config: of the run.
        mesh: the devices.
        columns: numbers of classes whose scores a device has at a time.
    """
    images, devices = config.batch.images, mesh.devices.size
    batch = {
        "images": jax.ShapeDtypeStruct((images, *config.model.input_size, 3), "uint8", sharding=sharded(mesh)),
        "identities": jax.ShapeDtypeStruct((images,), "int32", sharding=sharded(mesh)),
    }
    leaves = jax.tree.leaves(state)
    parts = [leaf.size // max(1, _on_one(leaf)) for leaf in leaves]
    program = step.trace(state, batch).jaxpr
    arrays = most_at_once(program, [*parts, *[devices] * len(batch)], devices)
    parameters = {tuple(leaf.shape) for leaf in jax.tree.leaves((state.params, state.centres))}
    parameters |= {tuple(_shard_shape(leaf)) for leaf in jax.tree.leaves(state.centres)}
    pixels = sum(leaf.size * leaf.dtype.itemsize for leaf in batch.values()) // devices
    terms = {
        "weights": _bytes((state.params, state.batch_stats)),
        "class centres": _bytes(state.centres),
        "optimiser's state": _bytes(state.opt_state),
        "batch": pixels,
        "gradients": 0,
        "activations": 0,
        "pairs of images": 0,
        "scores of classes": 0,
    }
    for array in arrays:
        terms[_term(array, images, columns, parameters)] += array.size
    ordered = dict(sorted(terms.items(), key=lambda term: -term[1]))
    return Estimate(ordered, _ways(config), devices, _room(mesh, _bytes(state)))


@contextlib.contextmanager
def answering(step: Estimate, tell: Callable[[str], None]) -> Iterator[None]:
    """A block in which a device, or the host, that has no more memory is answered with what takes it.

    Args:
        step: of the run.
        tell: prints the table.
    Raises:
        OutOfMemory: in place of the error. What was kept of the run stays.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        tell(step.table())
        raise OutOfMemory(f"there is too little memory ({_first_line(error)}): {step.largest()}.") from error


def _term(array: Array, images: int, columns: frozenset[int], parameters: set[tuple[int, ...]]) -> str:
    shape = array.shape
    if len(shape) > 1 and shape[0] == images and columns & set(shape[1:]):
        return "scores of classes"
    if shape[:2] == (images, images):
        return "pairs of images"
    return "gradients" if shape in parameters else "activations"


def _ways(config: RunConfig) -> dict[str, str]:
    """What of the config makes each term smaller."""
    values = flatten(config)
    fewer = f"a smaller batch.images (now {config.batch.images}) or more devices"
    activations = fewer
    if values.get("batch.micro_batch") == 0 and config.model.batch_norm == "none":
        activations += ", a batch.micro_batch"
    if config.model.dtype == "float32":
        activations += ', model.dtype = "bfloat16"'
    network = f"a smaller network as model.name (now {config.model.name})"
    return {
        "weights": network,
        "class centres": "more devices, among which they are divided, or a smaller model.embedding_dim",
        "optimiser's state": f"an optimiser.name that keeps less (now {config.optimiser.name}), or {network}",
        "batch": fewer,
        "gradients": network,
        "activations": activations,
        "pairs of images": f"a smaller batch.images (now {config.batch.images})",
        "scores of classes": "a head.block, or a head.sampling_rate below 1, or more devices",
    }


def _bytes(tree: Any) -> int:
    """On one device."""
    return sum(_on_one(leaf) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _on_one(leaf: Any) -> int:
    size = 1
    for side in _shard_shape(leaf):
        size *= side
    return size


def _shard_shape(leaf: Any) -> tuple[int, ...]:
    sharding = getattr(leaf, "sharding", None)
    return tuple(leaf.shape if sharding is None else sharding.shard_shape(leaf.shape))


def _room(mesh: Mesh, held: int) -> int | None:
    """Bytes that one device has for a step, of which the state holds some already; a CPU's devices share the host's."""
    mine = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    stats = mine[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    if mine[0].platform != "cpu" or (free := _free_of_host()) is None:
        return None
    return free // len(mine) + held


def _free_of_host() -> int | None:
    """Bytes of memory that this process may still have; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError, StopIteration):  # no limit of a container's
        most = int((_CGROUP / "memory.max").read_text())
        used = next(line for line in (_CGROUP / "memory.stat").read_text().splitlines() if line.startswith("anon "))
        free = min(free, most - int(used.split()[1]))
    return max(free, 0)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
