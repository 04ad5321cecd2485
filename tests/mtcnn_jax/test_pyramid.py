"""Area averages against OpenCV and plain loops; scales of the pyramid."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtcnn_jax import pyramid

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 37, 50, 3), np.uint8)
area_average = jax.jit(pyramid.area_average, static_argnames="shape")

# image, left, top, width, height: smaller and larger than the cells, both, and over each edge
REGIONS = [
    (0, 3, 2, 30, 31),
    (1, 10, 5, 9, 7),
    (0, 20, 20, 12, 11),
    (1, 0, 0, 50, 37),
    (0, -8, 5, 25, 25),
    (1, 40, 30, 20, 19),
    (0, 60, -40, 13, 13),
]
REGION = jax.jit(
    lambda integral, rows: pyramid.area_average(
        integral, pyramid.Regions(*rows.T), (jnp.full(len(rows), 12), jnp.full(len(rows), 12)), (12, 12)
    )
)


def crop(image: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """Float64, zero outside the image."""
    wide = np.zeros((height, width, 3))
    for y in range(max(0, -top), min(height, image.shape[0] - top)):
        for x in range(max(0, -left), min(width, image.shape[1] - left)):
            wide[y, x] = image[top + y, left + x]
    return wide


def test_integral_image_equals_sums():
    integral = np.asarray(jax.jit(pyramid.integral_image)(IMAGES))
    assert integral.shape[:2] == (2, 38)
    for image, y, x in [(0, 0, 0), (0, 1, 1), (0, 37, 50), (1, 16, 15), (1, 17, 16), (1, 20, 17), (1, 37, 49)]:
        expected = IMAGES[image, :y, :x].astype(int).sum(axis=(0, 1))
        np.testing.assert_array_equal(integral[image, y, x], expected)


def test_integral_image_may_wrap():
    """Sums are modulo 2^32: differences over parts are right however large the image."""
    integral = pyramid.integral_image(IMAGES) + jnp.int32(2**31 - 1000)  # as deep inside an image of 3000 x 3000
    regions = np.array(REGIONS[:4], np.int32)
    given, expected = REGION(integral, regions), REGION(pyramid.integral_image(IMAGES), regions)
    np.testing.assert_array_equal(given, expected)


def test_area_average_equals_opencv():
    given = REGION(pyramid.integral_image(IMAGES), np.array(REGIONS, np.int32))
    for ours, (image, *region) in zip(np.asarray(given), REGIONS, strict=True):
        expected = cv2.resize(crop(IMAGES[image], *region), (12, 12), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(ours, expected, atol=0.01)
    assert not given[-1].any()  # outside the image


def test_area_average_equals_loops():
    """Other numbers of rows and columns for each image; what is computed beyond them is not looked at."""
    regions = [(0, 0, 0, 50, 37), (1, 2, 1, 41, 29)]
    rows, columns = np.array([23, 9]), np.array([31, 60])
    given = area_average(
        pyramid.integral_image(IMAGES), pyramid.Regions(*np.array(regions).T), (rows, columns), shape=(25, 61)
    )
    for index, (image, *region) in enumerate(regions):
        source = crop(IMAGES[image], *region)
        height, width = source.shape[0] / rows[index], source.shape[1] / columns[index]  # of a cell
        for i, j in [(0, 0), (3, 5), (rows[index] - 1, columns[index] - 1), (8, 30)]:
            total = np.zeros(3)
            for y, x in np.ndindex(*source.shape[:2]):
                in_y = max(0.0, min(y + 1, (i + 1) * height) - max(y, i * height))
                in_x = max(0.0, min(x + 1, (j + 1) * width) - max(x, j * width))
                total += source[y, x] * in_y * in_x
            np.testing.assert_allclose(given[index, i, j], total / (height * width), atol=0.01)


def test_scales():
    assert pyramid.scales(250, 20, 0.5) == pytest.approx([0.6, 0.3, 0.15, 0.075])
    assert pyramid.scales(20, 20, 0.709) == [0.6]
    assert pyramid.scales(19, 20, 0.709) == []
    assert pyramid.scales(11, 6, 0.5) == [2.0]


def test_level_sizes():
    sizes = pyramid.level_sizes(41, 60, 4, 20, 0.5)
    np.testing.assert_array_equal(sizes, [[25, 36], [13, 18], [0, 0], [0, 0]])
