"""Faces of any number of images of any size by MTCNN (Zhang et al. 2016, Sec. II-A), from images to faces.

Images come in batches of few shapes (`faces.detect.buckets`). The numbers of proposals and of crops differ from image
to image, so the stages hand them over through the host, which packs the crops of a whole batch densely into blocks of
one shape, and rounds the sizes of the other arrays up to powers of four. Nothing is ever dropped for want of room.

CHOICE: the paper gives neither the smallest face nor the thresholds. `Options` has those of the authors' published code
and of its ports.

CHOICE: boxes are given as davidsandberg's port gives them, whose crops the published FaceNet models were trained on.
They count pixels from 1, so they lie one pixel to the right and below of where the points, which count from 0, say.

Not here: the networks (`networks.py`), the stages' arithmetic (`stages.py`), training.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from faces.detect.buckets import Batch, of_each_image
from faces.detect.detections import NOTHING, Detections, Detector
from faces.errors import ConfigError
from mtcnn_jax import pyramid, stages
from mtcnn_jax.networks import Name, Outputs, Params
from mtcnn_jax.stages import Boxes

PIXELS_AT_ONCE = 16 * 256 * 256
"""Of a batch of images."""
BLOCK = {"r": 128, "o": 32}
"""Crops that R-net and O-net see at a time."""
ROOM = {"level": 256, "image": 1024, "r": 256, "o": 64}
"""Smallest sizes of the arrays that hold an image's proposals of one level and of all, and what R-net and O-net see."""
SMALLEST_BLOCK = 16


@dataclass(frozen=True)
class Options:
    """Which faces are looked for, and which are kept.

    Raises:
        ConfigError: a value outside its range.
    """

    min_face: float = 20.0
    """Side of the smallest face, in pixels, above 0."""
    factor: float = 0.709
    """From one level of the pyramid to the next; the square root of a half halves the area. Between 0 and 1."""
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    """Least scores that P-net, R-net and O-net let pass; above 0."""
    suppression: tuple[float, float, float, float] = (0.5, 0.7, 0.7, 0.7)
    """Largest overlaps of two boxes that are both kept: within a level of P-net, across levels, after R-net, and after
    O-net. The last is by the area of the smaller box, the others by the area of the union."""

    def __post_init__(self) -> None:
        ranges = (
            ("min_face", self.min_face, 0 < self.min_face < math.inf, "a number of pixels above 0"),
            ("factor", self.factor, 0 < self.factor < 1, "a number between 0 and 1"),
            ("thresholds", self.thresholds, all(0 < t < 1 for t in self.thresholds), "numbers between 0 and 1"),
            ("suppression", self.suppression, all(0 <= t <= 1 for t in self.suppression), "numbers from 0 to 1"),
        )
        for name, value, holds, expected in ranges:
            if not holds:
                raise ConfigError(f"MTCNN's {name} = {value}: {expected} expected.")


def make_detector(params: Mapping[Name, Params], options: Options | None = None) -> Detector:
    """MTCNN as a function of images.

    Args:
        params: of P-, R- and O-net, as `weights.to_params` gives them. Of P-net alone, or P- and R-net, it finds what
            they let pass to the next: squares of whole pixels, with points of zeros.
        options: what is kept; the defaults where None.

    Returns:
        A `Detector`. Each new padded size of images, batch size and size of the arrays of boxes compiles once.
    """
    options = options or Options()
    placed = jax.device_put(dict(params))

    return lambda images: of_each_image(partial(_detect, placed, options), images, PIXELS_AT_ONCE)


def _detect(params: Mapping[Name, Params], options: Options, batch: Batch) -> list[Detections]:
    """The faces of each image of a batch, which may have empty rows after them."""
    p, r, o = options.thresholds
    in_level, across, after_r, after_o = options.suppression
    height, width = batch.pixels.shape[1:3]
    scales = tuple(pyramid.scales(min(height, width), options.min_face, options.factor))
    if not scales:
        return [NOTHING] * len(batch.indices)
    sizes = [
        pyramid.level_sizes(rows, columns, len(scales), options.min_face, options.factor)
        for rows, columns in batch.sizes.tolist()
    ]  # (levels, 2) each
    integral, proposals = stages.propose(
        params["p"], batch.pixels, batch.sizes, np.stack(sizes), scales=scales, threshold=p
    )
    counts = np.asarray(proposals.counts)  # (B, levels)
    boxes = stages.choose(
        proposals,
        shape=(height, width),
        scales=scales,
        threshold=p,
        suppression=(in_level, across),
        most=(_room(counts.max(), ROOM["level"]), _room(counts.sum(axis=1).max(), ROOM["image"])),
    )
    points = np.zeros((*boxes.scores.shape, 5, 2), np.float32)
    if "r" in params:
        boxes, outputs = _look("r", params["r"], integral, boxes)
        boxes = stages.refine(boxes, outputs.box, threshold=r, suppression=after_r)
        points = points[:, : boxes.scores.shape[1]]
    if "o" in params:
        boxes, outputs = _look("o", params["o"], integral, boxes)
        boxes, points = stages.finish(boxes, outputs.box, outputs.points, threshold=o, suppression=after_o)
    rows = zip(*(np.asarray(each)[: len(batch.indices)] for each in (*boxes, points)), strict=True)
    return [Detections(corners[valid], five[valid], scores[valid]) for corners, scores, valid, five in rows]


def _look(net: Literal["r", "o"], params: Params, integral: jax.Array, boxes: Boxes) -> tuple[Boxes, Outputs]:
    """What R-net or O-net says of the boxes, and the boxes with its scores, in arrays no larger than needed."""
    corners, valid = np.asarray(boxes.boxes), np.asarray(boxes.valid)
    room = min(_room(valid.sum(axis=1).max(), ROOM[net]), valid.shape[1])
    corners, valid = corners[:, :room], valid[:, :room]
    image, place = np.nonzero(valid)  # (crops,) each
    crops = corners[image, place]  # (crops, 4)
    parts, start = [], 0
    while start < max(1, len(image)):  # one block of padding where there is no crop
        block = slice(start, start + min(_room(len(image) - start, SMALLEST_BLOCK), BLOCK[net]))
        start = block.stop
        missing = max(0, start - len(image))
        inputs = np.pad(image[block], (0, missing)), np.pad(crops[block], ((0, missing), (0, 0)))
        parts.append(stages.look(net, params, integral, *inputs))

    def unpack(*blocks: jax.Array) -> np.ndarray:
        """(n, ...) of each block -> (B, room, ...)."""
        packed = np.concatenate([np.asarray(block) for block in blocks])[: len(image)]
        unpacked = np.zeros((*valid.shape, *packed.shape[1:]), np.float32)
        unpacked[image, place] = packed
        return unpacked

    scores, outputs = jax.tree.map(unpack, *parts)
    return Boxes(jnp.asarray(corners), scores, jnp.asarray(valid)), outputs


def _room(count: int, room: int) -> int:
    """`room`, multiplied by four until it holds `count`."""
    while room < count:
        room *= 4
    return room
