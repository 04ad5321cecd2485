"""Identification against loops over probes and gallery, ties, worked cases, LFW's lists by rule."""

import math

import numpy as np
import pytest

from faces.errors import EvaluationError
from faces.evaluate import identification as ident
from faces.evaluate import scores


def crowd(seed: int, people: int = 9, d: int = 5, spread: float = 0.7):
    """Embeddings of any length with 1 to 4 pictures a person, in mixed order."""
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(people) * 3 + 7, rng.integers(1, 5, people)))
    centres = {person: rng.normal(size=d) for person in identity.tolist()}
    vectors = np.stack([centres[person] for person in identity.tolist()]) + spread * rng.normal(size=(identity.size, d))
    return (vectors * rng.uniform(0.5, 3, (identity.size, 1))).astype(np.float32), identity


def cosine(a, b) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def loop_search(probes, probe_identity, gallery, gallery_identity):
    """(mate, best other, rank) of each probe, by the definition."""
    rows = []
    for probe, person in zip(probes, probe_identity, strict=True):
        best: dict[int, float] = {}
        for entry, owner in zip(gallery, gallery_identity, strict=True):
            best[int(owner)] = max(best.get(int(owner), -math.inf), cosine(probe, entry))
        mate = best.pop(int(person), None)
        others = list(best.values())
        rank = 0 if mate is None else 1 + sum(score >= mate for score in others)
        rows.append((-math.inf if mate is None else mate, max(others), rank))
    return rows


@pytest.mark.parametrize("at_once", [1, 20, 2**22])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_search_is_the_loop(seed, at_once, monkeypatch):
    monkeypatch.setattr(ident, "SCORES_AT_ONCE", at_once)
    vectors, identity = crowd(seed)
    in_gallery = np.random.default_rng(seed).random(identity.size) < 0.5
    probes, gallery = (vectors[~in_gallery], identity[~in_gallery]), (vectors[in_gallery], identity[in_gallery])
    found = ident.search(*probes, *gallery)
    mate, best_other, rank = map(np.array, zip(*loop_search(*probes, *gallery), strict=True))
    np.testing.assert_allclose(found.mate, mate, atol=1e-12)
    np.testing.assert_allclose(found.best_other, best_other, atol=1e-12)
    np.testing.assert_array_equal(found.rank, rank)
    np.testing.assert_array_equal(found.is_mated, rank > 0)
    assert 0 < found.is_mated.sum() < rank.size


def test_ties_count_against_the_mate():
    gallery = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]])
    found = ident.search(np.array([[2.0, 0, 0]]), np.array([5]), gallery, np.array([5, 6, 7, 6]))
    assert found.rank.tolist() == [2] and found.mate.tolist() == [1.0] and found.best_other.tolist() == [1.0]


def test_a_gallery_of_one_person():
    found = ident.search(np.eye(2), np.array([1, 2]), np.eye(2)[:1], np.array([1]))
    assert found.rank.tolist() == [1, 0] and found.best_other.tolist() == [-math.inf, 0.0]


def test_cmc_by_hand():
    np.testing.assert_array_equal(ident.cmc(np.array([1, 3, 1, 7]), 4), [0.5, 0.5, 0.75, 0.75])
    with pytest.raises(EvaluationError, match="ranks need a mate for every probe"):
        ident.cmc(np.array([1, 0]), 4)


def loop_dir(found, far, within):
    """The loosest of all thresholds at a score, or just above, that keeps the rate; and DIR there."""
    unmated = found.best_other[~found.is_mated]
    candidates = [-math.inf, *(math.nextafter(score, math.inf) for score in unmated)]
    threshold = min(t for t in candidates if sum(score >= t for score in unmated) / unmated.size <= far)
    hits = [
        mate >= threshold and rank <= within
        for mate, rank, mated in zip(found.mate, found.rank, found.is_mated, strict=True)
        if mated
    ]
    return threshold, sum(score >= threshold for score in unmated) / unmated.size, sum(hits) / len(hits)


@pytest.mark.parametrize("within", [1, 3])
@pytest.mark.parametrize("far", [0.0, 0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("tied", [False, True])
def test_open_set_is_the_loop(tied, far, within):
    rng = np.random.default_rng(3)
    is_mated = rng.random(60) < 0.5
    mate, best_other = np.where(is_mated, rng.normal(0.3, 0.3, 60), -np.inf), rng.normal(0, 0.3, 60)
    if tied:
        mate, best_other = np.round(mate, 1), np.round(best_other, 1)
    rank = np.where(is_mated, np.where(mate > best_other, 1, rng.integers(2, 6, 60)), 0)
    found = ident.Search(is_mated, mate, best_other, rank)
    point = ident.open_set_point(found, far, within)
    assert (point.threshold, point.far, point.dir) == loop_dir(found, far, within)


def test_open_set_needs_both_kinds():
    mated = ident.Search(np.ones(2, bool), np.ones(2), np.zeros(2), np.ones(2, np.int64))
    with pytest.raises(EvaluationError, match="2 probes have a mate in the gallery and 0 have none"):
        ident.open_set_point(mated, 0.01)


@pytest.mark.parametrize(
    ("rate", "comparisons", "count"),
    [
        (1e-3, 3000, 3),
        (1e-3, 2999, 2),
        (1e-6, 999_999, 0),
        (1e-6, 3_530_000_000, 3530),
        (0.1, 30, 3),
        (0.7, 10, 7),
        (1.0, 7, 7),
        (0.0, 7, 0),
    ],
)
def test_allowed_accepts(rate, comparisons, count):
    assert scores.allowed_accepts(rate, comparisons) == count


def test_threshold_from_the_highest_scores_alone():
    wrong = np.random.default_rng(4).normal(size=1000).astype(np.float32)
    highest = np.sort(wrong)[::-1][:11]
    assert scores.threshold_at_rate(highest, 1000, 0.01) == scores.threshold_at_rate(wrong, 1000, 0.01)
    with pytest.raises(EvaluationError, match=r"needs the 11 highest scores, but 10 were kept"):
        scores.threshold_at_rate(highest[:10], 1000, 0.01)


LFW = ["Ann", "Ann", "Bo", "Cy", "Cy", "Cy", "Di"]


def test_lists_of_lfw_by_rule():
    closed = ident.lfw_closed_set(LFW)
    assert (closed.gallery.tolist(), closed.genuine.tolist(), closed.impostors.tolist()) == (
        [0, 2, 3, 6],
        [1, 4, 5],
        [],
    )
    opened = ident.lfw_open_set(LFW)
    assert opened.gallery.tolist() == [0, 3] and opened.genuine.tolist() == [1, 4, 5]
    assert opened.impostors.tolist() == [2, 6]


def test_lfw_by_hand():
    east, north, west, up = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([-1.0, 0, 0]), np.array([0, 0, 1.0])
    # Ann's second picture is nearer to Bo, who is in the gallery of the closed set only.
    embeddings = np.stack([east, 0.5 * east + north, north, west, west, west + 0.1 * up, up])
    result = ident.evaluate_lfw_identification(embeddings, LFW, fars=(0.0, 0.5), up_to=3)
    assert result.closed == (4, 3) and result.open == (2, 3, 2)
    np.testing.assert_allclose(result.cmc, [2 / 3, 1, 1])
    assert result.rank_1 == pytest.approx(2 / 3)
    assert [point.dir for point in result.open_set] == [1.0, 1.0]
    assert all(point.threshold > 0 for point in result.open_set[:1])


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_embeddings_without_direction(value):
    gallery = np.ones((3, 2), np.float32)
    gallery[1] = value
    with pytest.raises(EvaluationError, match="1 of 3 gallery embeddings are zero or not finite, the first is row 1"):
        ident.search(np.ones((1, 2), np.float32), np.array([0]), gallery, np.arange(3))
    with pytest.raises(EvaluationError, match="0 probes and a gallery of 3"):
        ident.search(np.ones((0, 2), np.float32), np.array([], int), np.ones((3, 2)), np.arange(3))
