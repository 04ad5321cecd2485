"""Which records of an InsightFace file are images: its .idx file, and the records that hold numbers and no image.

The .idx file is text, a key and a byte offset a line. InsightFace adds a record under key 0 with two numbers, `(first
identity's key, one past the last)`: the images are keys 1 .. first - 1. What follows are records of identities with two
numbers each, `(key of the first image, one past the last)`, in the order of the images. A file without such records
(of im2rec) holds an image under every key.

The numbers are float32, which above 2^24 are not exact: which of the possible values is meant, the records decide.
Where the two say different things, even by one, the file is refused: it would lack an image, take an identity for one,
or have people begin too early.

Not here: records and their frames (`recordio.py`).
"""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from faces.errors import DataError
from faces.opening import read_bytes

STORED = np.float32
"""The type of the numbers; whole ones are exact up to EXACT."""
EXACT = 2**24
_LINE = re.compile(rb"\s*([0-9]{1,19})\s*\t\s*([0-9]{1,19})\s*")
_LONGEST_LINE = 64  # bytes of two numbers of 19 digits, and of the space that may stand around them


def read_index(path: Path, most: int) -> list[tuple[int, int]]:
    """(key, offset) of each line of an .idx file.

    Args:
        path: the file.
        most: records that the .rec file has room for; more lines are refused before they are read.

    Raises:
        DataError: no such file; a malformed line, by number; more lines than records.
    """
    try:
        text = read_bytes(path, _LONGEST_LINE * (most + 1))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a .rec file is read through the .idx file beside it: copy it too.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    index, seen = [], set()
    for number, line in enumerate(io.BytesIO(text), start=1):
        line = line.rstrip(b"\r\n")
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        key, offset = (int(match[1]), int(match[2])) if match else (2**63, 0)
        if not (key < 2**63 and offset < 2**63):
            raise DataError(f"{path}, line {number}: a key, a tab and a byte offset expected, found {line[:40]!r}.")
        if len(index) == most:
            raise DataError(
                f"{path}, line {number}: a record more, at byte {offset}, than the {most:,} that the .rec file has "
                "room for; the two files do not belong together or one was cut: copy both again."
            )
        if key in seen:
            raise DataError(f"{path}, line {number}: key {key} stands there a second time; keep one of the two lines.")
        seen.add(key)
        index.append((key, offset))
    if not index:
        raise DataError(f"{path}: no line in it; copy it again.")
    return index


def image_keys(path: Path, keys: Sequence[int], ranges: Mapping[int, tuple[float, ...]]) -> list[int]:
    """Keys of the records that hold an image: in their own order where key 0 says which they are, else as they come.

    Args:
        path: of the .rec file.
        keys: all, in the order of the .idx file.
        ranges: the numbers of each record that holds several and no image.

    Raises:
        DataError: these records and key 0 contradict each other; a key is missing.
    """
    identities = sorted(key for key in ranges if key != 0)
    if 0 not in ranges:
        if identities:
            raise DataError(
                f"{path}: key {identities[0]} holds two numbers and no image, as InsightFace's records of identities "
                "do, but the record under key 0, which says where they begin, is missing or another; copy .rec and "
                ".idx again."
            )
        return list(keys)
    stated = ranges[0][0]
    if not (1 < stated <= 2**31 and stated == int(stated)):
        raise DataError(f"{path} (key 0): the index record ends the images at key {stated}; copy the file again.")
    said = f"the record under key 0 says that the images are keys 1 to {int(stated) - 1}"
    images = np.setdiff1d(np.array(keys, np.int64), np.array(list(ranges), np.int64))  # (images,), sorted
    end = identities[0] if identities else int(images.max(initial=0)) + 1
    gaps = np.flatnonzero(images[images < end] != np.arange(1, (images < end).sum() + 1))
    missing = int(gaps[0]) + 1 if gaps.size else int((images < end).sum()) + 1
    if missing < end or (end < stated and end not in ranges):
        raise DataError(
            f"{path.with_suffix('.idx')}: key {missing} is missing, though {said}; copy the .idx file again."
        )
    wrong = "the two contradict each other, and which pictures were meant cannot be told: write the file again"
    if STORED(end) != STORED(stated):
        key, holds = (end, "no image") if end < stated else (int(stated), "an image")
        raise DataError(f"{path}: key {key} holds {holds}, but {said}; {wrong}.")
    if images.max(initial=0) >= end:
        raise DataError(f"{path}: key {images[-1]} holds an image, but {said}; {wrong}.")
    return images.tolist()


def check_people(path: Path, identities: np.ndarray, ranges: Mapping[int, tuple[float, ...]]) -> None:
    """Refuse a file whose records of identities do not say of the images what the images' own labels say.

    Args:
        path: of the .rec file.
        identities: label of the images of keys 1, 2, 3, ..., int64 (images,).
        ranges: as in `image_keys`.
    """
    records = sorted(key for key in ranges if key != 0)
    if not records:
        return
    if len(ranges[0]) > 1 and STORED(records[0] + len(records)) != STORED(ranges[0][1]):
        raise DataError(
            f"{path}: the record under key 0 says that identities are keys {records[0]} to {int(ranges[0][1]) - 1}, "
            f"{len(records):,} are there; copy .rec and .idx again."
        )
    if len(identities) >= EXACT:
        return
    spans = np.array([ranges[key][:2] for key in records], np.float64)  # (identities, 2)
    expected = np.append(1.0, spans[:-1, 1])  # (identities,): each begins where the last one ends
    wrong = np.flatnonzero((spans[:, 0] != expected) | (spans[:, 1] <= spans[:, 0]))
    if not wrong.size and spans[-1, 1] != len(identities) + 1:
        wrong = np.array([len(spans) - 1])
    if wrong.size:
        row = int(wrong[0])
        raise DataError(
            f"{path}: key {records[row]} says that a person's images are keys {spans[row, 0]:g} to "
            f"{spans[row, 1] - 1:g}, but they should follow those of the person before and end with the last image, "
            f"{len(identities)}; write the file again."
        )
    changes = np.flatnonzero(np.diff(identities)) + 2  # keys whose label is another than the one before
    amid = changes[~np.isin(changes, spans[:, 0].astype(np.int64))]
    if amid.size:
        row = int(np.searchsorted(spans[:, 0], amid[0], side="right")) - 1
        raise DataError(
            f"{path}: key {records[row]} says that keys {spans[row, 0]:g} to {spans[row, 1] - 1:g} are one person, but "
            f"the label of key {amid[0]} is another than that of key {amid[0] - 1}; write the file again."
        )
