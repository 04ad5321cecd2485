"""Alignment against loops in float64, OpenCV and Pillow; points that give no direction; what a detection lacks."""

import math

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

from faces import align
from faces import warp as sampling
from faces.data.images import decode_image
from faces.errors import DataError
from faces.warp import padded_shape
from tests.faces.data.makers import picture

warp = jax.jit(sampling.warp, static_argnums=2)
resample = jax.jit(sampling.resample, static_argnums=(3, 4))
similarity = jax.jit(align.similarity)
LFW_POINTS = align.TEMPLATE * 1.1674 + np.array([60.25, 50.75])  # where deep-funnelled faces have them, roughly


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Umeyama's closed form by singular values, reflection ruled out, in float64."""
    source, target = source.astype(np.float64), target.astype(np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    s, t = source - source_mean[None], target - target_mean[None]
    u, values, vt = np.linalg.svd(t.T @ s / len(s))
    sign = np.array([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vt) > 0 else -1.0])
    rotation = u @ np.diag(sign) @ vt
    scale = float((values * sign).sum() / (s**2).sum(axis=1).mean())
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


def bilinear(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture pixel by pixel, zero outside the image."""
    inverse = np.linalg.inv(matrix[:, :2])
    out = np.zeros((*size, 3))
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = inverse @ (np.array([column, row]) - matrix[:, 2])
            for dx in (0, 1):
                for dy in (0, 1):
                    px, py = math.floor(x) + dx, math.floor(y) + dy
                    if 0 <= px < image.shape[1] and 0 <= py < image.shape[0]:
                        out[row, column] += (1 - abs(x - px)) * (1 - abs(y - py)) * image[py, px].astype(np.float64)
    return out


def padded(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)))


@pytest.mark.parametrize(
    ("size", "scale", "shift"),
    [((112, 112), 1, 0), ((112, 96), 1, -8), ((224, 224), 2, 0), ((80, 80), 80 / 112, 0), ((128, 128), 1, 8),
     ((160, 160), 1.25, 10), ((256, 256), 2, 16), ((224, 192), 2, -16)],
)  # fmt: skip
def test_template_by_rule(size, scale, shift):
    expected = [(x * scale + shift, y * scale) for x, y in align.TEMPLATE.tolist()]
    np.testing.assert_allclose(align.template(size), expected, rtol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_similarity_is_umeyamas(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-300, 900, (4, 5, 2)).astype(np.float32)
    points[3] = align.TEMPLATE * np.float32([-1, 1])[None]  # a mirrored face must not be reflected back
    maps = np.asarray(similarity(points, align.TEMPLATE))
    for one, source in zip(maps, points, strict=True):
        np.testing.assert_allclose(one, umeyama(source, align.TEMPLATE), rtol=1e-4, atol=2e-4)
        assert np.linalg.det(one[:, :2]) > 0


def test_similarity_recovers_a_turn():
    angle, scale, shift = 0.5, 1.7, np.array([30.0, -12.0])
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    source = (align.TEMPLATE - shift[None]) @ np.linalg.inv(turn).T
    found = np.asarray(similarity(source[None].astype(np.float32), align.TEMPLATE))[0]
    np.testing.assert_allclose(found, np.column_stack([turn, shift]), atol=1e-4)


def test_points_without_a_direction_are_shifted():
    one_place = np.full((5, 2), 57.3, np.float32)
    # On a line across the target's only axis, and symmetric: no rotation is better than another.
    symmetric = np.array([[-1, 0], [1, 0], [0, 0], [0, 1], [0, -1]], np.float32)
    mirrored = symmetric * np.float32([1, -1])[None]
    for source, target in ((one_place, align.TEMPLATE), (mirrored, symmetric)):
        (found,) = np.asarray(similarity(source[None], target))
        np.testing.assert_allclose(found[:, :2], np.eye(2))
        np.testing.assert_allclose(found[:, 2], target.mean(axis=0) - source.mean(axis=0), atol=1e-4)


def test_warp_is_bilinear_with_a_zero_border():
    # The first reaches beyond the right and lower border of the batch, the last beyond the left and upper one.
    images = [picture(1, 32, 32), picture(2, 17, 20), picture(3, 32, 32)]
    maps = np.array(
        [[[0.4, -0.2, -3], [0.2, 0.4, -7]], [[1.9, 0.3, -8], [-0.3, 1.9, 6]], [[0.7, -0.4, 9], [0.4, 0.7, 3]]],
        np.float32,
    )
    batch = np.stack([padded(image, 32, 32) for image in images])
    pictures = np.asarray(warp(batch, maps, (13, 11)))
    for result, image, matrix in zip(pictures, images, maps, strict=True):
        np.testing.assert_allclose(result, bilinear(image, matrix, (13, 11)), atol=1e-2)
    assert (pictures == 0).any() and pictures.any()


def test_warp_of_far_places_is_zero_and_finite():
    maps = np.array([[[1e-9, 0, 0], [0, 1e-9, 1e9]]], np.float32)
    np.testing.assert_array_equal(np.asarray(warp(np.full((1, 8, 8, 3), 9, np.uint8), maps, (4, 4))), 0)


@pytest.mark.parametrize("box", [(0, 0, 40, 30), (5, 7, 12, 29), (3, 4, 38, 6)])
def test_resample_is_pillows_bilinear(box):
    image = np.random.default_rng(5).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).crop(box).resize((16, 12), Image.Resampling.BILINEAR)).astype(int)
    target = np.array([[0, 0, 16, 12]], np.float32)
    result = np.asarray(resample(padded(image, 32, 48)[None], np.array([box], np.float32), target, (12, 16)))[0]
    assert np.abs(result - expected).max() <= 1.01  # Pillow rounds twice
    assert np.abs(result - expected).mean() < 0.5


def test_resample_fills_what_the_target_leaves():
    image = np.full((1, 6, 4, 3), 50, np.uint8)
    result = np.asarray(resample(image, np.float32([[0, 0, 4, 6]]), np.float32([[2, 0, 6, 6]]), (6, 8), 128.0))
    np.testing.assert_allclose(result[0, :, 2:6], 50, rtol=1e-6)
    assert (result[0, :, [0, 1, 6, 7]] == 128).all()


@pytest.mark.parametrize(
    ("side", "shape"), [(1, 64), (64, 64), (65, 96), (97, 128), (129, 192), (250, 256), (257, 384)]
)
def test_padded_shapes_are_few(side, shape):
    assert padded_shape(side, 64) == (shape, 64)


@pytest.mark.parametrize("size", [(112, 112), (112, 96)])
def test_five_points_are_opencvs(size):
    image = picture(3, 250, 250)
    points = (LFW_POINTS + np.random.default_rng(0).normal(0, 6, (5, 2))).astype(np.float32)
    result = align.five_points(image, None, points, size)
    expected = cv2.warpAffine(image, umeyama(points, align.template(size)), size[::-1])
    assert result.dtype == np.uint8 and result.shape == (*size, 3)
    assert np.abs(result.astype(int) - expected).mean() < 0.5


@pytest.mark.realdata
def test_real_faces_are_opencvs(faces_data):
    rng = np.random.default_rng(1)
    for path in sorted((faces_data / "lfw").rglob("*_0001.jpg"))[:200:10]:
        image = decode_image(path.read_bytes(), path.name)
        points = (LFW_POINTS + rng.normal(0, 8, (5, 2))).astype(np.float32)
        expected = cv2.warpAffine(image, umeyama(points, align.TEMPLATE), (112, 112))
        result = align.five_points(image, None, points, (112, 112))
        assert np.abs(result.astype(int) - expected).mean() < 0.5


@pytest.mark.parametrize(("margin", "resized"), [(32.0, None), (44.0, 182), (0.0, 183)])
@pytest.mark.parametrize("box", [(80.6, 60.2, 170.9, 190.4), (-12.5, 4.0, 90.1, 260.0)])
def test_box_margin_is_cut_stretch_and_centre(margin, resized, box):
    image = picture(4, 250, 250)
    left, top = (int(max(box[axis] - margin / 2, 0)) for axis in (0, 1))
    right, bottom = (int(min(box[axis] + margin / 2, 250)) for axis in (2, 3))
    side = resized or 160
    whole = np.asarray(Image.fromarray(image[top:bottom, left:right]).resize((side, side), Image.Resampling.BILINEAR))
    border = (side - 160) // 2
    expected = whole[border : border + 160, border : border + 160].astype(int)
    result = align.box_margin(image, np.float32(box), None, (160, 160), margin=margin, resized=resized)
    assert np.abs(result - expected).max() <= 1


def test_two_eyes_are_level_and_bars_are_grey():
    image = np.zeros((120, 150, 3), np.uint8)
    points = np.float32([[50, 40], [80, 56], [60, 60], [50, 75], [70, 80]])
    for x, y in points[:2].astype(int):
        cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    face = image[20:100, 30:110]
    turned = cv2.warpAffine(face, cv2.getRotationMatrix2D((40, 40), math.degrees(math.atan(16 / 30)), 1), (80, 80))
    result = align.two_eyes(image, np.float32([30, 20, 110, 100]), points, (80, 80))
    assert np.abs(result.astype(int) - turned).mean() < 0.5
    half = result[:, :40], result[:, 40:]
    heights = [np.average(np.arange(80), weights=part.sum(axis=(1, 2))) for part in half]
    assert abs(heights[0] - heights[1]) < 0.5
    boxed = align.two_eyes(image, np.float32([30, 20, 70, 100]), points, (64, 64))
    assert (boxed[:, :16] == 128).all() and (boxed[:, 48:] == 128).all() and not (boxed[:, 16:48] == 128).all()


def test_eyes_one_above_the_other_are_left():
    image, box = picture(6, 64, 64), np.float32([0, 0, 64, 64])
    points = np.float32([[30, 10], [30, 40], [30, 30], [20, 50], [40, 50]])
    np.testing.assert_array_equal(align.two_eyes(image, box, points, (64, 64)), image)


def test_crops_that_need_no_detection():
    image = np.random.default_rng(7).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align.centre_crop(image, None, None, (50, 50)), image[25:75, 35:85])
    boxed = align.fixed_box(image, None, None, (50, 60), fractions=(0.25, 0.3, 0.75, 0.8))
    np.testing.assert_array_equal(boxed, image[30:80, 30:90])
    np.testing.assert_array_equal(align.fixed_box(image, None, None, (100, 120)), image)


@pytest.mark.parametrize(
    ("height", "width", "size", "shown"),
    [
        (60, 30, (40, 40), (40, 20)),
        (30, 60, (40, 40), (20, 40)),
        (49, 49, (112, 112), (112, 112)),
        (90, 70, (112, 96), (112, 87)),
        (3, 400, (16, 16), (1, 16)),
    ],
)
def test_letterbox_is_pillows_whole_picture_between_bars(height, width, size, shown):
    image = picture(9, height, width)
    result = align.letterbox(image, None, None, size)
    inside = np.asarray(Image.fromarray(image).resize(shown[::-1], Image.Resampling.BILINEAR))
    top, left = (size[0] - shown[0]) // 2, (size[1] - shown[1]) // 2
    expected = np.full((*size, 3), 128, np.uint8)
    expected[top : top + shown[0], left : left + shown[1]] = inside
    assert np.abs(result.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(align.letterbox(image, None, None, (height, width)), image)


@pytest.mark.parametrize("name", align.ALIGNMENTS)
def test_one_signature(name):
    image = picture(8, 90, 70)
    result = align.ALIGNMENTS[name](image, np.float32([10, 10, 60, 70]), align.TEMPLATE / 2, (112, 96))
    assert result.shape == (112, 96, 3) and result.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "box", "points", "message"),
    [
        ("five_points", None, None, "five_points aligns by five points, which this photograph has none of"),
        ("five_points", None, np.full((5, 2), np.nan, np.float32), "a coordinate is not finite"),
        ("five_points", None, np.full((5, 2), 57.3, np.float32), r"five points all lie at \(57\.3, 57\.3\)"),
        ("box_margin", None, None, "box_margin aligns by a box, which this photograph has none of"),
        ("box_margin", np.float32([200, 3, 240, 9]), None, r"200\.0, .* holds no pixel of a photograph of 70x90"),
        ("two_eyes", np.float32([0, 0, 9, 9]), None, "two_eyes aligns by five points"),
        ("two_eyes", np.float32([20, 0, 9, 9]), align.TEMPLATE, "holds no pixel"),
    ],
)
def test_detections_that_show_no_face(name, box, points, message):
    options = {"margin": 0.0} if name == "box_margin" else {}
    with pytest.raises(DataError, match=message):
        align.ALIGNMENTS[name](picture(8, 90, 70), box, points, (112, 112), **options)
