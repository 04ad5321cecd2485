"""How a batch is composed: Sec. 3.2 of FaceNet (arXiv 1503.03832).

Mining inside a batch needs several images of each person in it (PAPER: around 40 of each identity, in around 1,800),
and randomly drawn faces beside them as further negatives (PAPER, without a number).

An epoch visits every identity that can form a pair once, in random order, with K of its images drawn at random. These
images make one long stream that is cut into batches. What follows from that:

- CHOICE: an identity with fewer than K images gives all it has (`faces.data.order.people_together`). The next
  identities fill the place.
- An identity at a cut has its images in two neighbouring batches.
- Identities with a single image form no pair; they occur only as random negatives.
- CHOICE: random negatives are drawn from all images that the batch does not hold yet. One may show a person of the
  batch, and is then a positive like any other; among many identities that is rare.

Order depends on (seed, epoch) alone: a resumed run sees the batches it would have seen.

Not here: reading and augmenting the images (`faces.data.loader`).
"""

import numpy as np

from faces.data import order
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
    rng = np.random.default_rng((seed, epoch))
    stream = order.people_together(identities, images_per_identity, rng)
    if images > len(identities):
        raise DataError(f"the training set has {len(identities)} images; lower batch.images, which is {images}.")
    sampled = images - random_negatives  # images of a batch that come from the stream
    batches = order.into_batches(stream, sampled, f"images of people with two or more ({images_per_identity} of each)")
    if random_negatives == 0:
        return batches
    drawn = np.stack([_draw_absent(rng, len(identities), row, random_negatives) for row in batches])
    return np.concatenate([batches, drawn], axis=1)


def _draw_absent(rng: np.random.Generator, size: int, present: np.ndarray, count: int) -> np.ndarray:
    """`count` different numbers below `size` that are not in `present`."""
    candidates = rng.choice(size, size=min(size, count + len(present)), replace=False)
    return candidates[~np.isin(candidates, present)][:count]
