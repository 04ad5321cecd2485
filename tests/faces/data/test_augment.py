"""Crops against a bilinear oracle with plain loops, and what is random in a training image."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from faces.config import AugmentConfig
from faces.data import augment
from tests.faces.data.makers import picture

OFF = AugmentConfig(flip=False, shift=0.0, zoom=0.0, rotate=0.0, colour=0.0, jpeg_quality=0)
NOISE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)  # pixels without order, to see copies


def bilinear(image, size, box, flip=False, zoom=1.0, shift=(0.0, 0.0), rotation=0.0):
    """The crop in float64: pixel (i, j) has its centre at (j + 1/2, i + 1/2), beyond the border lies the border."""
    height, width, _ = image.shape
    left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    out = np.zeros((*size, 3))
    for row in range(size[0]):
        for column in range(size[1]):
            # from -1/2 to 1/2 over the box
            u = (column + 0.5) / size[1] - 0.5
            v = (row + 0.5) / size[0] - 0.5
            u, v = (-u if flip else u) * (right - left) * zoom, v * (bottom - top) * zoom
            turn = math.radians(rotation)
            x = (left + right) / 2 + shift[0] * (right - left) + u * math.cos(turn) - v * math.sin(turn) - 0.5
            y = (top + bottom) / 2 + shift[1] * (bottom - top) + u * math.sin(turn) + v * math.cos(turn) - 0.5
            for i in (math.floor(y), math.floor(y) + 1):
                for j in (math.floor(x), math.floor(x) + 1):
                    weight = (1 - abs(y - i)) * (1 - abs(x - j))
                    out[row, column] += weight * image[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
    return out


def test_the_whole_image_at_its_own_size_is_the_image():
    np.testing.assert_array_equal(augment.crop(NOISE, (12, 10)), NOISE)


def test_a_box_of_whole_pixels_is_a_slice():
    box = (2 / 10, 3 / 12, 8 / 10, 7 / 12)
    np.testing.assert_array_equal(augment.crop(NOISE, (4, 6), box), NOISE[3:7, 2:8])


@pytest.mark.parametrize("changes", [
    {"box": (0.0, 0.0, 1.0, 1.0)},
    {"box": (0.13, 0.28, 0.71, 0.95)},
    {"box": (-0.2, 0.4, 0.5, 1.3)},
    {"box": (0.1, 0.2, 0.8, 0.9), "flip": True},
    {"box": (0.1, 0.2, 0.8, 0.9), "zoom": 0.8},
    {"box": (0.1, 0.2, 0.8, 0.9), "shift": (0.1, -0.07)},
    {"box": (0.1, 0.2, 0.8, 0.9), "rotation": 20.0},
    {"box": (0.1, 0.2, 0.8, 0.9), "flip": True, "zoom": 1.2, "shift": (-0.1, 0.05), "rotation": -15.0},
])  # fmt: skip
@pytest.mark.parametrize("size", [(9, 14), (30, 21)])
def test_crop_equals_the_oracle(changes, size):
    image = picture(1, 23, 19)
    given = augment.crop(image, size, **changes)
    assert given.dtype == np.uint8
    np.testing.assert_allclose(given, bilinear(image, size, **changes), atol=1.0)


def test_flip_mirrors():
    box = (0.1, 0.2, 0.8, 0.9)
    mirrored = augment.crop(picture(2), (11, 8), box, flip=True, zoom=1.1, rotation=10.0)
    plain = augment.crop(picture(2), (11, 8), box, zoom=1.1, rotation=10.0)
    np.testing.assert_allclose(mirrored.astype(int), plain[:, ::-1], atol=1)
    np.testing.assert_array_equal(augment.crop(NOISE, (12, 10), flip=True), NOISE[:, ::-1])


def test_shift_moves_the_box_right_and_down():
    box = (3 / 10, 4 / 12, 7 / 10, 8 / 12)
    np.testing.assert_array_equal(augment.crop(NOISE, (4, 4), box, shift=(0.25, 0.5)), NOISE[6:10, 4:8])
    np.testing.assert_array_equal(augment.crop(NOISE, (4, 4), box, shift=(-0.5, -0.25)), NOISE[3:7, 1:5])


def test_zoom_above_one_shows_more():
    box = (3 / 10, 4 / 12, 7 / 10, 8 / 12)
    np.testing.assert_array_equal(augment.crop(NOISE, (6, 6), box, zoom=1.5), NOISE[3:9, 2:8])


def test_rotation_turns_the_box_clockwise():
    square = NOISE[:10]
    np.testing.assert_array_equal(augment.crop(square, (10, 10), rotation=90.0), np.rot90(square))


def test_outside_is_the_border():
    given = augment.crop(NOISE, (12, 10), shift=(1.0, 0.0))
    np.testing.assert_array_equal(given, np.repeat(NOISE[:, -1:], 10, axis=1))


@pytest.mark.parametrize("shape", [(40, 40), (41, 53), (200, 90)])
def test_shrinking_keeps_a_constant(shape):
    image = np.full((*shape, 3), (10, 130, 250), np.uint8)
    given = augment.crop(image, (8, 8), zoom=1.1)
    np.testing.assert_array_equal(given, np.broadcast_to(image[0, 0], (8, 8, 3)))


def test_shrinking_by_a_whole_number_is_the_mean_of_blocks():
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    means = image.reshape(8, 5, 12, 5, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(augment.crop(image, (8, 12)), means, atol=0.51)


def test_shrinking_sees_every_pixel():
    """Stripes one pixel wide are grey from afar; bilinear sampling alone would make of them whatever it hits."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for size in (32, 23, 16, 9):
        given = augment.crop(stripes, (size, size)).astype(float)
        assert abs(given.mean() - 127.5) < 3
        assert abs(given[:, 1:-1] - 127.5).max() < 45


@pytest.mark.parametrize("side", [100, 101, 80, 50, 83])
@pytest.mark.parametrize("flip", [False, True])
def test_shrinking_does_not_move_anything(side, flip):
    """On a ramp each result pixel tells where it was taken from, the last column as well as the first."""
    ramp = np.linspace(0, 255, side)
    image = np.rint(np.broadcast_to(ramp[None, :, None], (side, side, 3))).astype(np.uint8)
    columns = (side - 1) // 4  # just above four: sides that are no multiple of four shrink by a broken number
    box = (0.1, 0.2, 0.9, 0.8)
    for whole, given_size in (((0.0, 0.0, 1.0, 1.0), columns), (box, columns // 2)):
        given = augment.crop(image, (given_size, given_size), whole, flip=flip)[given_size // 2, :, 0]
        place = (whole[0] + (np.arange(given_size) + 0.5) / given_size * (whole[2] - whole[0])) * side - 0.5
        expected = np.interp(place[::-1] if flip else place, np.arange(side), ramp)
        np.testing.assert_allclose(given, expected, atol=1.0)  # a pixel is 2.5 to 5.2 grey values


def config(**changes):
    return dataclasses.replace(OFF, **changes)


EVERYTHING = config(flip=True, shift=0.1, zoom=0.2, rotate=15.0, colour=0.3, jpeg_quality=30)


class Extreme:
    """A generator whose every draw is at one end of its range."""

    def __init__(self, end):
        self._end = end

    def uniform(self, low, high, size):
        return np.full(size, (low, high)[self._end])


def test_augment_with_everything_off_is_the_crop():
    image = picture(3, 30, 24)
    np.testing.assert_array_equal(
        augment.augment(image, (16, 16), OFF, np.random.default_rng(0)), augment.crop(image, (16, 16))
    )


def test_augment_depends_on_the_generator_alone():
    image = picture(3, 30, 24)
    first, again, other = (
        augment.augment(image, (16, 16), EVERYTHING, np.random.default_rng((7, seed))) for seed in (0, 0, 1)
    )
    assert first.shape == (16, 16, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_augment_leaves_its_image_alone():
    image = picture(3, 16, 16)
    before = image.copy()
    for seed in range(4):
        augment.augment(image, (16, 16), EVERYTHING, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, before)


def recorded(monkeypatch, settings, draws=300):
    """Arguments of the crops and qualities of the JPEGs of many draws."""
    crops, qualities = [], []

    def crop(image, size, **arguments):
        crops.append(arguments)
        return image

    def recompress(image, quality):
        qualities.append(quality)
        return image

    monkeypatch.setattr(augment, "crop", crop)
    monkeypatch.setattr(augment, "recompress", recompress)
    for seed in range(draws):
        augment.augment(NOISE[:2, :2], (2, 2), settings, np.random.default_rng(seed))
    return crops, qualities


def test_ranges_are_kept_and_used(monkeypatch):
    crops, qualities = recorded(monkeypatch, EVERYTHING)
    changes = {
        "right": ([one["shift"][0] for one in crops], 0.1),
        "down": ([one["shift"][1] for one in crops], 0.1),
        "zoom": ([one["zoom"] - 1 for one in crops], 0.2),
        "rotation": ([one["rotation"] for one in crops], 15.0),
    }
    for name, (values, limit) in changes.items():
        assert -limit <= min(values) < -0.95 * limit, name
        assert 0.95 * limit < max(values) <= limit, name
        assert abs(np.mean(values)) < 0.12 * limit, name
    assert not np.allclose(changes["right"][0], changes["down"][0])
    assert 0.4 < np.mean([one["flip"] for one in crops]) < 0.6
    assert 0.4 < len(qualities) / len(crops) < 0.6
    assert all(isinstance(quality, int) for quality in qualities)
    assert 30 <= min(qualities) < 34 and 91 < max(qualities) <= 95


@pytest.mark.parametrize("off", [field.name for field in dataclasses.fields(AugmentConfig)])
def test_settings_do_not_reshuffle_each_other(monkeypatch, off):
    crops, qualities = recorded(monkeypatch, EVERYTHING, draws=20)
    less_crops, less_qualities = recorded(
        monkeypatch, dataclasses.replace(EVERYTHING, **{off: getattr(OFF, off)}), draws=20
    )
    argument, neutral = {
        "flip": ("flip", False), "shift": ("shift", (0.0, 0.0)), "zoom": ("zoom", 1.0), "rotate": ("rotation", 0.0),
    }.get(off, (None, None))  # fmt: skip
    for more, less in zip(crops, less_crops, strict=True):
        assert less == (more if argument is None else more | {argument: neutral})
    assert less_qualities == ([] if off == "jpeg_quality" else qualities)


def test_colour_off_leaves_the_geometry_alone():
    image = picture(4, 40, 40)
    for seed in range(5):
        off, unchanged = (  # the second goes through the arithmetic of colours
            dataclasses.replace(EVERYTHING, colour=colour) for colour in (0.0, 1e-9)
        )
        np.testing.assert_array_equal(
            augment.augment(image, (16, 16), off, np.random.default_rng(seed)),
            augment.augment(image, (16, 16), unchanged, np.random.default_rng(seed)),
        )


@pytest.mark.parametrize("end", [0, 1])
def test_colours_equal_loops(end):
    image = picture(5, 6, 5)
    amount = 0.4
    factor = 1 + (-amount, amount)[end]
    given = augment.augment(image, (6, 5), config(colour=amount), Extreme(end))
    pixels = [[[float(value) * factor for value in pixel] for pixel in row] for row in image.tolist()]
    mean = sum(value for row in pixels for pixel in row for value in pixel) / image.size
    for i, row in enumerate(pixels):
        for j, pixel in enumerate(row):
            red, green, blue = (mean + (value - mean) * factor for value in pixel)
            grey = 0.299 * red + 0.587 * green + 0.114 * blue
            for k, value in enumerate((red, green, blue)):
                expected = min(max(grey + (value - grey) * factor, 0), 255)
                assert abs(int(given[i, j, k]) - expected) <= 0.51


def test_colours_are_the_three_changes_one_after_the_other():
    """In float32 step by step: at most one grey value apart, where a value lies between two."""
    image, random = picture(7, 60, 50), np.random.default_rng(0)
    for _ in range(20):
        change = random.uniform(-0.5, 0.5, 3)
        values = image.astype(np.float32) * np.float32(1 + change[0])
        mean = values.mean(dtype=np.float32)
        values = mean + (values - mean) * np.float32(1 + change[1])
        grey = (values @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        expected = np.clip(np.rint(grey + (values - grey) * np.float32(1 + change[2])), 0, 255)
        difference = np.abs(augment._colour(image, change) - expected)
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("shape", [(20, 20), (90, 90)])
def test_padding_with_a_channel_changes_no_pixel(shape):
    """The larger image is sampled as it is."""
    image = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    inverse = np.array([[0.9, 0.2, -1.3], [-0.2, 0.9, 2.1]])
    flags = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
    channels = [cv2.warpAffine(image[..., k], inverse, (21, 19), **flags) for k in range(3)]
    np.testing.assert_array_equal(augment._warp(image, inverse, (19, 21)), np.stack(channels, axis=2))


def test_a_crop_is_never_a_view():
    for flip in (False, True):
        image = NOISE.copy()
        given = augment.crop(image, (12, 10), flip=flip)
        given[:] = 0
        np.testing.assert_array_equal(image, NOISE)


def test_recompress_keeps_channels_and_loses_more_at_lower_quality():
    red = np.full((16, 16, 3), (230, 20, 40), np.uint8)
    np.testing.assert_allclose(augment.recompress(red, 95), red.astype(int), atol=4)
    image = picture(6, 32, 24)
    errors = [np.abs(augment.recompress(image, quality).astype(int) - image).mean() for quality in (95, 50, 5)]
    assert errors[0] < 4
    assert errors[0] < errors[1] < errors[2]
    again = augment.recompress(image, 50)
    assert again.shape == image.shape and again.dtype == np.uint8


@pytest.mark.parametrize(
    ("shape", "pixels", "expected"),
    [
        ((250, 250), 1600, (40, 40)),
        ((100, 50), 200, (20, 10)),
        ((50, 100), 200, (10, 20)),
        ((30, 20), 150, (15, 10)),
        ((300, 2), 30, (67, 1)),
    ],
)
def test_reduce_pixels_keeps_the_ratio(shape, pixels, expected):
    image = np.full((*shape, 3), 77, np.uint8)
    reduced = augment.reduce_pixels(image, pixels)
    assert reduced.shape == (*expected, 3)
    assert (reduced == 77).all()


def test_reduce_pixels_averages_and_never_enlarges():
    image = np.random.default_rng(2).integers(0, 256, (20, 12, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        augment.reduce_pixels(image, 60), image.reshape(10, 2, 6, 2, 3).mean(axis=(1, 3)), atol=0.51
    )
    for pixels in (240, 241, 10**6):
        np.testing.assert_array_equal(augment.reduce_pixels(image, pixels), image)
