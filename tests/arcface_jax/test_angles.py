"""Table 3's angles against float64 loops, on people with unequally many images and vectors of unequal length."""

import math

import numpy as np
import pytest

from arcface_jax import angles
from faces.errors import DataError, EvaluationError

PEOPLE = 7


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, labels (person 2 has one image, the others 3 to 11), class centres."""
    rng = np.random.default_rng(seed)
    images_of = np.array([3, 11, 1, 5, 4, 8, 6])
    labels = rng.permutation(np.repeat(np.arange(PEOPLE), images_of))
    near = rng.normal(size=(PEOPLE, 5))
    x = near[labels] + 0.8 * rng.normal(size=(len(labels), 5))
    x *= rng.uniform(0.1, 5, size=(len(labels), 1))
    return x.astype(np.float32), labels, (near + rng.normal(size=near.shape)).astype(np.float32)


def unit(x) -> list[float]:
    length = math.sqrt(sum(float(v) ** 2 for v in x))
    return [float(v) / length for v in x]


def angle(x, y) -> float:
    return math.degrees(math.acos(max(-1.0, min(1.0, sum(p * q for p, q in zip(unit(x), unit(y), strict=True))))))


def loop_centres(x, labels) -> list[list[float]]:
    centres = []
    for person in range(max(labels) + 1):
        own = [unit(row) for row, label in zip(x, labels, strict=True) if label == person]
        centres.append(unit([sum(column) / len(own) for column in zip(*own, strict=True)]))
    return centres


def smallest_other(rows, centres, labels) -> list[float]:
    return [
        min(angle(row, centre) for k, centre in enumerate(centres) if k != own)
        for row, own in zip(rows, labels, strict=True)
    ]


def loop_table3(x, labels, w=None) -> dict[str, float | None]:
    centres, person = loop_centres(x, labels), range(max(labels) + 1)
    labels = [int(label) for label in labels]
    within = [angle(row, centres[y]) for row, y in zip(x, labels, strict=True) if labels.count(y) > 1]
    between = smallest_other(centres, centres, person)
    own = None if w is None else [angle(w[j], centres[j]) for j in person]
    apart = None if w is None else smallest_other(w, w, person)
    means = {"w_ec": own, "w_inter": apart, "intra": within, "inter": between}
    return {key: None if values is None else sum(values) / len(values) for key, values in means.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("small_blocks", [True, False])
def test_equals_the_loops(seed: int, small_blocks: bool, monkeypatch: pytest.MonkeyPatch):
    if small_blocks:
        monkeypatch.setattr(angles, "VECTORS_AT_ONCE", 9)
        monkeypatch.setattr(angles, "COSINES_AT_ONCE", 40)  # five rows of seven
    x, labels, w = problem(seed)
    centres = loop_centres(x, labels)
    np.testing.assert_allclose(angles.embedding_centres(x, labels), centres, rtol=1e-12, atol=1e-14)
    own = [angle(row, w[y]) for row, y in zip(x, labels, strict=True)]
    np.testing.assert_allclose(angles.own_angle(x, w, labels), own, rtol=1e-10)
    np.testing.assert_allclose(angles.nearest_other_angle(x, w, labels), smallest_other(x, w, labels), rtol=1e-10)
    ours = angles.table3(x, labels, w)
    for key, value in loop_table3(x, labels, w).items():
        assert getattr(ours, key) == pytest.approx(value, rel=1e-10), key
    assert ours.alone == 1
    without = angles.table3(x, labels)
    assert without == (None, None, ours.intra, ours.inter, 1)


def test_a_worked_case():
    """Two people in the plane: one at 0 and 60 degrees, one at 100 and 120; their class centres at 10 and 110."""
    degrees = np.radians([0.0, 60.0, 100.0, 120.0])
    x = np.stack([np.cos(degrees), np.sin(degrees)], axis=1) * np.array([[9.0], [0.1], [1.0], [2.0]])
    w = np.stack([np.cos(np.radians([10.0, 110.0])), np.sin(np.radians([10.0, 110.0]))], axis=1)
    found = angles.table3(x, np.array([0, 0, 1, 1]), w)
    assert found.w_ec == pytest.approx((20 + 0) / 2)
    assert found.w_inter == pytest.approx(100)
    assert found.intra == pytest.approx((30 + 30 + 10 + 10) / 4)
    assert found.inter == pytest.approx(80)
    assert found.alone == 0


def test_small_angles_are_exact():
    """A thousandth of a degree, where the float32 cosine is 1."""
    small = math.radians(1e-3)
    x = np.array([[1.0, 0.0], [math.cos(small), math.sin(small)], [-1.0, 0.0]])
    np.testing.assert_allclose(angles.nearest_other_angle(x[:2], x, np.array([0, 1])), 1e-3, rtol=1e-6)
    np.testing.assert_allclose(angles.own_angle(x, x, np.array([1, 0, 0])), [1e-3, 1e-3, 180], rtol=1e-6)


def test_directions_of_every_head():
    x, labels, w = problem(0)
    np.testing.assert_array_equal(angles.class_directions(w, x, labels), w)
    biased = np.concatenate([w, np.full((PEOPLE, 1), 7, np.float32)], axis=1)
    np.testing.assert_array_equal(angles.class_directions(biased, x, labels), w)
    centres = np.stack([-w, w, 0.5 - w], axis=1)  # (people, 3, d)
    nearest = np.zeros((PEOPLE, 3), int)
    for row, y in zip(x, labels, strict=True):
        of_k = [angle(row, centre) for centre in centres[y]]
        nearest[y, of_k.index(min(of_k))] += 1
    expected = [centres[y, list(counts).index(max(counts))] for y, counts in enumerate(nearest)]
    np.testing.assert_array_equal(angles.class_directions(centres, x, labels), expected)


def test_vectors_without_direction_are_at_right_angles():
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
    centres = angles.embedding_centres(x, np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(centres, [[0, 0], [0, 1]])
    assert angles.table3(x, np.array([0, 0, 1, 1])).intra == 45.0


def test_what_has_no_angles_is_refused():
    x, labels, _ = problem(0)
    with pytest.raises(DataError, match="person 2 of 8 has no image"):
        angles.table3(x, np.where(labels >= 2, labels + 1, labels))
    with pytest.raises(DataError, match=r"-1 \.\. 5"):
        angles.table3(x, labels - 1)
    with pytest.raises(DataError, match="single person"):
        angles.table3(x, np.zeros_like(labels))
    with pytest.raises(DataError, match="nobody has two images"):
        angles.table3(x, np.arange(len(x)))
    x[3, 1] = np.nan
    with pytest.raises(EvaluationError, match="not finite"):
        angles.table3(x, labels)
