"""Cosines that are chosen on labelled faces, against loops over all pairs and against clusters made one by one."""

import numpy as np
import pytest

from faces.cluster import cluster
from faces.errors import EvaluationError
from faces.evaluate.clusters import agreement
from faces.evaluate.thresholds import album_curve, pair_rates


def faces(people: int, each: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(people), each)
    x = rng.normal(size=(people, 16))[of] + noise * rng.normal(size=(len(of), 16))
    return x / np.linalg.norm(x, axis=1, keepdims=True), of


def test_rates_are_those_of_all_pairs():
    x, of = faces(12, 3, 0.5)
    found = pair_rates(x, of, 0.01, (0.2, 0.6))
    pairs = [(x[i] @ x[j], of[i] == of[j]) for i in range(len(x)) for j in range(i)]
    for one in found:
        assert one.accepted == pytest.approx(np.mean([cosine >= one.threshold for cosine, same in pairs if not same]))
        assert one.rejected == pytest.approx(np.mean([cosine < one.threshold for cosine, same in pairs if same]))
    lowest = found[0].threshold
    assert found[0].accepted <= 0.01 < np.mean([cosine >= lowest - 0.01 for cosine, same in pairs if not same])
    with pytest.raises(EvaluationError, match="two people, and two faces of one"):
        pair_rates(x[:3], of[:3], 0.01)


def test_albums_are_clustered_as_photographs_are():
    """With everybody's every face in each album, a draw is the set itself."""
    x, of = faces(6, 1, 0.0)
    x, of = np.concatenate([x, faces(6, 1, 0.4)[0]]), np.concatenate([of, of])
    grid = (0.2, 0.5, 0.8)
    curve = album_curve(x, of, 0, sizes=(6, 50), draws=40, thresholds=grid)
    assert curve.people == (6,) and curve.f.shape == (1, 3) and curve.best in grid
    whole = [agreement(cluster(x.astype(np.float32), t, "average"), of) for t in grid]
    assert curve.best == grid[int(np.argmax([one.bcubed_f for one in whole]))]
    with pytest.raises(EvaluationError, match="there are 6 people, and 10 are needed"):
        album_curve(x, of, 0)
