"""Random changes of training images (arXiv 1905.00641, Sec. 4.2): a square cut out, mirrored, recoloured.

CHOICE: sides are drawn evenly from 0.3 to 1 of the shorter one, the range of the paper's Sec. 4.2, which names no
distribution; biubug6/Pytorch_Retinaface draws one of 0.3, 0.45, 0.6, 0.8 and 1. Squares without a whole face are
drawn again, as there.

A square of 0.3 to 1 of the shorter side, brought to the network's size, makes large faces from small ones. Faces whose
centre is inside stay, with the part of their box that is inside.

Not here: order and batches (`examples.py`).
"""

import dataclasses

import numpy as np

from faces.config import AugmentConfig
from faces.data import augment as pixels
from faces.detect.examples import MIRRORED, Example
from retinaface_jax.config import CropConfig

TRIES = 50  # CHOICE: places looked at for a square with a whole face in it


def augment(example: Example, size: int, config: CropConfig, rng: np.random.Generator) -> Example:
    """One random version of an image, size x size.

    The square is drawn until a whole face is inside. After `TRIES` it is the whole image, continued at the right or
    below by its last column or row.

    Args:
        example: an annotated image.
        size: sides of the result in pixels.
        config: how much of what.
        rng: the only source of randomness.
    """
    left, top, side = square(example, config.least_side, rng)
    example = cut(example, left, top, side, size, flip=config.flip and rng.random() < 0.5)
    if config.colour > 0 and rng.random() < 0.5:
        example = dataclasses.replace(example, image=pixels.augment(example.image, (size, size), _only(config), rng))
    return example


def square(example: Example, least_side: float, rng: np.random.Generator) -> tuple[int, int, int]:
    """Left, top and side, in whole pixels, of a random square with a whole face in it, or of the whole image."""
    height, width = example.image.shape[:2]
    for _ in range(TRIES):
        side = max(1, round(rng.uniform(least_side, 1) * min(height, width)))
        left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        low, high = np.array([left, top]) - 0.5, np.array([left, top]) + side - 0.5  # its edges
        if ((example.boxes[:, :2] >= low) & (example.boxes[:, 2:] <= high)).all(axis=1).any():
            return left, top, side
    return 0, 0, max(height, width)


def cut(example: Example, left: int, top: int, side: int, size: int, flip: bool) -> Example:
    """The square of `side` pixels at (left, top), brought to size x size, and mirrored if `flip`."""
    height, width = example.image.shape[:2]
    box = (left / width, top / height, (left + side) / width, (top + side) / height)
    image = pixels.crop(example.image, (size, size), box, flip)
    centres = (example.boxes[:, :2] + example.boxes[:, 2:]) / 2  # (n, 2)
    corner = np.array([left, top], np.float32) - 0.5  # its upper left edge
    inside = ((centres >= corner) & (centres < corner + side)).all(axis=1)
    boxes = np.clip(example.boxes[inside].reshape(-1, 2, 2), corner, corner + side)  # (n, 2, 2)
    boxes, points = ((xy - corner) * (size / side) - 0.5 for xy in (boxes, example.points[inside]))
    if flip:
        boxes[..., 0], points[..., 0] = size - 1 - boxes[..., 0], size - 1 - points[..., 0]
        boxes[:, :, 0], points = boxes[:, ::-1, 0].copy(), points[:, MIRRORED]
    boxes, points = boxes.reshape(-1, 4).astype(np.float32), points.astype(np.float32)
    return Example(image, boxes, points, example.has_points[inside])


def _only(config: CropConfig) -> AugmentConfig:
    """Colours alone."""
    return AugmentConfig(flip=False, shift=0.0, zoom=0.0, rotate=0.0, colour=config.colour, jpeg_quality=0)
