"""Composed scenes: aligned face crops pasted on made-up backgrounds, with boxes and points that are known exactly.

A detector needs photographs in which every face is marked. Aligned crops are far easier to come by, and in a crop the
five points lie at the template's places; so whatever similarity a crop is pasted with says where its points are. A
scene is a drawing and is called composed: it shows that a detector learns, not how well it does on photographs.

A scene has a background (`backgrounds.py`), decoys, which are pieces that are no face but pasted in the same way, so
that the seam of a paste is no sign of a face, and faces of all sizes, each turned, recoloured and faded out at its
rim. It depends on its random generator alone; `numbered_scene` makes scene n of a seed.

Not here: generated crops with their points at the template's places (`crops.py`), the changes that training
makes to every scene it draws (crops, mirroring, colour).
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from faces.align import TEMPLATE
from faces.data.source import FaceSource
from faces.data.synthetic.backgrounds import decoy, draw_crop, paint_background, recolour
from faces.errors import ConfigError

FACE_BOX = (15.5, 9.5, 96.5, 115.5)
"""The face in an aligned crop of 112x112: left, top, right, bottom.

Boxes of RetinaFace with its published weights, brought to the crop by the five points. Median over 192 crops pasted in
larger images: 15.7, 9.4, 96.8, 115.6; over 356 upright faces of whole LFW photographs: 14.2, 8.7, 95.5, 118.7, half of
them with an intersection over union above 0.82 with that median. So the chin ends below the crop.
"""

CROP = 112
_TRIES = 20  # places tried for a face before the scene goes without it


@dataclass(frozen=True)
class SceneConfig:
    """What scenes are made of.

    Args:
        faces: least and most faces of a scene; one that finds no room is left out, so there may be fewer.
        decoys: least and most pieces that are no face.
        smallest: longer side of the smallest face's box in pixels.
        largest: longer side of the largest face's box as a share of the image's shorter side. Sizes between the two
            are drawn evenly on a logarithmic scale.
        turn: largest rotation to either side in degrees.
        overlap: most that two faces may share, as a share of the smaller box.
        noise: largest standard deviation of the scene's grain in grey levels.
    """

    faces: tuple[int, int] = (1, 6)
    decoys: tuple[int, int] = (0, 4)
    smallest: float = 12.0
    largest: float = 0.5
    turn: float = 25.0
    overlap: float = 0.1
    noise: float = 6.0


class Scene(NamedTuple):
    """A composed image and its faces, in pixels with (0, 0) the centre of the top left one.

    Boxes lie inside the image. Points are the template's; those of a real crop's own face lie off them by what the
    alignment left: with RetinaFace's points on LFW in the median 1.5 pixels of 112 at the eyes, 2.3 at the corners of
    the mouth, 4.6 at the nose.
    """

    image: UInt8[np.ndarray, "rows columns 3"]
    boxes: Float[np.ndarray, "n 4"]  # left, top, right, bottom
    points: Float[np.ndarray, "n 5 2"]  # left eye, right eye, nose, left and right corner of the mouth


def numbered_scene(
    faces: FaceSource, size: tuple[int, int], seed: int, number: int, config: SceneConfig | None = None
) -> Scene:
    """Scene `number` of a seed: the same whenever, wherever and in whatever order scenes are made."""
    return compose_scene(faces, size, np.random.default_rng((seed, number)), config or SceneConfig())


def compose_scene(faces: FaceSource, size: tuple[int, int], rng: np.random.Generator, config: SceneConfig) -> Scene:
    """Paint a background, paste decoys and faces, add grain.

    Args:
        faces: square crops aligned to `faces.align.TEMPLATE`, scaled to the crop's size.
        size: rows and columns of the image.
        rng: all that the scene depends on besides the other arguments.
        config: what it is made of.

    Returns:
        The scene, its faces in the order in which they were pasted; a later one may cover a little of an earlier one.

    Raises:
        ConfigError: the image is too small for the smallest face, or a range is empty.
        DataError: a crop is not square.
    """
    _check(size, config)
    image = paint_background(faces, size, rng)
    for _ in range(rng.integers(config.decoys[0], config.decoys[1] + 1)):
        place = _place(np.zeros((0, 4)), size, rng, config)
        if place is not None:
            _paste(image, decoy(faces, rng), place[0], rng)
    boxes, points = np.zeros((0, 4)), np.zeros((0, 5, 2))
    for _ in range(rng.integers(config.faces[0], config.faces[1] + 1)):
        crop = draw_crop(faces, rng)
        place = _place(boxes, size, rng, config)
        if place is None:
            continue
        matrix, box = place
        _paste(image, crop, matrix, rng)
        boxes = np.concatenate([boxes, box[None]])
        points = np.concatenate([points, (TEMPLATE @ matrix[:, :2].T + matrix[:, 2])[None]])
    grain = np.float32(rng.uniform(0.0, config.noise)) * rng.standard_normal((*size, 1), np.float32)
    image = cv2.convertScaleAbs(np.maximum(image + grain, 0.0))
    return Scene(image, boxes.astype(np.float32), points.astype(np.float32))


def face_box(matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "4"]:
    """Box of a face whose crop of 112x112 is pasted by a similarity.

    It bounds the ellipse inscribed in FACE_BOX, turned with the crop: the box itself where nothing is turned, and not
    the larger one that would hold its corners, which no face fills.

    Args:
        matrix: (x, y, 1) of the crop to (x, y) of the image.
    """
    left, top, right, bottom = FACE_BOX
    centre = matrix @ np.array([(left + right) / 2, (top + bottom) / 2, 1.0])  # (2,)
    half = np.hypot(matrix[:, 0] * (right - left) / 2, matrix[:, 1] * (bottom - top) / 2)
    return np.concatenate([centre - half, centre + half])


def _check(size: tuple[int, int], config: SceneConfig) -> None:
    for name, (least, most) in (("faces", config.faces), ("decoys", config.decoys)):
        if not 0 <= least <= most:
            raise ConfigError(f"scenes of {least} to {most} {name}: a range from 0 or more upwards is expected.")
    if not 0 < config.smallest <= config.largest * min(size):
        raise ConfigError(
            f"scenes of {size[0]}x{size[1]} pixels: the largest face is {config.largest:g} of the shorter side and "
            f"would be smaller than the smallest, {config.smallest:g} pixels; ask for a larger image."
        )


def _place(
    boxes: np.ndarray, size: tuple[int, int], rng: np.random.Generator, config: SceneConfig
) -> tuple[np.ndarray, np.ndarray] | None:
    """A random similarity of the crop and the face's box under it, clear of the other boxes; None if none was found."""
    for _ in range(_TRIES):
        side = np.exp(rng.uniform(np.log(config.smallest), np.log(config.largest * min(size))))
        angle = np.radians(rng.uniform(-config.turn, config.turn))
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
        unscaled = face_box(matrix)
        matrix *= side / (unscaled[2:] - unscaled[:2]).max()
        box = face_box(matrix)
        room = np.array([size[1], size[0]]) - 1 - (box[2:] - box[:2])  # (2,) what is left of columns and rows
        if (room < 0).any():
            continue
        shift = rng.uniform(0.0, room) - box[:2]
        box = box + np.tile(shift, 2)
        sides = np.minimum(boxes[:, 2:], box[2:][None]) - np.maximum(boxes[:, :2], box[:2][None])  # (n, 2)
        smaller = np.minimum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), np.prod(box[2:] - box[:2]))  # (n,)
        if (np.prod(np.maximum(sides, 0.0), axis=1) <= config.overlap * smaller).all():
            matrix[:, 2] = shift
            return matrix, box
    return None


def _paste(image: np.ndarray, crop: np.ndarray, matrix: np.ndarray, rng: np.random.Generator) -> None:
    """Blend a square crop into a float32 image in place, recoloured and faded out at its rim.

    Args:
        image: (rows, columns, 3).
        crop: uint8 (side, side, 3).
        matrix: of the crop's pixels, were it 112x112, to the image's.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    side = min(crop.shape[0], max(4, int(np.ceil(scale * CROP))))
    # bilinear sampling alone would skip pixels of a crop that becomes smaller
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = np.dstack([recolour(small, rng), _mask(side, rng)])  # (side, side, 4)
    step = CROP / side
    to_crop = np.array([[step, 0.0, (step - 1) / 2], [0.0, step, (step - 1) / 2], [0.0, 0.0, 1.0]])
    corners = np.array([[-0.5, -0.5], [111.5, -0.5], [-0.5, 111.5], [111.5, 111.5]])
    reach = corners @ matrix[:, :2].T + matrix[:, 2]  # (4, 2)
    rows, columns = image.shape[:2]
    left, top = np.maximum(np.floor(reach.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(reach.max(axis=0)) + 1, [columns, rows]).astype(int)
    moved = matrix @ to_crop
    moved[:, 2] -= (left, top)
    warped = cv2.warpAffine(small, moved, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR)
    under = image[top:bottom, left:right]
    under += warped[..., 3:] * (warped[..., :3] - under)


def _mask(side: int, rng: np.random.Generator) -> np.ndarray:
    """How much a paste covers, float32 (side, side): a shape between disc and square with a soft rim, 0 outside."""
    axis = np.abs((np.arange(side) + 0.5) * (2 / side) - 1)
    power = rng.uniform(2.5, 8.0)
    radius = (axis[:, None] ** power + axis[None] ** power) ** (1 / power)  # (side, side)
    return np.clip((1 - radius) / rng.uniform(0.05, 0.25), 0.0, 1.0).astype(np.float32)
