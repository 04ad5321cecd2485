"""What every set of labelled faces looks like to the rest of the code: images by index, and their identities.

A prepared dataset on disk, a folder that was read into memory and generated faces are all a `FaceSource`; samplers need
the identities alone, loaders the images as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from faces.data.marks import mark
from faces.errors import DataError


class FaceSource(Protocol):
    """Random access to labelled face images."""

    @property
    def name(self) -> str:
        """A word or path for logs and records."""
        ...

    @property
    def identities(self) -> np.ndarray:
        """Identity of each image, int32 (images,), labels 0 .. number of identities - 1."""
        ...

    @property
    def identity_names(self) -> list[str]:
        """A name for each label."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Image `index`, uint8 (height, width, 3), RGB."""
        ...

    def marks(self) -> np.ndarray:
        """A number for each image that tells it from others, uint64 (images,); see `faces.data.marks`."""
        ...


def stream_images(source: FaceSource, indices: np.ndarray) -> Iterator[np.ndarray]:
    """The images of these indices, one by one.

    A source that is quicker when it is told all of them before has a method `stream(indices)`; the others are indexed.
    """
    stream: Any = getattr(source, "stream", None)
    return (source[index] for index in indices.tolist()) if stream is None else stream(indices)


@dataclass(frozen=True)
class ArraySource:
    """Faces held in memory.

    Args:
        name: a word for logs and records.
        images: uint8 (images, height, width, 3), RGB.
        identities: int32 (images,).
        drawn_from: what all images follow from, where they were drawn; then they are told by that and their place,
            as another machine may draw them a grey level apart.
        names: of the people, in the order of their labels; () for the labels themselves.
    """

    name: str
    images: np.ndarray
    identities: np.ndarray
    drawn_from: str = ""
    names: tuple[str, ...] = ()

    @property
    def identity_names(self) -> list[str]:
        """See `FaceSource`."""
        return list(self.names) or [str(label) for label in range(int(self.identities.max()) + 1)]

    def __len__(self) -> int:
        return len(self.identities)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.images[index]

    def marks(self) -> np.ndarray:
        """See `FaceSource`."""
        origin = self.drawn_from.encode()
        parts = ((origin, str(row).encode()) if origin else (self.images[row].tobytes(),) for row in range(len(self)))
        return np.fromiter((mark(*one) for one in parts), np.uint64, len(self))


class Subset:
    """Some images of a source, with identities numbered anew from 0.

    Args:
        source: where the images come from.
        indices: which of them, in the order wanted, integers (images,).
    """

    def __init__(self, source: FaceSource, indices: np.ndarray):
        self._source, self._indices = source, indices
        self.name = source.name
        self._kept, labels = np.unique(source.identities[indices], return_inverse=True)
        self.identities = labels.astype(np.int32)

    @property
    def identity_names(self) -> list[str]:
        """See `FaceSource`."""
        names = self._source.identity_names
        return [names[label] for label in self._kept]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._source[int(self._indices[index])]

    def stream(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        return stream_images(self._source, self._indices[indices])

    def marks(self) -> np.ndarray:
        """See `FaceSource`."""
        return self._source.marks()[self._indices]


def limit_images(source: FaceSource, images: int, seed: int) -> FaceSource:
    """Whole identities in random order until `images` images are reached; all for 0, or where the source has fewer.

    Args:
        source: labelled faces.
        images: how many at most.
        seed: of the order.
    Raises:
        DataError: not even one identity fits.
    """
    if images == 0 or images >= len(source):
        return source
    counts = np.bincount(source.identities)
    order = np.random.default_rng(seed).permutation(len(counts))
    taken = order[np.cumsum(counts[order]) <= images]
    if len(taken) == 0:
        raise DataError(f"data.images = {images}: fewer than the {counts[order[0]]} images of the first person drawn.")
    return Subset(source, np.flatnonzero(np.isin(source.identities, taken)))


def with_images(source: FaceSource, least: int) -> FaceSource:
    """The people with at least `least` images, numbered anew in their order; the source itself where that is everyone.

    Raises:
        DataError: nobody has so many.
    """
    counts = np.bincount(source.identities)
    if counts.min() >= least:
        return source
    kept = np.flatnonzero(counts[source.identities] >= least)
    if len(kept) == 0:
        raise DataError(f"data.min_images = {least}: nobody in {source.name} has so many; {counts.max()} is the most.")
    return Subset(source, kept)


def selected(
    source: FaceSource, images: int, min_images: int = 0, wrong_labels: float = 0.0, seed: int = 0
) -> FaceSource:
    """What a config trains on of a source.

    Args:
        source: labelled faces.
        images: how many at most, whole identities, as `limit_images`; 0: all.
        min_images: of those, only people with so many or more; 0: everybody.
        wrong_labels: fraction of those that get another person's label.
        seed: of the choices.
    Raises:
        DataError: nothing is left, or nobody could be mistaken for another.
    """
    source = with_images(limit_images(source, images, seed), min_images)
    return Relabelled(source, wrong_labels, seed) if wrong_labels > 0 else source


class Relabelled:
    """A source some of whose labels are wrong, for experiments on noise.

    Args:
        source: labelled faces.
        fraction: of the images that get another person's label, at random.
        seed: of the choice.
    Raises:
        DataError: there is nobody else whose label an image could get.
    """

    def __init__(self, source: FaceSource, fraction: float, seed: int):
        self._source = source
        self.name = source.name
        rng = np.random.default_rng(seed)
        people = int(source.identities.max()) + 1
        if people < 2:
            raise DataError(f"data.wrong_labels = {fraction}: {source.name} has one person, nobody to be mistaken for.")
        self.is_wrong = np.zeros(len(source), bool)
        self.is_wrong[rng.permutation(len(source))[: round(fraction * len(source))]] = True
        other = (source.identities + rng.integers(1, people, len(source))) % people  # never the same person
        self.identities = np.where(self.is_wrong, other, source.identities).astype(np.int32)

    @property
    def identity_names(self) -> list[str]:
        """See `FaceSource`."""
        return self._source.identity_names

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._source[index]

    def stream(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        return stream_images(self._source, indices)

    def marks(self) -> np.ndarray:
        """See `FaceSource`."""
        return self._source.marks()
