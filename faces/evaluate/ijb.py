"""IJB-B and IJB-C: people known by templates of several images and videos, 1:1 and 1:N (ArcFace, Sec. 3.3).

A template's feature is the sum over its media of the mean over each media's faces, at length 1: a video of 300 frames
counts as much as one image. Features of faces enter with the length that the network gives them, which grows with
the quality of the face, and may be weighted by the detector's score. Two templates are compared by their cosine.

DEVIATION D03: the paper takes the plain centre of all faces of a template, which `centre="faces"` without scores is.
The above is what its authors' code does, which made the numbers that are published for their models.

Not here: the files (`faces.data.ijb`), embedding, the search in a gallery (`identification.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from faces.errors import EvaluationError
from faces.evaluate import metrics
from faces.evaluate.identification import OpenSetPoint, cmc, open_set_point, search
from faces.unit import unit_rows

Centre = Literal["media", "faces"]
"""Of which things a template's feature is the mean: of its media, each the mean of its faces, or of all its faces."""
CENTRES: tuple[Centre, ...] = get_args(Centre)

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FACES_AT_ONCE = 2**16
"""Faces whose embeddings are weighted and summed at a time."""
PAIRS_AT_ONCE = 100_000
"""Pairs of templates that are compared at a time."""


def template_features(
    embeddings: Float[np.ndarray, "faces d"],
    template: Int[np.ndarray, " faces"],
    media: Int[np.ndarray, " faces"],
    score: Float[np.ndarray, " faces"] | None = None,
    *,
    keep_length: bool = True,
    centre: Centre = "media",
) -> tuple[Int64[np.ndarray, " templates"], Float64[np.ndarray, "templates d"]]:
    """One unit feature a template.

        feature = sum over media m of (1 / |m|) sum over faces i in m of score_i x_i,  divided by its length
        feature = sum over faces i of score_i x_i,  divided by its length     (centre = "faces")

    Args:
        embeddings: one row a face, with the length that the network gives (image and mirror added, if flipped).
        template, media: numbers of each face's template and media; one media may be in several templates.
        score: the detector's, as a weight; every face weighs the same where it is not given.
        keep_length: use embeddings as they are; otherwise each is brought to length 1 first.
        centre: whether a media counts once, or as often as it has faces.

    Returns:
        Numbers of the templates, ascending, and their features.

    Raises:
        EvaluationError: an embedding that is not finite, or zero where it must have length 1; a template whose sum is
            zero.

    Source: InsightFace's evaluation of IJB, whose options are N (length), D (detector score) and F (flip); ArcFace,
    Sec. 3.3, for the plain centre.
    """
    groups, group, faces = np.unique(  # distinct (template, media), sorted; that of each face; faces of each
        np.stack([template, media], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    features = np.zeros((len(groups), embeddings.shape[1]))  # (groups, d)
    for start in range(0, len(embeddings), FACES_AT_ONCE):
        part = slice(start, start + FACES_AT_ONCE)
        weighted = embeddings[part].astype(np.float64)  # (faces at once, d)
        broken = np.flatnonzero(~np.isfinite(weighted).all(axis=1))
        if broken.size:
            raise EvaluationError(
                f"the embedding of face {start + broken[0]:,} of {len(embeddings):,}, counted from 0, is not finite; "
                "check the weights and the images' normalisation."
            )
        if not keep_length:
            weighted = unit_rows(weighted, "faces'", np.arange(start, start + len(weighted)))
        if score is not None:
            weighted = weighted * score[part, None]
        np.add.at(features, group.reshape(-1)[part], weighted)
    if centre == "media":
        features /= faces[:, None]
    numbers, start = np.unique(groups[:, 0], return_index=True)  # (templates,) each
    return numbers.astype(np.int64), unit_rows(np.add.reduceat(features, start, axis=0), "templates'")


def template_rows(
    numbers: Int[np.ndarray, " templates"], wanted: Int[np.ndarray, " wanted"]
) -> Int64[np.ndarray, " wanted"]:
    """Rows of templates by their numbers.

    Args:
        numbers: of the features' rows, ascending.
        wanted: numbers to find.

    Raises:
        EvaluationError: a template without a face.
    """
    rows = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    lost = np.unique(wanted[numbers[rows] != wanted])
    if lost.size:
        raise EvaluationError(
            f"{lost.size:,} templates of the list have no face, the first is {lost[0]}; the lists and the faces belong "
            "to different sets, or faces are missing."
        )
    return rows.astype(np.int64)


@dataclass(frozen=True)
class VerificationPoint:
    """1:1 at one false accept rate.

    Args:
        far_target, far: the rate asked for, and the one met.
        tar: share of the pairs of one person that are accepted.
        threshold: the smallest cosine that is accepted.
    """

    far_target: float
    far: float
    tar: float
    threshold: float


@dataclass(frozen=True)
class IjbVerification:
    """1:1 over a list of pairs of templates.

    Args:
        points: one for each rate asked for.
        auc: area under the ROC.
        same_pairs, different_pairs: pairs of one person, of two.
        similarity: cosine of each pair, (pairs,).
    """

    points: tuple[VerificationPoint, ...]
    auc: float
    same_pairs: int
    different_pairs: int
    similarity: Float64[np.ndarray, " pairs"]


def verify_templates(
    numbers: Int[np.ndarray, " templates"],
    features: Float[np.ndarray, "templates d"],
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
    same: Bool[np.ndarray, " pairs"],
    fars: Sequence[float] = FARS,
) -> IjbVerification:
    """TAR at FAR over all pairs together; there are no folds.

    CHOICE: TAR at the loosest threshold whose FAR is at most the one asked for, as everywhere here; InsightFace takes
    the point of the ROC whose FAR is nearest, which may lie above.

    Args:
        numbers, features: of `template_features`.
        first, second: numbers of each pair's templates.
        same: whether both are of one person.
        fars: false accept rates.

    Raises:
        EvaluationError: a template without a face; only one kind of pair; a rate outside [0, 1].
    """
    bad = [far for far in fars if not 0.0 <= far <= 1.0]
    if bad:
        raise EvaluationError(f"a false accept rate lies between 0 and 1, but {bad[0]} was asked for.")
    rows, columns = template_rows(numbers, first), template_rows(numbers, second)
    similarity = np.empty(len(rows))  # (pairs,)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        similarity[part] = np.einsum("pd,pd->p", features[rows[part]], features[columns[part]])
    roc = metrics.roc_curve(-similarity, same)
    points = []
    for far in fars:
        at = metrics.val_at_far(roc, far)
        points.append(VerificationPoint(far, at.far, at.val, -at.threshold))
    return IjbVerification(tuple(points), metrics.auc(roc), roc.same_pairs, roc.different_pairs, similarity)


@dataclass(frozen=True)
class IjbIdentification:
    """1:N against one gallery, or the mean of two.

    Args:
        cmc: share of mated probes whose mate is among the first 1, 2 ...
        open_set: TPIR (dir) at each FPIR (far) asked for; the mean of two galleries has thresholds and rates meaned.
        mated, unmated: probes with and without a mate, over all galleries.
    """

    cmc: Float64[np.ndarray, " ranks"]
    open_set: tuple[OpenSetPoint, ...]
    mated: int
    unmated: int


def identify_templates(
    numbers: Int[np.ndarray, " templates"],
    features: Float[np.ndarray, "templates d"],
    galleries: Sequence[tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]],
    probes: tuple[Int[np.ndarray, " probes"], Int[np.ndarray, " probes"]],
    fpirs: Sequence[float] = (0.1, 0.01),
    up_to: int = 10,
    within: int = 1,
) -> IjbIdentification:
    """Rank 1 to k and TPIR at FPIR, the mean over galleries.

    A probe whose person is not in a gallery is unmated there: with IJB's two galleries, which share no person, each
    gives the other its impostors. One gallery that joins both, which InsightFace's rank 1 is of, has no unmated probe;
    ask it for no FPIR.

    Args:
        numbers, features: of `template_features`.
        galleries: (templates, people) of each.
        probes: (templates, people).
        fpirs: false positive identification rates.
        up_to: last rank of the CMC.
        within: rank that a true positive must reach.

    Raises:
        EvaluationError: no gallery; a template without a face; a gallery without mated probes, or, where an FPIR is
            asked for, without unmated ones.
    """
    if not galleries:
        raise EvaluationError("identification needs a gallery, but none was given.")
    probe_features, people = features[template_rows(numbers, probes[0])], probes[1]
    curves, points, mated = [], [], 0
    for templates, owners in galleries:
        found = search(probe_features, people, features[template_rows(numbers, templates)], owners)
        curves.append(cmc(found.rank[found.is_mated], up_to))
        points.append([open_set_point(found, fpir, within) for fpir in fpirs])
        mated += int(found.is_mated.sum())
    means = [
        OpenSetPoint(
            float(np.mean([point.dir for point in same_rate])),
            same_rate[0].far_target,
            float(np.mean([point.far for point in same_rate])),
            float(np.mean([point.threshold for point in same_rate])),
        )
        for same_rate in zip(*points, strict=True)
    ]
    unmated = len(galleries) * len(people) - mated
    return IjbIdentification(np.mean(curves, axis=0), tuple(means), mated, unmated)
