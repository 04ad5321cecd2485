"""Batches of training images, read ahead by threads, in an order that depends on (seed, epoch, index) alone.

The order comes as a function of the epoch (`facenet_jax.sampling.epoch_order`); what happens to image j of step t
depends on (seed, t, j). So a batch is the same whether the run was interrupted before it or not, and whether one
process reads it or eight.

Not here: reading ahead (`batches.py`), waiting for them (`faces.waiting`), composing batches (the papers' packages),
placing them on devices (`faces.mesh`).
"""

import functools
import os
from collections.abc import Callable, Iterator

import numpy as np

from faces import reading
from faces.config import AugmentConfig
from faces.data.augment import augment
from faces.data.batches import Batches
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
        self._columns, self._all = range(index * batch // count, (index + 1) * batch // count), range(batch)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        return self._read(int(index), self._columns)

    def whole(self, index: int) -> Batch:
        return self._read(index, self._all)

    def indices(self, index: int) -> np.ndarray:
        epoch, row = divmod(index, self._batches_per_epoch)
        return self._order(epoch)[row]

    def people(self, indices: np.ndarray) -> list[str]:
        names = self._source.identity_names
        return [names[label] for label in self._source.identities[indices].tolist()]

    def _read(self, step: int, columns: range) -> Batch:
        """Some columns of a batch."""
        indices = self.indices(step)[columns.start : columns.stop]
        images = np.empty((len(indices), *self._size, 3), np.uint8)  # (part of the batch, rows, columns, 3)
        with reading.batch(step + 1):
            stream = stream_images(self._source, indices)
            for j, _, image, place in zip(columns, self._noted(indices), stream, images, strict=True):
                place[:] = augment(image, self._size, self._config, np.random.default_rng((self._seed, step, j)))
        return {"images": images, "identities": self._source.identities[indices].astype(np.int32)}

    def _noted(self, indices: np.ndarray) -> Iterator[int]:
        """The indices, each noted as what this thread reads now."""
        for index in indices.tolist():
            reading.note("image", index, "of", self._source.name)
            yield index


def make_loader(
    source: FaceSource,
    order: Callable[[int], np.ndarray],
    steps: int,
    size: tuple[int, int],
    config: AugmentConfig,
    seed: int,
    part: tuple[int, int] = (0, 1),
    threads: int | None = None,
) -> Batches[Batch]:
    """An iterator over the batches of steps 0 .. steps - 1.

    Args:
        source: the images; read by several threads at once.
        order: epoch -> image indices, int64 (batches, batch), with the same shape in every epoch.
        steps: batches in all.
        size: rows and columns of the images given.
        config: augmentation.
        seed: of the augmentation.
        part: (index, count): this process reads columns index/count .. (index+1)/count of each batch.
        threads: batches read at the same time; as many and two more are read ahead. 0: each is read when it is asked
            for, by the thread that asks. By default half the cores, but at least 2 and at most 8.
    Returns:
        An iterator that tells which images a step has seen.
    """
    steps_of_run = _Steps(source, order, steps, size, config, seed, part)
    threads = min(max((os.cpu_count() or 1) // 2, 2), 8) if threads is None else threads
    return Batches(steps_of_run, threads, threads + 2 if threads else 0)
