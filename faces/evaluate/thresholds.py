"""Which cosine to choose for a model, from labelled faces of people who are in no test set.

For two faces: the cosine that a given share of all pairs of different people reaches. For clusters by average linkage:
the cosine at which albums that are drawn from these people agree best with who is in them. How many people an album
shows matters, as each may be taken for any other; so albums of several sizes are drawn, and each size counts alike.

Not here: clustering by itself (`faces.cluster`), how far clusters are people (`clusters.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage

from faces.errors import EvaluationError
from faces.evaluate.clusters import Agreement, agreement

ALBUMS = (10, 30, 100)
"""CHOICE: people of an album, as folders of photographs show; of more people the best cosine is higher."""
DRAWS = 10
"""Albums of each size."""
MOST_PICTURES = 10
"""Of a person in an album; from one on, each number is as likely."""
GRID = tuple(round(0.01 * step, 2) for step in range(10, 71))
"""Cosines that are tried for clusters."""


@dataclass(frozen=True)
class PairRates:
    """What a cosine costs between two faces.

    Args:
        threshold: the cosine.
        accepted: share of pairs of different people that reach it.
        rejected: share of pairs of one person that do not.
    """

    threshold: float
    accepted: float
    rejected: float


def pair_rates(
    embeddings: Float[np.ndarray, "n d"], people: Int[np.ndarray, " n"], far: float, at: Sequence[float] = ()
) -> list[PairRates]:
    """What cosines cost over all pairs: first the lowest, in hundredths, that at most a share `far` of pairs of
    different people reaches, then those of `at`.

    Args:
        embeddings: of length 1.
        people: of each.
        far: 0 to 1.
        at: further cosines.
    Raises:
        EvaluationError: there are no pairs of one kind.
    """
    first, second = np.triu_indices(len(people), 1)
    cosine = (embeddings @ embeddings.T)[first, second]
    same = people[first] == people[second]
    if same.all() or not same.any():
        raise EvaluationError("no threshold can be chosen: two people, and two faces of one of them, are needed.")
    of_others, of_one = np.sort(cosine[~same]), np.sort(cosine[same])

    def rates(threshold: float) -> PairRates:
        below = [float(np.searchsorted(of, threshold) / of.size) for of in (of_others, of_one)]
        return PairRates(threshold, 1 - below[0], below[1])

    lowest = next(t for t in (round(0.01 * step, 2) for step in range(-100, 102)) if rates(t).accepted <= far)
    return [rates(threshold) for threshold in (lowest, *at)]


@dataclass(frozen=True)
class AlbumCurve:
    """How far clusters are people, cosine by cosine.

    Args:
        people: of each album's size, (sizes,); sizes of which there are too few people are left out.
        precision, recall, f: BCubed's, means over the draws, (sizes, thresholds).
        thresholds: the cosines, (thresholds,).
        best: the one with the highest mean of `f` over the sizes.
    """

    people: tuple[int, ...]
    thresholds: tuple[float, ...]
    precision: np.ndarray
    recall: np.ndarray
    f: np.ndarray
    best: float


def album_curve(
    embeddings: Float[np.ndarray, "n d"],
    people: Int[np.ndarray, " n"],
    seed: int,
    sizes: Sequence[int] = ALBUMS,
    draws: int = DRAWS,
    thresholds: Sequence[float] = GRID,
) -> AlbumCurve:
    """Cluster albums drawn at random, by average linkage, at every threshold.

    Args:
        embeddings: of length 1.
        people: of each, 0, 1, ...
        seed: of the draws.
        sizes: people of an album.
        draws: albums of each size.
        thresholds: cosines.
    Raises:
        EvaluationError: fewer people than the smallest album has.
    """
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(people == person) for person in range(int(people.max()) + 1)]
    fitting = tuple(size for size in sizes if size <= len(rows))
    if not fitting:
        raise EvaluationError(
            f"no threshold can be chosen for clusters: there are {len(rows):,} people, and {min(sizes)} are needed."
        )
    numbers = np.zeros((len(fitting), draws, len(thresholds), 3))
    for at, size in enumerate(fitting):
        for draw in range(draws):
            album = np.concatenate([_some(rows[who], rng) for who in rng.permutation(len(rows))[:size]])
            for step, found in enumerate(_agreements(embeddings[album], people[album], thresholds)):
                numbers[at, draw, step] = found.bcubed_precision, found.bcubed_recall, found.bcubed_f
    precision, recall, f = np.moveaxis(numbers.mean(axis=1), -1, 0)
    best = thresholds[int(np.argmax(f.mean(axis=0)))]
    return AlbumCurve(fitting, tuple(thresholds), precision, recall, f, best)


def _some(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some of a person's faces."""
    return rng.permutation(rows)[: rng.integers(1, MOST_PICTURES + 1)]


def _agreements(embeddings: np.ndarray, people: np.ndarray, thresholds: Sequence[float]) -> list[Agreement]:
    """At each threshold. One tree serves all: the clusters at a threshold are its parts below it."""
    distance = 1 - (embeddings @ embeddings.T)[np.triu_indices(len(people), 1)]
    tree = linkage(distance.astype(np.float64), "average")
    return [agreement(fcluster(tree, 1 - threshold, "distance"), people) for threshold in thresholds]
