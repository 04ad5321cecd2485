"""InsightFace's .bin files of evaluation pairs (lfw, cfp_fp, cfp_ff, agedb_30, calfw, cplfw), read as data.

Such a file is a pickle of `(images, same)`: 2N encoded aligned faces, bytes or uint8 arrays, and N booleans. Pair i is
images 2i and 2i + 1, counted from 0. The folds are not in the file: InsightFace cuts the pairs into contiguous tenths,
which for the 6,000 pairs of `lfw.bin` are the folds of LFW's list.

Not here: the reading of the pickle (`faces.unpickle.restricted_pickle`), the rule of the folds
(`pair_files.ten_folds`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faces.data.file_kinds import HEAD, is_web_page
from faces.data.images import decode_image
from faces.data.pair_files import ten_folds
from faces.errors import DataError
from faces.opening import map_file
from faces.unpickle.restricted_pickle import PickledArray, load


@dataclass(frozen=True)
class PairBin:
    """The pairs of a .bin file. Equal bytes are one image: LFW's 12,000 are 7,701.

    Args:
        path: the file.
        encoded: the distinct images, in the order of their first use.
        numbers: number in the file of each, at its first use.
        first, second: positions in `encoded` of each pair's images, int32 (pairs,).
        same: whether a pair shows one person, bool (pairs,).
        fold: 0 to 9, int32 (pairs,).
        remark: what a reader of the number must know about the folds, or empty.
    """

    path: Path
    encoded: tuple[bytes, ...]
    numbers: tuple[int, ...]
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    remark: str

    def decoded(self, rows: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """The distinct images, or those at some `rows`, uint8 (height, width, 3), RGB, all of one size.

        Raises:
            ImageError: an image that does not decode, by number.
            DataError: an image of another size than the first.
        """
        size = ""
        for row in range(len(self.numbers)) if rows is None else rows:
            number, data = self.numbers[row], self.encoded[row]
            image = decode_image(data, f"{self.path}, image {number}")
            own_size = f"{image.shape[1]}x{image.shape[0]}"
            size = size or own_size
            if own_size != size:
                raise DataError(
                    f"{self.path}, image {number}: {own_size} pixels, but image {self.numbers[0]} has {size}; the "
                    "faces of a set are aligned to one size: align them again."
                )
            yield image


def read_pair_bin(path: Path | str) -> PairBin:
    """Read a .bin file without running any of it.

    Raises:
        DataError: no pickle, a pickle that asks for more than data, lists of other lengths or content; as `ten_folds`.
    """
    path = Path(path)
    try:
        data = map_file(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    if is_web_page(data[:HEAD]):
        raise DataError(f"{path}: is a web page, not a file of pairs; download the file itself.")
    match load(data, str(path)):
        case (images, labels):
            same = _labels(path, labels)
        case _:
            raise DataError(f"{path}: a list of images and a list of labels expected; it is no file of pairs.")
    if not isinstance(images, (list, tuple)):
        raise DataError(f"{path}: its first half is no list of images; it is no file of pairs.")
    if len(images) != 2 * len(same):
        raise DataError(
            f"{path}: {len(images):,} images for {len(same):,} pairs, two for each expected; write the file again."
        )
    encoded: dict[bytes, int] = {}  # position of each distinct image
    numbers = []
    position_of_object: dict[int, int] = {}  # many pairs may share one object, which is then looked at once
    positions = np.empty(len(images), np.int32)  # (images,)
    for number, image in enumerate(images):
        if id(image) not in position_of_object:
            content = _content(path, number, image)
            if content not in encoded:
                encoded[content] = len(encoded)
                numbers.append(number)
            position_of_object[id(image)] = encoded[content]
        positions[number] = position_of_object[id(image)]
    fold, remark = ten_folds(same, str(path))
    return PairBin(path, tuple(encoded), tuple(numbers), positions[::2], positions[1::2], same, fold, remark)


def _labels(path: Path, labels: Any) -> np.ndarray:
    """bool (pairs,) of a list of booleans or of 0 and 1, or of an array of one dimension."""
    if isinstance(labels, PickledArray) and labels.array is not None and labels.array.ndim == 1:
        labels = labels.array.tolist()
    if not isinstance(labels, (list, tuple)):
        raise DataError(f"{path}: its second half is no list of labels; it is no file of pairs.")
    for number, label in enumerate(labels):
        if type(label) not in (bool, int) or label not in (0, 1):
            raise DataError(f"{path}, pair {number}: its label is neither True nor False; write the file again.")
    return np.array(labels, bool)


def _content(path: Path, number: int, image: Any) -> bytes:
    if isinstance(image, PickledArray) and image.array is not None and image.array.dtype == np.uint8:
        return image.array.tobytes()
    if not isinstance(image, bytes):
        raise DataError(f"{path}, image {number}: not the bytes of an encoded image; write the file again.")
    return image
