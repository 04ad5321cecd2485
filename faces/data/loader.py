"""Batches of training images, read ahead by threads, in an order that depends on (seed, epoch, index) alone.

The order comes as a function of the epoch (`facenet_jax.sampling.epoch_order`); what happens to image j of step t
depends on (seed, t, j). So a batch is the same whether the run was interrupted before it or not, and whether one
process reads it or eight.

Not here: composing batches (the papers' packages), placing them on devices (`faces.mesh`).
"""

import functools
import os
from collections.abc import Callable

import grain
import numpy as np

from faces.config import AugmentConfig
from faces.data.augment import augment
from faces.data.source import FaceSource, stream_images
from faces.train_state import Batch


class _Steps:
    """Random access to the run's batches: element t is the batch of step t."""

    def __init__(
        self,
        source: FaceSource,
        order: Callable[[int], np.ndarray],
        steps: int,
        size: tuple[int, int],
        config: AugmentConfig,
        seed: int,
        part: tuple[int, int],
    ):
        self._source, self._steps, self._size, self._config, self._seed = source, steps, size, config, seed
        self._order = functools.lru_cache(maxsize=2)(order)
        self._batches_per_epoch, batch = self._order(0).shape
        index, count = part
        if batch % count:
            raise ValueError(f"a batch of {batch} images cannot be read by {count} processes in equal parts")
        self._columns = range(index * batch // count, (index + 1) * batch // count)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        step = int(index)
        epoch, row = divmod(step, self._batches_per_epoch)
        chosen = self._order(epoch)[row]
        indices = chosen[self._columns.start : self._columns.stop]
        images = np.empty((len(indices), *self._size, 3), np.uint8)  # (part of the batch, rows, columns, 3)
        for j, image, place in zip(self._columns, stream_images(self._source, indices), images, strict=True):
            place[:] = augment(image, self._size, self._config, np.random.default_rng((self._seed, step, j)))
        return {"images": images, "identities": self._source.identities[indices].astype(np.int32)}


def make_loader(
    source: FaceSource,
    order: Callable[[int], np.ndarray],
    steps: int,
    size: tuple[int, int],
    config: AugmentConfig,
    seed: int,
    part: tuple[int, int] = (0, 1),
    threads: int | None = None,
) -> "grain.DatasetIterator[Batch]":
    """An iterator over the batches of steps 0 .. steps - 1.

    Args:
        source: the images; read by several threads at once.
        order: epoch -> image indices, int64 (batches, batch), with the same shape in every epoch.
        steps: batches in all.
        size: rows and columns of the images given.
        config: augmentation.
        seed: of the augmentation.
        part: (index, count): this process reads columns index/count .. (index+1)/count of each batch.
        threads: batches read at the same time; as many and two more are read ahead. By default half the cores, but at
            least 2 and at most 8.
    Returns:
        A grain iterator; `get_state()` and `set_state()` give and take its place in the run.
    """
    steps_of_run = _Steps(source, order, steps, size, config, seed, part)
    threads = threads or min(max((os.cpu_count() or 1) // 2, 2), 8)
    read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)
    return iter(grain.MapDataset.source(steps_of_run).to_iter_dataset(read))
