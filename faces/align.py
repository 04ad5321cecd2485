"""From a photograph and a detection to the face that a network takes: six ways, each by its name in `ALIGNMENTS`.

Points and boxes of detections are in pixels, x to the right, y down, the centre of the top left pixel being (0, 0).
Five points are left eye, right eye, nose, left and right corner of the mouth, left and right as seen in the image.

Not here: detection (`faces.detect`), the sampling of pixels (`warp.py`), what training changes at random
(`faces.data.augment`, whose crop without a change is `fixed_box`).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from faces.data.augment import crop
from faces.errors import DataError
from faces.warp import padded_shape, resample, warp

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Five points in a face of 112x112: InsightFace's, and SphereFace's of 112x96 moved right by 8."""

GREY = 128.0
"""Value of a letterbox's bars."""

_SMALLEST_SPREAD = 1e-3  # pixels; points that lie closer together give no direction


def template(size: tuple[int, int]) -> Float32[np.ndarray, "5 2"]:
    """Five points in a face of `size` rows and columns.

    Multiples of 112 scale the template of 112. Multiples of 128 put the face of 112 in 128 columns: scaled by
    rows / 128 after 8 is added to x, so that the face keeps some border at the sides and below. Where rows and columns
    differ, the template of the rows is centred in the columns, which is x - 8 for 112x96.
    CHOICE: other sizes above 112 follow the rule of 128 (160 scales it by 1.25), sizes below 112 the rule of 112.

    Source: InsightFace's alignment for 112 and 128, SphereFace's for 112x96.
    """
    rows, columns = size
    if rows % 112 == 0 or rows < 112:
        square = TEMPLATE * (rows / 112)
    else:
        square = (TEMPLATE + np.array([[8.0, 0.0]])) * (rows / 128)
    return (square + np.array([[(columns - rows) / 2, 0.0]])).astype(np.float32)


def similarity(source: Float[Array, "batch points 2"], target: Float[Array, "points 2"]) -> Float[Array, "batch 2 3"]:
    """Least-squares similarity from each set of points to the target: rotation, one scale, shift; no reflection.

        min over c, R, t of  sum_i |target_i - (c R source_i + t)|^2,   det R = 1

    In the plane Umeyama's solution needs no singular values: with points as complex numbers about their means,
    c e^(i angle) = sum_i conj(s_i) t_i / sum_i |s_i|^2.

    Args:
        source: points of each photograph.
        target: where they must lie.

    Returns:
        Maps (x, y, 1) -> (x, y) in float32. Points within 0.001 pixels of their mean, and points that every rotation
        brings equally near to the target, give no direction: their map is the shift between the means.

    Source: S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, 1991.
    """
    source, target = source.astype(jnp.float32), target.astype(jnp.float32)
    source_mean, target_mean = source.mean(axis=1), target.mean(axis=0)  # (batch, 2), (2,)
    s, t = source - source_mean[:, None], (target - target_mean[None])[None]  # (batch, points, 2), (1, points, 2)
    spread = jnp.sum(jnp.square(s), axis=(1, 2))  # (batch,)
    real = jnp.sum(s[..., 0] * t[..., 0] + s[..., 1] * t[..., 1], axis=1)
    imaginary = jnp.sum(s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0], axis=1)
    smallest = source.shape[1] * _SMALLEST_SPREAD**2
    has_direction = (spread > smallest) & (jnp.hypot(real, imaginary) > smallest)
    divisor = jnp.where(has_direction, spread, 1.0)
    a = jnp.where(has_direction, real / divisor, 1.0)
    b = jnp.where(has_direction, imaginary / divisor, 0.0)
    linear = jnp.stack([jnp.stack([a, -b], axis=1), jnp.stack([b, a], axis=1)], axis=1)  # (batch, 2, 2)
    shift = target_mean[None] - jnp.sum(linear * source_mean[:, None], axis=2)
    return jnp.concatenate([linear, shift[:, :, None]], axis=2)


@partial(jax.jit, static_argnums=3)
def align_by_points(
    images: UInt8[Array, "batch height width 3"],
    points: Float[Array, "batch points 2"],
    target: Float[Array, "points 2"],
    size: tuple[int, int],
) -> UInt8[Array, "batch rows columns 3"]:
    """`similarity` and `warp` of a batch of padded photographs, rounded; points without a direction are not refused."""
    return _rounded(warp(images, similarity(points, target), size))


Alignment = Callable[..., np.ndarray]
"""`align(image, box, points, size, **options) -> face`, a photograph and one detection to what a network takes.

Args:
    image: uint8 (height, width, 3), RGB.
    box: left, top, right, bottom of the detected face, float (4,); None where the alignment needs none.
    points: the five points, float (5, 2); None likewise.
    size: rows and columns of the face.
    options: those of the alignment, by keyword.

Returns:
    uint8 (rows, columns, 3).

Raises:
    DataError: what it needs of the detection is absent, not finite, or shows no face.
"""


def five_points(
    image: UInt8[np.ndarray, "height width 3"],
    box: Float[np.ndarray, "4"] | None,
    points: Float[np.ndarray, "5 2"] | None,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Similarity of the five points to `template(size)`, warped with zero border. `box` is not read.

    Raises:
        DataError: no points, points that are not finite, or all in one place.

    Source: ArcFace Sec. 3.1 (faces of 112x112 by five points), template of InsightFace.
    """
    points = _finite("five_points", "five points", points)
    if np.sqrt(np.mean(np.sum(np.square(points - points.mean(axis=0)[None]), axis=1))) < _SMALLEST_SPREAD:
        raise DataError(f"the five points all lie at ({points[0, 0]:.1f}, {points[0, 1]:.1f}), which shows no face.")
    return np.asarray(align_by_points(_padded(image)[None], points[None], template(size), size))[0]


def box_margin(
    image: UInt8[np.ndarray, "height width 3"],
    box: Float[np.ndarray, "4"] | None,
    points: Float[np.ndarray, "5 2"] | None,
    size: tuple[int, int],
    *,
    margin: float = 32.0,
    resized: int | None = None,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """The box with a margin, stretched to the size whatever its proportions. `points` are not read.

    Half the margin, in pixels of the photograph, is added on each side; the box is cut off at the photograph's border
    and its corners are truncated to whole pixels.

    Args:
        margin: 32 for 160x160; 44 for 182x182, of which the middle 160x160 is kept.
        resized: side of the square to which the box is stretched and of which the middle `size` is kept; the box is
            stretched to `size` itself where it is not given.
    Raises:
        DataError: no box, a box that is not finite or has no pixel inside the photograph.

    CHOICE: the triangle filter, which is what its authors' SciPy had from Pillow under the name bilinear.
    Source: davidsandberg's FaceNet, align_dataset_mtcnn.py.
    """
    box = _finite("box_margin", "a box", box)
    half = np.float32(margin / 2)
    cut = _cut(image, box + np.array([-half, -half, half, half], np.float32))
    rows, columns = size
    height, width = (resized, resized) if resized else size
    left, top = -((width - columns) // 2), -((height - rows) // 2)
    return _stretch(image, cut, (left, top, left + width, top + height), size)


def two_eyes(
    image: UInt8[np.ndarray, "height width 3"],
    box: Float[np.ndarray, "4"] | None,
    points: Float[np.ndarray, "5 2"] | None,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "rows columns 3"]:
    """The box cut out, turned about its middle until the eyes are level, and put in a letterbox.

    The turn keeps the cut's size, so corners of it become black. The longer side is then scaled to the size and the
    shorter alike, centred between grey bars (128). Eyes one above the other are left as they are.

    Raises:
        DataError: no box or points, values that are not finite, a box without a pixel inside the photograph.

    CHOICE: the triangle filter for the scaling, which the source leaves open.
    Source: the RetinaFace and FaceNet notes of a course on face recognition (alignment by the eyes, letter box).
    """
    box, points = _finite("two_eyes", "a box", box), _finite("two_eyes", "five points", points)
    left, top, right, bottom = _cut(image, box)
    face = image[top:bottom, left:right]
    x, y = points[0] - points[1]
    angle = np.arctan(y / x) if x else 0.0
    centre = np.array([face.shape[1] // 2, face.shape[0] // 2])
    linear = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turn = np.column_stack([linear, centre - linear @ centre]).astype(np.float32)  # (2, 3)
    shape = padded_shape(*face.shape[:2])
    turned = np.asarray(_rounded_warp(_padded(face)[None], turn[None], shape))[0, : face.shape[0], : face.shape[1]]
    return letterbox(turned, None, None, size)


def centre_crop(
    image: UInt8[np.ndarray, "height width 3"],
    box: Float[np.ndarray, "4"] | None,
    points: Float[np.ndarray, "5 2"] | None,
    size: tuple[int, int],
    *,
    fraction: float = 0.5,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """The middle of a thumbnail, no detection needed: FaceNet's mode 1 on LFW, whose thumbnails are centred on faces.

    Args:
        fraction: of the shorter side, which becomes the longer side of `size`. CHOICE: the paper does not say how
            much it cuts; LFW's thumbnails are the boxes of a detector enlarged 2.2 times, a face about half as wide.

    Source: FaceNet Sec. 5.6.
    """
    height, width = image.shape[:2]
    rows, columns = size
    scale = fraction * min(height, width) / max(size)
    left, top = (width - columns * scale) / 2, (height - rows * scale) / 2
    return _stretch(image, (left, top, width - left, height - top), (0, 0, columns, rows), size)


def fixed_box(
    image: UInt8[np.ndarray, "height width 3"],
    box: Float[np.ndarray, "4"] | None,
    points: Float[np.ndarray, "5 2"] | None,
    size: tuple[int, int],
    *,
    fractions: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> UInt8[np.ndarray, "rows columns 3"]:
    """The same box of every photograph, no detection needed, stretched to the size, as a training cuts faces.

    Args:
        fractions: left, top, right, bottom as fractions of width and height, as `crop` in the configs; all of the
            photograph where not given, which suits faces that were aligned before.

    Source: `faces.data.augment.crop`, so that a run's own numbers are those of its weights.
    """
    return crop(image, size, fractions)


def letterbox(
    image: UInt8[np.ndarray, "height width 3"],
    box: Float[np.ndarray, "4"] | None,
    points: Float[np.ndarray, "5 2"] | None,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "rows columns 3"]:
    """All of the photograph with its sides' ratio kept, no detection needed, centred between grey bars (128).

    The longer side is scaled to the size, the shorter alike, cut off to whole pixels.

    CHOICE: the triangle filter for the scaling, which the source leaves open; it averages where it shrinks.
    Source: the RetinaFace and FaceNet notes of a course on face recognition (letter box).
    """
    height, width = image.shape[:2]
    rows, columns = size
    # In whole numbers: height x (rows / height) may come out below rows, and lose a pixel.
    down = max(1, min(rows, height * columns // width))
    across = max(1, min(columns, width * rows // height))
    x, y = (columns - across) // 2, (rows - down) // 2
    return _stretch(image, (0, 0, width, height), (x, y, x + across, y + down), size, GREY)


ALIGNMENTS: dict[str, Alignment] = {
    "five_points": five_points,
    "box_margin": box_margin,
    "two_eyes": two_eyes,
    "centre_crop": centre_crop,
    "fixed_box": fixed_box,
    "letterbox": letterbox,
}


def _padded(image: np.ndarray) -> np.ndarray:
    padded = np.zeros((*padded_shape(*image.shape[:2]), 3), np.uint8)  # (height, width, 3)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded


def _finite(name: str, what: str, values: np.ndarray | None) -> np.ndarray:
    if values is None:
        raise DataError(f"{name} aligns by {what}, which this photograph has none of; give it a detection.")
    if not np.isfinite(values).all():
        raise DataError(f"{name} aligns by {what}, but a coordinate is not finite; check the detector.")
    return np.asarray(values, np.float32)


def _cut(image: np.ndarray, box: np.ndarray) -> tuple[int, int, int, int]:
    """Whole pixels of a box inside the photograph: left and top inclusive, right and bottom exclusive."""
    height, width = image.shape[:2]
    left, top = int(max(box[0], 0)), int(max(box[1], 0))
    right, bottom = int(min(box[2], width)), int(min(box[3], height))
    if left >= right or top >= bottom:
        shown = ", ".join(f"{edge:.1f}" for edge in box)
        raise DataError(f"the box ({shown}) holds no pixel of a photograph of {width}x{height}; check the detector.")
    return left, top, right, bottom


def _stretch(
    image: np.ndarray,
    box: tuple[float | int, ...],
    target: tuple[float | int, ...],
    size: tuple[int, int],
    fill: float = 0.0,
) -> np.ndarray:
    boxes, targets = np.array([box], np.float32), np.array([target], np.float32)  # (1, 4) each
    return np.asarray(_rounded_resample(_padded(image)[None], boxes, targets, size, fill))[0]


def _rounded(values: Array) -> Array:
    return jnp.clip(jnp.round(values), 0, 255).astype(jnp.uint8)


@partial(jax.jit, static_argnums=2)
def _rounded_warp(images: Array, maps: Array, size: tuple[int, int]) -> Array:
    return _rounded(warp(images, maps, size))


@partial(jax.jit, static_argnums=(3, 4))
def _rounded_resample(images: Array, boxes: Array, targets: Array, size: tuple[int, int], fill: float) -> Array:
    return _rounded(resample(images, boxes, targets, size, fill))
