"""Search among distractors against loops over every score; the rules for wrong pictures."""

import math

import numpy as np
import pytest

from faces.errors import EvaluationError
from faces.evaluate import megaface
from tests.faces.evaluate.test_identification import cosine


def sets_of(seed: int, d: int = 6):
    """Probes of 1 to 4 pictures a person, in mixed order, and 40 distractors."""
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(6), [1, 2, 3, 4, 2, 1]))
    centres = rng.normal(size=(6, d))
    probes = (centres[identity] + 0.5 * rng.normal(size=(identity.size, d))) * rng.uniform(0.5, 2, (identity.size, 1))
    return probes.astype(np.float32), identity, rng.normal(size=(40, d)).astype(np.float32)


def loops(probes, identity, distractors, far, fpr, up_to):
    """Ranks, TAR and TPR trial by trial."""
    against = [[cosine(probe, one) for one in distractors] for probe in probes]
    trials = [
        (i, cosine(probes[i], probes[j]))
        for i in range(len(probes))
        for j in range(len(probes))
        if i != j and identity[i] == identity[j]
    ]
    ranks = [1 + sum(score >= match for score in against[i]) for i, match in trials]
    curve = [sum(rank <= k for rank in ranks) / len(ranks) for k in range(1, up_to + 1)]

    def loosest(wrong, rate):
        cuts = [-math.inf, *sorted(wrong)]
        return min(cut for cut in cuts if sum(score > cut for score in wrong) / len(wrong) <= rate)

    cut = loosest([score for row in against for score in row], far)
    tar = sum(match > cut for _, match in trials) / len(trials)
    mated = sorted({i for i, _ in trials})
    cut = loosest([max(against[i]) for i in mated], fpr)
    tpr = sum(match > cut and rank == 1 for (_, match), rank in zip(trials, ranks, strict=True)) / len(trials)
    return curve, tar, tpr, len(trials)


@pytest.mark.parametrize("at_once", [4, 4096])
@pytest.mark.parametrize(("seed", "far", "fpr"), [(0, 0.0, 0.0), (1, 0.01, 0.2), (2, 0.1, 0.5), (3, 1.0, 1.0)])
def test_evaluation_is_the_loop(seed, far, fpr, at_once, monkeypatch):
    monkeypatch.setattr(megaface.gallery, "PROBES_AT_ONCE", at_once)
    probes, identity, distractors = sets_of(seed)
    blocks = [distractors[:1], distractors[1:23], distractors[23:]]
    scores = megaface.distractor_scores(probes, iter(blocks), 40, far, up_to=5)
    result = megaface.evaluate_distractors(probes, identity, scores, far, fpr)
    curve, tar, tpr, trials = loops(probes, identity, distractors, far, fpr, 5)
    np.testing.assert_allclose(result.cmc, curve, atol=1e-12)
    assert (result.tar, result.tpr, result.trials) == (pytest.approx(tar), pytest.approx(tpr), trials)
    assert result.far <= far and result.fpr <= fpr and result.without_mate == 2
    assert result.rank_1 == curve[0] and (far == 1.0) == (result.threshold == -math.inf)


def test_by_hand():
    probes = np.array([[1.0, 0], [4, 3], [0, 1]], np.float32)  # cosines 0.8 (two of one person), 0 and 0.6
    distractors = np.array([[1.0, 0.05], [-1, 0]], np.float32)
    scores = megaface.distractor_scores(probes, [distractors], 2, far=0.2)
    np.testing.assert_allclose(scores.best[0, :2], [0.99875, -1], atol=1e-4)
    assert (scores.best[:, 2:] == -np.inf).all() and scores.top.size == 2
    result = megaface.evaluate_distractors(probes, np.array([7, 7, 8]), scores, far=0.2)
    # 1 of 6 false accepts passes: the threshold is above 0.829 (the second with the first distractor).
    np.testing.assert_allclose(result.cmc[:2], [0.0, 1.0])
    assert (
        result.tar == 0.0 and result.far == pytest.approx(1 / 6) and result.threshold == pytest.approx(0.829, abs=1e-3)
    )
    assert result.without_mate == 1 and result.trials == 2


def test_rate_of_identification_is_of_probes_with_a_mate():
    probes = np.array([[1, 0, 0], [1, 0.5, 0], [0, 0, 1]], np.float32)
    scores = megaface.distractor_scores(probes, [np.array([[0, 0, 1]], np.float32)], 1, far=0.0)
    result = megaface.evaluate_distractors(probes, np.array([4, 4, 5]), scores, far=0.0, fpr=0.0)
    assert result.tpr == 1.0 and result.tar == 0.0  # the distractor looks like the one without a mate


def test_distractors_left_out_count_as_refused():
    probes, identity, distractors = sets_of(4)
    far = 0.1
    fewer = megaface.distractor_scores(probes, [distractors[:10]], 40, far)
    assert fewer.distractors == 40
    result = megaface.evaluate_distractors(probes, identity, fewer, far)
    # 13 probes x 40 x 0.1 = 52 of the 130 scores may pass.
    cosines = sorted((cosine(p, one) for p in probes for one in distractors[:10]), reverse=True)
    assert result.threshold == pytest.approx(cosines[52], abs=1e-6) and result.far == pytest.approx(0.1)
    fewer = megaface.distractor_scores(probes, [distractors[:10]], 40, far=0.5)
    result = megaface.evaluate_distractors(probes, identity, fewer, far=0.5)
    assert result.far == 0.25 and result.tar == 1.0  # more may pass than came


def test_refusals():
    probes, identity, distractors = sets_of(5)
    with pytest.raises(EvaluationError, match="39 distractors were announced and 40 came"):
        megaface.distractor_scores(probes, [distractors], 39)
    with pytest.raises(EvaluationError, match="13 probes and a gallery of 0"):
        megaface.distractor_scores(probes, [], 40)
    scores = megaface.distractor_scores(probes, [distractors], 40, far=0.01)
    with pytest.raises(EvaluationError, match=r"false accept rate of 0\.1 over 520 comparisons needs the 53 highest"):
        megaface.evaluate_distractors(probes, identity, scores, far=0.1)
    with pytest.raises(EvaluationError, match="none of 13 probes' people has a second picture"):
        megaface.evaluate_distractors(probes, np.arange(13), scores, far=0.01)
    distractors[3] = 0
    with pytest.raises(EvaluationError, match="row 3 of the gallery, counted from 0, is an embedding that is zero"):
        megaface.distractor_scores(probes, [distractors], 40)


def test_insightfaces_rule_replaces_wrong_probes():
    probes, identity, _ = sets_of(6)
    is_noisy = np.zeros(13, bool)
    person = 3
    own = np.flatnonzero(identity == person)
    is_noisy[own[:2]] = True
    replaced = megaface.replace_noisy_probes(probes, identity, is_noisy, seed=1)
    np.testing.assert_array_equal(replaced[~is_noisy], probes[~is_noisy])
    total = probes[own[2:]].astype(np.float64).sum(axis=0)
    for row in own[:2]:
        assert np.linalg.norm(replaced[row]) == pytest.approx(1, abs=1e-6)
        noise = replaced[row] / (replaced[row] @ total) * (total @ total) - total
        assert 0 < np.abs(noise).max() < 0.01
    assert not np.array_equal(replaced[own[0]], replaced[own[1]])
    is_noisy[own] = True
    with pytest.raises(EvaluationError, match="every picture of person 3 is listed as wrong"):
        megaface.replace_noisy_probes(probes, identity, is_noisy, seed=1)


@pytest.mark.parametrize(("rule", "kept", "distractors"), [("keep", 13, 40), ("drop", 11, 37), ("insightface", 13, 40)])
def test_rules_for_wrong_pictures(rule, kept, distractors):
    probes, identity, _ = sets_of(7)
    noisy = np.isin(np.arange(13), np.flatnonzero(identity == 3)[:2])
    features, people, count = megaface.apply_noise_rule(rule, probes, identity, noisy, np.arange(40) < 3)
    assert (len(features), people.size, count) == (kept, kept, distractors)
    changed = rule == "insightface"
    if rule != "drop":
        assert np.array_equal(features[noisy], probes[noisy]) != changed
        np.testing.assert_array_equal(features[~noisy], probes[~noisy])
