"""What any face model must beat, as embeddings, so that one protocol tests all: chance, raw pixels, eigenfaces.

Chance gives every image the same point. Raw pixels are the image itself, made small, freed of brightness and contrast:
the squared distance of two such vectors is 2 - 2 times the correlation of their pixels. Eigenfaces (Turk and Pentland,
1991) project those vectors on the directions in which training faces vary most; the directions come from training
faces alone, never from the test faces.

Not here: alignment and cropping. Baselines get the very crops that the model gets.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64

from faces.errors import EvaluationError


@runtime_checkable
class Images(Protocol):
    """Images by index, uint8 (height, width, 3), RGB: an array or a `FaceSource`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


def chance(images: int) -> Float32[np.ndarray, "images 1"]:
    """Embeddings that know nothing: all equal, so all pairs tie.

    The protocol then gives accuracy 1/2 on folds balanced between same and different (in general the share of the
    training folds' commoner label), AUC and EER 1/2, VAL 0.
    """
    return np.zeros((images, 1), np.float32)


def raw_pixels(images: Images, side: int = 28, grey: bool = True) -> Float32[np.ndarray, "images d"]:
    """Small images as unit vectors with mean zero.

    CHOICE: pixels are averaged over areas down to side x side, which forgives shifts of a few pixels; each image
    loses its own mean and its own length, that is, its brightness and contrast. An image of one flat colour becomes
    the zero vector.

    Args:
        images: uint8 RGB.
        side: pixels of height and of width that are kept.
        grey: luminance only, d = side^2; otherwise the three channels, d = 3 side^2.
    """
    vectors = np.empty((len(images), side * side * (1 if grey else 3)), np.float32)  # (images, d)
    for index in range(len(images)):
        image = images[index].astype(np.float32)
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        vectors[index] = (cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) if grey else small).ravel()
    vectors -= vectors.mean(axis=1, keepdims=True)
    return _unit(vectors, smallest=1e-3)


@dataclass(frozen=True)
class Eigenfaces:
    """A linear map fitted on training faces.

    Args:
        mean: of the training vectors, (d,).
        directions: columns, each scaled by 1 / its standard deviation where whitened, (d, components).
    """

    mean: Float64[np.ndarray, " d"]
    directions: Float64[np.ndarray, "d components"]

    def embed(self, vectors: Float[np.ndarray, "images d"]) -> Float32[np.ndarray, "images components"]:
        """Project vectors and scale them to unit length."""
        return _unit(((vectors - self.mean) @ self.directions).astype(np.float32), smallest=1e-6)


def fit_eigenfaces(training: Float[np.ndarray, "faces d"], components: int, whiten: bool = True) -> Eigenfaces:
    """Principal components of training faces.

    Whitening divides each direction by the standard deviation of training faces along it, so that light and pose, where
    most of the variance lies, do not drown what tells people apart.

    Args:
        training: vectors of faces of people who are not in the test, as `raw_pixels` makes them.
        components: directions kept, from the largest variance down.
        whiten: give all directions variance 1.

    Raises:
        EvaluationError: the faces span fewer directions than asked for.
    """
    mean = training.mean(axis=0, dtype=np.float64)  # (d,)
    centred = training - mean  # (faces, d)
    variance, directions = np.linalg.eigh(centred.T @ centred / max(len(training) - 1, 1))  # (d,), (d, d)
    variance, directions = variance[::-1], directions[:, ::-1]
    spanned = int(np.sum(variance > 1e-9 * max(variance[0], np.finfo(np.float64).tiny)))
    if not 1 <= components <= spanned:
        raise EvaluationError(
            f"{components} principal components were asked for, but {len(training):,} training faces of "
            f"{training.shape[1]} values span {spanned} directions; ask for no more, or give more faces."
        )
    kept = directions[:, :components]
    return Eigenfaces(mean, kept / np.sqrt(variance[:components]) if whiten else kept)


def _unit(vectors: np.ndarray, smallest: float) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)  # (images, 1)
    return np.where(length > smallest, vectors / np.maximum(length, smallest), 0.0).astype(np.float32)
