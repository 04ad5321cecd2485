"""Identification: whose image is this, among the people of a gallery, or of nobody in it.

A probe is compared with everyone in the gallery, a person's score being that of the person's best image there. Closed
set: every probe's person, its mate, is in the gallery; the rank of the mate gives the cumulative match characteristic.
Open set: some probes have no mate; a threshold on the best score keeps the share of them that is taken for somebody
(FAR, also FPIR) at 1%, and the detection and identification rate (DIR, also TPIR) is the share of the others that are
above it and ranked first. Scores are cosines, in float64. A score that equals the mate's counts against the mate.

Not here: galleries of a million (`megaface.py`), templates of many images (`ijb.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from faces.errors import EvaluationError
from faces.evaluate.scores import threshold_at_rate
from faces.unit import unit_rows

SCORES_AT_ONCE = 2**22
"""Cosines of probes with the gallery that are held at a time."""


@dataclass(frozen=True)
class Search:
    """Every probe against the gallery.

    Args:
        is_mated: whether the probe's person is in the gallery, (probes,).
        mate: score of that person, -inf where there is none, (probes,).
        best_other: highest score of any other person, -inf where there is none, (probes,).
        rank: 1 + the number of other people who score at least as high as the mate; 0 where there is no mate,
            (probes,).
    """

    is_mated: Bool[np.ndarray, " probes"]
    mate: Float64[np.ndarray, " probes"]
    best_other: Float64[np.ndarray, " probes"]
    rank: Int64[np.ndarray, " probes"]


def search(
    probes: Float[np.ndarray, "probes d"],
    probe_identity: Int[np.ndarray, " probes"],
    gallery: Float[np.ndarray, "gallery d"],
    gallery_identity: Int[np.ndarray, " gallery"],
) -> Search:
    """Compare every probe with every person of the gallery, in blocks of about 4 million scores.

    Args:
        probes, gallery: embeddings of any length.
        probe_identity, gallery_identity: whose they are; the gallery may hold several of one person.

    Raises:
        EvaluationError: an empty side; an embedding that is zero or not finite.
    """
    if not len(probes) or not len(gallery):
        raise EvaluationError(f"{len(probes):,} probes and a gallery of {len(gallery):,}: identification needs both.")
    order = np.argsort(gallery_identity, kind="stable")
    people, start = np.unique(gallery_identity[order], return_index=True)  # (people,) each
    columns = unit_rows(gallery.astype(np.float64), "gallery")[order]
    rows = unit_rows(probes.astype(np.float64), "probes'")
    place = np.minimum(np.searchsorted(people, probe_identity), people.size - 1)  # (probes,)
    is_mated = people[place] == probe_identity

    mate, best_other = np.full(len(rows), -np.inf), np.full(len(rows), -np.inf)  # (probes,) each
    rank = np.zeros(len(rows), np.int64)  # (probes,)
    step = max(1, SCORES_AT_ONCE // len(columns))
    for begin in range(0, len(rows), step):
        block = slice(begin, min(begin + step, len(rows)))
        score = np.maximum.reduceat(rows[block] @ columns.T, start, axis=1)  # (block, people)
        mated = np.flatnonzero(is_mated[block])
        mate[begin + mated] = score[mated, place[block][mated]]
        score[mated, place[block][mated]] = -np.inf
        best_other[block] = score.max(axis=1)
        rank[begin + mated] = 1 + np.sum(score[mated] >= mate[begin + mated, None], axis=1)
    return Search(is_mated, mate, best_other, rank)


def cmc(rank: Int[np.ndarray, " probes"], up_to: int) -> Float64[np.ndarray, " ranks"]:
    """Cumulative match characteristic: the share of mated probes whose mate is among the first 1, 2 ... `up_to`.

    Args:
        rank: rank of each mated probe's mate, from 1.
        up_to: the last rank.

    Raises:
        EvaluationError: no mated probe.
    """
    if not rank.size or rank.min() < 1:
        raise EvaluationError("no probe, or one whose person is not in the gallery: ranks need a mate for every probe.")
    within = np.bincount(np.minimum(rank, up_to + 1), minlength=up_to + 2)[1 : up_to + 1]  # (ranks,)
    return np.cumsum(within) / rank.size


@dataclass(frozen=True)
class OpenSetPoint:
    """The open set at one false accept rate.

    Args:
        dir: share of mated probes at or above `threshold` whose mate is ranked high enough.
        far_target, far: the rate asked for, and the one met on the probes without a mate.
        threshold: the smallest cosine that is accepted.
    """

    dir: float
    far_target: float
    far: float
    threshold: float


def open_set_point(found: Search, far: float, within: int = 1) -> OpenSetPoint:
    """DIR at a false accept rate.

        FAR(t) = share of unmated probes with best score >= t,   DIR(t) = share of mated ones with mate >= t, rank <= k

    Args:
        found: a search whose probes have mates in part.
        far: the allowed share of unmated probes that are taken for somebody.
        within: k, 1 unless asked otherwise.

    Raises:
        EvaluationError: no mated probe, or no unmated one.
    """
    unmated = found.best_other[~found.is_mated]
    if not unmated.size or unmated.size == found.rank.size:
        raise EvaluationError(
            f"{found.rank.size - unmated.size:,} probes have a mate in the gallery and {unmated.size:,} have none; the "
            "open set needs both."
        )
    threshold, far_met = threshold_at_rate(unmated, unmated.size, far)
    is_found = (found.mate >= threshold) & (found.rank <= within)
    return OpenSetPoint(float(np.mean(is_found[found.is_mated])), far, far_met, threshold)


@dataclass(frozen=True)
class GalleryAndProbes:
    """Rows of images for identification; a closed set has no `impostors`.

    Args:
        gallery: one image a person.
        genuine: probes of the gallery's people.
        impostors: probes of nobody in it.
    """

    gallery: Int64[np.ndarray, " gallery"]
    genuine: Int64[np.ndarray, " genuine"]
    impostors: Int64[np.ndarray, " impostors"]


def lfw_closed_set(people: Sequence[str]) -> GalleryAndProbes:
    """Closed set on LFW: everybody's first image is the gallery, every other image a probe.

    CHOICE: by rule, since the lists behind published figures are not part of LFW; compare these numbers with each
    other, not with those.

    Args:
        people: name of each image's person; images in the order of their numbers.
    """
    first = _first_pictures(people)
    return GalleryAndProbes(first, np.setdiff1d(np.arange(len(people)), first), np.array([], np.int64))


def lfw_open_set(people: Sequence[str]) -> GalleryAndProbes:
    """Open set on LFW: the gallery is the first image of everybody with two or more, genuine probes are their other
    images, impostors all people with one image.

    CHOICE: by rule, as `lfw_closed_set`.

    Args:
        people: name of each image's person; images in the order of their numbers.
    """
    first = _first_pictures(people)
    _, number, pictures = np.unique(np.array(people), return_inverse=True, return_counts=True)
    has_more = pictures[number[first]] > 1
    others = np.setdiff1d(np.arange(len(people)), first)
    return GalleryAndProbes(first[has_more], others, first[~has_more])


def _first_pictures(people: Sequence[str]) -> np.ndarray:
    """Row of each person's first image, ascending, (people,)."""
    return np.sort(np.unique(np.array(people), return_index=True)[1]).astype(np.int64)


@dataclass(frozen=True)
class IdentificationResult:
    """Closed and open set of one list of images.

    Args:
        closed: sizes of gallery, probes.
        cmc: of the closed set, from rank 1.
        open: sizes of gallery, genuine probes, impostors.
        open_set: DIR at each rate asked for.
    """

    closed: tuple[int, int]
    cmc: Float64[np.ndarray, " ranks"]
    open: tuple[int, int, int]
    open_set: tuple[OpenSetPoint, ...]

    @property
    def rank_1(self) -> float:
        """Share of the closed set's probes whose mate comes first."""
        return float(self.cmc[0])


def evaluate_lfw_identification(
    embeddings: Float[np.ndarray, "pictures d"],
    people: Sequence[str],
    fars: Sequence[float] = (0.01,),
    up_to: int = 20,
) -> IdentificationResult:
    """Rank 1 and CMC on the closed set of LFW, DIR at FAR 1% on the open set; lists by rule, see the two functions.

    Args:
        embeddings: one row an image.
        people: name of each image's person; images in the order of their numbers.
        fars: false accept rates of the open set.
        up_to: last rank of the CMC.

    Raises:
        EvaluationError: no person has two images, or everybody has; an embedding that is zero or not finite.
    """
    identity = np.unique(np.array(people), return_inverse=True)[1]  # (images,)
    closed, opened = lfw_closed_set(people), lfw_open_set(people)

    def searched(lists: GalleryAndProbes) -> Search:
        probes = np.concatenate([lists.genuine, lists.impostors])
        return search(embeddings[probes], identity[probes], embeddings[lists.gallery], identity[lists.gallery])

    open_search = searched(opened)
    return IdentificationResult(
        (closed.gallery.size, closed.genuine.size),
        cmc(searched(closed).rank, up_to),
        (opened.gallery.size, opened.genuine.size, opened.impostors.size),
        tuple(open_set_point(open_search, far) for far in fars),
    )
