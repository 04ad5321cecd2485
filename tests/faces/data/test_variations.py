"""Each variation against loops over pixels in float64, and what is drawn for which image."""

import dataclasses
import math

import numpy as np
import pytest

from faces.config import AugmentConfig
from faces.data import augment, variations
from faces.errors import ConfigError
from tests.faces.configs import tiny
from tests.faces.data.makers import picture

OFF = AugmentConfig(flip=False, shift=0.0, zoom=0.0, rotate=0.0, colour=0.0, jpeg_quality=0)
AMOUNTS = {
    "gain": 0.3, "bias": 20.0, "gamma": 0.5, "gradient": 0.6, "saturation": 0.5, "occlusion": 0.3, "blur": 0.03,
    "low_resolution": 0.7, "grey": 0.2,
}  # fmt: skip
ALL = dataclasses.replace(OFF, **AMOUNTS)
IMAGE = picture(1, 13, 10)


def each_pixel(image, value_of):
    """value_of(row, column, channels) of each pixel, cut to 0..255."""
    rows, columns, _ = image.shape
    out = np.array([[value_of(i, j, image[i, j].tolist()) for j in range(columns)] for i in range(rows)])
    return np.clip(out, 0.0, 255.0)


def assert_rounded(given, expected):
    assert given.dtype == np.uint8
    np.testing.assert_allclose(given, expected, atol=0.5 + 1e-3)


@pytest.mark.parametrize(
    ("gain", "bias", "exponent"), [(1.0, 0.0, 1.0), (1.3, -12.0, 1.0), (0.7, 5.5, 1.8), (1.0, 0.0, 0.4)]
)
def test_tone(gain, bias, exponent):
    expected = each_pixel(IMAGE, lambda i, j, rgb: [gain * 255 * (v / 255) ** exponent + bias for v in rgb])
    assert_rounded(variations.tone(IMAGE, gain, bias, exponent), expected)


@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2, -2.1])
def test_gradient(angle):
    def lit(i, j, rgb):
        x, y = (j + 0.5) / 10 - 0.5, (i + 0.5) / 13 - 0.5
        corners = [math.cos(angle) * cx + math.sin(angle) * cy for cx in (-0.5, 0.5) for cy in (-0.5, 0.5)]
        return [v * (1 + 0.6 * (math.cos(angle) * x + math.sin(angle) * y) / max(corners)) for v in rgb]

    assert_rounded(variations.gradient(IMAGE, 0.6, angle), each_pixel(IMAGE, lit))


def test_the_lamp_is_where_the_angle_says():
    even = np.full((8, 8, 3), 100, np.uint8)
    right, below = variations.gradient(even, 0.8, 0.0)[..., 0], variations.gradient(even, 0.8, math.pi / 2)[..., 0]
    assert (np.diff(right.astype(int), axis=1) > 0).all() and (np.diff(right, axis=0) == 0).all()
    assert (np.diff(below.astype(int), axis=0) > 0).all()


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_saturate(factor):
    def coloured(i, j, rgb):
        luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
        return [luma + factor * (v - luma) for v in rgb]

    given = variations.saturate(IMAGE, factor)
    assert_rounded(given, each_pixel(IMAGE, coloured))
    assert factor != 0 or (given == given[..., :1]).all()


def test_occlude_covers_a_rectangle_and_nothing_else():
    given = variations.occlude(IMAGE, (0.2, 4 / 13, 0.6, 7 / 13), np.array([1, 2, 3]))
    expected = each_pixel(IMAGE, lambda i, j, rgb: [1, 2, 3] if 2 <= j < 6 and 4 <= i < 7 else rgb)
    np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("seed", range(3))
def test_a_place_has_its_area_its_ratio_and_lies_inside(seed):
    for area, ratio, across, down in np.random.default_rng(seed).uniform((0, 0.5, 0, 0), (1, 2, 1, 1), (100, 4)):
        left, top, right, bottom = variations._place(area, ratio, across, down)
        assert 0 <= left <= right <= 1 + 1e-12 and 0 <= top <= bottom <= 1 + 1e-12
        assert (right - left) * (bottom - top) == pytest.approx(area)
        if 0.01 < area < 0.5:
            assert (right - left) / (bottom - top) == pytest.approx(ratio)
    assert variations._place(0.0, 1.0, 0.3, 0.3)[0] == variations._place(0.0, 1.0, 0.3, 0.3)[2]


def test_blur_is_the_gaussian_of_that_deviation():
    deviation, radius = 0.12 * 10, 4
    weight = [math.exp(-0.5 * (k / deviation) ** 2) for k in range(-radius, radius + 1)]

    def blurred(i, j, _):
        total = [0.0, 0.0, 0.0]
        for a, down in enumerate(weight):
            for b, across in enumerate(weight):
                at = IMAGE[min(max(i + a - radius, 0), 12), min(max(j + b - radius, 0), 9)]
                total = [t + down * across * float(v) for t, v in zip(total, at, strict=True)]
        return [t / sum(weight) ** 2 for t in total]

    np.testing.assert_allclose(variations.blur(IMAGE, 0.12), each_pixel(IMAGE, blurred), atol=1.5)
    np.testing.assert_array_equal(variations.blur(IMAGE, 0.0), IMAGE)


def test_lower_resolution_averages_blocks_and_keeps_the_size():
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    given = variations.lower_resolution(image, 0.25)  # 2 x 3
    means = np.array([[image[4 * i:4 * i + 4, 4 * j:4 * j + 4].reshape(-1, 3).mean(0) for j in range(3)]
                      for i in range(2)])  # fmt: skip

    def between(i, j, _):
        y, x = min(max((i + 0.5) / 4 - 0.5, 0), 1), min(max((j + 0.5) / 4 - 0.5, 0), 2)
        row, column = min(int(y), 0), min(int(x), 1)
        dy, dx = y - row, x - column
        (a, b), (c, d) = means[row : row + 2, column : column + 2]
        return (1 - dy) * ((1 - dx) * a + dx * b) + dy * ((1 - dx) * c + dx * d)

    np.testing.assert_allclose(given, each_pixel(image, between), atol=1.1)
    np.testing.assert_array_equal(variations.lower_resolution(image, 1.0), image)
    assert (variations.lower_resolution(image, 1e-9) == variations.lower_resolution(image, 1e-9)[0, 0]).all()


def test_what_is_absent_or_zero_changes_nothing():
    zero = dataclasses.replace(OFF, **dict.fromkeys(AMOUNTS, 0.0))
    for config in (OFF, zero, dataclasses.replace(ALL, share=0.0, grey=0.0)):
        np.testing.assert_array_equal(variations.vary(IMAGE, config, np.random.default_rng(0)), IMAGE)
    assert variations.varies(ALL) and not variations.varies(dataclasses.replace(OFF, share=0.5))


def recorded(monkeypatch, config, draws=400):
    """The arguments of each change, by its name, of many images; None where an image was spared."""
    said = {name: [None] * draws for name in ("tone", "gradient", "saturate", "occlude", "blur", "lower_resolution")}
    for name, of_name in said.items():

        def change(image, *arguments, of_name=of_name, name=name):
            if name != "saturate" or arguments != (0.0,):
                of_name[seed] = arguments
            return image

        monkeypatch.setattr(variations, name, change)
    for seed in range(draws):
        variations.vary(IMAGE, config, np.random.default_rng(seed))
    return said


def test_ranges_are_kept_and_used(monkeypatch):
    said = recorded(monkeypatch, ALL)
    gain, bias, exponent = np.array(said["tone"]).T
    rise, angle = np.array(said["gradient"]).T
    log = math.log(1.5)
    for values, low, high in (
        (gain, 0.7, 1.3), (bias, -20, 20), (np.log(exponent), -log, log), (rise, 0, 0.6), (angle, -math.pi, math.pi),
        (np.array(said["saturate"]), 0.5, 1.5), (np.array(said["blur"]), 0, 0.03),
        (np.array(said["lower_resolution"]), 0.3, 1.0),
        (np.array([(r - a) * (d - b) for (a, b, r, d), _ in said["occlude"]]), 0, 0.3),
    ):  # fmt: skip
        spread = high - low
        assert low <= values.min() < low + 0.05 * spread and high - 0.05 * spread < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.06 * spread
    assert all(((colour >= 0) & (colour <= 255)).all() for _, colour in said["occlude"])


def test_share_is_of_each_change_apart(monkeypatch):
    said = recorded(monkeypatch, dataclasses.replace(ALL, share=0.2, gamma=0.0, bias=0.0), draws=800)
    done = {name: np.array([one is not None for one in values]) for name, values in said.items()}
    for name, happens in done.items():
        assert 0.15 < happens.mean() < 0.25, name
    together = np.corrcoef(np.array(list(done.values()), float))
    assert np.abs(together - np.eye(len(done))).max() < 0.15


def test_grey_is_a_share_of_images():
    config = dataclasses.replace(OFF, grey=0.3)
    colour = np.full((2, 2, 3), (200, 30, 90), np.uint8)
    grey = [len(np.unique(variations.vary(colour, config, np.random.default_rng(s)))) == 1 for s in range(500)]
    assert 0.24 < np.mean(grey) < 0.36


@pytest.mark.parametrize("off", AMOUNTS)
def test_variations_do_not_reshuffle_each_other(monkeypatch, off):
    everything, less = (recorded(monkeypatch, config, 20) for config in (ALL, dataclasses.replace(ALL, **{off: None})))
    own = {"gain": "tone", "bias": "tone", "gamma": "tone", "saturation": "saturate", "occlusion": "occlude",
           "low_resolution": "lower_resolution"}.get(off, off)  # fmt: skip
    for name in set(everything) - {own}:
        assert repr(everything[name]) == repr(less[name])
    if own == "tone":
        place = ("gain", "bias", "gamma").index(off)
        for more, fewer in zip(everything["tone"], less["tone"], strict=True):
            assert [a for i, a in enumerate(more) if i != place] == [a for i, a in enumerate(fewer) if i != place]
            assert fewer[place] == (1.0, 0.0, 1.0)[place]


def test_colour_does_not_reshuffle_variations():
    """Colours are changed before: of a grey picture, by nothing."""
    flat = np.full((20, 20, 3), 128, np.uint8)
    only = dataclasses.replace(OFF, occlusion=0.4)
    for seed in range(3):
        plain, coloured = (
            augment.augment(flat, (20, 20), config, np.random.default_rng(seed))
            for config in (only, dataclasses.replace(only, colour=1e-6))
        )
        np.testing.assert_array_equal(plain, coloured)


def test_vary_depends_on_the_generator_alone_and_leaves_its_image():
    before = IMAGE.copy()
    first, again, other = (variations.vary(IMAGE, ALL, np.random.default_rng((3, s))) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and first.dtype == np.uint8 and first.shape == IMAGE.shape
    np.testing.assert_array_equal(IMAGE, before)


def test_a_config_takes_the_fields_and_refuses_what_is_out_of_range():
    assert tiny(augment__blur=0.02).augment.blur == 0.02
    with pytest.raises(ConfigError, match=r"augment\.occlusion"):
        tiny(augment__occlusion=1.0)
