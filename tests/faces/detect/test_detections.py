"""Which of several faces is chosen, and how coordinates in reduced images become those of the originals."""

import numpy as np
import pytest

from faces.detect.detections import NOTHING, RULES, Detections, select
from faces.detect.shrink import in_smaller_images
from faces.errors import ConfigError

# In an image of 100 rows and 200 columns: large at the edge, small in the middle, best at the top, fairly large and
# fairly central.
BOXES = np.array([[20, 0, 28, 9], [0, 20, 70, 80], [95, 45, 105, 55], [60, 25, 120, 75]], np.float32)
FACES = Detections(BOXES, np.zeros((4, 5, 2), np.float32), np.array([0.99, 0.9, 0.8, 0.7], np.float32))


@pytest.mark.parametrize(("rule", "face"), [("best", 0), ("largest", 1), ("most_central", 2), ("large_and_central", 3)])
def test_rules(rule, face):
    assert select(FACES, rule, (100, 200)) == face


def test_of_equals_the_better_score():
    twins = Detections(BOXES[[1, 1]], FACES.points[:2], FACES.scores[:2])
    assert [select(twins, rule, (100, 200)) for rule in RULES] == [0] * len(RULES)


def test_nothing_and_unknown_rules():
    assert len(NOTHING) == 0 and select(NOTHING, "largest", (10, 10)) is None
    with pytest.raises(ConfigError, match='no selection rule "biggest": one of largest, most_central'):
        select(FACES, "biggest", (10, 10))


def brightest_pixel(images):
    """A detector whose five points are the image's brightest pixel, and whose box is around it."""
    found = []
    for image in images:
        y, x = np.unravel_index(image.sum(axis=2).argmax(), image.shape[:2])
        box = np.array([[x - 0.5, y - 0.5, x + 0.5, y + 0.5]], np.float32)
        found.append(Detections(box, np.tile(np.array([x, y], np.float32), (1, 5, 1)), np.ones(1, np.float32)))
    return found


def test_coordinates_survive_reduction():
    large, small = np.zeros((80, 160, 3), np.uint8), np.zeros((20, 30, 3), np.uint8)
    large[40:44, 100:104] = 255  # becomes pixel (10, 25) of an image a quarter as large; its centre is (41.5, 101.5)
    small[3, 7] = 255
    in_large, in_small = in_smaller_images(brightest_pixel, 40)([large, small])
    np.testing.assert_array_equal(in_large.points[0], [[101.5, 41.5]] * 5)
    np.testing.assert_array_equal(in_large.boxes[0], [99.5, 39.5, 103.5, 43.5])
    np.testing.assert_array_equal(in_small.points[0], [[7, 3]] * 5)
    with pytest.raises(ConfigError, match="longest side 0"):
        in_smaller_images(brightest_pixel, 0)
