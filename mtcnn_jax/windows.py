"""Windows of annotated images (Zhang et al. 2016, Sec. III-A): what each teaches, and what a network should answer.

| kind | overlap with the nearest face | teaches |
|---|---|---|
| negative | below 0.3 | that there is no face |
| part | 0.4 to 0.65 | the box |
| positive | above 0.65 | that there is a face, and the box |
| points | above 0.65, of a face with annotated points | the five points |

Windows are drawn around faces and anywhere; R-net and O-net get as negatives only those that the networks before them
have let pass, and of the others those first.

A window is left, top, width, height in whole pixels, counted from 0. The boxes and points of faces are in pixels with
(0, 0) the centre of the first, so a window covers left - 0.5 to left + width - 0.5.

Not here: the pixels (`examples.py`), losses.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from faces.detect.boxes import box_iou
from faces.detect.examples import MIRRORED
from mtcnn_jax.config import WindowConfig
from mtcnn_jax.networks import Name
from mtcnn_jax.stages import WINDOW

NEGATIVE, PART, POSITIVE, POINTS = range(4)
UNUSED = -1
"""Of a window whose overlap lies between two kinds."""

_AROUND, _ANYWHERE = 80, 120  # windows drawn for each face, and for each image


class Labelled(NamedTuple):
    """Windows of one image with what they teach."""

    windows: Int[np.ndarray, "n 4"]
    kinds: UInt8[np.ndarray, " n"]
    faces: Int[np.ndarray, " n"]
    """The face that each shows, row of the image's boxes; 0 of a negative."""


class Batch(TypedDict):
    """Windows, as the pool holds them and as the train step is given them."""

    images: Any  # uint8 (batch, side, side, 3), RGB
    kinds: Any  # uint8 (batch,)
    boxes: Any  # float32 (batch, 4), what the network should answer
    points: Any  # float32 (batch, 5, 2)


def draw_windows(
    boxes: Float[np.ndarray, "faces 4"], size: tuple[int, int], min_face: float, rng: np.random.Generator
) -> Int[np.ndarray, "n 4"]:
    """Square windows around each face, and anywhere in the image.

    Around a face of longer side s, sides are 0.6 s to 1.5 s and centres up to 0.4 s off, both denser towards none;
    anywhere, sides are `min_face` to the image's shorter side, evenly on a logarithmic scale. All lie inside the
    image except those around faces at its rim.

    Args:
        boxes: of the faces.
        size: rows and columns of the image.
        min_face: smallest side; a smaller image gives no window anywhere.
        rng: the only source of randomness.
    """
    longer = np.repeat((boxes[:, 2:] - boxes[:, :2]).max(axis=1), _AROUND)  # (windows,)
    centres = np.repeat((boxes[:, 2:] + boxes[:, :2]) / 2, _AROUND, axis=0)  # (windows, 2)
    around = longer * np.exp(rng.triangular(np.log(0.6), np.log(0.95), np.log(1.5), len(longer)))
    centres = centres + longer[:, None] * rng.triangular(-0.4, 0.0, 0.4, centres.shape)
    windows = _windows(centres - around[:, None] / 2 + 0.5, around)
    if min(size) < min_face:
        return windows
    side = np.floor(np.exp(rng.uniform(np.log(min_face), np.log(min(size) + 1), _ANYWHERE)))  # (windows,)
    room = np.array([size[1], size[0]])[None] - side[:, None]  # (windows, 2)
    return np.concatenate([windows, _windows(np.floor(rng.random(room.shape) * (room + 1)), side)])


def _windows(left_top: np.ndarray, side: np.ndarray) -> np.ndarray:
    side = np.maximum(np.rint(side), 1)
    return np.column_stack([np.rint(left_top), side, side]).astype(np.int64)


def label(
    windows: Int[np.ndarray, "n 4"], boxes: Float[np.ndarray, "faces 4"], config: WindowConfig
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """What each window is, NEGATIVE, PART, POSITIVE or UNUSED, and the face that it overlaps most."""
    if not len(boxes):
        return np.full(len(windows), NEGATIVE), np.zeros(len(windows), np.int64)
    corners = np.column_stack([windows[:, :2], windows[:, :2] + windows[:, 2:]]) - 0.5
    overlap = box_iou(corners, boxes)  # (n, faces)
    best = overlap.max(axis=1)  # (n,)
    bands = [best > config.positive, best >= config.part, best >= config.negative]
    return np.select(bands, [POSITIVE, PART, UNUSED], NEGATIVE), overlap.argmax(axis=1)


def choose(
    boxes: Float[np.ndarray, "faces 4"],
    has_points: np.ndarray,
    size: tuple[int, int],
    passed: Int[np.ndarray, "n 4"] | None,
    wanted: Sequence[int],
    config: WindowConfig,
    rng: np.random.Generator,
) -> Labelled:
    """Windows of an image to learn from, of each kind as many as wanted or as there are.

    Args:
        boxes: of the faces.
        has_points: bool (faces,), whose points are annotated.
        size: rows and columns of the image.
        passed: the windows that the networks before let pass, which are taken first and are the only negatives; None
            for P-net, which has none before it.
        wanted: how many of each kind.
        config: what is of which kind.
        rng: the only source of randomness.
    """
    drawn = draw_windows(boxes, size, config.min_face, rng)
    is_first = passed is None
    passed = np.zeros((0, 4), np.int64) if passed is None else passed
    if is_first:
        inside = (drawn[:, :2] >= 0) & (drawn[:, :2] + drawn[:, 2:] <= np.array([size[1], size[0]])[None])
        drawn = drawn[inside.all(axis=1)]  # no window of P-net's reaches outside
    windows = np.concatenate([passed, drawn])
    kinds, faces = label(windows, boxes, config)
    order = np.concatenate([rng.permutation(len(passed)), len(passed) + rng.permutation(len(drawn))])
    kinds, faces, windows = kinds[order], faces[order], windows[order]
    is_negative = (kinds == NEGATIVE) & (is_first | (np.arange(len(kinds)) < len(passed)))
    is_positive = kinds == POSITIVE
    with_points = is_positive & has_points[faces] if len(boxes) else is_positive
    rows = [np.flatnonzero(of_kind) for of_kind in (is_negative, kinds == PART, is_positive, with_points)]
    rows[POINTS] = rows[POINTS][::-1]  # other windows than the positives', where there are enough
    rows = [found[:number] for found, number in zip(rows, wanted, strict=True)]
    named = np.repeat(np.arange(len(rows), dtype=np.uint8), [len(found) for found in rows])  # (n,)
    chosen = np.concatenate(rows)
    return Labelled(windows[chosen], named, np.where(named == NEGATIVE, 0, faces[chosen]))


def mirrored(
    windows: Int[np.ndarray, "n 4"], boxes: Float[np.ndarray, "n 4"], points: Float[np.ndarray, "n 5 2"]
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, "n 5 2"]]:
    """Boxes and points of the face of each window when the window's pixels are mirrored, left for right."""
    last = (2 * windows[:, 0] + windows[:, 2] - 1).astype(np.float32)  # (n,)  x becomes last - x
    boxes, points = boxes.copy(), points[:, MIRRORED].copy()
    boxes[:, [0, 2]] = last[:, None] - boxes[:, [2, 0]]
    points[..., 0] = last[:, None] - points[..., 0]
    return boxes, points


def targets(
    name: Name, windows: Int[np.ndarray, "n 4"], boxes: Float[np.ndarray, "n 4"], points: Float[np.ndarray, "n 5 2"]
) -> tuple[Float32[np.ndarray, "n 4"], Float32[np.ndarray, "n 5 2"]]:
    """What a network should answer, so that the stages make of it the face's box, counted from 1, and points, from 0.

    With l and w the left and the width of the window, x1 and x2 the left and right of the face and x one of its points,

        left:   (x1 + 1 - (l + 1)) / w      right:  (x2 + 1 - (l + w)) / w      point:  (x - l) / w

    since R-net's and O-net's windows run from their first to their last pixel, counted from 1. P-net's box begins a
    pixel of its level later, at l + w / 12, and it is 11/12 of w that its offsets are measured in.

    DEVIATION D22: four edges, where the paper's box has left, top, height and width (Sec. II-C).

    Args:
        name: of the network.
        windows: n of them.
        boxes, points: of the face of each.
    """
    low, size = windows[:, :2].astype(np.float64), windows[:, 2:].astype(np.float64)  # (n, 2) each
    first = size / WINDOW if name == "p" else np.ones_like(size)
    unit = size - first if name == "p" else size
    edges = np.concatenate([low + first, low + size], axis=1)  # (n, 4)
    offsets = (boxes + 1.0 - edges) / np.concatenate([unit, unit], axis=1)
    places = (points - low[:, None]) / size[:, None]  # (n, 5, 2)
    return offsets.astype(np.float32), places.astype(np.float32)
