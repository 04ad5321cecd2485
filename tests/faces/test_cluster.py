"""Clusters against merging the nearest pair of all, one by one, in float64; their metrics against loops over pairs."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster
from scipy.cluster.hierarchy import linkage as scipy_linkage
from scipy.sparse.csgraph import connected_components

from faces import cluster
from faces.errors import EvaluationError
from faces.evaluate.clusters import agreement
from faces.mesh import make_mesh


def crowd(seed: int, people: int = 15, d: int = 8, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of people of very different sizes, in mixed order."""
    rng = np.random.default_rng(seed)
    person = rng.permutation(np.repeat(np.arange(people), rng.geometric(0.25, people)))
    x = rng.normal(size=(people, d))[person] + spread * rng.normal(size=(person.size, d))
    return (x * rng.uniform(0.5, 2, (person.size, 1))).astype(np.float32), person


def greedy(x: np.ndarray, threshold: float, linkage: str) -> list[set[int]]:
    """By the definition."""
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    cosine = unit @ unit.T
    rule = {"average": np.mean, "complete": np.min, "single": np.max}[linkage]
    clusters = [{row} for row in range(len(x))]
    while len(clusters) > 1:
        found = [
            (float(rule(cosine[np.ix_(sorted(a), sorted(b))])), i, j)
            for i, a in enumerate(clusters)
            for j, b in enumerate(clusters[:i])
        ]
        best, i, j = max(found)
        if best < threshold:
            break
        clusters[j] |= clusters.pop(i)
    return clusters


def as_sets(labels: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(labels == label).tolist() for label in range(labels.max() + 1)]


@pytest.mark.parametrize("linkage", cluster.LINKAGES)
@pytest.mark.parametrize(("seed", "threshold"), [(8, 0.7), (1, 0.5), (2, 0.2), (3, -0.5), (4, 0.999)])
def test_clusters_are_those_of_the_definition(seed: int, threshold: float, linkage: cluster.Linkage):
    x, _ = crowd(seed, people=8)
    labels = cluster.cluster(x, threshold, linkage)
    expected = sorted((sorted(one) for one in greedy(x, threshold, linkage)), key=lambda one: (-len(one), one[0]))
    assert as_sets(labels) == expected and labels.dtype == np.int32


@pytest.mark.parametrize("linkage", cluster.LINKAGES)
@pytest.mark.parametrize("threshold", [0.75, 0.6])
def test_clusters_are_scipys_on_several_tiles(linkage: cluster.Linkage, threshold: float, monkeypatch):
    monkeypatch.setattr(cluster, "TILE", 100)
    x, _ = crowd(5, people=90, d=24, spread=0.55)
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    distance = (1 - unit @ unit.T)[np.triu_indices(len(x), 1)]
    expected = fcluster(scipy_linkage(distance, linkage), 1 - threshold, "distance")
    labels = cluster.cluster(x, threshold, linkage, make_mesh(2))
    found = agreement(labels, expected)
    assert found.precision == found.recall == 1.0 and 5 < found.clusters == found.people < len(x) - 50


@pytest.mark.parametrize("linkage", cluster.LINKAGES)
def test_pictures_that_are_the_same(linkage: cluster.Linkage):
    x = np.repeat(np.eye(3, dtype=np.float32), [4, 2, 5], axis=0)
    assert cluster.cluster(x, 0.9, linkage).tolist() == [1] * 4 + [2] * 2 + [0] * 5
    assert cluster.cluster(x[:1], 0.9, linkage).tolist() == [0]
    assert cluster.cluster(x[:0], 0.9, linkage).tolist() == []


def test_similar_pairs_are_the_loop(monkeypatch):
    monkeypatch.setattr(cluster, "TILE", 16)
    x, _ = crowd(6)
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    pairs = cluster.similar_pairs(x, 0.4, make_mesh(8))
    expected = {(i, j) for i in range(len(x)) for j in range(i + 1, len(x)) if unit[i] @ unit[j] >= 0.4}
    assert set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == expected
    assert pairs.first.size == len(expected) > 20
    np.testing.assert_allclose(pairs.cosine, np.einsum("pd,pd->p", unit[pairs.first], unit[pairs.second]), atol=1e-6)


@pytest.mark.parametrize("border", [0, 7, 16, 21, 999])
def test_similar_pairs_of_two_sets_are_the_loop(border: int, monkeypatch):
    """Borders on tiles' edges, within tiles, and with nothing on one side."""
    monkeypatch.setattr(cluster, "TILE", 16)
    x, _ = crowd(6)
    border = min(border, len(x))
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    pairs = cluster.similar_pairs(x, 0.4, make_mesh(4), border=border)
    expected = {(i, j) for i in range(border) for j in range(border, len(x)) if unit[i] @ unit[j] >= 0.4}
    assert sorted(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == sorted(expected)
    assert (len(expected) > 3) == (0 < border < len(x))


@pytest.mark.parametrize("threshold", [0.7, -0.2])
def test_similar_pairs_of_many_pictures_are_the_loop(threshold: float, monkeypatch):
    monkeypatch.setattr(cluster, "TILE", 100)
    x = flat_crowd(16, 0.1)
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    cosine = unit @ unit.T
    pairs = cluster.similar_pairs(x, threshold, make_mesh(4))
    expected = np.nonzero(np.triu(cosine >= threshold, 1))
    order = np.lexsort((pairs.second, pairs.first))
    np.testing.assert_array_equal(pairs.first[order], expected[0])
    np.testing.assert_array_equal(pairs.second[order], expected[1])
    np.testing.assert_allclose(pairs.cosine[order], cosine[expected], atol=1e-6)


@pytest.mark.parametrize(("threshold", "at_once"), [(0.9, 10**7), (0.9, 50), (0.95, 50), (0.97, 10**7)])
def test_single_linkage_of_many_pictures_is_scipys(threshold: float, at_once: int, monkeypatch):
    monkeypatch.setattr(cluster, "TILE", 100)
    monkeypatch.setattr(cluster, "MOST_PAIRS", at_once)
    x = flat_crowd(16, 0.1)
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    clusters, owner = connected_components(unit @ unit.T >= threshold, directed=False)
    found = agreement(cluster.cluster(x, threshold, "single", make_mesh(4)), owner)
    assert found.precision == found.recall == 1.0 and 5 < clusters == found.clusters < len(x) - 20


def test_shortened_rows_bound_the_cosine():
    x = flat_crowd(16, 0.1)
    unit = x / np.linalg.norm(x, axis=1)[:, None]
    short = cluster._shortened(unit)
    assert short is not None and short.shape[1] <= 8
    over = short.astype(np.float64) @ short.T - unit.astype(np.float64) @ unit.T  # (n, n)
    assert over.min() > -1e-6 and 0 < over.mean() < 0.06
    assert cluster._shortened(unit[:200]) is None  # too few
    assert cluster._shortened(flat_crowd(16, 1.0)) is None  # too even
    rounding = cluster._shortened(np.repeat(np.eye(16, dtype=np.float32)[:4], 80, axis=0))  # nothing is left
    assert rounding is not None and (rounding @ rounding.T).max() >= 1


def flat_crowd(d: int, thickness: float) -> np.ndarray:
    """20 d pictures of 10 people, whose embeddings lie near a space of d / 4 dimensions, all in mixed order."""
    rng = np.random.default_rng(9)
    scales = np.where(np.arange(d) < d // 4, 1.0, thickness)
    x = (rng.normal(size=(10, d))[rng.integers(0, 10, 20 * d)] + 0.5 * rng.normal(size=(20 * d, d))) * scales
    return (x @ np.linalg.qr(rng.normal(size=(d, d)))[0]).astype(np.float32)


def test_what_is_refused():
    x, _ = crowd(7)
    with pytest.raises(EvaluationError, match=r"more than 50 pairs of \d+ pictures have a cosine of -1 or more"):
        cluster.similar_pairs(x, -1.0, most=50)
    x[3] = 0
    with pytest.raises(EvaluationError, match="the first is row 3"):
        cluster.cluster(x, 0.5, "average")


@pytest.mark.parametrize("seed", [0, 1])
def test_agreement_is_the_loop(seed: int):
    rng = np.random.default_rng(seed)
    labels, people = rng.integers(0, 6, 40), rng.integers(10, 19, 40)
    pairs = [(labels[i] == labels[j], people[i] == people[j]) for i in range(40) for j in range(i)]
    right = sum(together and same for together, same in pairs)
    found = agreement(labels, people)
    assert found.precision == pytest.approx(right / sum(together for together, _ in pairs))
    assert found.recall == pytest.approx(right / sum(same for _, same in pairs))
    assert found.f == pytest.approx(2 * right / sum(int(together) + int(same) for together, same in pairs))
    shares = [
        (np.mean(people[labels == labels[i]] == people[i]), np.mean(labels[people == people[i]] == labels[i]))
        for i in range(40)
    ]
    precision, recall = np.mean(shares, axis=0)
    assert (found.bcubed_precision, found.bcubed_recall) == (pytest.approx(precision), pytest.approx(recall))
    assert found.bcubed_f == pytest.approx(2 * precision * recall / (precision + recall))
    assert (found.clusters, found.people) == (np.unique(labels).size, np.unique(people).size)


def test_agreement_without_pairs():
    found = agreement(np.arange(3), np.arange(3))
    assert (found.precision, found.recall, found.bcubed_precision, found.bcubed_f) == (1.0, 1.0, 1.0, 1.0)
