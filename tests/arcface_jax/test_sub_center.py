"""The cleaning tool against float64 loops, and on noise that is known."""

import math

import numpy as np
import pytest

from arcface_jax import sub_center
from faces.errors import DataError


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(57, 4)) * rng.uniform(0.1, 5, size=(57, 1))).astype(np.float32)
    labels = np.minimum(rng.integers(0, 9, size=57), rng.integers(0, 9, size=57))
    labels[labels == 3] = 2  # class 3 has no images
    return x, labels, rng.normal(size=(9, 3, 4)).astype(np.float32)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    a, b = [float(v) for v in a], [float(v) for v in b]
    lengths = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    return math.degrees(math.acos(sum(p * q for p, q in zip(a, b, strict=True)) / lengths))


@pytest.mark.parametrize("block", [5, 4096])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_loops(seed: int, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sub_center, "IMAGES_AT_ONCE", block)
    x, labels, centres = problem(seed)
    counts = [[0] * 3 for _ in range(9)]
    for image, y in zip(x, labels, strict=True):
        angles = [angle(image, centre) for centre in centres[y]]
        counts[y][angles.index(min(angles))] += 1
    largest = [row.index(max(row)) for row in counts]
    ours, index = sub_center.dominant(x, labels, centres)
    np.testing.assert_array_equal(ours, counts)
    np.testing.assert_array_equal(index, largest)
    angles = [angle(image, centres[y][largest[y]]) for image, y in zip(x, labels, strict=True)]
    for degrees in (60.0, 75.0):
        kept = sub_center.keep(x, labels, centres, degrees)
        np.testing.assert_allclose(kept.angle, angles, rtol=1e-9)
        np.testing.assert_array_equal(kept.kept, [each <= degrees for each in angles])
        np.testing.assert_array_equal(kept.dominant, largest)
        assert 0 < kept.kept.sum() < len(x)
    alone = sub_center.drop_sub_centres(centres, index)
    np.testing.assert_array_equal(alone, [centres[c][largest[c]] for c in range(9)])


def test_known_noise_is_found():
    """Two people with axes as centres; a fifth of the images are of somebody else, near a second sub-centre or lost."""
    rng = np.random.default_rng(0)
    centres = np.zeros((2, 3, 8), np.float32)
    centres[0, 1, 0] = centres[1, 2, 1] = 2.0  # dominant
    centres[0, 0, 2] = centres[0, 2, 3] = centres[1, 0, 4] = centres[1, 1, 5] = 0.5
    labels = np.repeat([0, 1], 50)
    is_noise = np.tile(np.arange(50) % 5 == 0, 2)
    of_clean = np.eye(8)[labels]
    of_noise = np.eye(8)[rng.integers(2, 8, size=100)]
    x = np.where(is_noise[:, None], of_noise, of_clean) + 0.1 * rng.normal(size=(100, 8))
    kept = sub_center.keep(x, labels, centres)
    np.testing.assert_array_equal(kept.kept, ~is_noise)
    assert kept.dominant.tolist() == [1, 2]


def test_vectors_without_direction_are_dropped():
    kept = sub_center.keep(np.zeros((1, 4)), np.array([0]), np.ones((1, 2, 4)))
    assert kept.angle.tolist() == [90.0] and not kept.kept.any()


def test_labels_that_are_no_class_are_refused():
    x, labels, centres = problem(0)
    with pytest.raises(DataError, match="subtract 1"):
        sub_center.dominant(x, np.resize(np.arange(1, 10), 57), centres)
    with pytest.raises(DataError, match=r"these lie in 0 \.\. 9"):
        sub_center.keep(x, np.append(labels[1:], 9), centres)
