"""How a batch is composed: Sec. 3.2 of FaceNet (arXiv 1503.03832).

Mining inside a batch needs several images of each person in it (PAPER: around 40 of each identity, in around 1,800),
and randomly drawn faces beside them as further negatives (PAPER, without a number).

An epoch visits every identity that can form a pair once, in random order, with K of its images drawn at random. These
images make one long stream that is cut into batches. What follows from that:

- CHOICE: an identity with fewer than K images gives all it has; no image is repeated, since a copy of the anchor is a
  positive at distance zero that teaches nothing. The next identities fill the place.
- An identity at a cut has its images in two neighbouring batches. What the stream leaves at its end, less than a batch,
  is not used in that epoch; it is other images in every epoch.
- Identities with a single image form no pair; they occur only as random negatives.
- CHOICE: random negatives are drawn from all images that the batch does not hold yet. One may show a person of the
  batch, and is then a positive like any other; among many identities that is rare.

Order depends on (seed, epoch) alone: a resumed run sees the batches it would have seen.

Not here: reading and augmenting the images (`faces.data.loader`).
"""

import numpy as np

from faces.errors import DataError


def epoch_order(
    identities: np.ndarray,
    images: int,
    images_per_identity: int,
    random_negatives: int,
    seed: int,
    epoch: int,
) -> np.ndarray:
    """Image indices of all batches of one epoch.

    Args:
        identities: identity of each image of the training set, integers (images of the set,).
        images: B, size of the global batch.
        images_per_identity: K, at most so many images of an identity in an epoch.
        random_negatives: how many of the B images are drawn from the whole set instead, without repetition of what the
            batch already holds.
        seed, epoch: what the order depends on.
    Returns:
        int64 (batches, B). In each row the drawn negatives come last.
    Raises:
        DataError: the set is too small for one batch, or has fewer than two identities.
    """
    by_identity = _images_of_each(identities)
    rng = np.random.default_rng((seed, epoch))
    stream: list[np.ndarray] = []
    for label in rng.permutation(len(by_identity)):
        members = by_identity[label]
        if len(members) >= 2:
            stream.append(rng.permutation(members)[:images_per_identity])
    sampled = images - random_negatives  # images of a batch that come from the stream
    total = sum(map(len, stream))
    batches = total // sampled
    if len(by_identity) < 2:
        raise DataError("the training set has a single identity; triplets need images of at least two.")
    if batches == 0 or images > len(identities):
        raise DataError(
            f"the training set gives {total} images of identities with two or more ({images_per_identity} of each at "
            f"most), and {len(identities)} in all; a batch of {images} needs more: lower batch.images."
        )
    order = np.concatenate(stream)[: batches * sampled].reshape(batches, sampled)
    if random_negatives == 0:
        return order
    drawn = np.stack([_draw_absent(rng, len(identities), row, random_negatives) for row in order])
    return np.concatenate([order, drawn], axis=1)


def batches_per_epoch(identities: np.ndarray, images: int, images_per_identity: int, random_negatives: int) -> int:
    """Number of rows of `epoch_order`, the same in every epoch."""
    counts = np.bincount(identities)
    total = int(np.minimum(counts[counts >= 2], images_per_identity).sum())
    return total // (images - random_negatives)


def _images_of_each(identities: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(identities, kind="stable")
    starts = np.flatnonzero(np.diff(identities[order])) + 1
    return np.split(order, starts)


def _draw_absent(rng: np.random.Generator, size: int, present: np.ndarray, count: int) -> np.ndarray:
    """`count` different numbers below `size` that are not in `present`."""
    candidates = rng.choice(size, size=min(size, count + len(present)), replace=False)
    return candidates[~np.isin(candidates, present)][:count]
