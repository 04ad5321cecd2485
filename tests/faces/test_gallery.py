"""Search in a gallery against loops and sorts in float64: any blocks, any devices, ties, padding."""

import numpy as np
import pytest

from faces import gallery
from faces.errors import EvaluationError
from faces.mesh import make_mesh


def sides(seed: int, probes: int = 7, rows: int = 333, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = (rng.normal(size=(n, d)) * rng.uniform(0.5, 3, (n, 1)) for n in (probes, rows))
    a, b = (x.astype(np.float32) for x in made)
    return a, b


def cosines(probes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    a, b = (x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None] for x in (probes, rows))
    return a @ b.T


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("rows", [3, 64, 333])
def test_search_is_the_sort(rows: int, devices: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gallery, "PROBES_AT_ONCE", 5)
    probes, of_gallery = sides(rows, rows=rows)
    found = gallery.search(probes, of_gallery, 6, highest=40, mesh=make_mesh(devices), block=32)
    expected = cosines(probes, of_gallery)
    count = min(6, rows)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(found.row[:, :count], order)
    np.testing.assert_allclose(found.score[:, :count], np.take_along_axis(expected, order, axis=1), atol=1e-6)
    assert (found.row[:, count:] == -1).all() and (found.score[:, count:] == -np.inf).all()
    highest = np.sort(expected.ravel())[::-1][:40]
    np.testing.assert_allclose(np.sort(found.highest)[::-1], highest, atol=1e-6)
    assert found.rows == rows and found.highest.size == min(40, 7 * rows)


def test_blocks_of_any_sizes_are_one_gallery():
    probes, rows = sides(1)
    whole = gallery.search(probes, rows, 4, highest=9, mesh=make_mesh(2), block=64)
    blocks = (part for part in np.split(rows, [1, 2, 90, 90, 300]))
    apart = gallery.search(probes, blocks, 4, highest=9, mesh=make_mesh(2), block=64)
    np.testing.assert_array_equal(whole.row, apart.row)
    np.testing.assert_array_equal(whole.score, apart.score)
    np.testing.assert_array_equal(np.sort(whole.highest), np.sort(apart.highest))


def test_of_equal_scores_the_lower_row_comes_first():
    rows = np.zeros((300, 2), np.float32)
    rows[:, 1] = 1.0
    rows[[250, 41, 130, 7]] = [[1.0, 0.0]]
    found = gallery.search(np.float32([[1, 0]]), rows, 6, mesh=make_mesh(4), block=32)
    assert found.row.tolist() == [[7, 41, 130, 250, 0, 1]]
    assert found.score.tolist() == [[1, 1, 1, 1, 0, 0]] and found.highest.size == 0


def test_what_is_refused():
    probes, rows = sides(2)
    with pytest.raises(EvaluationError, match="7 probes and a gallery of 0: a search needs both"):
        gallery.search(probes, iter([]), 3)
    with pytest.raises(EvaluationError, match="0 probes and a gallery of 333"):
        gallery.search(probes[:0], rows, 3)
    with pytest.raises(EvaluationError, match="1 of 7 probes' embeddings are zero"):
        gallery.search(probes * (np.arange(7) != 3)[:, None].astype(np.float32), rows, 3)
    with pytest.raises(EvaluationError, match="probes are of 5 numbers, the gallery's embeddings of 4"):
        gallery.search(probes, rows[:, :4], 3)
    for value in (0.0, np.nan, np.inf):
        rows[200] = value
        with pytest.raises(EvaluationError, match="row 200 of the gallery, counted from 0, is"):
            gallery.search(probes, rows, 3, block=32)
