"""What a photograph's face is like, by what a detector and simple measures say: the factors of real images.

They are measures, not the truth: a dark skin is measured dark, a soft lens blurred. On generated faces each factor is
known (`faces.data.synthetic.generated.generated_nuisances`).

Not here: counting pairs by them (`factors.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from faces.evaluate.factors import Factor, OfPair
from faces.sharpness import detail


@dataclass(frozen=True)
class Faces:
    """Faces of photographs, with what a detector said.

    Args:
        pictures: as they are aligned, uint8 (images, rows, columns, 3), RGB.
        boxes: left, top, right, bottom in pixels of the photograph, (images, 4); NaN where none was found.
        points: left eye, right eye, nose, corners of the mouth, (images, 5, 2), likewise.
        scores: of the detections, 0..1, (images,), likewise.
        there: which images show a face to measure, (images,).
    """

    pictures: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    there: np.ndarray


def nose_offset(points: Float[np.ndarray, "images 5 2"]) -> Float64[np.ndarray, " images"]:
    """How far the nose lies from the middle between the eyes, along their line, in half distances of the eyes.

    0 of a face that looks straight ahead, above 0 of one that looks to the right of the image, 1 with the nose below
    an eye. Under a distant camera it is proportional to the tangent of the yaw: with eyes at -e and e and the tip of
    the nose h before them, the nose is at h sin(yaw) and the eyes are 2 e cos(yaw) apart. NaN of eyes in one place.
    """
    left, right, nose = (points[:, which].astype(np.float64) for which in range(3))  # (images, 2) each
    line = right - left
    length = np.hypot(line[:, 0], line[:, 1])
    along = np.einsum("ij,ij->i", nose - (left + right) / 2, line)
    divisor = np.where(length > 0, length, np.nan)
    return along / divisor / (divisor / 2)


def eye_roll(points: Float[np.ndarray, "images 5 2"]) -> Float64[np.ndarray, " images"]:
    """Degrees by which the line of the eyes is turned clockwise from level; NaN of eyes in one place."""
    line = (points[:, 1] - points[:, 0]).astype(np.float64)
    degrees = np.degrees(np.arctan2(line[:, 1], line[:, 0]))
    return np.where((line != 0).any(axis=1), degrees, np.nan)


def luminance(picture: UInt8[np.ndarray, "rows columns 3"]) -> float:
    """Mean grey value, 0..255, of the middle half of a face's rows and columns, which is skin more than hair."""
    rows, columns = picture.shape[:2]
    middle = picture[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    return float(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY).mean())


def _each(measure: Callable[[np.ndarray], float]) -> Callable[[Faces], np.ndarray]:
    def of_faces(faces: Faces) -> np.ndarray:
        return np.array([measure(picture) for picture in faces.pictures], np.float64)

    return of_faces


def _side(faces: Faces) -> np.ndarray:
    return np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])


def _yaw(faces: Faces) -> np.ndarray:
    return nose_offset(faces.points)


_NOSE = "nose from the middle of the eyes, in half distances of the eyes"
MEASURES: Mapping[str, tuple[str, OfPair, Callable[[Faces], np.ndarray]]] = {
    "yaw": (f"{_NOSE}, either side; of a pair the greater", "greatest", lambda faces: np.abs(_yaw(faces))),
    "yaw_difference": (f"{_NOSE}; of a pair the difference", "difference", _yaw),
    "roll": (
        "line of the eyes from level in degrees, either way; of a pair the greater",
        "greatest",
        lambda faces: np.abs(eye_roll(faces.points)),
    ),
    "light": ("mean grey value of the face, 0 to 255; of a pair the darker", "least", _each(luminance)),
    "light_difference": ("mean grey value of the face; of a pair the difference", "difference", _each(luminance)),
    "resolution": ("shorter side of the face's box in pixels; of a pair the smaller", "least", _side),
    "blur": ("contrast finer than 20 pixels a face, a part of all; of a pair the less sharp", "least", _each(detail)),
    "occlusion": (
        "the detector's score, which falls where a face is hidden, dark or turned; of a pair the lower",
        "least",
        lambda faces: faces.scores,
    ),
}
"""By name: what it is, what of a pair counts, and how it is measured."""
OF_DETECTIONS = ("yaw", "yaw_difference", "roll", "resolution", "occlusion")
"""Those that a detection says; the others are measured on the picture."""


def measured(name: str, faces: Faces) -> Factor:
    """A factor of faces by its name in `MEASURES`; NaN of those that are not there."""
    text, of_pair, measure = MEASURES[name]
    return Factor(name, text, np.where(faces.there, measure(faces), np.nan).astype(np.float64), of_pair)
