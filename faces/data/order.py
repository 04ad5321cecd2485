"""In which order an epoch visits a training set: all images shuffled, or people together.

Order depends on (seed, epoch) alone: a resumed run sees the batches it would have seen. What is left at an epoch's end,
less than a batch, is not used in that epoch; it is other images in every epoch.

Not here: reading the images (`loader.py`), and what a paper asks of a batch besides.
"""

import numpy as np

from faces.errors import DataError


def shuffled(images: int, batch: int, seed: int, epoch: int) -> np.ndarray:
    """All images in random order.

    Args:
        images: of the training set.
        batch: size of a batch.
        seed, epoch: what the order depends on.
    Returns:
        Image indices, int64 (batches, batch).
    Raises:
        DataError: the set is smaller than a batch.
    """
    if images < batch:
        raise DataError(f"the training set has {images} images; a batch of {batch} needs more: lower batch.images.")
    order = np.random.default_rng((seed, epoch)).permutation(images)
    return order[: images // batch * batch].reshape(-1, batch)


def people_together(identities: np.ndarray, images_per_identity: int, rng: np.random.Generator) -> np.ndarray:
    """Everyone who has two images or more, in random order, each with some images at random.

    A person with fewer than K images gives all; no image is repeated, since a copy of an image is a pair at distance
    zero that teaches nothing.

    Args:
        identities: identity of each image of the training set, integers (images,).
        images_per_identity: K, at most so many images of each person.
        rng: the only source of randomness.
    Returns:
        Image indices, int64 (total,), one person's side by side.
    Raises:
        DataError: nobody has two images, or there is one person only.
    """
    order = np.argsort(identities, kind="stable")
    by_identity = np.split(order, np.flatnonzero(np.diff(identities[order])) + 1)
    if len(by_identity) < 2:
        raise DataError("the training set has a single identity; triplets need images of at least two.")
    chosen = [
        rng.permutation(by_identity[person])[:images_per_identity]
        for person in rng.permutation(len(by_identity))
        if len(by_identity[person]) >= 2
    ]
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


def into_batches(stream: np.ndarray, batch: int, what: str) -> np.ndarray:
    """Cut a stream of image indices into batches: (total,) -> (batches, batch).

    Raises:
        DataError: there is not even one; `what` says what the stream consists of.
    """
    batches = len(stream) // batch
    if batches == 0:
        raise DataError(f"the training set gives {len(stream)} {what}; a batch of {batch} needs more: lower "
                        "batch.images.")  # fmt: skip
    return stream[: batches * batch].reshape(batches, batch)
