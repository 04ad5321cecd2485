"""Which pictures show the same person, nobody having said who is in any: clusters at a threshold on the cosine.

Single linkage joins whatever a chain of similar pairs connects, which is the connected components of the pairs above
the threshold. Average and complete linkage join, again and again, the two clusters whose mean, or lowest, cosine over
all pairs between them is highest, as long as that is at least the threshold. Neither needs all n^2 cosines: if the mean
or the lowest cosine between two clusters reaches the threshold, so did that of a pair of parts of them, down to single
pictures. So only clusters that are linked by a pair above the threshold ever meet, and links that fall below it are
dropped for good. The mean cosine between two clusters is the product of their mean embeddings. Merging along chains of
nearest neighbours gives the same clusters as merging the nearest pair of all first, since a merged cluster is never
nearer to a third than the nearer of its parts was.

Not here: embeddings, search in a gallery (`gallery.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Float32, Int, Int32, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faces.errors import EvaluationError
from faces.evaluate.scores import unit_rows
from faces.mesh import copied, make_mesh, split

Linkage = Literal["average", "complete", "single"]
LINKAGES: tuple[Linkage, ...] = get_args(Linkage)

MOST_PAIRS = 10_000_000
"""Pairs above the threshold beyond which it is refused; average and complete linkage take some 200 bytes for each."""
TILE = 2048
"""Pictures compared with as many others at a time."""


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
    embeddings: Float[np.ndarray, "n d"], threshold: float, mesh: Mesh | None = None, most: int = MOST_PAIRS
) -> SimilarPairs:
    """All pairs of pictures whose cosine is at least the threshold, in tiles of 2,048 x 2,048.

    Args:
        embeddings: of any length.
        threshold: a cosine.
        mesh: a tile's rows are divided over its devices; all devices if None.
        most: refuse more pairs than this.

    Raises:
        EvaluationError: an embedding that is zero or not finite; more than `most` pairs.
    """
    mesh = mesh or make_mesh()
    unit = unit_rows(embeddings.astype(np.float32), "pictures'")
    side = -(-min(TILE, len(unit)) // mesh.devices.size) * mesh.devices.size
    placed = (split(mesh), copied(mesh))
    compare = jax.jit(partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST), in_shardings=placed)
    first, second, cosine, found = [], [], [], 0
    for top, left in _tiles(len(unit), side):
        score = np.asarray(compare(_padded(unit[top : top + side], side), _padded(unit[left : left + side], side).T))
        row, column = np.nonzero(score[: len(unit) - top, : len(unit) - left] >= threshold)
        if top == left:
            above = row < column
            row, column = row[above], column[above]
        found += row.size
        if found > most:
            raise EvaluationError(
                f"more than {most:,} pairs of {len(unit):,} pictures have a cosine of {threshold:g} or more, too many "
                "for people in common; raise the threshold."
            )
        first.append(top + row)
        second.append(left + column)
        cosine.append(score[row, column])
    return SimilarPairs(np.concatenate(first), np.concatenate(second), np.concatenate(cosine))


def _tiles(n: int, side: int) -> Iterator[tuple[int, int]]:
    """Corners of the tiles on and above the diagonal."""
    for top in range(0, n, side):
        for left in range(top, n, side):
            yield top, left


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    return np.pad(rows, ((0, count - len(rows)), (0, 0)))


def cluster(
    embeddings: Float[np.ndarray, "n d"], threshold: float, linkage: Linkage, mesh: Mesh | None = None
) -> Int32[np.ndarray, " n"]:
    """Clusters of pictures.

    Args:
        embeddings: of any length.
        threshold: cosine below which clusters are not joined. scikit-learn's `distance_threshold` is 1 minus it, and
            does not join at equality.
        linkage: "single" (connected components), "average", "complete".
        mesh: see `similar_pairs`.

    Returns:
        Each picture's cluster: 0 is the largest, of equal sizes the one whose first picture comes first.

    Raises:
        EvaluationError: as `similar_pairs`.
    """
    pairs = similar_pairs(embeddings, threshold, mesh)
    if linkage == "single":
        edges = coo_array((np.ones(pairs.first.size, bool), (pairs.first, pairs.second)), shape=(len(embeddings),) * 2)
        owner = connected_components(edges, directed=False)[1]
    else:
        sums = unit_rows(embeddings.astype(np.float64), "pictures'") if linkage == "average" else None
        owner = _merged(pairs, len(embeddings), threshold, sums)
    return _by_size(owner)


def _by_size(owner: Int[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
    """The same clusters, numbered by their size and then by their first picture."""
    _, first, number, size = np.unique(owner, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -size))
    place = np.empty(order.size, np.int32)  # (clusters,)
    place[order] = np.arange(order.size, dtype=np.int32)
    return place[number]


def _merged(
    pairs: SimilarPairs, n: int, threshold: float, sums: Float[np.ndarray, "n d"] | None
) -> Int64[np.ndarray, " n"]:
    """Average linkage with `sums`, the unit embeddings, which are overwritten; complete linkage without.

    A cluster goes by one of its pictures; `near[a][b]` is the similarity of clusters a and b where it is at least the
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
        b = before
        joined = _complete(near, a, b) if sums is None else _average(near, a, b, sums, size, threshold)
        for c in near[a]:
            near[c].pop(a, None)
        for c in near[b]:
            near[c].pop(b, None)
        near[a], near[b] = joined, {}
        for c, similarity in joined.items():
            near[c][a] = similarity
        owner[b] = a
        waiting.append(a)
    while (owner[owner] != owner).any():
        owner = owner[owner]
    return owner


def _neighbours(pairs: SimilarPairs, n: int) -> list[dict[int, float]]:
    """Of each picture, those that it is linked to, with their cosines."""
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
    """The same for mean cosines; the sums and sizes of a become those of both."""
    sums[a] += sums[b]
    size[a] += size[b]
    others = np.array(list((near[a].keys() | near[b].keys()) - {a, b}), np.int64)
    similarity = sums[others] @ sums[a] / (size[others] * size[a])
    linked = similarity >= threshold
    return dict(zip(others[linked].tolist(), similarity[linked].tolist(), strict=True))


@dataclass(frozen=True)
class Agreement:
    """How far clusters are people.

    Args:
        precision, recall: share of pairs in one cluster that are of one person, of pairs of one person in one cluster;
            1 where there is no such pair.
        bcubed_precision, bcubed_recall: mean over pictures of the share of its cluster that is its person's, of its
            person's pictures that are in its cluster; each picture counts itself.
        clusters, people: how many.
    """

    precision: float
    recall: float
    bcubed_precision: float
    bcubed_recall: float
    clusters: int
    people: int

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall over pairs."""
        return _harmonic(self.precision, self.recall)

    @property
    def bcubed_f(self) -> float:
        """Harmonic mean of BCubed precision and recall."""
        return _harmonic(self.bcubed_precision, self.bcubed_recall)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def agreement(labels: Int[np.ndarray, " n"], people: Int[np.ndarray, " n"]) -> Agreement:
    """Compare clusters with who is really in the pictures.

    Args:
        labels: each picture's cluster.
        people: and person.

    Source: pairs: B. G. Mirkin and others; BCubed: A. Bagga and B. Baldwin, 1998, as E. Amigo et al., 2009, write it.
    """
    both, in_both = np.unique(np.stack([labels, people]), axis=1, return_counts=True)  # (2, cells), (cells,)
    of_cluster, of_person = _counts(labels, both[0]), _counts(people, both[1])  # (cells,) each
    clusters, people_there = np.unique(labels, return_counts=True)[1], np.unique(people, return_counts=True)[1]

    def pairs(counts: np.ndarray) -> int:
        return int(np.sum(counts * (counts - 1) // 2))

    right, joined, wanted = pairs(in_both), pairs(clusters), pairs(people_there)
    return Agreement(
        precision=right / joined if joined else 1.0,
        recall=right / wanted if wanted else 1.0,
        bcubed_precision=float(np.sum(in_both**2 / of_cluster) / labels.size),
        bcubed_recall=float(np.sum(in_both**2 / of_person) / labels.size),
        clusters=clusters.size,
        people=people_there.size,
    )


def _counts(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How often each wanted value is among the values."""
    distinct, count = np.unique(values, return_counts=True)
    return count[np.searchsorted(distinct, wanted)]
