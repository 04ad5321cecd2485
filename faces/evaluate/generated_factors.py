"""Factors of generated faces, each known exactly from the vector that an image was drawn from.

Not here: the vector (`faces.data.synthetic.face_parameters`), factors of photographs (`face_measures.py`).
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import ArrayLike

from faces.data.synthetic.face_parameters import Nuisance
from faces.evaluate.factors import Factor, OfPair

LEAST_RATIO = 1 / 6
"""CHOICE: the smallest sides that `lowered` shrinks to, as a part of theirs."""


def _degrees(radians: ArrayLike) -> np.ndarray:
    return np.degrees(np.asarray(radians, np.float64))


KNOWN: Mapping[str, tuple[str, OfPair, Callable[[Nuisance], ArrayLike]]] = {
    "yaw": ("degrees, either side; of a pair the greater", "greatest", lambda how: np.abs(_degrees(how.yaw))),
    "yaw_difference": ("degrees; of a pair the difference", "difference", lambda how: _degrees(how.yaw)),
    "roll": ("degrees, either way; of a pair the greater", "greatest", lambda how: np.abs(_degrees(how.roll))),
    "light": (
        "the lamp's part of the light, which makes shadows hard; of a pair the greater",
        "greatest",
        lambda how: how.light_strength,
    ),
    "light_difference": (
        "degrees around the face to the lamp; of a pair the difference",
        "difference",
        lambda how: _degrees(how.light_azimuth),
    ),
    "blur": (
        "standard deviation in % of the width; of a pair the greater",
        "greatest",
        lambda how: 100 * np.asarray(how.blur, np.float64),
    ),
    "occlusion": (
        "how far something reaches over the face from a side, 0 nothing; of a pair the greater",
        "greatest",
        lambda how: np.maximum(np.asarray(how.occluder), 0.0),
    ),
}
"""By name: what it is, what of a pair counts, and how it is read from the vector."""
RESOLUTION = "resolution"
"""A factor that no vector has: images are lowered for it (`lowered`)."""


def known(name: str, nuisance: Nuisance) -> Factor:
    """A factor by its name in `KNOWN`, of images whose vectors' fields are float32 (images,)."""
    text, of_pair, read = KNOWN[name]
    return Factor(name, text, np.asarray(read(nuisance), np.float64), of_pair)


def lowered(images: np.ndarray, seed: int) -> tuple[np.ndarray, Factor]:
    """The images, each shrunk to a random side and enlarged again, and the factor of that side.

    Args:
        images: uint8 (images, rows, columns, 3).
        seed: of the sides, between `LEAST_RATIO` and all of the rows, evenly in their logarithm.
    """
    rows, columns = images.shape[1:3]
    ratios = np.exp(np.random.default_rng(seed).uniform(np.log(LEAST_RATIO), 0, len(images)))
    sides = np.maximum(np.rint(ratios * rows), 1)
    worse = []
    for image, side in zip(images, sides.astype(int).tolist(), strict=True):
        small = cv2.resize(image, (max(1, round(columns * side / rows)), side), interpolation=cv2.INTER_AREA)
        worse.append(image if side == rows else cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR))
    text = "rows of pixels that are left; of a pair the fewer"
    return np.stack(worse), Factor(RESOLUTION, text, sides.astype(np.float64), "least")
