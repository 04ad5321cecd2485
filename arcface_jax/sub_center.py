"""The tool that cleans a training set by its sub-centres: Sec. 3.2 of ArcFace (arXiv 1801.07698 v4).

With K centres per class an image need only be near one of them. Clean faces gather at one sub-centre, the dominant
one; wrong labels and hard cases at the others. After a training with K = 3 (v4 Table 3), drop for each class all but
the dominant sub-centre, drop the images more than 75 degrees from it, and train anew with one centre per class on the
rest, from the start (K = 3 -> 1).

Not here: the maximum over sub-centres in training (`head.py`), the embedding of the images.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from arcface_jax.centres import check_labels

IMAGES_AT_ONCE = 4096
"""Images whose angles are computed at a time."""


class Kept(NamedTuple):
    """Which images stay, and why."""

    kept: Bool[np.ndarray, "images"]
    angle: Float[np.ndarray, "images"]
    """Between the image and its class's dominant sub-centre, in degrees, float64."""
    dominant: Int[np.ndarray, "classes"]
    """Index of each class's dominant sub-centre."""


def dominant(
    embeddings: Float[np.ndarray, "images d"],
    labels: Int[np.ndarray, "images"],
    centres: Float[np.ndarray, "classes k d"],
) -> tuple[Int[np.ndarray, "classes k"], Int[np.ndarray, "classes"]]:
    """The sub-centre of each class to which most of its images are nearest (Sec. 3.2 of v4).

    Args:
        embeddings: of the whole training set, (images, d), any length.
        labels: class of each image.
        centres: (classes, K, d), any length.
    Returns:
        How many images of its class are nearest to each sub-centre by angle, int64 (classes, K), and the index of the
        largest number, int64 (classes,). CHOICE: of equal numbers the first; so it is 0 for a class without images.
    Raises:
        DataError: labels that are no class.
    """
    check_labels(labels, len(centres))
    counts = np.zeros(centres.shape[:2], np.int64)
    for start in range(0, len(labels), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        cosines = _cosines(embeddings[part], centres[labels[part]])  # (block, K)
        np.add.at(counts, (labels[part], cosines.argmax(axis=1)), 1)
    return counts, counts.argmax(axis=1)


def keep(
    embeddings: Float[np.ndarray, "images d"],
    labels: Int[np.ndarray, "images"],
    centres: Float[np.ndarray, "classes k d"],
    degrees: float = 75.0,
) -> Kept:
    """Keep the images within `degrees` of their class's dominant sub-centre (Sec. 3.2 of v4).

    PAPER v4 Table 3: 75 degrees is best, 70 to 80 do nearly as well.

    Args:
        embeddings, labels, centres: as `dominant`.
        degrees: the largest angle that stays.
    Raises:
        DataError: labels that are no class.
    """
    _, index = dominant(embeddings, labels, centres)
    of_class = drop_sub_centres(centres, index)  # (classes, d)
    angle = np.empty(len(labels), np.float64)
    for start in range(0, len(labels), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        cosines = _cosines(embeddings[part], of_class[labels[part], None, :])[:, 0]  # (block,)
        angle[part] = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    return Kept(angle <= degrees, angle, index)


def drop_sub_centres(
    centres: Float[np.ndarray, "classes k d"], dominant: Int[np.ndarray, "classes"]
) -> Float[np.ndarray, "classes d"]:
    """The dominant sub-centre of each class alone."""
    return centres[np.arange(len(centres)), dominant]


def _cosines(embeddings: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Of each embedding (images, d) with the centres beside it (images, K, d): float64 (images, K)."""
    return np.einsum("id,ikd->ik", _unit(embeddings), _unit(centres))


def _unit(x: np.ndarray) -> np.ndarray:
    """Vectors of length 1; zero where they have no direction, which is 90 degrees from everything."""
    x = x.astype(np.float64)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)
