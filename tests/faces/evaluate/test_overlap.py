"""Proposals against loops over all pairs of people and images, in float64; how often strangers reach a cosine."""

import numpy as np
import pytest

from faces import cluster
from faces.errors import EvaluationError
from faces.evaluate.overlap import (
    Embedded,
    cosines_of_strangers,
    embedded,
    person_centres,
    propose,
    strangers_of,
)
from faces.mesh import make_mesh


def a_set(seed: int, centres: np.ndarray, spread: float = 0.35) -> Embedded:
    """Images of people in mixed order, each person with one image or more."""
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.repeat(np.arange(len(centres)), rng.integers(1, 6, len(centres))))
    x = centres[people] + spread * rng.normal(size=(people.size, centres.shape[1]))
    return embedded(x * rng.uniform(0.5, 2, (people.size, 1)), people)


def two_sets(seed: int, d: int = 8) -> tuple[Embedded, Embedded]:
    rng = np.random.default_rng(100 + seed)
    centres = rng.normal(size=(30, d))
    return a_set(seed, centres[:20]), a_set(seed + 1, centres[rng.permutation(30)[:15]])


def by_loops(one: Embedded, other: Embedded, of_centres: float, of_images: float, also: set[tuple[int, int]]) -> dict:
    """By the definition: of each pair of people proposed the two scores and how many pairs of images reach theirs."""
    found = {}
    for a in range(one.count):
        for b in range(other.count):
            x, y = (part.embeddings[part.people == who].astype(np.float64) for part, who in ((one, a), (other, b)))
            x, y = (part / np.linalg.norm(part, axis=1)[:, None] for part in (x, y))
            cosines = [float(np.dot(u, v)) for u in x for v in y]
            mean = [part.mean(axis=0) / np.linalg.norm(part.mean(axis=0)) for part in (x, y)]
            centre = float(np.dot(*mean))
            if centre >= of_centres or max(cosines) >= of_images or (a, b) in also:
                found[a, b] = (centre, max(cosines), sum(cosine >= of_images for cosine in cosines))
    return found


@pytest.mark.parametrize(("seed", "of_centres", "of_images"), [(0, 0.8, 0.85), (1, 1.0, 0.8), (2, 0.7, 1.0)])
def test_proposals_are_those_of_the_loops(seed: int, of_centres: float, of_images: float, monkeypatch):
    monkeypatch.setattr(cluster, "TILE", 32)
    one, other = two_sets(seed)
    also = np.array([[3, 1], [0, 14], [3, 1]])
    found = propose(one, other, of_centres, of_images, also, make_mesh(4))
    expected = by_loops(one, other, of_centres, of_images, {(3, 1), (0, 14)})
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert sorted(pairs) == sorted(expected) and len(found) > 5
    scores = np.array([expected[pair] for pair in pairs])
    np.testing.assert_allclose(found.centre, scores[:, 0], atol=1e-6)
    np.testing.assert_allclose(found.best, scores[:, 1], atol=1e-6)
    np.testing.assert_array_equal(found.above, scores[:, 2])
    np.testing.assert_array_equal(one.people[found.image], found.first)
    np.testing.assert_array_equal(other.people[found.other], found.second)
    product = np.einsum("pd,pd->p", one.embeddings[found.image], other.embeddings[found.other])
    np.testing.assert_allclose(product, found.best, atol=1e-6)
    margin = np.maximum(found.centre - of_centres, found.best - of_images)
    assert (np.diff(margin) <= 0).all()


def test_nobody_is_proposed_and_too_many_are_refused(monkeypatch):
    one, other = two_sets(3)
    assert len(propose(one, other, 1.1, 1.1)) == 0
    monkeypatch.setattr("faces.evaluate.overlap.similar_pairs", lambda *args, **kwargs: cluster.similar_pairs(
        *args, **kwargs, most=3))  # fmt: skip
    with pytest.raises(EvaluationError, match="more than 3 pairs of"):
        propose(one, other, -1.0, -1.0)


def test_centres():
    rng = np.random.default_rng(0)
    x, people = rng.normal(size=(9, 4)), np.array([2, 0, 1, 2, 2, 0, 1, 1, 0])
    unit = x / np.linalg.norm(x, axis=1)[:, None]
    expected = np.stack([unit[people == who].mean(axis=0) for who in range(3)])
    expected /= np.linalg.norm(expected, axis=1)[:, None]
    np.testing.assert_allclose(person_centres(x, people, 3), expected, atol=1e-6)
    with pytest.raises(EvaluationError, match="people's mean embeddings are zero"):
        person_centres(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0, 0]), 1)


def test_strangers_are_never_one_person():
    people = np.random.default_rng(1).integers(0, 9, 60)
    x = np.eye(9)[people]
    cosines = cosines_of_strangers(x, people, 0)
    assert cosines.max() == 0 and cosines.size > 500
    few = cosines_of_strangers(x, people, 0, most=5)
    assert few.size == 25


@pytest.mark.parametrize(("mean", "deviation"), [(0.02, 0.1), (0.1, 0.06)])
def test_of_normal_cosines_the_tail_is_the_distributions(mean: float, deviation: float):
    """Of 200,000 pairs: shares that are counted, and shares far beyond what can be."""
    rng = np.random.default_rng(0)
    seen = strangers_of(rng.normal(mean, deviation, 150_000), rng.normal(mean, deviation, 50_000))
    assert seen is not None and seen.levels == (1e-2, 1e-3, 1e-4)
    for share, deviations in ((0.5, 0.0), (1e-3, 3.0902), (1e-6, 4.7534), (1e-9, 5.9978)):
        expected = mean + deviations * deviation
        assert abs(seen.cosine(share) - expected) < 0.12 * deviation * max(1.0, deviations - 2)
        assert share / 2 < seen.share(seen.cosine(share)) < 2 * share
    assert seen.cosine(1e-300) == 1.0 or seen.cosine(1e-300) > 0.8
    assert seen.reach(mean) == (seen.cosines >= np.float32(mean)).sum()


def test_a_few_people_under_two_names_do_not_move_the_cosine():
    rng = np.random.default_rng(2)
    clean = rng.normal(0.03, 0.09, 10**6)
    wrong = np.concatenate([clean, rng.normal(0.75, 0.05, 4)])
    one, other = strangers_of(clean), strangers_of(wrong)
    assert one is not None and other is not None
    assert abs(one.cosine(1e-8) - other.cosine(1e-8)) < 0.03 and other.reach(0.6) == 4


def test_too_few_pairs_say_nothing():
    assert strangers_of(np.zeros(150)) is None and strangers_of() is None
    seen = strangers_of(np.zeros(400))
    assert seen is not None and seen.cosine(1e-3) == 0.0 and seen.share(0.1) == 0.0
