"""Batches of annotated images for RetinaFace (arXiv 1905.00641, Sec. 4.2), read ahead by threads.

Their order depends on (seed, epoch, index) alone.

Not here: the images (`faces.data.wider`, `faces.data.synthetic.scenes`), placing batches on devices (`faces.mesh`).
"""

import functools

import numpy as np

from faces import reading
from faces.data.batches import Batches
from faces.data.order import shuffled
from faces.detect.examples import Example, Examples
from retinaface_jax.augment import augment
from retinaface_jax.config import Config
from retinaface_jax.matching import Batch


def to_batch(examples: list[Example], faces: int) -> Batch:
    """Images of one size, with room for `faces` faces each; of more, the largest are kept."""
    shape = (len(examples), faces)
    boxes, points = np.zeros((*shape, 4), np.float32), np.zeros((*shape, 5, 2), np.float32)
    has_points, is_face = np.zeros(shape, bool), np.zeros(shape, bool)
    for row, example in enumerate(examples):
        areas = np.prod(example.boxes[:, 2:] - example.boxes[:, :2], axis=1)  # (n,)
        kept = np.sort(np.argsort(-areas, kind="stable")[:faces])
        places = slice(len(kept))
        boxes[row, places], points[row, places] = example.boxes[kept], example.points[kept]
        has_points[row, places], is_face[row, places] = example.has_points[kept], True
    images = np.stack([example.image for example in examples])
    return {"images": images, "boxes": boxes, "points": points, "has_points": has_points, "is_face": is_face}


class _Steps:
    """Random access to the run's batches: element t is the batch of step t."""

    def __init__(self, examples: Examples, config: Config):
        self._examples, self._config = examples, config
        images, seed = config.batch.images, config.train.seed
        self._order = functools.lru_cache(maxsize=2)(lambda epoch: shuffled(len(examples), images, seed, epoch))
        self._batches_per_epoch = len(self._order(0))

    def __len__(self) -> int:
        return self._config.train.steps

    def __getitem__(self, index: int) -> Batch:
        step, config = int(index), self._config

        def one(place: int, image: int) -> Example:
            rng = np.random.default_rng((config.train.seed, step, place))
            reading.note("image", image, "of", self._examples.name)
            return augment(self._examples.example(image), config.input.size, config.augment, rng)

        chosen = self.indices(step).tolist()
        with reading.batch(step + 1):
            return to_batch([one(place, image) for place, image in enumerate(chosen)], config.input.faces)

    def whole(self, index: int) -> Batch:
        return self[index]

    def indices(self, index: int) -> np.ndarray:
        epoch, row = divmod(index, self._batches_per_epoch)
        return self._order(epoch)[row]

    def people(self, indices: np.ndarray) -> list[str]:
        return []


def make_loader(examples: Examples, config: Config, threads: int = 2) -> Batches[Batch]:
    """An iterator over the batches of steps 0 .. steps - 1.

    Args:
        examples: read by several threads at once.
        config: sizes, augmentation, seed and length.
        threads: batches read at the same time, and read ahead.
    Returns:
        An iterator that tells which images a step has seen.
    Raises:
        DataError: there are fewer images than a batch has.
    """
    return Batches(_Steps(examples, config), threads, 2 * threads)
