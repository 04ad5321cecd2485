"""Which anchor stands for which face (arXiv 1905.00641, Sec. 4.2), and what the network should answer (Sec. 3.1).

Every anchor takes the face that it overlaps most, if it does so well enough. A face that no anchor overlaps well, since
its size lies between two anchors' or its shape is far from square, is given its best anchor all the same, unless that
one is too far off as well.

Shapes are fixed: images have `faces` places, of which some are empty. `jax.vmap` does a batch.

Not here: the anchors (`anchors.py`), the inverse of the encoding (`decode.py`), what an error costs (`losses.py`).
"""

from typing import Any, NamedTuple, TypedDict

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from faces.detect.boxes import iou
from retinaface_jax.config import LossConfig
from retinaface_jax.decode import CENTRE, SIZE

BACKGROUND, IGNORED = -1, -2


class Batch(TypedDict):
    """What the train step is given. Of `faces` places an image some are empty."""

    images: Any  # uint8 (batch, size, size, 3), RGB
    boxes: Any  # float32 (batch, faces, 4), left, top, right, bottom, in pixels
    points: Any  # float32 (batch, faces, 5, 2)
    has_points: Any  # bool (batch, faces), whose points are annotated
    is_face: Any  # bool (batch, faces), which places are not empty


class Targets(NamedTuple):
    """What the network should answer for each anchor of one image."""

    is_face: Bool[Array, "anchors"]
    is_background: Bool[Array, "anchors"]
    """Neither: the anchor overlaps a face too much for the one and too little for the other."""
    boxes: Float[Array, "anchors 4"]
    """Offsets, meant where `is_face`; finite everywhere, as the points' are."""
    points: Float[Array, "anchors 10"]
    has_points: Bool[Array, "anchors"]
    """Whether it stands for a face whose points are annotated."""


def assign(
    boxes: Float[Array, "faces 4"],
    is_face: Bool[Array, "faces"],
    anchors: Float[Array, "anchors 4"],
    config: LossConfig,
) -> Int[Array, "anchors"]:
    """The face for which each anchor stands.

    1. With o(a, f) the intersection over union of anchor a and face f, and f* the face of the largest o(a, f), a stands
       for f* where o(a, f*) >= face_overlap, is background where o(a, f*) < background_overlap, and is ignored between.
    2. The anchor of the largest o(a, f) of each face f stands for f where that is at least forced_overlap.

    Of equal overlaps the first is taken. Where two faces have the same best anchor, the later one gets it, as in
    biubug6/Pytorch_Retinaface; the other keeps those of rule 1.

    Args:
        boxes: left, top, right, bottom, in pixels.
        is_face: which rows are faces; the others are empty places.
        anchors: as `make_anchors` returns: x and y of the centre, width, height.
        config: the three overlaps.

    Returns:
        int32, row of `boxes`, or `BACKGROUND`, or `IGNORED`.

    CHOICE: a face whose best overlap is below forced_overlap changes nothing. In biubug6/Pytorch_Retinaface
    its best anchor, if it stands for another face, is given to it all the same.

    Source: biubug6/Pytorch_Retinaface's two rules (0.35 on both sides, 0.2); RetinaFace, Sec. 4.2 (0.5 and 0.3).
    """
    corners = jnp.concatenate([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], axis=-1)
    overlap = jnp.where(is_face[:, None], iou(boxes, corners), -1.0)  # (faces, anchors)
    best = overlap.max(axis=0)  # (anchors,)
    otherwise = jnp.where(best < config.background_overlap, BACKGROUND, IGNORED)
    face = jnp.where(best >= config.face_overlap, overlap.argmax(axis=0), otherwise)
    forced = is_face & (overlap.max(axis=1) >= config.forced_overlap)  # (faces,)
    of_forced = jnp.where(forced, overlap.argmax(axis=1), len(anchors))  # beyond the last anchor: written nowhere
    later = jnp.full(len(anchors), -1).at[of_forced].max(jnp.arange(len(boxes)), mode="drop")  # (anchors,)
    return jnp.where(later >= 0, later, face).astype(jnp.int32)


def match(
    boxes: Float[Array, "faces 4"],
    points: Float[Array, "faces 5 2"],
    has_points: Bool[Array, "faces"],
    is_face: Bool[Array, "faces"],
    anchors: Float[Array, "anchors 4"],
    config: LossConfig,
) -> Targets:
    """What the network should answer for each anchor of an image.

    Args:
        boxes: left, top, right, bottom, in pixels, the centre of the first pixel being (0, 0). They are taken as they
            are, so that `decode.decode_boxes` gives back the same numbers.
        points: (x, y) of five points, in pixels; finite also where there are none.
        has_points: which faces have annotated points.
        is_face: which rows are faces; the others are empty places, of any finite numbers.
        anchors: as `make_anchors` returns.
        config: when an anchor stands for a face.
    """
    face = assign(boxes, is_face, anchors, config)  # (anchors,)
    own = jnp.maximum(face, 0)
    return Targets(
        is_face=face >= 0,
        is_background=face == BACKGROUND,
        boxes=encode_boxes(boxes[own], anchors),
        points=encode_points(points[own], anchors),
        has_points=(face >= 0) & has_points[own],
    )


def encode_boxes(boxes: Float[Array, "n 4"], anchors: Float[Array, "n 4"]) -> Float[Array, "n 4"]:
    """Offsets of boxes from their anchors, the inverse of `decode.decode_boxes`, in the manner of SSD.

        centre:  (box's centre - anchor's centre) / (0.1 anchor's side)
        side:    log(box's side / anchor's side) / 0.2

    A box without area, which no anchor stands for, counts as one of side 1.

    Args:
        boxes: left, top, right, bottom, in pixels.
        anchors: x and y of the centre, width, height.
    """
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    sides = jnp.where(sides > 0, sides, 1.0)
    offsets = (centres - anchors[:, :2]) / (CENTRE * anchors[:, 2:])
    return jnp.concatenate([offsets, jnp.log(sides / anchors[:, 2:]) / SIZE], axis=-1)


def encode_points(points: Float[Array, "n 5 2"], anchors: Float[Array, "n 4"]) -> Float[Array, "n 10"]:
    """(point - anchor's centre) / (0.1 anchor's side), the inverse of `decode.decode_points`."""
    return ((points - anchors[:, None, :2]) / (CENTRE * anchors[:, None, 2:])).reshape(-1, 10)
