"""The windows that one network of MTCNN learns from (Zhang et al. 2016, Sec. III-A), cut from images once; batches.

A batch of small windows from many large images would open each image for a few of its pixels. So the windows are
cut first, image by image, in the way in which the detector cuts them, half of them mirrored. R-net's and O-net's
come from the images as the networks before see them.

Which windows a batch has depends on (seed, step) alone.

Not here: which windows an image gives (`windows.py`), the networks before (`detector.py`), the images.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from faces.data.batches import Batches
from faces.detect.buckets import batches
from faces.detect.detections import Detections, Detector
from faces.detect.examples import Example, Examples
from faces.errors import DataError, WeightsError
from faces.outputs import write_npz
from faces.weights import read_weights
from mtcnn_jax import pyramid
from mtcnn_jax.config import StageConfig
from mtcnn_jax.detector import PIXELS_AT_ONCE
from mtcnn_jax.networks import Name, make_net
from mtcnn_jax.pyramid import Regions
from mtcnn_jax.windows import (
    NEGATIVE,
    POSITIVE,
    Batch,
    Labelled,
    choose,
    mirrored,
    targets,
)

AT_ONCE = 64
"""Images in memory at a time."""
_BLOCK = 256  # windows cut by one call
KINDS = ("negatives", "parts", "positives", "windows with points")
"""Names of the kinds, by their numbers."""


def cut_windows(
    name: Name,
    examples: Examples,
    before: Detector | None,
    config: StageConfig,
    progress: Callable[[int], None] = lambda done: None,
) -> Batch:
    """All windows that a network is trained on.

    Args:
        name: of the network.
        examples: annotated images.
        before: the networks before, which give P-net's or P- and R-net's windows; None for P-net.
        config: how many of what.
        progress: called with the number of images done.

    Raises:
        DataError: no negative, or no positive, was found.
    """
    shares, seed = config.windows.shares, config.train.seed
    wanted = [-(-share * config.net.windows // (sum(shares) * len(examples))) for share in shares]
    parts = list[Batch]()
    for start in range(0, len(examples), AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, len(examples)))
        annotated = [examples.example(number) for number in numbers]
        passed = [to_windows(found) for found in before([one.image for one in annotated])] if before else None
        chosen, wholes = list[Labelled](), list[Batch]()
        for row, (number, one) in enumerate(zip(numbers, annotated, strict=True)):
            rng = np.random.default_rng((seed, ord(name), number))
            of_image = choose(
                one.boxes,
                one.has_points,
                one.image.shape[:2],
                None if passed is None else passed[row],
                wanted,
                config.windows,
                rng,
            )
            chosen.append(of_image)
            wholes.append(_without_pixels(name, one, of_image, rng.random(len(of_image.kinds)) < 0.5))
        pixels = cut([one.image for one in annotated], [one.windows for one in chosen], make_net(name).size)
        for whole, of_image in zip(wholes, pixels, strict=True):
            flip = whole["images"]
            whole["images"] = np.where(flip[:, None, None, None], of_image[:, :, ::-1], of_image)
        parts += wholes
        progress(numbers.stop)
    pool = cast(Batch, {key: np.concatenate([part[key] for part in parts]) for key in Batch.__annotations__})
    for kind in (NEGATIVE, POSITIVE):
        if not (pool["kinds"] == kind).any():
            raise DataError(f"{examples.name}: no {KINDS[kind]} for {name.upper()}-net; give more images.")
    return pool


def _without_pixels(name: Name, example: Example, chosen: Labelled, flip: np.ndarray) -> Batch:
    """The windows of an image, with `flip` where their pixels will be."""
    count = len(chosen.kinds)
    boxes, points = np.zeros((count, 4), np.float32), np.zeros((count, 5, 2), np.float32)
    shows = chosen.kinds != NEGATIVE
    if shows.any():
        windows = chosen.windows[shows]
        face = example.boxes[chosen.faces[shows]], example.points[chosen.faces[shows]]
        other = mirrored(windows, *face)
        flipped = flip[shows]
        face = tuple(
            np.where(flipped.reshape(-1, *(1,) * (a.ndim - 1)), b, a) for a, b in zip(face, other, strict=True)
        )
        boxes[shows], points[shows] = targets(name, windows, *face)
    return {"images": flip, "kinds": chosen.kinds, "boxes": boxes, "points": points}


def to_windows(found: Detections) -> np.ndarray:
    """What P-net or R-net let pass, whose boxes run from first to last pixel, counted from 1: int64 (n, 4)."""
    corners = found.boxes.astype(np.int64)
    windows = np.concatenate([corners[:, :2] - 1, corners[:, 2:] - corners[:, :2] + 1], axis=1)
    return windows[(windows[:, 2:] > 0).all(axis=1)]


def cut(images: Sequence[np.ndarray], windows: Sequence[np.ndarray], side: int) -> list[np.ndarray]:
    """The pixels of windows, as the stages cut them but in whole grey levels.

    Args:
        images: uint8 (height, width, 3) each.
        windows: int (n, 4) of each image: left, top, width, height; zero outside the image.
        side: of the result in pixels.

    Returns:
        uint8 (n, side, side, 3) of each image.
    """
    pixels = [np.zeros((0, side, side, 3), np.uint8)] * len(images)
    for batch in batches(images, PIXELS_AT_ONCE):
        integral = _integral(batch.pixels)
        counts = [len(windows[index]) for index in batch.indices]
        regions = np.concatenate([windows[index] for index in batch.indices]).astype(np.int32)  # (n, 4)
        of_image = np.repeat(np.arange(len(counts), dtype=np.int32), counts)  # (n,)
        blocks = list(_blocks(integral, of_image, regions, side))
        if blocks:
            each = np.split(np.concatenate(blocks)[: len(regions)], np.cumsum(counts)[:-1])
            for index, of_one in zip(batch.indices, each, strict=True):
                pixels[index] = of_one
    return pixels


def _blocks(integral: jax.Array, image: np.ndarray, regions: np.ndarray, side: int) -> Iterator[np.ndarray]:
    for start in range(0, len(regions), _BLOCK):
        rows = slice(start, start + _BLOCK)
        missing = max(0, rows.stop - len(regions))
        filled = np.pad(image[rows], (0, missing)), np.pad(regions[rows], ((0, missing), (0, 0)))
        yield np.asarray(_cut(integral, *filled, side))


@jax.jit
def _integral(images: jax.Array) -> jax.Array:
    return pyramid.integral_image(images)


@partial(jax.jit, static_argnames="side")
def _cut(integral: jax.Array, image: jax.Array, regions: jax.Array, side: int) -> jax.Array:
    left, top, width, height = regions.T
    cells = jnp.full(image.shape, side)
    means = pyramid.area_average(integral, Regions(image, left, top, width, height), (cells, cells), (side, side))
    return jnp.clip(jnp.round(means), 0, 255).astype(jnp.uint8)


def save_windows(pool: Batch, path: Path) -> None:
    """Replace `path` by a file of these windows, in one step."""
    write_npz(path, pool)


def load_windows(path: Path) -> Batch:
    """What `save_windows` wrote.

    Raises:
        WeightsError: it is damaged, or another file.
    """
    arrays = read_weights(path)
    if not Batch.__annotations__.keys() <= arrays.keys():
        raise WeightsError(f"{path}: holds no windows of a training set, or is damaged; delete it, and start anew.")
    return cast(Batch, {key: arrays[key] for key in Batch.__annotations__})


class _Steps:
    """Random access to a network's batches: element t is the batch of step t."""

    def __init__(self, pool: Batch, config: StageConfig):
        self._pool, self._config = pool, config
        self._rows = [np.flatnonzero(pool["kinds"] == kind) for kind in range(len(KINDS))]
        self._counts = batch_shares([len(rows) for rows in self._rows], config)

    def __len__(self) -> int:
        return self._config.train.steps

    def __getitem__(self, index: int) -> Batch:
        chosen = self.indices(int(index))
        return cast(Batch, {key: self._pool[key][chosen] for key in Batch.__annotations__})

    def whole(self, index: int) -> Batch:
        return self[index]

    def indices(self, index: int) -> np.ndarray:
        """Rows of the windows."""
        rng = np.random.default_rng((self._config.train.seed, index))
        drawn = [
            rows[rng.integers(len(rows), size=count)]
            for rows, count in zip(self._rows, self._counts, strict=True)
            if count
        ]
        return np.concatenate(drawn)

    def people(self, indices: np.ndarray) -> list[str]:
        return []


def batch_shares(available: Sequence[int], config: StageConfig) -> list[int]:
    """Windows of each kind in a batch: in the proportion of the shares of the kinds there are, the rest negatives."""
    shares = [share if count else 0 for share, count in zip(config.windows.shares, available, strict=True)]
    counts = [config.batch.images * share // sum(shares) for share in shares]
    counts[NEGATIVE] += config.batch.images - sum(counts)
    return counts


def make_loader(pool: Batch, config: StageConfig, threads: int = 2) -> Batches[Batch]:
    """An iterator over the batches of steps 0 .. steps - 1, which tells which windows a step has seen."""
    return Batches(_Steps(pool, config), threads, 2 * threads)
