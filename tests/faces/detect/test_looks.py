"""Faces of any size by a detector that knows few sizes: one that sees bright squares, and patches of those too large.

Like a network, it finds squares of 16 to 512 pixels, and where one is larger, several patches of it with high scores.
"""

import itertools

import cv2
import numpy as np
import pytest

from faces.detect import looks
from faces.detect.detections import Detections
from faces.detect.looks import Sizes, looks_at, of_any_size

SIZES = Sizes(16, 512)


def square_detector(seen):
    def detect(images):
        seen.append([image.shape[:2] for image in images])
        return [squares(image) for image in images]

    return detect


def squares(image):
    mask = np.ascontiguousarray(image[..., 0] > 127).astype(np.uint8)
    rows = []
    for left, top, width, height, _ in cv2.connectedComponentsWithStats(mask)[2][1:].tolist():
        box = np.array([left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5])
        if 16 <= max(width, height) <= 512:
            rows.append((*box, 0.9))
        elif max(width, height) > 512:
            rows += [(left + shift, top + shift, left + shift + 90, top + shift + 90, 0.96) for shift in (20, 200, 350)]
    found = np.array(rows, np.float32).reshape(-1, 5)
    points = np.repeat((found[:, None, :2] + found[:, None, 2:4]) / 2, 5, axis=1)
    return Detections(found[:, :4], points, found[:, 4])


def picture(height, width, *boxes):
    image = np.zeros((height, width, 3), np.uint8)
    for left, top, side in boxes:
        image[top : top + side, left : left + side] = 255
    return image


def found_squares(found):
    """Left, top and side, rounded, of what was found, in order."""
    return sorted((round(float(b[0] + 0.5)), round(float(b[1] + 0.5)), round(float(b[2] - b[0]))) for b in found.boxes)


@pytest.mark.parametrize("side", [16, 60, 190, 200, 500, 512, 520, 900, 1300, 2900])
def test_a_face_of_any_size_is_found_once_and_no_patch_of_it(side):
    image = picture(3000, 4000, (37, 41, side))
    (found,) = of_any_size(square_detector([]), SIZES)([image])
    ((left, top, width),) = found_squares(found)
    assert max(abs(left - 37), abs(top - 41), abs(width - side)) <= side * 0.02
    np.testing.assert_allclose(found.points[0], np.full((5, 2), [37, 41]) + side / 2 - 0.5, atol=0.03 * side)


def test_small_faces_of_a_large_picture_are_found_once_wherever_tiles_meet():
    rng = np.random.default_rng(0)
    places = [(int(x + rng.integers(60)), int(y + rng.integers(60)), int(rng.integers(20, 150)))
              for x in range(0, 3800, 220) for y in range(0, 2800, 220)]  # fmt: skip
    seen = []
    (found,) = of_any_size(square_detector(seen), SIZES)([picture(3000, 4000, *places)])
    assert len(found) == len(places)
    near = np.abs(np.array(found_squares(found)) - np.array(sorted(places)))
    assert near.max() <= 1
    assert max(height * width for shapes in seen for height, width in shapes) <= looks.TILE**2


def test_faces_beside_a_large_one_stay():
    image = picture(2000, 3000, (100, 100, 1800), (1950, 60, 50), (2300, 900, 400))
    (found,) = of_any_size(square_detector([]), SIZES)([image])
    assert [side for _, _, side in found_squares(found)] == pytest.approx([1800, 50, 400], abs=4)


def test_a_small_picture_is_looked_at_once_as_it_is_with_others():
    images = [picture(250, 250, (10, 10, 40)), picture(500, 1500, (20, 20, 480)), picture(512, 512)]
    given = []

    def detect(pieces):
        given.append(list(pieces))
        return [squares(piece) for piece in pieces]

    found = of_any_size(detect, SIZES)(images)
    assert [[piece.shape for piece in pieces] for pieces in given] == [[image.shape for image in images]]
    assert [found_squares(one) for one in found] == [[(10, 10, 40)], [(20, 20, 480)], []]


def test_many_large_pictures_are_held_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(looks, "AT_ONCE", 3 * 1000 * 1000)
    seen = []
    images = [picture(1000, 1000, (5, 5, 100 + n)) for n in range(5)] + [picture(2000, 2000, (5, 5, 1900))]
    found = of_any_size(square_detector(seen), SIZES)(images)
    assert [len(one) for one in found] == [1] * 6
    assert len(seen) == 4  # two, two and one with 1.3 million pixels each, and the large one by itself
    assert of_any_size(square_detector(seen), SIZES)([]) == []


def test_what_a_clearer_look_does_not_see_again_is_no_face():
    """A texture that looks like a face at one size alone; the smallest have no second look and stay."""

    def detect(images):
        fooled = [image.shape[:2] == (1000, 1000) for image in images]
        boxes = np.array([[100, 100, 220, 220], [400, 400, 430, 430]], np.float32)
        some = Detections(boxes, np.zeros((2, 5, 2), np.float32), np.array([0.99, 0.8], np.float32))
        return [some if one else squares(image) for one, image in zip(fooled, images, strict=True)]

    (found,) = of_any_size(detect, SIZES)([picture(1000, 1000)])
    assert found.boxes.tolist() == [[400, 400, 430, 430]]


def test_looks_end_where_no_face_can_be_too_large():
    for height, width in ((513, 600), (1000, 1000), (4000, 6000), (400, 9000), (8000, 8000), (3, 5000)):
        planned = looks_at(height, width, SIZES)
        assert planned[0].size == (height, width) or len(planned) == 1
        assert min(planned[-1].size) <= SIZES.largest and len(planned[-1].tiles) == 1
        for look, following in itertools.pairwise(planned):
            assert look.largest * following.size[0] / look.size[0] >= looks.CLEAR * SIZES.smallest
            assert all(bottom - top <= looks.TILE or len(look.tiles) == 1 for top, _, bottom, _ in look.tiles)


def test_a_narrow_range_takes_more_looks():
    assert [look.size for look in looks_at(500, 400, Sizes(20, 100))] == [(500, 400), (250, 200), (125, 100)]
    assert [look.size[0] for look in looks_at(500, 400, Sizes(40, 100))] == [500, 354, 250, 177, 125]
