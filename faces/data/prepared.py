"""The prepared dataset: checked images and their labels in one folder, quick to read by index.

A prepared folder is a TFDS dataset (`tfds.builder_from_directory` reads it), written and read without TensorFlow: one
record an image with the features `image` (encoded), `identity` (label), `identity_name` and `source` (path or key that
it came from), in ArrayRecord files. Beside them stands what should not cost a pass over the images: `identities.npy`
(int32 labels), `identity_names.json`, `quarantine.csv` (images that were left out, with the reason) and `prepared.json`
(counts, crop and size; of faces that were cut out of photographs, how). An image keeps its own encoding where that is
possible, see `images.stored_encoding`.

Not here: writing it (`preparing.py`), which source lies at a path (`open.py`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource

from faces import reading
from faces.data.images import decode_stored
from faces.data.marks import every, mark
from faces.data.source import FaceSource
from faces.data.tf_example import bytes_feature
from faces.errors import DataError, WeightsError
from faces.opening import MIB, open_regular, read_json
from faces.weights import read_weights

MANIFEST = "prepared.json"
LARGEST_NAMES = 128 * MIB
"""Bytes of the people's names."""
FETCHED = 64  # records in memory at a time
RECORDS_MARKED = 200_000
"""Records that a mark is made of, or up to twice as many, and one of each person: read in seconds."""


class EncodedSource(FaceSource, Protocol):
    """A `FaceSource` on disk, whose images can be had as they are stored."""

    identity_names: list[str]

    def encoded(self, index: int) -> bytes:
        """The bytes of image `index`; ImageError where they cannot be read."""
        ...

    def source_name(self, index: int) -> str:
        """Path or key of image `index` in its source."""
        ...


class PreparedFaces:
    """A prepared folder as a `FaceSource`. Safe to read from many threads; pickles as its path.

    Args:
        path: the folder.

    Attributes:
        name: the path.
        identities: int32 (images,), labels 0 .. number of identities - 1.
        identity_names: a name for each label.
        aligned: whether the images are faces already; not said of sets that were prepared before it was asked.
        cut_as: how they were found and cut out of photographs; None where that is not known.

    Raises:
        DataError: no prepared folder, or a damaged one.
    """

    def __init__(self, path: Path | str):
        self._path = Path(path)
        self.name = str(path)
        if not (self._path / MANIFEST).is_file():
            raise DataError(f"{path}: no prepared dataset ({MANIFEST} is missing); make one with experiments.prepare.")
        try:
            labels = read_weights(self._path / "identities.npy").get("", np.zeros(0))
            names = read_json(self._path / "identity_names.json", LARGEST_NAMES)
            manifest = read_json(self._path / MANIFEST, MIB)
            shards = sorted(self._path.glob("*.array_record-*"))
            for shard in shards:
                open_regular(shard).close()  # what is no file its reader would wait for
            self._records = ArrayRecordDataSource(list(map(str, shards)))
        except (OSError, WeightsError, ValueError, RuntimeError) as error:
            raise DataError(f"{path}: the prepared dataset is damaged ({error}); prepare it again.") from None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path}: identity_names.json holds something else than names; prepare the dataset again.")
        self.identity_names: list[str] = names
        self.aligned = isinstance(manifest, dict) and manifest.get("aligned") is True
        cut_as = manifest.get("cut_as") if self.aligned else None
        self.cut_as: dict[str, Any] | None = cut_as if isinstance(cut_as, dict) else None
        if labels.dtype != np.int32 or labels.shape != (len(self._records),):
            raise DataError(
                f"{path}: identities.npy holds {labels.dtype} {labels.shape}, the record files hold "
                f"{len(self._records)} images; prepare the dataset again."
            )
        self.identities = np.array(labels)  # (images,)
        if not np.array_equal(np.unique(self.identities), np.arange(len(self.identity_names))):
            raise DataError(
                f"{path}: the labels are not 0 to {len(self.identity_names) - 1}, one for each name in "
                "identity_names.json; prepare the dataset again."
            )

    def __len__(self) -> int:
        return len(self.identities)

    def __getitem__(self, index: int) -> np.ndarray:
        return decode_stored(self.encoded(index))

    def __reduce__(self):
        return PreparedFaces, (self._path,)

    def stream(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """The images of these indices, one by one. Records are fetched by dozens, which takes a tenth of the time."""
        for start in range(0, len(indices), FETCHED):
            part = indices[start : start + FETCHED].tolist()
            for index, record in zip(part, self._fetch(part), strict=True):
                yield decode_stored(self._feature(record, index, "image"))

    def encoded(self, index: int) -> bytes:
        """Image `index` as stored: JPEG, PNG or WebP."""
        return self._feature(self._record(index), index, "image")

    def marks(self) -> np.ndarray:
        """See `faces.data.source.FaceSource`. Of a large set some records of each person are read."""
        order = np.argsort(self.identities, kind="stable")
        counts = np.bincount(self.identities)
        within = np.arange(len(self)) - np.repeat(np.cumsum(counts) - counts, counts)  # (images,), in this order
        indices = np.sort(order[within % every(len(self), RECORDS_MARKED) == 0])
        marks = np.zeros(len(self), np.uint64)
        for start in range(0, len(indices), FETCHED):
            part = indices[start : start + FETCHED].tolist()
            for index, record in zip(part, self._fetch(part), strict=True):
                marks[index] = mark(*(self._feature(record, index, name) for name in ("source", "image")))
        return marks

    def source_name(self, index: int) -> str:
        """Path or key of image `index` in the source it was prepared from."""
        return self._feature(self._record(index), index, "source").decode()

    def _fetch(self, indices: list[int]) -> Sequence[bytes]:
        reading.note_file(self.name, "record", indices[0], "and", len(indices) - 1, "more")
        try:
            return self._records.__getitems__(indices)
        except RuntimeError:  # it does not say which one is damaged
            return [self._record(index) for index in indices]

    def _record(self, index: int) -> bytes:
        reading.note_file(self.name, "record", index)
        try:
            return self._records[index]
        except RuntimeError as error:
            raise self._damaged(index, error) from None

    def _feature(self, record: bytes, index: int, name: str) -> bytes:
        try:
            return bytes_feature(record, name)
        except ValueError as error:
            raise self._damaged(index, error) from None

    def _damaged(self, index: int, error: Exception) -> DataError:
        return DataError(f"{self.name}, image {index}: the record is damaged ({error}); prepare again.")
