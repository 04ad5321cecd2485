"""Training on faces of which some cannot be read: another image of the same person stands in, counted and named.

A week of training must not end at one damaged file, nor go on with half of the faces: beyond one image in twenty it
ends. Which image stands in depends on the image alone, so that runs with the same files are the same run.

Not here: sets that were prepared, where damaged images are in quarantine already (`preparing.py`).
"""

import threading
from collections.abc import Iterator

import numpy as np

from faces.data.source import FaceSource, stream_images
from faces.errors import DataError, ImageError

MOST = 0.05
"""Part of the images that may be unreadable; more, and something is wrong with the set as a whole."""
ALWAYS = 20
"""So many may be unreadable of a set of any size."""


class StandIns:
    """A source whose unreadable images are each replaced by the next readable image of the same person, in a circle.

    Args:
        source: labelled faces.

    Attributes:
        unreadable: index of each image that could not be read so far -> why, one sentence.
    """

    def __init__(self, source: FaceSource):
        self._source, self._lock = source, threading.Lock()
        self.name, self.identities = source.name, source.identities
        self.unreadable: dict[int, str] = {}

    @property
    def identity_names(self) -> list[str]:
        """See `FaceSource`."""
        return self._source.identity_names

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> np.ndarray:
        """Image `index`, or the one that stands in for it.

        Raises:
            DataError: too many cannot be read, or none of this person.
        """
        try:
            return self._source[index]
        except ImageError as error:
            self._note(index, error)
        of_person = np.flatnonzero(self.identities == self.identities[index])
        start = int(np.searchsorted(of_person, index)) + 1
        for other in np.roll(of_person, -start)[:-1].tolist():
            try:
                return self._source[other]
            except ImageError as error:
                self._note(other, error)
        raise DataError(
            f"{self.name}: no image of {self.identity_names[self.identities[index]]} can be read, the last one because "
            f"of {self.unreadable[index]} Prepare the set with experiments.prepare, which leaves such people out."
        )

    def stream(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """The images of these indices, one by one."""
        given = 0
        try:
            for image in stream_images(self._source, indices):
                yield image
                given += 1
        except ImageError:  # the stream is at its end; the rest is asked for one by one
            yield from (self[index] for index in indices[given:].tolist())

    def marks(self) -> np.ndarray:
        """See `FaceSource`."""
        return self._source.marks()

    def said(self) -> str:
        """What a run tells of them at its end; "" where all could be read."""
        if not self.unreadable:
            return ""
        count, first = len(self.unreadable), min(self.unreadable)
        return (
            f"{count:,} of the {len(self):,} images could not be read, and another one of the same person stood in for "
            f"each; the first: {self.unreadable[first]}"
        )

    def _note(self, index: int, error: ImageError) -> None:
        with self._lock:
            self.unreadable.setdefault(index, str(error))
            count = len(self.unreadable)
        if count > max(MOST * len(self), ALWAYS):
            raise DataError(
                f"{self.name}: {count:,} of its {len(self):,} images cannot be read, more than one in twenty, this one "
                f"because of {error} Look at the disk, or leave them out with experiments.prepare."
            ) from error
