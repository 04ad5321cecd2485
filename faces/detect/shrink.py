"""Detection in images made smaller first: a large photograph costs as much as its pixels, and its faces are large too.

Not here: the pyramid of sizes inside MTCNN.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from faces.detect.detections import Detections, Detector
from faces.errors import ConfigError


def in_smaller_images(detect: Detector, longest: int) -> Detector:
    """The same detector, looking at images of at most `longest` pixels a side; coordinates stay those of the originals.

    Larger images are reduced by averages of areas. A face keeps only that part of its pixels, and below some size,
    which is the detector's, it is not found.

    Raises:
        ConfigError: a length below 1.
    """
    if longest < 1:
        raise ConfigError(f"longest side {longest}: at least 1 pixel is expected")

    def detect_smaller(images: Sequence[np.ndarray]) -> list[Detections]:
        reduced = [shrink(image, longest) for image in images]
        return [
            Detections(
                enlarged(found.boxes, small.shape, image.shape),
                enlarged(found.points, small.shape, image.shape),
                found.scores,
            )
            for found, small, image in zip(detect(reduced), reduced, images, strict=True)
        ]

    return detect_smaller


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """The image, its longer side at most `longest` pixels."""
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def enlarged(coordinates: np.ndarray, small: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Coordinates (..., x and y in turn) of an image made smaller in the one it was made of: (x + 0.5) * factor - 0.5.

    The halves are there because 0 is the centre of the first pixel, not its edge.

    Args:
        coordinates: pixels of the smaller image.
        small, size: rows and columns of the two, whatever follows them.
    """
    if small[:2] == size[:2]:
        return coordinates
    factors = [size[1] / small[1], size[0] / small[0]]
    repeated = np.array(factors * (coordinates.shape[-1] // 2), np.float32)  # (numbers in the last axis,)
    return (coordinates + np.float32(0.5)) * repeated - np.float32(0.5)
