"""Measures of faces against geometry in space and loops over pixels; factors of generated faces against vectors."""

import math

import jax
import numpy as np
import pytest

from faces.data.synthetic.face_parameters import sample_nuisance
from faces.data.synthetic.generated import generated_nuisances
from faces.evaluate import face_measures, generated_factors
from faces.evaluate.face_measures import MEASURES, OF_DETECTIONS, Faces, measured
from tests.faces.data.makers import picture


def seen(yaw, roll, scale, centre):
    """Eyes at -1 and 1, the tip of the nose 0.8 before and 0.9 below them, turned and seen from far away."""
    points = [(-1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.9, 0.8), (-0.6, 1.8, 0.0), (0.6, 1.8, 0.0)]
    out = []
    for x, y, z in points:
        x = x * math.cos(yaw) + z * math.sin(yaw)
        out.append([
            centre[0] + scale * (x * math.cos(roll) - y * math.sin(roll)),
            centre[1] + scale * (x * math.sin(roll) + y * math.cos(roll)),
        ])  # fmt: skip
    return out


@pytest.mark.parametrize("yaw", [-0.9, -0.2, 0.0, 0.4, 1.1])
def test_the_nose_says_the_tangent_of_the_yaw_whatever_roll_scale_and_place(yaw):
    points = np.array([seen(yaw, roll, scale, c) for roll, scale, c in ((0, 30, (50, 40)), (-0.5, 3, (9, 200)))])
    np.testing.assert_allclose(face_measures.nose_offset(points), 0.8 * math.tan(yaw), atol=1e-12)


def test_roll_is_clockwise_and_eyes_in_one_place_have_none():
    points = np.array([seen(0.3, math.radians(r), 20, (60, 60)) for r in (-40, 0, 12)])
    np.testing.assert_allclose(face_measures.eye_roll(points), [-40, 0, 12], atol=1e-9)
    nowhere = np.full((1, 5, 2), 7.0)
    assert np.isnan(face_measures.eye_roll(nowhere)).all() and np.isnan(face_measures.nose_offset(nowhere)).all()


def test_luminance_is_of_the_middle():
    image = picture(3, 12, 8)
    total = [0.299 * r + 0.587 * g + 0.114 * b for row in image[3:9, 2:6].tolist() for r, g, b in row]
    assert face_measures.luminance(image) == pytest.approx(sum(total) / len(total), abs=0.5)


def test_each_measure_is_a_number_of_each_face_and_none_of_those_that_are_not_there():
    points = np.array([seen(y, 0.1, 20, (60, 60)) for y in (0.1, 0.5, 0.2)])
    boxes = np.array([[10, 10, 60, 90], [0, 0, 30, 20], [5, 5, 9, 9.0]])
    there = np.array([True, True, False])
    pictures = np.stack([picture(n, 20, 20) for n in range(3)])
    faces = Faces(pictures, boxes, points, np.array([0.9, 0.8, 0.7]), there)
    for name in MEASURES:
        factor = measured(name, faces)
        assert factor.of_images.dtype == np.float64 and factor.measured.tolist() == there.tolist()
    assert measured("resolution", faces).of_images[:2].tolist() == [50, 20]
    nothing = Faces(pictures, boxes * np.nan, points * np.nan, np.full(3, np.nan), there)
    assert {name for name in MEASURES if not measured(name, nothing).measured.any()} == set(OF_DETECTIONS)


def test_nuisances_are_those_that_the_images_are_drawn_with():
    how = generated_nuisances(3, 7, seed=5, first_identity=11)
    assert all(field.shape == (21,) and field.dtype == np.float32 for field in how)
    for row, (person, image) in {0: (11, 0), 6: (11, 6), 9: (12, 2), 20: (13, 6)}.items():
        _, of_image = jax.random.split(jax.random.fold_in(jax.random.key(5), person))
        expected = sample_nuisance(jax.random.fold_in(of_image, image))
        np.testing.assert_allclose([field[row] for field in how], expected, rtol=1e-6)


def test_what_is_known_is_read_from_the_vectors():
    how = generated_nuisances(4, 16, seed=0)
    degrees = np.array([math.degrees(yaw) for yaw in how.yaw.tolist()])
    np.testing.assert_allclose(generated_factors.known("yaw", how).of_images, np.abs(degrees))
    turned = generated_factors.known("yaw_difference", how)
    np.testing.assert_allclose(turned.of_images, degrees)
    assert turned.of_pair == "difference"
    occlusion = generated_factors.known("occlusion", how).of_images
    np.testing.assert_array_equal(occlusion > 0, how.occluder > 0)
    assert occlusion.min() == 0 and 0 < generated_factors.known("blur", how).of_images.max() <= 1.4
    assert all(generated_factors.known(name, how).measured.all() for name in generated_factors.KNOWN)


def test_lowered_images_have_the_sides_that_the_factor_says():
    images = np.stack([picture(n, 24, 24) for n in range(40)])
    worse, factor = generated_factors.lowered(images, seed=1)
    again, _ = generated_factors.lowered(images, seed=1)
    np.testing.assert_array_equal(worse, again)
    sides = factor.of_images
    assert worse.shape == images.shape and sides.min() >= 4 and sides.max() <= 24 and np.ptp(sides) > 12
    lost = np.abs(worse.astype(int) - images).mean(axis=(1, 2, 3))
    assert lost[sides <= 8].mean() > 2 * lost[sides >= 18].mean()
    for one, image, side in zip(worse, images, sides, strict=True):
        assert side < 24 or np.array_equal(one, image)
