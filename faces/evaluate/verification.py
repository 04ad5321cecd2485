"""The LFW protocol: is each pair of images one person or two, at thresholds chosen on other people.

The list comes in folds. For each fold the threshold is chosen on all the other folds and tested on this one; the mean
over folds and its standard error are the result (FaceNet, arXiv 1503.03832, Sec. 4 and 5.6). The same split serves
VAL at a fixed FAR. EER, AUC and ROC take all pairs together. Folds are those of the list and are never
drawn anew. A pair whose image is missing is not skipped: the number is refused unless the caller accepts less than
the whole list, and then the coverage stands in the result.

Pairs are compared by squared distance, as the paper does. Whatever a person reads or sets is a cosine, with the squared
distance beside it: of embeddings of length 1 they are one thing in two units (`cosine_of`).

Not here: reading lists of pairs (faces.data), embedding images, tables (report.py) and figures (plots.py).
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from faces.errors import EvaluationError, option
from faces.evaluate import metrics

_NAMES_SHOWN = 5


@dataclass(frozen=True)
class FoldResult:
    """One held-out fold.

    Args:
        fold: its number in the list.
        pairs: pairs evaluated in it.
        accuracy: fraction decided correctly at `threshold`.
        threshold: the most accurate threshold of the other folds (squared distance).
        val: VAL of this fold at `val_threshold`.
        far: FAR of this fold at `val_threshold`, which may differ from the FAR aimed at.
        val_threshold: the threshold that keeps the FAR aimed at on the other folds (squared distance).
    """

    fold: int
    pairs: int
    accuracy: float
    threshold: float
    val: float
    far: float
    val_threshold: float


def cosine_of(distance: float) -> float:
    """The cosine of two embeddings of length 1 whose squared distance this is: D = |a - b|^2 = 2 - 2 cos."""
    return 1 - distance / 2


@dataclass(frozen=True)
class VerificationResult:
    """What a list of pairs says about an embedding.

    Args:
        folds: the held-out folds, in the order of their numbers.
        accuracy, accuracy_se: mean over folds, and sample SD over folds / sqrt(folds).
        accuracy_interval: Wilson's 95% interval of the fraction of all pairs decided correctly. It takes pairs as
            independent; pairs share people and images, so read it as a lower bound of the uncertainty.
        far_target: the FAR that thresholds were chosen for.
        val, val_se, far: mean VAL over folds, its standard error as above, mean FAR met on the held-out folds.
        eer, auc, roc: of all evaluated pairs together.
        listed: pairs in the list; `pairs` of them were evaluated.
        missing: names of missing images that the list uses.
        undetected: names of those that are there, but no face was found in them.
        pair: row in the list of each evaluated pair, (pairs,).
        distance: of each evaluated pair (squared L2), (pairs,).
        same: whether it shows one person, (pairs,).
        threshold: the one its fold was tested at, (pairs,).
    """

    folds: tuple[FoldResult, ...]
    accuracy: float
    accuracy_se: float
    accuracy_interval: tuple[float, float]
    far_target: float
    val: float
    val_se: float
    far: float
    eer: float
    auc: float
    roc: metrics.Roc
    listed: int
    missing: tuple[str, ...]
    undetected: tuple[str, ...]
    pair: Int64[np.ndarray, " pairs"]
    distance: Float64[np.ndarray, " pairs"]
    same: Bool[np.ndarray, " pairs"]
    threshold: Float64[np.ndarray, " pairs"]

    @property
    def mean_threshold(self) -> float:
        """The most accurate threshold (squared distance), mean over folds."""
        return statistics.fmean(fold.threshold for fold in self.folds)

    @property
    def mean_val_threshold(self) -> float:
        """The threshold of VAL (squared distance), mean over folds; infinite where a fold's is."""
        return statistics.fmean(fold.val_threshold for fold in self.folds)

    @property
    def pairs(self) -> int:
        """Pairs evaluated."""
        return self.pair.size

    @property
    def coverage(self) -> float:
        """Evaluated / listed pairs."""
        return self.pairs / self.listed


def pair_distances(
    embeddings: Float[np.ndarray, "images d"], first: Int[np.ndarray, " pairs"], second: Int[np.ndarray, " pairs"]
) -> Float64[np.ndarray, " pairs"]:
    """Squared L2 distance of each pair, D = |x_i - x_j|^2, in float64.

    Args:
        embeddings: one row an image.
        first, second: the rows of each pair.
    """
    difference = embeddings[first].astype(np.float64) - embeddings[second]  # (pairs, d)
    return np.einsum("pd,pd->p", difference, difference)


def verify(
    embeddings: Float[np.ndarray, "images d"],
    names: Sequence[str],
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
    same: Bool[np.ndarray, " pairs"],
    fold: Int[np.ndarray, " pairs"],
    far: float = 1e-3,
    *,
    missing: Sequence[str] = (),
    undetected: Sequence[str] = (),
    allow_missing: bool = False,
) -> VerificationResult:
    """Evaluate the embeddings of a list's images; see `evaluate_pairs` for the protocol.

    Args:
        embeddings: one row an image; rows of missing images are not read.
        names: the name of each row's image.
        first, second: the rows of each listed pair.
        same, fold: label and fold of each listed pair.
        far: the false accept rate at which VAL is taken.
        missing: names of the images that are absent or could not be read.
        undetected: names of the images in which no face was found.
        allow_missing: evaluate the pairs that remain instead of refusing.

    Raises:
        EvaluationError: an embedding is not finite, `missing` or `undetected` hold an unknown name, or as
            `evaluate_pairs`.
    """
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) != len(embeddings):
        raise EvaluationError(
            f"{len(embeddings):,} embeddings came with {len(row_of):,} distinct image names; give each row a name of "
            "its own."
        )
    lost = (*missing, *undetected)
    unknown = [name for name in lost if name not in row_of]
    if unknown:
        raise EvaluationError(
            f"{few_names(unknown)} reported missing, but not among the {len(names):,} images of the list; "
            "use the names of the list."
        )
    present = np.ones(len(names), bool)
    present[[row_of[name] for name in lost]] = False
    broken = np.flatnonzero(present & ~np.isfinite(embeddings).all(axis=1))
    if broken.size:
        raise EvaluationError(
            f"{broken.size:,} of {len(names):,} embeddings are not finite "
            f"({few_names([names[int(row)] for row in broken])}); check the weights and the images' normalisation."
        )
    is_complete = present[first] & present[second]
    used = {names[int(row)] for row in np.union1d(first, second)}
    absent, faceless = used.intersection(missing), used.intersection(undetected)
    distance = np.zeros(len(first))
    distance[is_complete] = pair_distances(embeddings, first[is_complete], second[is_complete])
    return evaluate_pairs(
        distance,
        same,
        fold,
        far,
        is_complete=is_complete,
        missing=[name for name in names if name in absent],
        undetected=[name for name in names if name in faceless],
        allow_missing=allow_missing,
    )


def evaluate_pairs(
    distance: Float[np.ndarray, " pairs"],
    same: Bool[np.ndarray, " pairs"],
    fold: Int[np.ndarray, " pairs"],
    far: float = 1e-3,
    *,
    is_complete: Bool[np.ndarray, " pairs"] | None = None,
    missing: Sequence[str] = (),
    undetected: Sequence[str] = (),
    allow_missing: bool = False,
) -> VerificationResult:
    """Run the LFW protocol on the distances of a list of pairs.

    For each fold f: the most accurate threshold of all other folds (`metrics.best_threshold`) gives the accuracy of f.
    CHOICE: VAL is held out in the same way (the paper does not say on which pairs it fixes the FAR): the threshold with
    FAR <= `far` on the other folds (`metrics.val_at_far`) gives VAL on f, and the FAR that it really has there.
    Means weigh folds, not pairs; the standard error is the sample standard deviation over folds / sqrt(folds).
    The order of the pairs does not matter.

    Args:
        distance: squared L2 distance of each listed pair.
        same: whether it shows one person.
        fold: its fold in the list, any integers.
        far: the false accept rate at which VAL is taken.
        is_complete: whether both images of the pair are there, all if not given; other pairs' distances are not read.
        missing: names of missing images, for the message and the record.
        undetected: names of images without a face that was found, likewise.
        allow_missing: evaluate the complete pairs instead of refusing.

    Raises:
        EvaluationError: images are missing and not allowed to be; fewer than two folds; a fold without same or without
            different pairs; a distance that is not finite; `far` outside [0, 1].

    Source: FaceNet Sec. 4, 5.6; LFW's protocol for unrestricted use of labelled outside data.
    """
    if not 0.0 <= far <= 1.0:
        raise EvaluationError(f"a false accept rate lies between 0 and 1, but {far} was asked for.")
    listed = distance.size
    pair = np.arange(listed) if is_complete is None else np.flatnonzero(is_complete)
    if pair.size < listed and not allow_missing:
        raise EvaluationError(_incomplete(f"{listed - pair.size:,} of {listed:,} pairs lack a", missing, undetected))
    distance, same, fold = distance[pair].astype(np.float64), same[pair], fold[pair]
    _check_folds(same, fold)

    folds = []
    threshold = np.empty(pair.size)  # (pairs,)
    for number in np.unique(fold):
        held_out = fold == number
        others = metrics.roc_curve(distance[~held_out], same[~held_out])
        at_best, at_far = metrics.best_threshold(others), metrics.val_at_far(others, far)
        accuracy, _, _ = metrics.rates_at(distance[held_out], same[held_out], at_best)
        _, val, far_met = metrics.rates_at(distance[held_out], same[held_out], at_far.threshold)
        threshold[held_out] = at_best
        folds.append(
            FoldResult(int(number), int(held_out.sum()), accuracy, at_best, val, far_met, at_far.threshold)
        )
    accuracy, accuracy_se = metrics.mean_and_standard_error([one.accuracy for one in folds])
    val, val_se = metrics.mean_and_standard_error([one.val for one in folds])
    roc = metrics.roc_curve(distance, same)
    return VerificationResult(
        folds=tuple(folds),
        accuracy=accuracy,
        accuracy_se=accuracy_se,
        accuracy_interval=metrics.wilson_interval(int(np.sum((distance <= threshold) == same)), pair.size),
        far_target=far,
        val=val,
        val_se=val_se,
        far=statistics.fmean(one.far for one in folds),
        eer=metrics.eer(roc),
        auc=metrics.auc(roc),
        roc=roc,
        listed=listed,
        missing=tuple(missing),
        undetected=tuple(undetected),
        pair=pair,
        distance=distance,
        same=same,
        threshold=threshold,
    )


def hardest_errors(
    result: VerificationResult, limit: int
) -> tuple[Int64[np.ndarray, " rejects"], Int64[np.ndarray, " accepts"]]:
    """The worst wrong decisions: false rejects from the largest distance, false accepts from the smallest.

    Args:
        result: an evaluation; each pair was tested at its own fold's threshold.
        limit: at most so many of each kind.

    Returns:
        Positions in `result.pair`, `result.distance` ...; fewer than `limit` where fewer errors were made.
    """
    accept = result.distance <= result.threshold
    by_distance = np.argsort(result.distance, kind="stable")
    rejects = by_distance[::-1][(result.same & ~accept)[by_distance[::-1]]]
    accepts = by_distance[(~result.same & accept)[by_distance]]
    return rejects[:limit], accepts[:limit]


def _incomplete(pairs_lack_a: str, missing: Sequence[str], undetected: Sequence[str]) -> str:
    """Why pairs have no score, and what to do about it: an image that is there need not be added."""
    coverage = f"{option('allow-missing')} to get a number with its coverage beside it."
    if not undetected:
        return f"{pairs_lack_a} picture ({few_names(missing)}); add the pictures, or {coverage}"
    no_face = f"no face was found in {len(undetected):,} pictures that are there ({few_names(undetected)})"
    absent = f"{len(missing):,} pictures are missing ({few_names(missing)}), and " if missing else ""
    add = "add the missing ones, " if missing else ""
    middle = "say --undetected centre_crop to take their middle"
    return f"{pairs_lack_a} face: {absent}{no_face}; {add}{middle}, or {coverage}"


def few_names(names: Sequence[str]) -> str:
    """The first names and the number of the others, for a sentence."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    rest = len(names) - _NAMES_SHOWN
    return f"{shown} and {rest:,} more" if rest > 0 else shown or "names not given"


def _check_folds(same: np.ndarray, fold: np.ndarray) -> None:
    numbers = np.unique(fold)
    if numbers.size < 2:
        raise EvaluationError(
            f"thresholds are chosen on other folds, so two folds or more are needed, but the list has {numbers.size}; "
            "check its fold numbers."
        )
    for number in numbers:
        in_fold = same[fold == number]
        if in_fold.all() or not in_fold.any():
            raise EvaluationError(
                f"fold {number} has {int(in_fold.sum()):,} same and {int((~in_fold).sum()):,} different pairs, and "
                "needs both; check the list and the missing pictures."
            )
