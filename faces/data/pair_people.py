"""The people of a file of pairs, which does not name them: images that pairs of one person join.

Someone whose images are in pairs of two people alone, or in pairs that do not hang together, is several people here, so
that nothing can be said of images that are "of different people".

Not here: the file (`pair_bin.py`), its protocol (`faces.evaluate`).
"""

from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faces.data.images import decode_image
from faces.data.marks import mark
from faces.data.pair_bin import read_pair_bin


class PairPeople:
    """The distinct images of a .bin file as a `FaceSource`; people are called after their first image's number.

    Args:
        path: the file.

    Attributes:
        name: the path.
        identities: int32 (images,).
        identity_names: a number for each person.

    Raises:
        DataError: as `read_pair_bin`.
    """

    def __init__(self, path: Path | str):
        self._pairs = pairs = read_pair_bin(path)
        self.name = str(path)
        first, second, count = pairs.first[pairs.same], pairs.second[pairs.same], len(pairs.encoded)
        joined = coo_array((np.ones(first.size, bool), (first, second)), shape=(count, count))
        owner = connected_components(joined, directed=False)[1]
        _, begins, owner = np.unique(owner, return_index=True, return_inverse=True)
        self.identities = np.argsort(np.argsort(begins))[owner].astype(np.int32)  # in the order of their first images
        self.identity_names = [str(pairs.numbers[row]) for row in np.sort(begins).tolist()]

    def __len__(self) -> int:
        return len(self.identities)

    def __getitem__(self, index: int) -> np.ndarray:
        return decode_image(self._pairs.encoded[index], f"{self.name}, {self.source_name(index)}")

    def source_name(self, index: int) -> str:
        """What image `index` is called."""
        return f"image {self._pairs.numbers[index]}"

    def marks(self) -> np.ndarray:
        """See `faces.data.source.FaceSource`."""
        return np.fromiter(map(mark, self._pairs.encoded), np.uint64, len(self))
