"""From an image of any size to the network's input: one crop, one interpolation, and the random changes of training.

All geometry (crop, zoom, shift, rotation, mirror) is a single affine map, so that a pixel is interpolated once. A box
more than twice as large as the input is first shrunk by area averaging; bilinear sampling alone would skip pixels.

Not here: other light, lenses and sensors (`variations.py`); alignment by landmarks, which needs a detector;
normalisation of the values, which is done on the device.
"""

import math

import cv2
import numpy as np

from faces.config import AugmentConfig
from faces.data.variations import IDENTITY, LUMA, varies, vary

FULL = (0.0, 0.0, 1.0, 1.0)  # the whole image, as a crop


def crop(
    image: np.ndarray,
    size: tuple[int, int],
    box: tuple[float, float, float, float] = FULL,
    flip: bool = False,
    zoom: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    rotation: float = 0.0,
) -> np.ndarray:
    """The box of an image at the network's input size.

    Args:
        image: uint8 (height, width, 3).
        size: rows and columns of the result.
        box: left, top, right, bottom as fractions of width and height.
        flip: mirror the result.
        zoom: the box's sides are multiplied by this.
        shift: the box moves right and down by these fractions of its sides.
        rotation: the box turns clockwise by so many degrees about its centre.
    Returns:
        uint8 (rows, columns, 3). What lies outside the image is the nearest pixel of its border.
    """
    height, width = image.shape[:2]
    rows, columns = size
    left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    shrink = min((right - left) * zoom / columns, (bottom - top) * zoom / rows)
    if shrink >= 2:
        # By its sides, not by a factor, which would cut off the last rows and columns where it does not divide them.
        smaller = (max(1, round(width / int(shrink))), max(1, round(height / int(shrink))))
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
        fx, fy = image.shape[1] / width, image.shape[0] / height
        left, top, right, bottom = left * fx, top * fy, right * fx, bottom * fy
    box_width, box_height = right - left, bottom - top
    centre_x, centre_y = (left + right) / 2 + shift[0] * box_width, (top + bottom) / 2 + shift[1] * box_height
    scale_x, scale_y = (-1 if flip else 1) * box_width * zoom / columns, box_height * zoom / rows
    angle = math.radians(rotation)
    cos, sin = math.cos(angle), math.sin(angle)
    # Pixel (i, j) covers [j, j+1) x [i, i+1): its centre is at +0.5 in the result and in the image alike.
    middle_x, middle_y = columns / 2 - 0.5, rows / 2 - 0.5
    xx, xy, yx, yy = cos * scale_x, -sin * scale_y, sin * scale_x, cos * scale_y
    x = centre_x - (xx * middle_x + xy * middle_y) - 0.5
    y = centre_y - (yx * middle_x + yy * middle_y) - 0.5
    whole = (-1, columns - 1) if flip else (1, 0)
    if (rows, columns) == image.shape[:2] and (xx, x, xy, yx, yy, y) == (*whole, 0, 0, 1, 0):
        return cv2.flip(image, 1) if flip else image.copy()
    return _warp(image, np.array([[xx, xy, x], [yx, yy, y]]), size)


def _warp(image: np.ndarray, inverse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear samples of an image, (rows, columns, 3); `inverse`, (2, 3), maps the result's coordinates to its own."""
    rows, columns = size
    # OpenCV samples four channels in half the time of three, to the same values; but padding a large image costs more.
    pads = image.shape[0] * image.shape[1] <= 4 * rows * columns
    sampled = cv2.warpAffine(
        cv2.cvtColor(image, cv2.COLOR_RGB2RGBA) if pads else image,
        inverse,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.cvtColor(sampled, cv2.COLOR_RGBA2RGB) if pads else sampled


def augment(image: np.ndarray, size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """One random version of a training image.

    Args:
        image: uint8 (height, width, 3), RGB.
        size: rows and columns of the result.
        config: how much of what.
        rng: the only source of randomness.
    Returns:
        uint8 (rows, columns, 3).
    """
    uniform = rng.uniform(-1, 1, size=7)  # always as many draws, so that one setting does not reshuffle the others
    image = crop(
        image,
        size,
        flip=config.flip and uniform[0] < 0,
        zoom=1 + config.zoom * uniform[1],
        shift=(config.shift * uniform[2], config.shift * uniform[3]),
        rotation=config.rotate * uniform[4],
    )
    colours = rng.uniform(-1, 1, size=3)
    if config.colour > 0:
        image = _colour(image, config.colour * colours)
    if varies(config):
        image = vary(image, config, rng)
    if config.jpeg_quality > 0 and uniform[5] < 0:
        image = recompress(image, round(config.jpeg_quality + (95 - config.jpeg_quality) * (uniform[6] + 1) / 2))
    return image


def recompress(image: np.ndarray, quality: int) -> np.ndarray:
    """The RGB image as it comes back from JPEG at this quality (1..100)."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # what imencode has just written
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def lower_quality(image: np.ndarray, pixels: int, jpeg_quality: int) -> np.ndarray:
    """Table 4 of FaceNet: shrunk to about so many pixels, then compressed; 0 leaves either out."""
    if pixels > 0:
        image = reduce_pixels(image, pixels)
    return recompress(image, jpeg_quality) if jpeg_quality > 0 else image


def reduce_pixels(image: np.ndarray, pixels: int) -> np.ndarray:
    """The image shrunk to about so many pixels, its sides' ratio kept; never enlarged (Table 4 of FaceNet)."""
    height, width = image.shape[:2]
    factor = np.sqrt(pixels / (height * width))
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _colour(image: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Brightness, contrast and saturation multiplied by 1 + change[0], [1], [2] (b, c, s), in this order.

    Contrast is about the mean m of all values, saturation about each pixel's luma; together they are one linear map,

        b m + c (b v - b m), and of that s v + (1 - s) luma(v)  =  c b (s I + (1 - s) 1 luma^T) v + (1 - c) b m,

    computed in float32. A value half-way between two grey values may be rounded either way.
    """
    brightness, contrast, saturation = 1 + change
    mean = sum(cv2.mean(image)) / 3
    mixed = np.empty((3, 4))
    mixed[:, :3] = contrast * brightness * (saturation * IDENTITY + (1 - saturation) * LUMA)
    mixed[:, 3] = (1 - contrast) * brightness * mean
    values = cv2.transform(image.astype(np.float32), mixed)  # (rows, columns, 3)
    return cv2.convertScaleAbs(np.maximum(values, 0, out=values))  # rounds, and cuts off above 255
