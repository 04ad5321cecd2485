"""Images of any size in batches of few shapes, since every new shape is a program to compile.

A side is rounded up to a multiple of 64, beyond 256 to a power of two or one and a half times one. Images of one shape
go together, 1, 4, 16 or another power of four at a time. Between 1 and 8,192 pixels a side has 14 roundings, so all
images there are make at most 14 x 14 shapes; a collection of photographs makes a handful. Compiling a program takes as
long as running it on some hundred images, padding half as much again as the images have.

Padding is at the right and at the bottom, so that coordinates stay. That it changes nothing inside is the business of
the network that gets the sizes as well.

Not here: networks, images made smaller (`shrink.py`, MTCNN's pyramid).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

Result = TypeVar("Result")

STEP = 64
STEPS_PER_OCTAVE = 2
AT_ONCE = 2
"""Batches that are worked on together: one fills the cores where the other has work for one of them, or for the host.
More gain nothing (`benchmarks/NOTES.md`)."""


class Batch(NamedTuple):
    """Images of one shape."""

    indices: list[int]  # which images these are; the batch may have more rows, which are empty
    pixels: np.ndarray  # uint8 (b, height, width, 3), zero beyond each image
    sizes: np.ndarray  # int32 (b, 2), rows and columns of each image; 0 of an empty row


def rounded_up(side: int) -> int:
    """The smallest side of a batch that holds `side` pixels."""
    octave = 1 << max(side - 1, 0).bit_length() >> 1  # largest power of two below `side`
    step = max(STEP, octave // STEPS_PER_OCTAVE)
    return max(1, -(-side // step)) * step


def batches(images: Sequence[np.ndarray], pixels_at_once: int) -> Iterator[Batch]:
    """All images, shape by shape.

    Args:
        images: uint8 (height, width, 3) each.
        pixels_at_once: most pixels of a batch, padding included; a larger image comes by itself.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault((rounded_up(image.shape[0]), rounded_up(image.shape[1])), []).append(index)
    for (height, width), members in groups.items():
        start = 0
        while start < len(members):
            rows = _images_at_once(len(members) - start, pixels_at_once // (height * width))
            indices = members[start : start + rows]
            start += rows
            pixels, sizes = np.zeros((rows, height, width, 3), np.uint8), np.zeros((rows, 2), np.int32)
            for row, index in enumerate(indices):
                sizes[row] = images[index].shape[:2]
                pixels[row, : sizes[row, 0], : sizes[row, 1]] = images[index]
            yield Batch(indices, pixels, sizes)


def of_each_image(
    work: Callable[[Batch], Sequence[Result]], images: Sequence[np.ndarray], pixels_at_once: int
) -> list[Result]:
    """What `work` finds in each image, batch by batch, `AT_ONCE` of them at the same time: so many lie in the device's
    memory together.

    Args:
        work: a batch -> what it finds in each image of it, in their order; called from several threads, which JAX's
            `with` settings of the calling thread, such as `jax.default_device`, do not reach.
        images: uint8 (height, width, 3) each.
        pixels_at_once: as for `batches`.
    Returns:
        In the order of `images`.
    Raises:
        Exception: what `work` raises.
    """
    found: dict[int, Result] = {}
    begun: deque[tuple[list[int], Future[Sequence[Result]]]] = deque()

    def collect() -> None:
        indices, future = begun.popleft()
        found.update(zip(indices, future.result(), strict=True))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for batch in batches(images, pixels_at_once):
            begun.append((batch.indices, threads.submit(work, batch)))
            if len(begun) > AT_ONCE:  # so that no more batches lie in memory than one that waits
                collect()
        while begun:
            collect()
    return [found[index] for index in range(len(images))]


def _images_at_once(left: int, most: int) -> int:
    """A power of four, at most `most` unless that is 0, of which more than half will be filled."""
    rows = 1
    while rows < left:
        rows *= 4
    if 2 * left <= rows:
        rows //= 4
    while rows > max(1, most):
        rows //= 4
    return rows
