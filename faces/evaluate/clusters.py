"""How far clusters are people, where it is known whose each face is: shares of pairs, and BCubed's means over faces.

Not here: clustering (`faces.cluster`).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Agreement:
    """How far clusters are people.

    Args:
        precision, recall: share of pairs in one cluster that are of one person, of pairs of one person in one cluster;
            1 where there is no such pair.
        bcubed_precision, bcubed_recall: mean over faces of the share of its cluster that is its person's, of its
            person's faces that are in its cluster; each face counts itself.
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
    """Compare clusters with the people whose faces they hold.

    Args:
        labels: each face's cluster.
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
