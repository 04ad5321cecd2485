"""Features of MegaFace and FaceScrub in files, one an image, and the lists that name them.

A feature file is four int32, the dimension, 1, 4 and 5 (rows, columns, bytes a number, OpenCV's code of float32), and
so many float32. The lists `facescrub_lst` and `megaface_lst` have an image a line, whose last parts name it: folder
and file in FaceScrub, two folders and file in MegaFace; its feature is `facescrub/FOLDER/FILE_ALGORITHM.bin` or
`megaface/FOLDER/FOLDER/FILE_ALGORITHM.bin`. Lists of images with the wrong person have an image a line, after a tab
where there is one; lines that start with # are remarks.

Not here: what becomes of wrong images, and the protocol (`faces.evaluate.megaface`).
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np

from faces.data.lists import read_lines
from faces.errors import DataError
from faces.opening import MIB, read_bytes
from faces.outputs import write_bytes

Part = Literal["facescrub", "megaface"]
_PARTS_OF_NAME: dict[Part, int] = {"facescrub": 2, "megaface": 3}
LARGEST_FEATURE = 4 * MIB
"""Bytes of a feature's file: a million numbers."""
_HEADER = struct.Struct("<4i")
_AFTER_DIMENSION = (1, 4, 5)


def read_feature(path: Path | str) -> np.ndarray:
    """One feature, float32 (d,).

    Raises:
        DataError: no such file, another header, or a file of another length than its header says.
    """
    try:
        data = read_bytes(path, LARGEST_FEATURE)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(data) < _HEADER.size:
        raise DataError(f"{path}: {len(data)} bytes; a feature file starts with four numbers of 4 bytes.")
    dimension, *rest = _HEADER.unpack_from(data)
    if dimension < 1 or tuple(rest) != _AFTER_DIMENSION:
        raise DataError(f"{path}: starts with {dimension}, {str(rest)[1:-1]}; the dimension, 1, 4, 5 expected.")
    if len(data) != _HEADER.size + 4 * dimension:
        raise DataError(
            f"{path}: {len(data):,} bytes, but a feature of {dimension:,} numbers has "
            f"{_HEADER.size + 4 * dimension:,}; write it again."
        )
    return np.frombuffer(data, "<f4", offset=_HEADER.size).astype(np.float32)


def write_feature(path: Path | str, feature: np.ndarray) -> None:
    """Write one feature, (d,), as the tools of MegaFace read it."""
    write_bytes(Path(path), _HEADER.pack(feature.size, *_AFTER_DIMENSION) + feature.astype("<f4").tobytes())


def feature_path(root: Path | str, part: Part, name: str, algorithm: str) -> Path:
    """Where an image's feature lies; see `feature_blocks`."""
    return Path(root) / part / f"{name}_{algorithm}.bin"


def read_list(path: Path | str, part: Part) -> list[str]:
    """Names of a list's images: "FOLDER/FILE" of FaceScrub, "FOLDER/FOLDER/FILE" of MegaFace.

    Raises:
        DataError: a line with too few parts, or with one that would leave the folder, by its number; an empty list.
    """
    count = _PARTS_OF_NAME[part]
    names = []
    for line, text in read_lines(Path(path)):
        parts = text.split("/")[-count:]
        if len(parts) != count or any(one in ("", ".", "..") or set(one) & set("\\\0") for one in parts):
            raise DataError(f'{path}, line {line}: a path that ends in {count} names expected, found "{text[:80]}".')
        names.append("/".join(parts))
    if not names:
        raise DataError(f"{path}: no picture in it; a list of pictures is expected.")
    return names


def read_noises(path: Path | str) -> frozenset[str]:
    """Images of the wrong person or of nobody: file names of FaceScrub, "FOLDER/FOLDER/FILE" of MegaFace."""
    named = (text.split("\t")[-1] for _, text in read_lines(Path(path)) if not text.startswith("#"))
    return frozenset(normalize("NFC", name) for name in named)


def is_noise(names: Sequence[str], part: Part, noises: frozenset[str]) -> np.ndarray:
    """Which of a list's images are named as wrong, bool (images,)."""
    keys = (name.split("/")[-1] if part == "facescrub" else name for name in names)
    return np.array([normalize("NFC", key) in noises for key in keys], bool)


def people_of(names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Person of each of FaceScrub's images, int32 (images,), numbered in the order of their names; the names."""
    people, number = np.unique([name.split("/")[0] for name in names], return_inverse=True)
    return number.astype(np.int32), people.tolist()


def feature_blocks(
    root: Path | str, part: Part, names: Sequence[str], algorithm: str, block: int = 4096
) -> Iterator[np.ndarray]:
    """Features of a list's images in its order, float32 (at most `block`, d) at a time.

    Args:
        root: the folder with `facescrub` and `megaface` in it.
        part: which of the two.
        names: of `read_list`.
        algorithm: what follows the image's name in the files' names, such as "insightface".
        block: images at a time.
    Raises:
        DataError: as `read_feature`; a feature of another dimension than the first.
    """
    dimension = 0
    for start in range(0, len(names), block):
        rows = []
        for name in names[start : start + block]:
            path = feature_path(root, part, name, algorithm)
            rows.append(read_feature(path))
            dimension = dimension or rows[0].size
            if rows[-1].size != dimension:
                raise DataError(
                    f"{path}: {rows[-1].size:,} numbers, but the first feature has {dimension:,}; one network's "
                    "features are expected."
                )
        yield np.stack(rows)
