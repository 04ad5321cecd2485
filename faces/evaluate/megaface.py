"""MegaFace and Trillion-Pairs: a few images of some people among a million distractors (ArcFace, Sec. 3.3).

Identification: each image of a person searches a gallery of one other image of that person and all distractors,
once for each such other image; its rank is 1 + the number of distractors that score at least as high. So all that is
needed of the distractors is each probe's highest scores. Verification: pairs of images of one person against all
pairs of an image and a distractor; at a false accept rate of 1e-6 over billions of pairs only the few thousand highest
scores matter. Distractors come in blocks, and memory is that of a block, whatever their number.
Trillion-Pairs asks for verification at 1e-9, and for identification at a threshold that one probe in 1,000 passes with
a distractor.

Not here: the search itself (`faces.gallery`), feature files and lists (`faces.data.megaface`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from faces import gallery
from faces.errors import EvaluationError
from faces.evaluate.scores import allowed_accepts, threshold_at_rate
from faces.unit import unit_rows

NoiseRule = Literal["keep", "drop", "insightface"]
"""What becomes of images that a list names as wrong: nothing; they are left out, probes and distractors alike; or
InsightFace's rule (`replace_noisy_probes`, and distractors that can match nobody but are counted)."""
NOISE_RULES: tuple[NoiseRule, ...] = get_args(NoiseRule)


@dataclass(frozen=True)
class DistractorScores:
    """What of all probe-distractor scores is kept.

    Args:
        best: each probe's highest, descending, -inf where there are fewer distractors, (probes, kept).
        top: the highest of all, in any order, (top,).
        distractors: how many count as compared.
    """

    best: Float32[np.ndarray, "probes kept"]
    top: Float32[np.ndarray, " top"]
    distractors: int


def distractor_scores(
    probes: Float[np.ndarray, "probes d"],
    blocks: Iterable[Float[np.ndarray, "_ d"]],
    distractors: int,
    far: float = 1e-6,
    up_to: int = 10,
) -> DistractorScores:
    """Compare every probe with every distractor, in one pass over the blocks (`faces.gallery`).

    Args:
        probes: embeddings of any length.
        blocks: the distractors' embeddings.
        distractors: how many there are; those that `blocks` leaves out count as compared and never matching.
        far: the false accept rate that `top` must be long enough for.
        up_to: scores kept for each probe.

    Raises:
        EvaluationError: more distractors than stated; as `faces.gallery.search`.
    """
    wanted = allowed_accepts(far, len(probes) * distractors) + 1
    found = gallery.search(probes, blocks, up_to, wanted, block=min(gallery.BLOCK, distractors))
    if found.rows > distractors:
        raise EvaluationError(f"{distractors:,} distractors were announced and {found.rows:,} came; check their list.")
    refused = len(probes) * (distractors - found.rows)  # pairs with distractors that were left out
    filling = np.full(min(wanted - found.highest.size, refused), -np.inf, np.float32)
    return DistractorScores(found.score, np.concatenate([found.highest, filling]), distractors)


@dataclass(frozen=True)
class DistractorResult:
    """Identification and verification among distractors.

    Args:
        cmc: share of (probe, other image) trials in which the image is among the first 1, 2 ...
        trials: how many; `positive_pairs` is half of it.
        without_mate: probes whose person has no other image; they count in the false accepts of verification only.
        far_target, far, tar, threshold: verification: the rate asked for and met, the share of pairs of one person that
            pass, the smallest cosine that passes.
        fpr_target, fpr, tpr: identification at a threshold: the share of probes with a mate that some distractor passes
            with, asked for and met, and the share of trials at rank 1 above that threshold.
    """

    cmc: Float64[np.ndarray, " ranks"]
    trials: int
    without_mate: int
    far_target: float
    far: float
    tar: float
    threshold: float
    fpr_target: float
    fpr: float
    tpr: float

    @property
    def rank_1(self) -> float:
        """Share of trials in which no distractor scores as high as the person's other image."""
        return float(self.cmc[0])


def evaluate_distractors(
    probes: Float[np.ndarray, "probes d"],
    identity: Int[np.ndarray, " probes"],
    scores: DistractorScores,
    far: float = 1e-6,
    fpr: float = 1e-3,
) -> DistractorResult:
    """MegaFace's rank 1 and TAR at FAR 1e-6; Trillion-Pairs' TPR at FPR 1e-3, and with `far` 1e-9 its verification.

    Args:
        probes: embeddings, as given to `distractor_scores`.
        identity: whose image each is.
        scores: of `distractor_scores`, with a `far` no smaller than this one.
        far: false accept rate of verification, over all pairs of a probe and a distractor.
        fpr: false positive rate of identification, over probes.

    Raises:
        EvaluationError: nobody has two images; too few scores were kept for `far`.
    """
    unit = unit_rows(probes.astype(np.float32), "probes'")
    up_to = scores.best.shape[1]
    match: list[np.ndarray] = []  # cosine of each trial, by person
    rank: list[np.ndarray] = []  # and the rank of the other image, up_to + 1 where it comes later
    probe: list[np.ndarray] = []  # the trial's probe
    without_mate = 0
    for person in np.unique(identity):
        own = np.flatnonzero(identity == person)
        if own.size == 1:
            without_mate += 1
            continue
        i, j = np.nonzero(~np.eye(own.size, dtype=bool))
        match.append((unit[own] @ unit[own].T)[i, j])
        probe.append(own[i])
        rank.append(1 + np.sum(scores.best[own[i]] >= match[-1][:, None], axis=1))
    if not match:
        raise EvaluationError(f"none of {len(probes):,} probes' people has a second picture; there is nothing to find.")
    mate, ranks = np.concatenate(match), np.concatenate(rank)  # (trials,) each
    comparisons = len(probes) * scores.distractors
    threshold, far_met = threshold_at_rate(scores.top, comparisons, far)
    mated = np.unique(np.concatenate(probe))
    id_threshold, fpr_met = threshold_at_rate(scores.best[mated, 0], mated.size, fpr)
    within = np.bincount(ranks, minlength=up_to + 2)[1 : up_to + 1]  # (ranks,)
    return DistractorResult(
        cmc=np.cumsum(within) / mate.size,
        trials=mate.size,
        without_mate=without_mate,
        far_target=far,
        far=far_met,
        tar=float(np.mean(mate >= threshold)),
        threshold=threshold,
        fpr_target=fpr,
        fpr=fpr_met,
        tpr=float(np.mean((ranks == 1) & (mate >= id_threshold))),
    )


def replace_noisy_probes(
    features: Float[np.ndarray, "probes d"],
    identity: Int[np.ndarray, " probes"],
    is_noisy: Bool[np.ndarray, " probes"],
    seed: int,
) -> Float32[np.ndarray, "probes d"]:
    """InsightFace's rule for wrong images among the probes: a feature of the person instead of the image's.

    Each noisy feature becomes the sum of the person's clean ones plus uniform noise in [-0.001, 0.001], at length 1.
    That is nearer to the person's images than any image, so the rule raises the score: published figures of
    InsightFace with it are not figures of fewer probes. Its distractors' part gives wrong ones a further component of
    100, far from everything: leave them out of the blocks, and count them in `distractors`.

    Args:
        features: as stored, of length 1.
        identity: whose image each is.
        is_noisy: which images are wrong.
        seed: of the noise.

    Raises:
        EvaluationError: a person without a clean image.

    Source: InsightFace's remove_noises.py.
    """
    rng = np.random.default_rng(seed)
    replaced = features.astype(np.float32)
    for person in np.unique(identity[is_noisy]):
        own = identity == person
        clean = features[own & ~is_noisy].astype(np.float64)
        if not len(clean):
            raise EvaluationError(f"every picture of person {person} is listed as wrong; leave that person out.")
        rows = np.flatnonzero(own & is_noisy)
        changed = clean.sum(axis=0)[None] + rng.uniform(-0.001, 0.001, (rows.size, features.shape[1]))
        replaced[rows] = changed / np.linalg.norm(changed, axis=1, keepdims=True)
    return replaced


def apply_noise_rule(
    rule: NoiseRule,
    probes: Float[np.ndarray, "probes d"],
    identity: Int[np.ndarray, " probes"],
    noisy_probes: Bool[np.ndarray, " probes"],
    noisy_distractors: Bool[np.ndarray, " distractors"],
    seed: int = 0,
) -> tuple[Float[np.ndarray, "kept d"], Int[np.ndarray, " kept"], int]:
    """Probes under a rule for wrong images, and how many distractors count.

    Args:
        rule: see `NoiseRule`.
        probes, identity: features of FaceScrub and whose they are.
        noisy_probes, noisy_distractors: what the lists name as wrong.
        seed: of InsightFace's noise.

    Returns:
        Probes, their people, and `distractors` for `distractor_scores`. Unless the rule is "keep", the blocks given to
        it leave the noisy distractors out.
    """
    match rule:
        case "keep":
            return probes, identity, noisy_distractors.size
        case "drop":
            return probes[~noisy_probes], identity[~noisy_probes], int(np.sum(~noisy_distractors))
        case "insightface":
            return replace_noisy_probes(probes, identity, noisy_probes, seed), identity, noisy_distractors.size
