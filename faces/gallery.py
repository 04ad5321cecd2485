"""Who in a gallery is nearest to each probe: exact search in a gallery of any length, in blocks, on all devices.

A score is a cosine. The gallery passes by in blocks, each divided over the devices; what a device must remember of a
block is decided without sorting its scores. Scores of neighbouring rows form groups of 32, and the k highest scores of
a row lie in the k groups whose maxima are highest: were one in another group, k maxima would be higher than it. So a
device keeps, from block to block, its k best groups whole, chosen by their maxima alone; scores are sorted once, at
the end. The highest scores over all pairs, which a false accept rate of 1e-6 rests on, are found in the same way from
the same maxima. Memory is that of a block of the gallery, its scores against some thousand probes, and the groups.

Not here: protocols (`faces.evaluate`), files of a gallery (`experiments.search`), clusters (`cluster.py`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Float, Float32, Int64

from faces.errors import EvaluationError
from faces.mesh import DATA, make_mesh, replicated, sharded
from faces.unit import unit_rows

PROBES_AT_ONCE = 4096
"""Probes that are compared with a block at a time."""
BLOCK = 8192
"""Rows of the gallery that a device compares with them at a time."""
GROUP = 32
"""Neighbouring rows whose maximum stands for them."""

_NO_ROW = np.iinfo(np.int32).max - GROUP


@dataclass(frozen=True)
class Found:
    """What a search finds.

    Args:
        score: each probe's highest cosines, descending, -inf where the gallery is shorter, (probes, k).
        row: the gallery's rows that they belong to, -1 where the gallery is shorter; of equal scores the lower row
            comes first.
        highest: the highest cosines over all pairs of a probe and a row, in any order; fewer than asked for where there
            are fewer pairs.
        rows: length of the gallery.
    """

    score: Float32[np.ndarray, "probes k"]
    row: Int64[np.ndarray, "probes k"]
    highest: Float32[np.ndarray, " pairs"]
    rows: int


class _Groups(NamedTuple):
    """The best groups of each of R lists of scores so far, by their maxima, descending."""

    maximum: jax.Array  # float32 (R, k)
    score: jax.Array  # float32 (R, k, GROUP)
    first: jax.Array  # int32 (R, k), the gallery's row of the group's first score


class _Seen(NamedTuple):
    """What a device remembers."""

    of_probe: _Groups  # R: probes
    of_all: _Groups  # R: 1
    wrong: jax.Array  # int32 (): first row that is zero or not finite, _NO_ROW if none


def search(
    probes: Float[np.ndarray, "probes d"],
    gallery: Float[np.ndarray, "rows d"] | Iterable[Float[np.ndarray, "_ d"]],
    k: int,
    highest: int = 0,
    mesh: Mesh | None = None,
    block: int = BLOCK,
) -> Found:
    """The k nearest of each probe, and the highest scores over all pairs, in one pass over the gallery.

    Args:
        probes: embeddings of any length.
        gallery: embeddings of any length, whole or as blocks of any sizes, which are read one by one.
        k: how many of each probe.
        highest: how many over all pairs; a device keeps a group of 32 scores for each.
        mesh: blocks are divided over its devices; all devices if None.
        block: rows that a device takes at a time, rounded up to whole groups.

    Raises:
        EvaluationError: no probe, an empty gallery; embeddings of two lengths; one that is zero or not finite.

    Numerics: embeddings are brought to length 1 and multiplied in float32.
    """
    mesh = mesh or make_mesh()
    devices = mesh.devices.size
    each = -(-block // GROUP) * GROUP
    unit = unit_rows(probes.astype(np.float32), "probes'") if len(probes) else probes
    parts = [unit[start : start + PROBES_AT_ONCE] for start in range(0, len(unit), PROBES_AT_ONCE)]
    placed = [jax.device_put(part, replicated(mesh)) for part in parts]
    seen = [jax.device_put(_nothing(devices, len(part), k, highest), sharded(mesh)) for part in parts]
    rows = 0
    for rows_of_block, count in _equal_blocks(gallery, devices * each):
        if rows_of_block.shape[1] != probes.shape[1]:
            raise EvaluationError(
                f"probes are of {probes.shape[1]:,} numbers, the gallery's embeddings of {rows_of_block.shape[1]:,}; "
                "one network's embeddings are expected."
            )
        on_devices = jax.device_put(rows_of_block, sharded(mesh))
        jax.block_until_ready(seen)  # no more than two blocks wait
        for n, part in enumerate(placed):
            seen[n] = _look(seen[n], part, on_devices, np.int32(rows), np.int32(count), mesh)
        rows += count
    if not rows or not parts:
        raise EvaluationError(f"{len(probes):,} probes and a gallery of {rows:,}: a search needs both.")
    wrong = min(int(np.min(jax.device_get(one.wrong))) for one in seen)
    if wrong != _NO_ROW:
        raise EvaluationError(
            f"row {wrong:,} of the gallery, counted from 0, is an embedding that is zero or not finite; check the "
            "weights and the images' normalisation."
        )
    length = np.int32(rows)
    best = [jax.device_get(_best(one.of_probe, length, len(part), k)) for one, part in zip(seen, parts, strict=True)]
    score, row = (np.concatenate(column) for column in zip(*best, strict=True))  # (probes, k) each
    top = [np.asarray(_best(one.of_all, length, 1, highest)[0])[0] for one in seen] if highest else []
    every = np.concatenate([np.empty(0, np.float32), *top])
    every = every[every > -np.inf]
    if every.size > highest:
        every = np.partition(every, every.size - highest)[every.size - highest :]
    return Found(score, np.where(score > -np.inf, row, -1).astype(np.int64), every, rows)


def _equal_blocks(
    gallery: np.ndarray | Iterable[np.ndarray], size: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks of `size` rows, float32, the last filled up with zeros; and how many of its rows are the gallery's."""
    waiting: list[np.ndarray] = []
    count = 0
    for block in [gallery] if isinstance(gallery, np.ndarray) else gallery:
        start = 0
        while start < len(block):
            part = block[start : start + size - count]
            waiting.append(part)
            count, start = count + len(part), start + len(part)
            if count == size:
                whole = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                yield whole.astype(np.float32, copy=False), size
                waiting, count = [], 0
    if count:
        filled = np.zeros((size, waiting[0].shape[1]), np.float32)
        filled[:count] = np.concatenate(waiting)
        yield filled, count


def _nothing(devices: int, probes: int, k: int, highest: int) -> _Seen:
    def groups(lists: int, count: int) -> _Groups:
        shape = (devices * lists, count)
        return _Groups(
            jnp.full(shape, -jnp.inf, jnp.float32),
            jnp.full((*shape, GROUP), -jnp.inf, jnp.float32),
            jnp.full(shape, _NO_ROW, jnp.int32),
        )

    return _Seen(groups(probes, k), groups(1, highest), jnp.full(devices, _NO_ROW, jnp.int32))


@partial(jax.jit, static_argnames="mesh", donate_argnums=0)
def _look(seen: _Seen, probes: jax.Array, block: jax.Array, before: jax.Array, count: jax.Array, mesh: Mesh) -> _Seen:
    """What the devices remember after one more block. `seen` is donated.

    Args:
        probes: of length 1, (P, d), on every device.
        block: (devices x rows, d), divided.
        before: rows of the gallery that went by.
        count: rows of the block that are the gallery's; the others are its end.
    """

    def of_device(seen: _Seen, probes: jax.Array, rows: jax.Array, before: jax.Array, count: jax.Array) -> _Seen:
        squared = jnp.sum(jnp.square(rows), axis=1)  # (rows,)
        place = jax.lax.axis_index(DATA) * len(rows) + jnp.arange(len(rows), dtype=jnp.int32)
        is_row = place < count
        is_wrong = is_row & ~((squared > 0) & jnp.isfinite(squared))
        wrong = jnp.min(jnp.where(is_wrong, before + place, _NO_ROW))
        unit = rows * jax.lax.rsqrt(jnp.where(squared > 0, squared, 1.0))[:, None]
        score = jax.lax.dot_general(
            probes, unit, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST
        ).reshape(len(probes), -1, GROUP)  # (P, groups, GROUP)
        maximum = jnp.max(jnp.where(is_row.reshape(1, -1, GROUP), score, -jnp.inf), axis=2)  # (P, groups)
        first = jnp.broadcast_to((before + place[::GROUP])[None], maximum.shape)
        of_all = seen.of_all
        if of_all.maximum.shape[1]:
            of_all = _keep(of_all, _Groups(maximum.reshape(1, -1), score.reshape(1, -1, GROUP), first.reshape(1, -1)))
        of_probe = _keep(seen.of_probe, _Groups(maximum, score, first))
        return _Seen(of_probe, of_all, jnp.minimum(seen.wrong, wrong))

    divided, whole = PartitionSpec(DATA), PartitionSpec()
    return jax.shard_map(
        of_device, mesh=mesh, in_specs=(divided, whole, divided, whole, whole), out_specs=divided
    )(seen, probes, block, before, count)


def _keep(old: _Groups, new: _Groups) -> _Groups:
    """The best of both, as many as there are old ones; of equal maxima the older, and the lower row, is kept."""
    k = old.maximum.shape[1]
    maximum, chosen = jax.lax.top_k(jnp.concatenate([old.maximum, new.maximum], axis=1), k)  # (R, k)
    is_old = chosen < k
    from_old, from_new = jnp.minimum(chosen, k - 1), jnp.maximum(chosen - k, 0)

    def taken(old: jax.Array, new: jax.Array) -> jax.Array:
        more = (slice(None), slice(None), *[None] * (old.ndim - 2))
        a, b = (jnp.take_along_axis(of, at[more], axis=1) for of, at in ((old, from_old), (new, from_new)))
        return jnp.where(is_old[more], a, b)

    return _Groups(maximum, taken(old.score, new.score), taken(old.first, new.first))


@partial(jax.jit, static_argnums=(2, 3))
def _best(groups: _Groups, rows: jax.Array, lists: int, k: int) -> tuple[jax.Array, jax.Array]:
    """The k highest scores of each list among all devices' groups, (lists, k), and their rows."""

    def together(of_devices: jax.Array) -> jax.Array:
        apart = of_devices.reshape(-1, lists, *of_devices.shape[1:])  # (devices, lists, kept ...)
        return jnp.moveaxis(apart, 0, 1).reshape(lists, -1, *of_devices.shape[2:])

    first, score = together(groups.first), together(groups.score)  # (lists, kept), (lists, kept, GROUP)
    order = jnp.argsort(first, axis=1)  # of equal scores the lower row comes first
    row = jnp.take_along_axis(first, order, axis=1)[:, :, None] + jnp.arange(GROUP, dtype=jnp.int32)[None, None]
    score = jnp.where(row < rows, jnp.take_along_axis(score, order[:, :, None], axis=1), -jnp.inf)
    best, place = jax.lax.top_k(score.reshape(lists, -1), k)  # (lists, k) each
    return best, jnp.take_along_axis(row.reshape(lists, -1), place, axis=1)
