"""Which faces show the same person, without any labels: clusters at a threshold on the cosine.

Single linkage joins whatever a chain of similar pairs connects, which is the connected components of the pairs above
the threshold. Average and complete linkage join, again and again, the two clusters whose mean, or lowest, cosine over
all pairs between them is highest, as long as that is at least the threshold. Neither needs all n^2 cosines: if the mean
or the lowest cosine between two clusters reaches the threshold, so did that of a pair of parts of them, down to single
faces. So only clusters that are linked by a pair above the threshold ever meet, and links that fall below it are
dropped for good. The mean cosine between two clusters is the product of their mean embeddings. Merging along chains of
nearest neighbours gives the same clusters as merging the nearest pair of all first, since a merged cluster is never
nearer to a third than the nearer of its parts was.

Not here: embeddings, search in a gallery (`gallery.py`), how far clusters are people (`evaluate/clusters.py`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Float32, Int, Int32, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faces.errors import EvaluationError
from faces.mesh import make_mesh, replicated, sharded
from faces.unit import unit_rows

Linkage = Literal["average", "complete", "single"]
LINKAGES: tuple[Linkage, ...] = get_args(Linkage)

MOST_PAIRS = 10_000_000
"""Pairs above the threshold beyond which it is refused; average and complete linkage take some 200 bytes for each."""
TILE = 1024
"""Faces compared with as many others at a time."""
GROUP = 32
"""Neighbouring pairs of a tile that the host looks at together: nearly all groups hold none."""
REST = 0.05
"""Mean squared length of what is left of embeddings of length 1 when they are shortened."""
ROUNDING = 1e-5
"""More than a cosine of two float32 embeddings differs by how it is summed."""

Begun = TypeVar("Begun")


@dataclass(frozen=True)
class SimilarPairs:
    """Pairs at or above a threshold, each once.

    Args:
        first, second: rows, first < second, (pairs,).
        cosine: of each pair, (pairs,).
    """

    first: Int64[np.ndarray, " pairs"]
    second: Int64[np.ndarray, " pairs"]
    cosine: Float32[np.ndarray, " pairs"]


def similar_pairs(
    embeddings: Float[np.ndarray, "n d"],
    threshold: float,
    mesh: Mesh | None = None,
    most: int = MOST_PAIRS,
    border: int | None = None,
) -> SimilarPairs:
    """All pairs of faces whose cosine is at least the threshold, in tiles of 1,024 x 1,024.

    Of many faces a tile holds not cosines but bounds on them, from much shorter rows (`_shortened`); the cosines of
    the pairs whose bound reaches the threshold are computed one by one.

    Args:
        embeddings: of any length.
        threshold: a cosine.
        mesh: a tile's rows are divided over its devices; all devices if None.
        most: refuse more pairs than this.
        border: only pairs of a row before this one and a row from it on are meant: those of two sets, one behind the
            other. None for all pairs.

    Raises:
        EvaluationError: an embedding that is zero or not finite; more than `most` pairs.
    """
    unit = unit_rows(embeddings.astype(np.float32, copy=False), "pictures'")
    nothing = np.empty(0, np.int64)
    found, count = [(nothing, nothing, np.empty(0, np.float32))], 0
    for first, second, cosine, _ in _candidates(unit, threshold, mesh or make_mesh(), border):
        if cosine is None:
            cosine = _cosines(unit, first, second)
            is_pair = cosine >= threshold
            first, second, cosine = first[is_pair], second[is_pair], cosine[is_pair]
        count += first.size
        if count > most:
            raise EvaluationError(
                f"more than {most:,} pairs of {len(unit):,} pictures have a cosine of {threshold:.4g} or more, too "
                "many for people in common; raise the threshold."
            )
        found.append((first, second, cosine))
    return SimilarPairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


class _Candidates(NamedTuple):
    """Pairs of one tile that may be at or above the threshold; all others are not."""

    first: Int64[np.ndarray, " pairs"]
    second: Int64[np.ndarray, " pairs"]
    cosine: Float32[np.ndarray, " pairs"] | None
    """None where only bounds are known."""
    is_sure: Bool[np.ndarray, " pairs"]
    """At or above it for certain."""


def _candidates(
    unit: Float32[np.ndarray, "n d"], threshold: float, mesh: Mesh, border: int | None = None
) -> Iterator[_Candidates]:
    """Of all tiles on and above the diagonal; with a border, of those that have pairs across it."""
    short = _shortened(unit)
    rows, lowest = (unit, threshold) if short is None else (short, threshold - ROUNDING)
    for top, left, tile in _one_ahead(_tiles(rows, _side(len(rows), mesh.devices.size), lowest, mesh, border)):
        row, column = _pairs_of(tile)
        is_pair = (top + row < left + column) & (left + column < len(rows))
        if border is not None:
            is_pair &= (top + row < border) & (border <= left + column)
        row, column = row[is_pair], column[is_pair]
        first, second = top + row, left + column
        score = np.asarray(tile.score)[row, column]
        if short is None:
            yield _Candidates(first, second, score, np.ones(len(first), bool))
        else:  # x1 . y1 - |x2| |y2| is the lower bound
            yield _Candidates(
                first, second, None, score - 2 * short[first, -1] * short[second, -1] >= threshold + ROUNDING
            )


def _shortened(unit: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n short"] | None:
    """Rows of fewer numbers whose products are never lower than the cosines; None where there is nothing to gain.

    x = x1 + x2, its part in the leading principal directions and the rest. By Cauchy and Schwarz x . y is at most
    x1 . y1 + |x2| |y2|, which is the product of (x1, |x2|) and (y1, |y2|). Embeddings of faces fill few of their
    dimensions evenly, so that a fraction of the numbers leaves a rest of next to no length.
    """
    n, d = unit.shape
    if n < 16 * d:
        return None  # all products take no longer than finding the directions
    sample = unit[:: n // (8 * d)]  # any directions give bounds; these need only be near the best
    variance, directions = np.linalg.eigh(sample.T @ sample / len(sample))  # ascending
    kept = int(np.sum(np.cumsum(variance) > REST))
    if kept > d / 2:
        return None
    leading = unit @ directions[:, d - kept :]  # (n, kept)
    rest = np.sqrt(np.maximum(1 - np.sum(np.square(leading), axis=1), 0) + ROUNDING / 10)
    return np.concatenate([leading, rest[:, None]], axis=1)


class _Tile(NamedTuple):
    score: jax.Array  # float32 (side, side)
    reaches: jax.Array  # bool (side, side), at least the lowest that counts
    any_reaches: jax.Array  # bool (side, side / GROUP)


def _tiles(
    rows: Float32[np.ndarray, "n d"], side: int, lowest: float, mesh: Mesh, border: int | None
) -> Iterator[tuple[int, int, _Tile]]:
    """Corners and contents of the tiles on and above the diagonal; with a border, of those with pairs across it."""
    parts = {start: _padded(rows[start : start + side], side) for start in range(0, len(rows), side)}
    for top in parts:
        if border is not None and top >= border:
            return
        above = jax.device_put(parts[top], sharded(mesh))
        for left in parts:
            if left >= top and (border is None or left + side > border):
                yield top, left, _compared(above, jax.device_put(parts[left], replicated(mesh)), lowest)


@jax.jit
def _compared(rows: jax.Array, columns: jax.Array, lowest: float) -> _Tile:
    score = jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)
    reaches = score >= lowest
    return _Tile(score, reaches, jnp.any(reaches.reshape(len(reaches), -1, GROUP), axis=2))


def _pairs_of(tile: _Tile) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Rows and columns that reach, in a fraction of the time of `np.nonzero`: in groups first, then within those."""
    row, group = np.nonzero(np.asarray(tile.any_reaches))
    which, place = np.nonzero(np.asarray(tile.reaches).reshape(len(tile.reaches), -1, GROUP)[row, group])
    return row[which], group[which] * GROUP + place


def _side(n: int, devices: int) -> int:
    """Rows of a tile: a multiple of `GROUP` and of the devices, at least one."""
    step = math.lcm(GROUP, devices)
    return max(1, -(-min(TILE, n) // step)) * step


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    return np.pad(rows, ((0, count - len(rows)), (0, 0)))


def _one_ahead(begun: Iterator[Begun]) -> Iterator[Begun]:
    """The same, each after the next has begun: the devices compute while the host looks."""
    waiting = list[Begun]()
    for following in begun:
        yield from waiting
        waiting = [following]
    yield from waiting


def _cosines(
    unit: Float32[np.ndarray, "n d"], first: Int64[np.ndarray, " pairs"], second: Int64[np.ndarray, " pairs"]
) -> Float32[np.ndarray, " pairs"]:
    """Of pairs of rows, as many at a time as stay in a core's cache."""
    step = max(1, 2**17 // unit.shape[1])
    starts = range(0, first.size, step)
    parts = [
        np.einsum("pd,pd->p", unit[first[start : start + step]], unit[second[start : start + step]]) for start in starts
    ]
    return np.concatenate([np.empty(0, np.float32), *parts])


def cluster(
    embeddings: Float[np.ndarray, "n d"], threshold: float, linkage: Linkage, mesh: Mesh | None = None
) -> Int32[np.ndarray, " n"]:
    """Clusters of faces.

    Args:
        embeddings: of any length.
        threshold: cosine below which clusters are not joined. scikit-learn's `distance_threshold` is 1 minus it, and
            does not join at equality.
        linkage: "single" (connected components), "average", "complete".
        mesh: see `similar_pairs`.

    Returns:
        Each face's cluster: 0 is the largest, of equal sizes the one whose first face comes first.

    Raises:
        EvaluationError: as `similar_pairs`; single linkage takes any number of pairs.
    """
    if linkage == "single":
        owner = _connected(embeddings, threshold, mesh or make_mesh())
    else:
        pairs = similar_pairs(embeddings, threshold, mesh)
        sums = unit_rows(embeddings.astype(np.float64), "pictures'") if linkage == "average" else None
        owner = _merged(pairs, len(embeddings), threshold, sums)
    return _by_size(owner)


def _by_size(owner: Int[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
    """The same clusters, numbered by their size and then by their first face."""
    _, first, number, size = np.unique(owner, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -size))
    place = np.empty(order.size, np.int32)  # (clusters,)
    place[order] = np.arange(order.size, dtype=np.int32)
    return place[number]


def _connected(embeddings: Float[np.ndarray, "n d"], threshold: float, mesh: Mesh) -> Int32[np.ndarray, " n"]:
    """Single linkage. Pairs that are similar for certain come first; of the others only those between two clusters
    matter, and most of them lie within one."""
    unit = unit_rows(embeddings.astype(np.float32, copy=False), "pictures'")
    owner = np.arange(len(unit), dtype=np.int32)
    waiting, count = list[_Candidates](), 0
    for candidates in _candidates(unit, threshold, mesh):
        waiting.append(candidates)
        count += candidates.first.size
        if count > MOST_PAIRS:
            owner = _linked(owner, waiting, unit, threshold)
            waiting, count = [], 0
    return _linked(owner, waiting, unit, threshold)


def _linked(
    owner: Int32[np.ndarray, " n"], waiting: list[_Candidates], unit: Float32[np.ndarray, "n d"], threshold: float
) -> Int32[np.ndarray, " n"]:
    """The clusters joined by those of the candidates that reach the threshold."""
    if not waiting:
        return owner
    columns = zip(*((each.first, each.second, each.is_sure) for each in waiting), strict=True)
    first, second, is_sure = (np.concatenate(column) for column in columns)
    owner = _joined(owner, first[is_sure], second[is_sure])
    between = ~is_sure & (owner[first] != owner[second])
    first, second = first[between], second[between]
    is_pair = _cosines(unit, first, second) >= threshold
    return _joined(owner, first[is_pair], second[is_pair])


def _joined(
    owner: Int32[np.ndarray, " n"], first: Int64[np.ndarray, " pairs"], second: Int64[np.ndarray, " pairs"]
) -> Int32[np.ndarray, " n"]:
    """The clusters, numbered from 0, of which some pairs of faces are joined; their new numbers."""
    clusters = int(owner.max()) + 1
    edges = coo_array((np.ones(first.size, bool), (owner[first], owner[second])), shape=(clusters, clusters))
    return connected_components(edges, directed=False)[1][owner]


def _merged(
    pairs: SimilarPairs, n: int, threshold: float, sums: Float[np.ndarray, "n d"] | None
) -> Int64[np.ndarray, " n"]:
    """Average linkage with `sums`, the unit embeddings, which are overwritten; complete linkage without.

    A cluster goes by one of its faces; `near[a][b]` is the similarity of clusters a and b where it is at least the
    threshold. The chain goes from a cluster to its nearest until two are nearest to each other, which are joined.
    """
    near = _neighbours(pairs, n)
    size, owner, chain = np.ones(n), np.arange(n), list[int]()
    waiting = list(range(n))
    while chain or waiting:
        if not chain:
            chain.append(waiting.pop())
        a = chain[-1]
        if not near[a]:
            chain.pop()
            continue
        before = chain[-2] if len(chain) > 1 else a
        b = max(near[a], key=near[a].__getitem__)
        if near[a].get(before, -np.inf) < near[a][b]:
            chain.append(b)
            continue
        del chain[-2:]
        a, b = (a, before) if len(near[a]) > len(near[before]) else (before, a)  # fewer links are moved
        joined = _complete(near, a, b) if sums is None else _average(near, a, b, sums, size, threshold)
        for c in near[b]:
            del near[c][b]
        for c in near[a].keys() - joined.keys():
            near[c].pop(a, None)  # b has lost it just now
        near[a], near[b] = joined, {}
        for c, similarity in joined.items():
            near[c][a] = similarity
        owner[b] = a
        waiting.append(a)
    while (owner[owner] != owner).any():
        owner = owner[owner]
    return owner


def _neighbours(pairs: SimilarPairs, n: int) -> list[dict[int, float]]:
    """Of each face, those that it is linked to, with their cosines."""
    row, column = np.concatenate([pairs.first, pairs.second]), np.concatenate([pairs.second, pairs.first])
    cosine = np.concatenate([pairs.cosine, pairs.cosine])
    order = np.argsort(row, kind="stable")
    ends = np.cumsum(np.bincount(row, minlength=n))
    columns, cosines = column[order].tolist(), cosine[order].tolist()
    starts = [0, *ends.tolist()]
    return [dict(zip(columns[i:j], cosines[i:j], strict=True)) for i, j in pairwise(starts)]


def _complete(near: list[dict[int, float]], a: int, b: int) -> dict[int, float]:
    """Similarities of a and b joined: the lower of both, where both are linked."""
    return {c: min(near[a][c], near[b][c]) for c in near[a].keys() & near[b].keys()}


def _average(
    near: list[dict[int, float]], a: int, b: int, sums: np.ndarray, size: np.ndarray, threshold: float
) -> dict[int, float]:
    """The same for mean cosines; the sums and sizes of a become those of both.

    Linked to both, a cluster's mean cosine is the weighted mean of two known ones; only what is linked to one of them
    needs the product of the sums.
    """
    of_a, of_b = near[a], near[b]
    share = float(size[a] / (size[a] + size[b]))  # a NumPy scalar would make every product slow
    joined = {c: share * of_a[c] + (1 - share) * of_b[c] for c in of_a.keys() & of_b.keys()}
    sums[a] += sums[b]
    size[a] += size[b]
    others = np.array(list((of_a.keys() ^ of_b.keys()) - {a, b}), np.int64)
    similarity = sums[others] @ sums[a] / (size[others] * size[a])
    linked = similarity >= threshold
    return joined | dict(zip(others[linked].tolist(), similarity[linked].tolist(), strict=True))
