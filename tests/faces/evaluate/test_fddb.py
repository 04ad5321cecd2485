"""FDDB's curves against rasters, all assignments tried in turn, and worked cases."""

from itertools import permutations

import numpy as np
import pytest

from faces.errors import EvaluationError
from faces.evaluate.fddb import ellipse_box_iou, fddb_curve
from tests.faces.evaluate.test_detection import detections


def raster_iou(ellipse, box, step=0.1) -> float:
    """Both shapes as small squares."""
    major, minor, angle, x, y = ellipse
    reach = major + minor
    low = [min(x - reach, box[0]), min(y - reach, box[1])]
    high = [max(x + reach, box[2]), max(y + reach, box[3])]
    u, v = np.meshgrid(*(np.arange(low[i] + step / 2, high[i], step) for i in range(2)))
    along = (u - x) * np.cos(angle) + (v - y) * np.sin(angle)
    across = (v - y) * np.cos(angle) - (u - x) * np.sin(angle)
    in_ellipse = (along / major) ** 2 + (across / minor) ** 2 <= 1
    in_box = (u >= box[0]) & (u <= box[2]) & (v >= box[1]) & (v <= box[3])
    return (in_ellipse & in_box).sum() / (in_ellipse | in_box).sum()


def test_exact_overlap():
    rng = np.random.default_rng(0)
    ellipses = np.column_stack(
        [rng.uniform(6, 10, 3), rng.uniform(3, 6, 3), rng.uniform(-2, 4, 3), rng.uniform(8, 20, (3, 2))]
    )
    corner = rng.uniform(0, 15, (5, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(2, 18, (5, 2))], axis=1)
    boxes = np.concatenate([boxes, [[12, 12, 14, 13], [-6, -6, 34, 34], [80, 80, 90, 90]]])  # inside, around, away
    exact = ellipse_box_iou(ellipses, boxes)
    raster = [[raster_iou(ellipse, box) for ellipse in ellipses] for box in boxes]
    assert exact.shape == (8, 3) and (exact[-1] == 0).all() and np.median(exact) > 0.05
    np.testing.assert_allclose(exact, raster, atol=4e-3)
    around = np.pi * ellipses[:, 0] * ellipses[:, 1] / 1600
    np.testing.assert_allclose(exact[-2], around, rtol=1e-12)


def test_overlap_of_shapes_without_area_and_of_none():
    ellipse = np.array([[5.0, 3.0, 0.3, 10, 10]])
    assert ellipse_box_iou(ellipse, np.array([[10.0, 10, 10, 10], [4, 10, 12, 10]])).tolist() == [[0.0], [0.0]]
    assert ellipse_box_iou(ellipse[:0], np.zeros((3, 4))).shape == (3, 0)
    # the bounding box of an upright ellipse, and half of it
    upright = np.array([[5.0, 3.0, np.pi / 2, 10, 10]])
    share = ellipse_box_iou(upright, np.array([[7.0, 5, 13, 15], [7, 5, 13, 10]]))
    np.testing.assert_allclose(share[:, 0], [np.pi / 4, np.pi / 8 / (1 / 2 + np.pi / 8)], rtol=1e-12)


def drawn(seed: int):
    rng = np.random.default_rng(seed)
    found, ellipses = [], []
    for _ in range(5):
        n = rng.integers(0, 4)
        faces = np.column_stack(
            [rng.uniform(8, 12, n), rng.uniform(6, 8, n), rng.uniform(1.2, 1.9, n), rng.uniform(20, 45, (n, 2))]
        )
        near = np.repeat(faces, rng.integers(0, 3, n), axis=0)
        centre, half = near[:, 3:] + rng.normal(0, 2, (len(near), 2)), near[:, 1::-1]
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        boxes = np.concatenate([boxes, rng.uniform([[0, 0, 30, 30]], [[30, 30, 60, 60]])])[: rng.integers(0, 6)]
        found.append(detections(boxes, rng.integers(0, 6, len(boxes)) / 8))
        ellipses.append(faces)
    return found, ellipses


def best_matching(overlap) -> list[float]:
    """The overlaps of the assignment with the largest sum, all of them tried."""
    rows, columns = overlap.shape
    if rows > columns:
        return best_matching(overlap.T)
    tried = ([overlap[i, j] for i, j in enumerate(order)] for order in permutations(range(columns), rows))
    return max(tried, key=sum)


@pytest.mark.parametrize("seed", range(4))
def test_curves_are_the_loop(seed):
    found, ellipses = drawn(seed)
    curve = fddb_curve(found, ellipses)
    faces = sum(map(len, ellipses))
    cuts = sorted({float(score) for one in found for score in one.scores}, reverse=True)
    assert curve.threshold.tolist() == cuts and len(cuts) > 3
    for cut, false, discrete, continuous in zip(
        cuts, curve.false_positives, curve.discrete, curve.continuous, strict=True
    ):
        matches, number = [], 0
        for one, of_image in zip(found, ellipses, strict=True):
            taken = one.boxes[one.scores >= cut]
            number += len(taken)
            matches += best_matching(ellipse_box_iou(of_image, taken))
        right = sum(match > 0.5 for match in matches)
        assert (false, discrete) == (number - right, right / faces)
        assert continuous == pytest.approx(sum(matches) / faces, abs=1e-12)
    assert 0 < curve.discrete[-1] < 1


def test_worked_case():
    """A face found twice, the worse box first; one in an image where nothing is found."""
    ellipse = np.array([[20.0, 15.0, np.pi / 2, 50, 50]])
    good = [35, 30, 65, 70]  # the bounding box: overlap pi / 4
    half = [35, 30, 65, 50]  # its upper half
    one = detections([half, good, [200, 200, 230, 240]], [0.9, 0.8, 0.7])
    curve = fddb_curve([one, detections([], [])], [ellipse, ellipse])
    worse = np.pi / 8 / (1 / 2 + np.pi / 8)  # 0.44, no match
    assert curve.false_positives.tolist() == [1, 1, 2]
    assert curve.discrete.tolist() == [0, 0.5, 0.5]
    np.testing.assert_allclose(curve.continuous, [worse / 2, np.pi / 8, np.pi / 8])
    assert curve.at(0) == (0, 0) and curve.at(1) == (0.5, pytest.approx(np.pi / 8))


def test_refusals():
    one, ellipse = detections([[0, 0, 9, 9]], [0.5]), np.array([[5.0, 4, 0, 5, 5]])
    with pytest.raises(EvaluationError, match="1 images were looked at, but 2"):
        fddb_curve([one], [ellipse, ellipse])
    with pytest.raises(EvaluationError, match="no face to find"):
        fddb_curve([one], [ellipse[:0]])
    with pytest.raises(EvaluationError, match="image 0: a score or box is not finite"):
        fddb_curve([detections([[0, 0, np.inf, 9]], [0.5])], [ellipse])
    assert fddb_curve([detections([], [])], [ellipse]).at(10) == (0, 0)
