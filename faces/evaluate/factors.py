"""Error by factor: verification broken down by what the images of a pair are like, such as their light or their yaw.

Nothing is chosen anew: each pair is decided at the threshold that its fold was tested at (`verification.py`), and pairs
are then counted by group, those of one person apart from those of two. A factor is a number of each image, which pairs
are cut into parts by, or a label of each.

A pair without a measure of either image is in no group; the images are named.

Not here: where numbers and labels come from (`face_measures.py`, `faces.data.groups`), tables and figures
(`factor_report.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from faces.errors import EvaluationError
from faces.evaluate.metrics import wilson_interval
from faces.evaluate.verification import VerificationResult

FEW = 30
"""CHOICE: a rate of fewer pairs is marked; Wilson's interval of none among so many reaches 11%."""
OfPair = Literal["greatest", "least", "difference"]


@dataclass(frozen=True)
class Factor:
    """A property of images.

    Args:
        name: a word, such as "yaw".
        text: what it is, with its unit.
        of_images: a number of each, float64 (images,), NaN where there is none; or its label, str (images,), "" where
            there is none.
        of_pair: what of a pair's two numbers the pair is grouped by; of labels both count, in the order of the
            alphabet.
    """

    name: str
    text: str
    of_images: np.ndarray
    of_pair: OfPair = "greatest"

    @property
    def is_label(self) -> bool:
        """Whether images have labels and no numbers."""
        return self.of_images.dtype.kind == "U"

    @property
    def measured(self) -> Bool[np.ndarray, " images"]:
        """Which images have a number or a label."""
        return self.of_images != "" if self.is_label else np.isfinite(self.of_images)


class Rate(NamedTuple):
    """How many of how many."""

    count: int
    of: int

    @property
    def share(self) -> float:
        """The fraction; NaN of none."""
        return self.count / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval; everything is possible of none. Pairs share people: a lower bound of what is open."""
        return wilson_interval(self.count, self.of) if self.of else (0.0, 1.0)

    @property
    def is_few(self) -> bool:
        """Whether it rests on little."""
        return self.of < FEW


@dataclass(frozen=True)
class Group:
    """The pairs of a group.

    Args:
        name: its label, or its ends in words.
        ends: least and greatest number of its pairs; None of a label.
        correct: decided rightly, of all.
        false_accepts: of pairs of two people.
        false_rejects: of pairs of one person.
    """

    name: str
    ends: tuple[float, float] | None
    correct: Rate
    false_accepts: Rate
    false_rejects: Rate


@dataclass(frozen=True)
class ByFactor:
    """A verification by one factor.

    Args:
        factor: which.
        groups: ascending, or by the alphabet; none is empty.
        pairs_left_out: pairs with an image that has no measure.
        unmeasured: names of those images.
    """

    factor: Factor
    groups: tuple[Group, ...]
    pairs_left_out: int
    unmeasured: tuple[str, ...]


def by_factor(
    result: VerificationResult,
    factor: Factor,
    names: Sequence[str],
    first: Int[np.ndarray, " listed"],
    second: Int[np.ndarray, " listed"],
    parts: int = 4,
) -> ByFactor:
    """Count the pairs of a verification by a factor.

    Args:
        result: of the pairs.
        factor: of the images.
        names: of the images.
        first, second: rows of each listed pair's images.
        parts: into how many parts, of about as many pairs each, a number cuts them.

    Raises:
        EvaluationError: the factor is not of these images, or `parts` is below 1.
    """
    if len(factor.of_images) != len(names) or parts < 1:
        raise EvaluationError(
            f"factor {factor.name}: {len(factor.of_images):,} values for {len(names):,} images, in {parts} parts; give "
            "each image one, and at least 1 part."
        )
    first, second = first[result.pair], second[result.pair]
    known = factor.measured[first] & factor.measured[second]  # (pairs,)
    used = np.union1d(first, second)
    unmeasured = tuple(names[int(row)] for row in used[~factor.measured[used]])
    accepted = result.distance <= result.threshold

    def group(name: str, ends: tuple[float, float] | None, of_group: np.ndarray) -> Group:
        same, accept = result.same[of_group], accepted[of_group]
        return Group(
            name,
            ends,
            Rate(int(np.sum(accept == same)), same.size),
            Rate(int(np.sum(accept & ~same)), int(np.sum(~same))),
            Rate(int(np.sum(~accept & same)), int(np.sum(same))),
        )

    if factor.is_label:
        labels = _labels(factor.of_images[first], factor.of_images[second])  # (pairs,)
        groups = tuple(group(str(one), None, known & (labels == one)) for one in np.unique(labels[known]))
    else:
        values = pair_values(factor.of_images[first], factor.of_images[second], factor.of_pair)
        groups = tuple(
            group(_ends(low, high), (low, high), known & (values >= low) & (values <= high))
            for low, high in cut(values[known], parts)
        )
    return ByFactor(factor, groups, int(np.sum(~known)), unmeasured)


def pair_values(
    first: Float[np.ndarray, " pairs"], second: Float[np.ndarray, " pairs"], of_pair: OfPair
) -> Float64[np.ndarray, " pairs"]:
    """The number of each pair; NaN where one of its images has none."""
    if of_pair == "difference":
        return np.abs(first - second).astype(np.float64)
    either = np.maximum(first, second) if of_pair == "greatest" else np.minimum(first, second)
    return either.astype(np.float64)


def cut(values: Float[np.ndarray, " pairs"], parts: int) -> Iterator[tuple[float, float]]:
    """Least and greatest value of each part, ascending, of about as many values; equal ones stay together.

    A part ends with the value at which a share of 1 / parts of those that are left is reached. So a value that many
    have, such as 0 of what is absent, is a part of its own, and there may be fewer parts than asked for.
    """
    distinct, counts = np.unique(values, return_counts=True)
    start = 0
    while start < len(distinct):
        reached = np.cumsum(counts[start:])
        wanted = reached[-1] / parts if parts > 1 else reached[-1]
        end = start + int(np.searchsorted(reached, wanted))
        yield float(distinct[start]), float(distinct[end])
        start, parts = end + 1, max(1, parts - 1)


def _labels(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One label for each pair: that of both, or "one with other"."""
    low, high = np.where(first <= second, first, second), np.where(first <= second, second, first)
    mixed = np.char.add(np.char.add(low, " with "), high)
    return np.where(low == high, low, mixed)


def _ends(low: float, high: float) -> str:
    """Both with as many digits as tell them apart, at least three."""
    if low == high:
        return f"{low:.3g}"
    ends = ((f"{low:.{digits}g}", f"{high:.{digits}g}") for digits in range(3, 17))
    return " to ".join(next((pair for pair in ends if pair[0] != pair[1]), (repr(low), repr(high))))
