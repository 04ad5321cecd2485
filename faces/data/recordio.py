"""InsightFace's face records (`train.rec` with `train.idx`), read without MXNet.

A .rec file is a row of frames: a magic number, a word whose top three bits say whether the frame is a whole record or
its first, middle or last part and whose other 29 bits are its length, the bytes, and zeros up to a multiple of four. A
writer splits a record wherever the magic number stands in its data on a multiple of four, and leaves those four bytes
out; joining the parts puts them back. A record is a header (flag, label, id, id2; 24 bytes), then `flag` float32
labels, then an encoded image. The .idx file is text, a key and a byte offset a line.

Which keys hold images, and which are InsightFace's records of identities, is found out in `record_index.py`.

The file is mapped, not read: opening checks every frame's magic number and length against the file's size, so that a
file that was cut in the middle is refused before anything is read from it.

A `property` file beside it says `identities,height,width`; it is not needed, but where it is there it must be true.

Not here: the .idx file and what InsightFace's records without an image say (`record_index.py`), InsightFace's .bin
files of evaluation pairs (`pair_bin.py`).
"""

import mmap
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from faces import reading
from faces.data.images import decode_checked, decode_stored
from faces.data.marks import mark
from faces.data.record_index import check_people, image_keys, read_index
from faces.errors import DataError, ImageError
from faces.opening import map_file, read_bytes

MAGIC = 0xCED7230A
_FRAME = struct.Struct("<II")  # magic, part << 29 | length
_HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_PROPERTY = re.compile(rb"\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*")
_MAGIC = MAGIC.to_bytes(4, "little")
_RANGE = 2  # numbers of InsightFace's records without an image
_MOST_PARTS = 4096  # of a record: by chance a picture of a gigabyte has one more than one
_LONGEST_PROPERTY = 1024  # bytes
_MARKED = 64  # last bytes of an image that its mark is made of
_IMAGES_MEASURED = 8
"""So many images are compared with the size in `property` when the file is opened; decoding all would take minutes."""


@dataclass(frozen=True)
class Record:
    """One image of a .rec file.

    Args:
        key: its key in the .idx file.
        identity: its label as stored, which need not be contiguous.
        payload: the encoded image.
    """

    key: int
    identity: int
    payload: bytes


class RecordFile(Sequence[Record]):
    """The images of a .rec file by position, in the order of the .idx file, or of their keys where InsightFace's
    record under key 0 says which they are.

    Safe to read from many threads; pickles as its path, so that a worker process opens the file anew.

    Args:
        path: `NAME.rec`; `NAME.idx` must lie beside it.

    Attributes:
        keys: int64 (images,).
        identities: int64 (images,), labels as stored.

    Raises:
        DataError: a missing or malformed .idx, an offset outside the file, a wrong magic number, a cut file; as
            `image_keys` and `check_people`.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._file = self._map()
        index = read_index(self.path.with_suffix(".idx"), len(self._file) // (_FRAME.size + _HEADER.size))
        self._starts = self._distinct(index)
        offsets, ranges = dict(index), dict[int, tuple[float, ...]]()
        for key, offset in index:
            if (numbers := self._range(offset, key)) is not None:
                ranges[key] = numbers
        keys = image_keys(self.path, [key for key, _ in index], ranges)
        self.keys = np.array(keys, np.int64)  # (images,)
        self._offsets = np.array([offsets[key] for key in keys], np.int64)  # (images,)
        self.identities = self._read_identities()
        check_people(self.path, self.identities, ranges)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        key = int(self.keys[index])
        reading.note_file(self.path, "key", key)
        label, payload = self._read(int(self._offsets[index]), key)
        return Record(key, self._identity(label, key), payload)

    def __reduce__(self):
        return RecordFile, (self.path,)

    def _map(self) -> mmap.mmap:
        try:
            return map_file(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}); copy it again.") from None

    def _distinct(self, index: list[tuple[int, int]]) -> np.ndarray:
        """Where records begin, ascending, int64 (records,); a key for each."""
        starts = np.fromiter((offset for _, offset in index), np.int64, len(index))  # (records,)
        order = np.argsort(starts, kind="stable")
        again = np.flatnonzero(np.diff(starts[order]) == 0)
        if again.size:
            first, second = (index[int(order[again[0] + place])] for place in (0, 1))
            raise DataError(
                f"{self.path.with_suffix('.idx')}: keys {first[0]} and {second[0]} both point to byte {first[1]}; the "
                "index is damaged: copy it again."
            )
        return starts[order]

    def _frame(self, offset: int, key: int) -> tuple[int, int]:
        """Part and length of the frame at `offset`, both checked against the file's size."""
        if not 0 <= offset <= len(self._file) - _FRAME.size:
            raise DataError(
                f"{self.path.with_suffix('.idx')}: key {key} points to byte {offset}, outside {self.path.name} "
                f"({len(self._file)} bytes); the two files do not belong together or {self.path.name} was cut: "
                "copy both again."
            )
        magic, word = _FRAME.unpack_from(self._file, offset)
        if magic != MAGIC:
            raise DataError(
                f"{self.path}, byte {offset} (key {key}): a record should start with {MAGIC:#x}, found {magic:#x}; "
                "the file is damaged or its .idx belongs to another file: copy both again."
            )
        part, length = word >> 29, word & (1 << 29) - 1
        if offset + _FRAME.size + length > len(self._file):
            raise DataError(
                f"{self.path}, byte {offset} (key {key}): the record declares {length} bytes, but the file ends "
                f"after {len(self._file) - offset - _FRAME.size}; the file was cut: copy it again."
            )
        return part, length

    def _range(self, offset: int, key: int) -> tuple[float, ...] | None:
        """The numbers of a record that holds several and no image, which say which keys belong together; else None."""
        part, length = self._frame(offset, key)
        if part != _WHOLE or length < _HEADER.size:
            return None  # one that was split holds more than a few numbers
        start = offset + _FRAME.size
        flag = _HEADER.unpack_from(self._file, start)[0]
        if flag < 2 or length != _HEADER.size + 4 * flag:
            return None
        return struct.unpack_from(f"<{_RANGE}f", self._file, start + _HEADER.size)

    def _read(self, offset: int, key: int) -> tuple[float, bytes]:
        """First label and payload of the record at `offset`."""
        data = b"".join(self._pieces(offset, key))
        if len(data) < _HEADER.size:
            raise self._short(offset, key)
        flag, label, _, _ = _HEADER.unpack_from(data)
        if flag == 0:
            return label, data[_HEADER.size :]
        if len(data) < _HEADER.size + 4 * flag:
            raise self._short(offset, key)
        return struct.unpack_from("<f", data, _HEADER.size)[0], data[_HEADER.size + 4 * flag :]

    def _pieces(self, offset: int, key: int) -> Iterator[bytes]:
        """The bytes of the record at `offset`, part for part, the magic numbers between them put back.

        No record reaches into the next one that the index names: else a small file would hold many large records.
        """
        after = int(np.searchsorted(self._starts, offset, side="right"))
        end = int(self._starts[after]) if after < len(self._starts) else len(self._file)
        wanted, start = (_WHOLE, _FIRST), offset
        for number in range(_MOST_PARTS):
            part, length = self._frame(offset, key)
            if part not in wanted:
                raise DataError(
                    f"{self.path}, byte {offset} (key {key}): parts of the record are out of order (part kind "
                    f"{part}); the file is damaged: copy it again."
                )
            if offset + _FRAME.size + length > end:
                raise DataError(
                    f"{self.path}, byte {start} (key {key}): the record reaches into the next one, which begins at "
                    f"byte {end}; the file is damaged or its .idx belongs to another file: copy both again."
                )
            yield b"" if number == 0 else _MAGIC
            yield self._file[offset + _FRAME.size : offset + _FRAME.size + length]
            if part in (_WHOLE, _LAST):
                return
            offset += _FRAME.size + (length + 3) // 4 * 4
            wanted = (_MIDDLE, _LAST)
        raise DataError(
            f"{self.path}, byte {start} (key {key}): more than {_MOST_PARTS:,} parts, as no picture has; the file is "
            "damaged: copy it again."
        )

    def mark(self, index: int) -> int:
        """What tells image `index` from others: its key, its length, and the last bytes of its first part."""
        key, offset = int(self.keys[index]), int(self._offsets[index])
        part, length = self._frame(offset, key)
        end = offset + _FRAME.size + length
        content = self._file[max(offset + _FRAME.size, end - _MARKED) : end]  # which lie beside the next record's head
        return mark(str(key).encode(), f"{part} {length}".encode(), content)

    def _short(self, offset: int, key: int) -> DataError:
        return DataError(
            f"{self.path}, byte {offset} (key {key}): the record is shorter than its header; the file is damaged or "
            "not an image record file: copy it again."
        )

    def _identity(self, label: float, key: int) -> int:
        if not (0 <= label < 2**24 and label == int(label)):  # float32 counts exactly up to 2^24
            raise DataError(
                f"{self.path} (key {key}): label {label} is not the number of an identity (0, 1, 2, ...); "
                "write the file again with whole labels."
            )
        return int(label)

    def _read_identities(self) -> np.ndarray:
        """Label of every image, without copying its payload: int64 (images,)."""
        identities = np.empty(len(self.keys), np.int64)  # (images,)
        for i, (key, offset) in enumerate(zip(self.keys.tolist(), self._offsets.tolist(), strict=True)):
            part, length = self._frame(offset, key)
            if part == _WHOLE and length >= _HEADER.size + 4:
                flag, label, _, _ = _HEADER.unpack_from(self._file, offset + _FRAME.size)
                if flag > 0:
                    (label,) = struct.unpack_from("<f", self._file, offset + _FRAME.size + _HEADER.size)
            else:
                label, _ = self._read(offset, key)
            identities[i] = self._identity(label, key)
        return identities


class RecordSource:
    """The images of a .rec file as a `FaceSource`, decoded when asked for: with every check the first time, and by the
    quicker decoder from then on, where both agreed.

    Stored labels may start anywhere and have gaps, unless a `property` file says how many there are: then they must lie
    below that number. Either way they are numbered anew from 0.

    Args:
        path: as `RecordFile`.

    Attributes:
        name: the path.
        identities: int32 (images,), the stored labels renumbered from 0 in ascending order.
        identity_names: the stored label of each identity, as text.

    Raises:
        DataError: as `RecordFile`; a `property` file that is malformed or disagrees with labels or the first images.
    """

    def __init__(self, path: Path | str):
        self._records = RecordFile(path)
        self.name = str(path)
        self._is_checked = np.zeros(len(self._records), bool)  # (images,)
        self._check_property(self._records.path.with_name("property"))
        labels, positions = np.unique(self._records.identities, return_inverse=True)
        self.identities = positions.astype(np.int32)  # (images,)
        self.identity_names = [str(label) for label in labels]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> np.ndarray:
        data = self.encoded(index)
        if self._is_checked[index]:
            return decode_stored(data)
        pixels, self._is_checked[index] = decode_checked(data, f"{self.name}, key {self.source_name(index)}")
        return pixels

    def encoded(self, index: int) -> bytes:
        """Image `index` as stored."""
        return self._records[index].payload

    def marks(self) -> np.ndarray:
        """See `faces.data.source.FaceSource`."""
        return np.fromiter(map(self._records.mark, range(len(self))), np.uint64, len(self))

    def source_name(self, index: int) -> str:
        """Key of image `index`."""
        return str(self._records.keys[index])

    def _check_property(self, path: Path) -> None:
        try:
            match = _PROPERTY.fullmatch(read_bytes(path, _LONGEST_PROPERTY))
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
        if match is None:
            raise DataError(f'{path}: "identities,height,width" expected, such as 5054,112,112; correct or remove it.')
        identities, height, width = (int(number) for number in match.groups())
        labels = self._records.identities
        if labels.max() >= identities:
            index = int(np.argmax(labels >= identities))
            raise DataError(
                f"{self.name}, key {self.source_name(index)}: label {labels[index]}, but {path} promises {identities} "
                f"identities, 0 to {identities - 1}, and the labels run from {labels.min()} to {labels.max()}; correct "
                "whichever is wrong."
            )
        for index in range(min(len(self), _IMAGES_MEASURED)):
            try:
                shape = self[index].shape
            except ImageError:
                continue  # a broken image is reported to whoever asks for it
            if shape[:2] != (height, width):
                raise DataError(
                    f"{self.name}, key {self.source_name(index)}: {shape[0]}x{shape[1]} pixels (height x width), but "
                    f"{path} promises {height}x{width}; correct whichever is wrong."
                )
