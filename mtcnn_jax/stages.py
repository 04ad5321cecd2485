"""The three stages of MTCNN (Zhang et al. 2016, Sec. II-A), on padded arrays of fixed shapes.

| stage | looks at | keeps | then |
|---|---|---|---|
| P | every second pixel of a level | score at least 0.6; suppression 0.5 in levels, 0.7 across | moves, squares |
| R | 24x24 crops | score above 0.7; suppression 0.7 | moves, squares |
| O | 48x48 crops | score above 0.7 | points, moves; suppression 0.7 by the smaller box |

Inside, a box is as in the authors' MATLAB code and its Python port: left, top, right and bottom pixel, all inside the
box, counted from 1. A width is right - left + 1, except where P-net's boxes are moved and where boxes are squared.

DEVIATION D20: P and R suppress before they move boxes; the paper moves them first, as O does here.

CHOICE: the paper does not say how boxes become whole pixels; as in that code, they lose their fractions before each
crop (towards zero).

Not here: the loop over images and crops (`detector.py`), how crops are resized (`pyramid.py`).
"""

import math
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from faces import ops
from faces.detect.boxes import Over, nms
from mtcnn_jax import pyramid
from mtcnn_jax.networks import Name, Net, Outputs, Params, make_net
from mtcnn_jax.pyramid import Regions

Side = TypeVar("Side", int, jax.Array)

WINDOW, STRIDE = 12, 2
"""P-net's window, and the step between two windows, in pixels of a level."""

_NETS: dict[Name, Net] = {"p": make_net("p"), "r": make_net("r"), "o": make_net("o")}


class Proposals(NamedTuple):
    """What P-net says of all windows of all levels, level after level.

    `scores`: float32 (B, windows), 0 of a window outside its image. `offsets`: (B, windows, 4). `counts`: int32
    (B, levels), windows that pass the threshold.
    """

    scores: jax.Array
    offsets: jax.Array
    counts: jax.Array


class Boxes(NamedTuple):
    """Boxes of each image, padded: float32 (B, n, 4), scores (B, n), which are no padding (B, n), best first."""

    boxes: jax.Array
    scores: jax.Array
    valid: jax.Array


@partial(jax.jit, static_argnames=("scales", "threshold"))
def propose(
    params: Params,
    images: jax.Array,
    sizes: jax.Array,
    level_sizes: jax.Array,
    *,
    scales: tuple[float, ...],
    threshold: float,
) -> tuple[jax.Array, Proposals]:
    """P-net on all levels of a batch of images.

    Args:
        params: P-net's.
        images: uint8 (B, H, W, 3), RGB, padded at the right and at the bottom.
        sizes: int32 (B, 2), rows and columns without padding.
        level_sizes: int32 (B, levels, 2), of `pyramid.level_sizes`.
        scales: of the levels; static.
        threshold: least score that `counts` counts.

    Returns:
        The integral images, for `look`, and the proposals.
    """
    look = partial(_all_levels, params, scales=scales)

    def one_by_one(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        results = lax.map(lambda one: look(*(each[None] for each in one)), inputs)
        return tuple(jnp.squeeze(each, 1) for each in results)

    # On CPUs the maps of one image stay in the cache.
    inputs = (images, sizes, level_sizes)
    integral, scores, offsets = lax.platform_dependent(*inputs, cpu=one_by_one, default=look)
    ends = np.cumsum([_windows(height) * _windows(width) for height, width in _level_shapes(images.shape[1:3], scales)])
    passed = jnp.split(scores >= threshold, ends[:-1].tolist(), axis=1)
    return integral, Proposals(scores, offsets, jnp.stack([jnp.sum(level, axis=1) for level in passed], axis=1))


def _level_shapes(shape: tuple[int, ...], scales: tuple[float, ...]) -> list[tuple[int, int]]:
    """Rows and columns of the levels of images of `shape`."""
    return [(math.ceil(shape[0] * scale), math.ceil(shape[1] * scale)) for scale in scales]


def _all_levels(
    params: Params, images: jax.Array, sizes: jax.Array, level_sizes: jax.Array, scales: tuple[float, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Integral images, scores (B, windows) and offsets (B, windows, 4)."""
    integral = pyramid.integral_image(images)
    batch = jnp.arange(len(images))
    zero = jnp.zeros_like(batch)
    whole = Regions(batch, zero, zero, sizes[:, 1], sizes[:, 0])
    scores, offsets = [], []
    for level, shape in enumerate(_level_shapes(images.shape[1:3], scales)):
        extents = level_sizes[:, level]  # (B, 2)
        pixels = pyramid.area_average(integral, whole, (extents[:, 0], extents[:, 1]), shape)
        # A level of the published ports is an image of 8 bits.
        outputs = _apply("p", params, jnp.round(pixels), extents)
        rows, columns = (jnp.arange(side) for side in outputs.face.shape[1:3])
        last = _windows(extents)  # (B, 2)
        inside = (rows[None, :, None] < last[:, :1, None]) & (columns[None, None, :] < last[:, 1:, None])
        scores.append(jnp.where(inside, _face_score(outputs), 0.0).reshape(len(images), -1))
        offsets.append(outputs.box.reshape(len(images), -1, 4))
    return integral, jnp.concatenate(scores, axis=1), jnp.concatenate(offsets, axis=1)


@partial(jax.jit, static_argnames=("shape", "scales", "threshold", "suppression", "most"))
def choose(
    proposals: Proposals,
    *,
    shape: tuple[int, int],
    scales: tuple[float, ...],
    threshold: float,
    suppression: tuple[float, float],
    most: tuple[int, int],
) -> Boxes:
    """The proposals that go to R-net.

    All but the first argument are static.

    Args:
        proposals: of `propose`.
        shape: rows and columns of the images, padding included.
        scales: of the levels.
        threshold: least score.
        suppression: largest overlap in a level, and across levels.
        most: upper bounds of the counts of one level and of all levels of an image. They only set the sizes of arrays.

    Returns:
        Square boxes of whole pixels, (B, most[1]) or fewer.
    """
    of_levels, start = [], 0
    for scale, level_shape in zip(scales, _level_shapes(shape, scales), strict=True):
        rows, columns = map(_windows, level_shape)
        level = slice(start, start + rows * columns)
        start = level.stop
        scores, places = lax.top_k(proposals.scores[:, level], min(most[0], rows * columns))  # (B, k)
        boxes = _window_boxes(places, columns, max(rows, columns), scale)
        of_level = (scores, boxes, _rows(proposals.offsets[:, level], places))
        of_levels.append([_padded(values, most[0]) for values in of_level])
    # One suppression for all levels: each takes XLA a second to compile.
    scores, boxes, offsets = (jnp.concatenate(each) for each in zip(*of_levels, strict=True))  # (levels B, most, ...)
    kept, valid = _suppress(boxes, scores, scores >= threshold, suppression[0], "union")
    scores = jnp.where(valid, _rows(scores, kept), 0.0)
    levels = (scores, _rows(boxes, kept), _rows(offsets, kept))
    scores, boxes, offsets = (_side_by_side(values, len(scales)) for values in levels)  # (B, levels most, ...)
    scores, places = lax.top_k(scores, min(most[1], scores.shape[1]))
    boxes, offsets = _rows(boxes, places), _rows(offsets, places)
    kept, valid = _suppress(boxes, scores, scores >= threshold, suppression[1], "union")
    boxes = _move(_rows(boxes, kept), _rows(offsets, kept), inclusive=False)
    return Boxes(_square(boxes), _rows(scores, kept), valid)


def _padded(values: jax.Array, size: int) -> jax.Array:
    """(B, k, ...) -> (B, size, ...)."""
    return jnp.pad(values, ((0, 0), (0, size - values.shape[1]), *((0, 0),) * (values.ndim - 2)))


def _side_by_side(values: jax.Array, levels: int) -> jax.Array:
    """(levels B, k, ...) -> (B, levels k, ...)."""
    apart = values.reshape(levels, -1, *values.shape[1:])
    return jnp.moveaxis(apart, 0, 1).reshape(apart.shape[1], -1, *values.shape[2:])


def _windows(side: Side) -> Side:
    """Windows of P-net along a side of a level; negative where it has not enough pixels for one."""
    return -(-(side - 2) // STRIDE) - 4


def _window_boxes(places: jax.Array, columns: int, longest: int, scale: float) -> jax.Array:
    """Boxes in the image of windows (B, k) of a level, counted row by row: (B, k, 4).

    Window i covers (2 i + 1) / scale to (2 i + 12) / scale, without fractions.
    """
    first = STRIDE * np.arange(longest) + 1
    # In float64: in float32 some of these quotients fall short of the whole number that they are.
    edges = np.trunc(np.stack([first, first + WINDOW - 1], axis=1) / scale).astype(np.float32)  # (longest, 2)
    x, y = jnp.asarray(edges)[places % columns], jnp.asarray(edges)[places // columns]  # (B, k, 2) each
    return jnp.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], axis=-1)


@partial(jax.jit, static_argnames="net")
def look(
    net: Literal["r", "o"], params: Params, integral: jax.Array, image: jax.Array, boxes: jax.Array
) -> tuple[jax.Array, Outputs]:
    """R-net or O-net on crops.

    Args:
        net: which.
        params: its.
        integral: of `propose`.
        image: int32 (n,), which image of the batch.
        boxes: (n, 4), of whole pixels.

    Returns:
        Scores (n,), and the outputs.
    """
    corners = boxes.astype(jnp.int32)
    size = corners[:, 2:] - corners[:, :2] + 1  # (n, 2)
    left_top = corners[:, :2] - 1
    regions = Regions(image, left_top[:, 0], left_top[:, 1], size[:, 0], size[:, 1])
    side = _NETS[net].size
    cells = jnp.full(image.shape, side)
    outputs = _apply(net, params, pyramid.area_average(integral, regions, (cells, cells), (side, side)))
    return _face_score(outputs), outputs


@partial(jax.jit, static_argnames=("threshold", "suppression"))
def refine(crops: Boxes, offsets: jax.Array, *, threshold: float, suppression: float) -> Boxes:
    """The boxes that go to O-net: suppressed, then moved as R-net says, then squared.

    Args:
        crops: what R-net saw, and its scores.
        offsets: (B, n, 4).
    """
    passed = crops.valid & (crops.scores > threshold)
    kept, valid = _suppress(crops.boxes, crops.scores, passed, suppression, "union")
    boxes = _move(_rows(crops.boxes, kept), _rows(offsets, kept), inclusive=True)
    return Boxes(_square(boxes), _rows(crops.scores, kept), valid)


@partial(jax.jit, static_argnames=("threshold", "suppression"))
def finish(
    crops: Boxes, offsets: jax.Array, points: jax.Array, *, threshold: float, suppression: float
) -> tuple[Boxes, jax.Array]:
    """The faces: boxes moved as O-net says, then suppressed; points from the boxes before they moved.

    Args:
        crops: what O-net saw, and its scores.
        offsets: (B, n, 4).
        points: (B, n, 5, 2), of O-net.

    Returns:
        Boxes, and points (B, n, 5, 2) in pixels counted from 0.
    """
    size = crops.boxes[..., 2:] - crops.boxes[..., :2] + 1  # (B, n, 2)
    points = crops.boxes[..., None, :2] + points * size[..., None, :] - 1
    boxes = _move(crops.boxes, offsets, inclusive=True)
    passed = crops.valid & (crops.scores > threshold)
    kept, valid = _suppress(boxes, crops.scores, passed, suppression, "min")
    return Boxes(_rows(boxes, kept), _rows(crops.scores, kept), valid), _rows(points, kept)


def _apply(net: Name, params: Params, pixels: jax.Array, *extents: jax.Array) -> Outputs:
    with jax.default_matmul_precision("float32"):
        return _NETS[net].apply(params, ops.normalise(pixels, 127.5, 128.0), *extents)


def _face_score(outputs: Outputs) -> jax.Array:
    return jax.nn.softmax(outputs.face, axis=-1)[..., 1]


def _suppress(
    boxes: jax.Array, scores: jax.Array, valid: jax.Array, threshold: float, over: Over
) -> tuple[jax.Array, jax.Array]:
    """Indices of the boxes that each image keeps, best first, and which of them are no padding: (B, n) each."""
    kept = jax.vmap(partial(nms, threshold=threshold, over=over, inclusive=True))(boxes, scores, valid=valid)
    return jnp.maximum(kept, 0), kept >= 0


def _rows(values: jax.Array, places: jax.Array) -> jax.Array:
    """(B, n, ...) and indices (B, m) -> (B, m, ...)."""
    return jnp.take_along_axis(values, places.reshape(*places.shape, *(1,) * (values.ndim - 2)), axis=1)


def _move(boxes: jax.Array, offsets: jax.Array, inclusive: bool) -> jax.Array:
    """Each side moved by its offset, which is in widths (left, right) or heights (top, bottom) of the box."""
    size = boxes[..., 2:] - boxes[..., :2] + (1 if inclusive else 0)
    return boxes + offsets * jnp.concatenate([size, size], axis=-1)


def _square(boxes: jax.Array) -> jax.Array:
    """The square on the longer side with the same centre, without fractions."""
    size = boxes[..., 2:] - boxes[..., :2]
    side = jnp.max(size, axis=-1, keepdims=True)
    left_top = boxes[..., :2] + size * 0.5 - side * 0.5
    return jnp.trunc(jnp.concatenate([left_top, left_top + side], axis=-1))
