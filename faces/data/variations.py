"""One to many: what else a training image could have looked like under another light, lens, sensor or hand.

Each change is a function of an image and numbers; `vary` draws the numbers. Their order is that of light on its way
into a file: light and colours of the face, what stands before it, the lens, the sensor.

Not here: geometry, brightness with contrast, and JPEG, which comes last (`augment.py`, which calls `vary`).

Source: M. Wang and W. Deng, Deep Face Recognition: A Survey (1804.06655), "one-to-many augmentation".
"""

import math

import cv2
import numpy as np

from faces.config import AugmentConfig

LUMA = np.tile([0.299, 0.587, 0.114], (3, 1))  # of ITU-R BT.601, for each channel of the result
IDENTITY = np.eye(3)
_DRAWS = 24  # numbers of an image, whatever is on
_SLIMMEST = 2.0  # CHOICE: a rectangle's longer side over its shorter is at most this; random erasing goes to 3.3


def varies(config: AugmentConfig) -> bool:
    """Whether `vary` changes anything."""
    amounts = (config.gain, config.bias, config.gamma, config.gradient, config.saturation, config.occlusion)
    return any((*amounts, config.blur, config.low_resolution, config.grey))


def vary(image: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """One random variation of a face; each change is drawn for itself, so that none reshuffles another.

    Args:
        image: uint8 (rows, columns, 3), RGB.
        config: how much of what; what is absent is 0.
        rng: the only source of randomness; as many numbers are drawn from it whatever is on.
    Returns:
        uint8 (rows, columns, 3).
    """
    drawn = rng.uniform(-1, 1, size=_DRAWS)
    happens = (drawn[:8] + 1) / 2 < (1.0 if config.share is None else config.share)
    both, up = drawn[8:], (drawn[8:] + 1) / 2  # -1..1 and 0..1

    def amount(field: float | None, change: int) -> float:
        return field if field and happens[change] else 0.0

    gain, bias, gamma = (amount(field, i) for i, field in enumerate((config.gain, config.bias, config.gamma)))
    if gain or bias or gamma:
        image = tone(image, 1 + gain * both[0], bias * both[1], math.exp(both[2] * math.log1p(gamma)))
    if rise := amount(config.gradient, 3):
        image = gradient(image, rise * up[3], math.pi * both[4])
    if change := amount(config.saturation, 4):
        image = saturate(image, 1 + change * both[5])
    if area := amount(config.occlusion, 5):
        sides = area * up[6], math.exp(both[7] * math.log(_SLIMMEST))
        image = occlude(image, _place(*sides, up[8], up[9]), np.rint(255 * up[10:13]))
    if deviation := amount(config.blur, 6):
        image = blur(image, deviation * up[13])
    if loss := amount(config.low_resolution, 7):
        image = lower_resolution(image, 1 - loss * up[14])
    if up[15] < (config.grey or 0.0):
        image = saturate(image, 0.0)
    return image


def tone(image: np.ndarray, gain: float, bias: float, exponent: float) -> np.ndarray:
    """Another exposure: each value v becomes gain x 255 (v / 255)^exponent + bias, rounded and cut to 0..255.

    Args:
        image: uint8, any shape.
        gain: factor, 1 for none.
        bias: in grey values.
        exponent: gamma; below 1 lightens.
    """
    values = gain * 255 * (np.arange(256) / 255) ** exponent + bias
    return cv2.LUT(image, np.clip(np.rint(values), 0, 255).astype(np.uint8))


def gradient(image: np.ndarray, rise: float, angle: float) -> np.ndarray:
    """A lamp at one side: values are multiplied by 1 - rise at the far corner up to 1 + rise at the near one.

    Args:
        image: uint8 (rows, columns, 3).
        rise: 0 for even light; at 1 the far corner is black.
        angle: to the lamp, in radians, from the right of the image downwards.
    """
    rows, columns = image.shape[:2]
    x = (np.arange(columns, dtype=np.float32) + 0.5) / columns - 0.5
    y = (np.arange(rows, dtype=np.float32) + 0.5) / rows - 0.5
    towards = math.cos(angle) * x[None, :] + math.sin(angle) * y[:, None]  # (rows, columns)
    farthest = (abs(math.cos(angle)) + abs(math.sin(angle))) / 2  # of the image's own corner
    factor = 1 + rise * towards / farthest
    return _rounded(image * factor[:, :, None])


def saturate(image: np.ndarray, factor: float) -> np.ndarray:
    """Colours farther from grey, or nearer: luma + factor (value - luma); at 0 a grey image of three channels."""
    mixed = factor * IDENTITY + (1 - factor) * LUMA
    return _rounded(cv2.transform(image.astype(np.float32), mixed))


def occlude(image: np.ndarray, place: tuple[float, float, float, float], colour: np.ndarray) -> np.ndarray:
    """A rectangle of one colour before the face.

    Args:
        image: uint8 (rows, columns, 3).
        place: left, top, right, bottom as fractions of width and height, rounded to whole pixels.
        colour: (3,), 0..255.
    """
    rows, columns = image.shape[:2]
    left, right = (round(edge * columns) for edge in (place[0], place[2]))
    top, bottom = (round(edge * rows) for edge in (place[1], place[3]))
    image = image.copy()
    image[top:bottom, left:right] = colour
    return image


def blur(image: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian of this standard deviation, as a fraction of the image's width; beyond the border lies the border."""
    pixels = deviation * image.shape[1]
    radius = math.ceil(3 * pixels)
    if radius == 0:
        return image
    size = (2 * radius + 1, 2 * radius + 1)
    return cv2.GaussianBlur(image, size, pixels, borderType=cv2.BORDER_REPLICATE)


def lower_resolution(image: np.ndarray, ratio: float) -> np.ndarray:
    """A face from farther away: its sides shrunk by area to `ratio` of theirs, at least a pixel, and enlarged again."""
    rows, columns = image.shape[:2]
    small = (max(1, round(ratio * columns)), max(1, round(ratio * rows)))
    if small == (columns, rows):
        return image
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (columns, rows), interpolation=cv2.INTER_LINEAR)


def _place(area: float, ratio: float, across: float, down: float) -> tuple[float, float, float, float]:
    """A rectangle inside the image by its share of the area, width over height, and where it lies, 0..1 each.

    Where that ratio would put it outside, the longer side is the image's and the shorter has the rest of the area.
    """
    width = min(1.0, max(math.sqrt(area * ratio), area))
    height = area / width if width else 0.0
    left, top = across * (1 - width), down * (1 - height)
    return left, top, left + width, top + height


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
