"""Near-duplicates against loops over all pairs, in float64."""

from functools import partial

import numpy as np
import pytest

from faces import cluster
from faces.data import near_duplicates as module
from faces.data.near_duplicates import near_duplicates
from faces.errors import EvaluationError
from faces.mesh import make_mesh


def copies(seed: int, n: int = 60, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Images some of which are nearly others, of the same person or of another, in mixed order."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x = np.concatenate([x, x[rng.integers(0, n, n)] + 0.25 * rng.normal(size=(n, d))])
    order = rng.permutation(2 * n)
    return (x * rng.uniform(0.5, 2, (2 * n, 1)))[order].astype(np.float32), rng.integers(5, 9, 2 * n)


def loop(x: np.ndarray, labels: np.ndarray, threshold: float) -> tuple[dict[tuple[int, int], float], list[int]]:
    """By the definition: all pairs, and of each image the nearest of those before it that stayed."""
    unit = [row / np.sqrt(np.dot(row, row)) for row in x.astype(np.float64)]
    pairs, copy_of = dict[tuple[int, int], float](), list[int]()
    for j in range(len(x)):
        stayed = list[tuple[float, int]]()
        for i in range(j):
            cosine = float(np.dot(unit[i], unit[j]))
            if cosine >= threshold:
                pairs[i, j] = cosine
                if labels[i] == labels[j] and copy_of[i] == i:
                    stayed.append((cosine, -i))
        copy_of.append(-max(stayed)[1] if stayed else j)
    return dict(sorted(pairs.items())), copy_of


@pytest.mark.parametrize(("seed", "threshold", "devices"), [(0, 0.9, 1), (1, 0.8, 8), (2, 0.6, 3)])
def test_pairs_and_copies_are_those_of_the_loop(seed: int, threshold: float, devices: int, monkeypatch):
    monkeypatch.setattr(cluster, "TILE", 32)
    monkeypatch.setattr(module, "AT_ONCE", 50)
    x, labels = copies(seed)
    pairs, copy_of = loop(x, labels, threshold)
    found = near_duplicates(x, labels, threshold, make_mesh(devices))
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == list(pairs)
    np.testing.assert_allclose(found.cosine, list(pairs.values()), rtol=0, atol=1e-12)
    assert found.is_across.tolist() == [labels[i] != labels[j] for i, j in pairs]
    assert found.copy_of.tolist() == copy_of
    assert found.is_copy.sum() == sum(one != row for row, one in enumerate(copy_of)) > 3
    assert 3 < found.is_across.sum() < len(pairs)


def test_of_many_images_found_by_bounds_the_pairs_are_those_of_the_loop():
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(400, 16)) * np.r_[np.ones(4), np.full(12, 0.05)]).astype(np.float32)
    assert cluster._shortened(x / np.linalg.norm(x, axis=1)[:, None]) is not None
    labels = rng.integers(0, 3, 400)
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    found = near_duplicates(x, labels, 0.97)
    np.testing.assert_array_equal(np.stack([found.first, found.second]), np.nonzero(np.triu(unit @ unit.T >= 0.97, 1)))


def test_a_chain_is_thinned_and_not_swallowed():
    angles = np.radians([0.0, 15.0, 30.0, 45.0, 45.0])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = near_duplicates(x, np.zeros(5, np.int64), float(np.cos(np.radians(20))))
    assert found.copy_of.tolist() == [0, 0, 2, 2, 2]
    apart = near_duplicates(x, np.arange(5), float(np.cos(np.radians(20))))
    assert not apart.is_copy.any() and apart.is_across.all() and apart.first.tolist() == found.first.tolist()


def test_a_cosine_of_exactly_the_threshold_counts():
    x = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    found = near_duplicates(x, np.array([4, 4, 2, 3, -1, -1]), 1.0)
    assert found.first.tolist() == [0, 2, 4] and found.is_across.tolist() == [False, True, False]


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_is_near(n: int):
    found = near_duplicates(np.ones((n, 4), np.float32), np.zeros(n, np.int32), 0.9)
    assert found.first.size == 0 and found.copy_of.tolist() == list(range(n))


def test_refused(monkeypatch):
    with pytest.raises(EvaluationError, match="zero or not finite"):
        near_duplicates(np.zeros((3, 4), np.float32), np.zeros(3, np.int32), 0.9)
    monkeypatch.setattr(module, "similar_pairs", partial(cluster.similar_pairs, most=2))
    with pytest.raises(EvaluationError, match=r"more than 2 pairs of 4 pictures have a cosine of 0\.9 or more"):
        near_duplicates(np.ones((4, 4), np.float32), np.zeros(4, np.int32), 0.9)
