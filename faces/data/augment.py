"""From an image of any size to the network's input: one crop, one interpolation, and the random changes of training.

All geometry (crop, zoom, shift, rotation, mirror) is a single affine map, so that a pixel is interpolated once. A box
more than twice as large as the input is first shrunk by area averaging; bilinear sampling alone would skip pixels.

Not here: alignment by landmarks, which needs a detector; normalisation of the values, which is done on the device.
"""

import cv2
import numpy as np

from faces.config import AugmentConfig

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
    centre = np.array([(left + right) / 2 + shift[0] * box_width, (top + bottom) / 2 + shift[1] * box_height])
    angle = np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scale = np.diag([(-1 if flip else 1) * box_width * zoom / columns, box_height * zoom / rows])
    linear = turn @ scale
    # Pixel (i, j) covers [j, j+1) x [i, i+1): its centre is at +0.5 in the result and in the image alike.
    offset = centre - linear @ np.array([columns / 2 - 0.5, rows / 2 - 0.5]) - 0.5
    inverse = np.column_stack([linear, offset])  # (2, 3): result coordinates -> image coordinates
    return cv2.warpAffine(
        image, inverse, (columns, rows), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


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
    if config.colour > 0:
        image = _colour(image, config.colour * rng.uniform(-1, 1, size=3))
    if config.jpeg_quality > 0 and uniform[5] < 0:
        image = recompress(image, round(config.jpeg_quality + (95 - config.jpeg_quality) * (uniform[6] + 1) / 2))
    return image


def recompress(image: np.ndarray, quality: int) -> np.ndarray:
    """The RGB image as it comes back from JPEG at this quality (1..100)."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # what imencode has just written
    return np.ascontiguousarray(decoded[..., ::-1])


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
    """Brightness, contrast and saturation multiplied by 1 + change[0], [1], [2]."""
    values = image.astype(np.float32) * np.float32(1 + change[0])
    mean = values.mean(dtype=np.float32)
    values = mean + (values - mean) * np.float32(1 + change[1])
    grey = values @ np.array([0.299, 0.587, 0.114], np.float32)  # (rows, columns), luma of ITU-R BT.601
    values = grey[..., None] + (values - grey[..., None]) * np.float32(1 + change[2])
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
