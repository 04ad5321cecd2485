"""Metrics of pair verification (FaceNet, arXiv 1503.03832, Sec. 4, Eq. 5-7): VAL, FAR, ROC, AUC, EER, best threshold.

A pair is accepted as the same person when its distance is at most a threshold: D <= d. As the threshold grows, pairs
are accepted in order of distance, and pairs of equal distance are accepted together, since no threshold tells them
apart. All metrics here are read from that one sorted list of counts, so they are exact on the pairs given: no grid of
thresholds, no binning. Any number that grows with dissimilarity serves as distance; this project uses the squared L2
distance of unit vectors, which is 2 - 2 cos.

Not here: folds and coverage (verification.py).
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from faces.errors import EvaluationError


@dataclass(frozen=True)
class Roc:
    """Counts of accepted pairs at every threshold that makes a difference.

    Point 0 accepts nothing (threshold -inf); point i accepts all pairs up to the i-th smallest distinct distance; the
    last point accepts everything.

    Args:
        threshold: ascending distinct distances after a leading -inf, float64 (points,).
        true_accepts: card TA(d), Eq. 5, int64 (points,).
        false_accepts: card FA(d), Eq. 6, int64 (points,).
    """

    threshold: Float64[np.ndarray, " points"]
    true_accepts: Int64[np.ndarray, " points"]
    false_accepts: Int64[np.ndarray, " points"]

    @property
    def same_pairs(self) -> int:
        """card P_same."""
        return int(self.true_accepts[-1])

    @property
    def different_pairs(self) -> int:
        """card P_diff."""
        return int(self.false_accepts[-1])

    @property
    def val(self) -> Float64[np.ndarray, " points"]:
        """Validation rate: VAL(d) = card TA(d) / card P_same, Eq. 7."""
        return self.true_accepts / self.same_pairs

    @property
    def far(self) -> Float64[np.ndarray, " points"]:
        """False accept rate: FAR(d) = card FA(d) / card P_diff, Eq. 7."""
        return self.false_accepts / self.different_pairs


class OperatingPoint(NamedTuple):
    """A threshold and the two rates it gives on the pairs it was chosen on."""

    threshold: float
    val: float
    far: float


def roc_curve(distance: Float[np.ndarray, " pairs"], same: Bool[np.ndarray, " pairs"]) -> Roc:
    """Count true and false accepts at every distinct distance, in O(n log n).

    Args:
        distance: dissimilarity of each pair, finite.
        same: whether the pair shows one person.

    Returns:
        The curve, with one point more than there are distinct distances.

    Raises:
        EvaluationError: a distance is not finite, or one of the two kinds of pair is absent.

    Source: FaceNet Sec. 4, Eq. 5-7.
    """
    not_finite = np.flatnonzero(~np.isfinite(distance))
    if not_finite.size:
        raise EvaluationError(
            f"{not_finite.size:,} of {distance.size:,} pairs have a distance that is not finite, the first is pair "
            f"{not_finite[0]}; check the embeddings for NaN and infinity."
        )
    if same.all() or not same.any():
        raise EvaluationError(
            f"a ROC needs pairs of the same and of different people, but {int(same.sum()):,} same and "
            f"{int((~same).sum()):,} different pairs were given; check the list of pairs."
        )
    order = np.argsort(distance, kind="stable")
    ascending = distance[order].astype(np.float64)
    last_of_equals = np.flatnonzero(np.append(ascending[1:] != ascending[:-1], True))
    true_accepts = np.cumsum(same[order], dtype=np.int64)[last_of_equals]
    false_accepts = last_of_equals + 1 - true_accepts
    return Roc(
        threshold=np.concatenate([[-np.inf], ascending[last_of_equals]]),
        true_accepts=np.concatenate([[0], true_accepts]),
        false_accepts=np.concatenate([[0], false_accepts]),
    )


def rates_at(
    distance: Float[np.ndarray, " pairs"], same: Bool[np.ndarray, " pairs"], threshold: float
) -> tuple[float, float, float]:
    """Accuracy, VAL and FAR of the rule D <= threshold on these pairs.

    Args:
        distance: dissimilarity of each pair.
        same: whether the pair shows one person; both kinds present.
        threshold: the largest distance that is accepted.
    """
    accept = distance <= threshold
    return float(np.mean(accept == same)), float(np.mean(accept[same])), float(np.mean(accept[~same]))


def val_at_far(roc: Roc, far: float) -> OperatingPoint:
    """VAL at the largest threshold whose false accept rate is at most `far`.

        d* = max { d : FAR(d) <= far },  VAL = VAL(d*)

    CHOICE: d* is taken over all float64 numbers, so it is the last number below the first distance at which FAR would
    exceed `far` (infinity when there is none). Nothing is interpolated between pairs, and a perfect
    model keeps VAL 1 when d* is carried to other pairs, which a threshold at an observed distance does not promise.
    With fewer than 1 / far different pairs, no false accept at all is allowed.

    Args:
        roc: counts at every threshold.
        far: the allowed false accept rate, in [0, 1].

    Source: FaceNet Sec. 4; the paper states VAL at FAR 1e-3 and leaves the choice among equal thresholds open.
    """
    # A decimal target and count / pairs are both correctly rounded, so 3 of 3,000 is within 1e-3 exactly.
    allowed = int(np.searchsorted(roc.far, far, side="right")) - 1
    is_last = allowed == roc.threshold.size - 1
    threshold = np.inf if is_last else np.nextafter(roc.threshold[allowed + 1], -np.inf)
    return OperatingPoint(float(threshold), float(roc.val[allowed]), float(roc.far[allowed]))


def auc(roc: Roc) -> float:
    """Area under the ROC: the chance that a same pair is closer than a different pair, a tie counting one half.

        AUC = P(D_same < D_diff) + P(D_same = D_diff) / 2

    It equals the Mann-Whitney statistic over card P_same * card P_diff. Sums are of integers, so the result is exact
    up to one division.

    Args:
        roc: counts at every threshold.
    """
    same_here = np.diff(roc.true_accepts)
    rejected_twice = 2 * roc.different_pairs - roc.false_accepts[1:] - roc.false_accepts[:-1]
    return float(np.sum(same_here * rejected_twice)) / (2.0 * roc.same_pairs * roc.different_pairs)


def eer(roc: Roc) -> float:
    """Equal error rate: where the ROC meets the line FAR = 1 - VAL.

    CHOICE: neighbouring points of the ROC are joined by straight lines, as in the AUC: a tie is decided by a fair draw.
    FAR - (1 - VAL) grows strictly from -1 to 1 along the curve, so there is one meeting point.
    Perfect scores give 0, all scores equal 1/2, perfectly wrong scores 1.

    Args:
        roc: counts at every threshold.
    """
    far = roc.far
    gap = far + roc.val - 1.0
    right = int(np.argmax(gap >= 0.0))
    left = right - 1
    weight = -gap[left] / (gap[right] - gap[left])
    return float(far[left] + weight * (far[right] - far[left]))


def best_threshold(roc: Roc) -> float:
    """The threshold with the most correct decisions, over all distinct cuts of these pairs.

    CHOICE: thresholds that are equally good form plateaus, half-open intervals between two observed distances; the
    middle of the widest plateau is taken, the lower one of two equally wide. A plateau that is
    open to one side ends just below the smallest or at the largest distance seen.

    Args:
        roc: counts at every threshold.

    Returns:
        A finite threshold.
    """
    correct = roc.true_accepts + roc.different_pairs - roc.false_accepts
    is_best = np.concatenate([[False], correct == correct.max(), [False]])
    edge = np.flatnonzero(is_best[1:] != is_best[:-1])  # (2 plateaus,): first point, point after the last, ...
    lower_end = np.append(roc.threshold, roc.threshold[-1])
    lower_end[0] = np.nextafter(roc.threshold[1], -np.inf)
    start, end = lower_end[edge[0::2]], lower_end[edge[1::2]]  # (plateaus,) each
    widest = int(np.argmax(end - start))
    low, high = start[widest], end[widest]
    # `high` itself is already the next cut; the middle of two neighbouring floats may round to it.
    return float(max(low, min(low + (high - low) / 2, np.nextafter(high, -np.inf))))


def mean_and_standard_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and sample standard deviation / sqrt(n), of two or more values."""
    return statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a fraction; unlike mean +- 2 SE it stays in [0, 1] and has a width at 0 and 1.

        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),  p = successes / n

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    fraction, shrink = successes / trials, z * z / trials
    middle = fraction + shrink / 2
    half_width = (shrink * fraction * (1 - fraction) + shrink * shrink / 4) ** 0.5
    return max(0.0, (middle - half_width) / (1 + shrink)), min(1.0, (middle + half_width) / (1 + shrink))
