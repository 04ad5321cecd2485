"""How a batch is composed: at random for the classification losses of Table 2 of ArcFace (arXiv 1801.07698), by people
for its triplets.

CHOICE: the paper is silent on the order of images. A softmax compares each with class centres (Eq. 1 to 4), so that it
needs no companions: all images are shuffled. For the triplet rows of Table 2 people stand together, a few images of
each, so that a batch holds positives; the authors' code takes 5 of each person.

Not here: reading and augmenting the images (`faces.data.loader`).
"""

import numpy as np

from faces.data import order


def epoch_order(identities: np.ndarray, images: int, images_per_identity: int, seed: int, epoch: int) -> np.ndarray:
    """Image indices of all batches of one epoch.

    Args:
        identities: identity of each image of the training set, integers (images of the set,).
        images: B, size of the global batch.
        images_per_identity: at most so many images of a person, who then needs two or more; 0: all images at random.
        seed, epoch: what the order depends on.
    Returns:
        int64 (batches, B), with the same shape in every epoch.
    Raises:
        DataError: the set is too small for one batch.
    """
    if images_per_identity == 0:
        return order.shuffled(len(identities), images, seed, epoch)
    stream = order.people_together(identities, images_per_identity, np.random.default_rng((seed, epoch)))
    return order.into_batches(stream, images, f"images of people with two or more ({images_per_identity} of each)")
