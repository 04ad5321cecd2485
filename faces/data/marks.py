"""What tells one image of a set from another without decoding any: a number of 64 bits for each, its mark.

A mark is a hash of the image's name, its size in bytes and some of its bytes. Names and sizes are had for millions of
files in seconds, bytes are not: so of a large set the bytes of a part of the images only are read. Which those are does
not depend on the rest of the set, but for its size, so that the marks of some stay what they are when others come.

Not here: what a set's marks say together (`fingerprint.py`).
"""

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from faces.opening import open_regular

FILES = 10_000
"""So many files, or up to twice as many, are opened at most."""
ENDS = 32_768
"""Bytes of each end of a file that are read."""


def mark(*parts: bytes) -> int:
    """The mark of an image of these parts: name, size, bytes."""
    hashed = hashlib.blake2b(digest_size=8)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little") + part)
    return int.from_bytes(hashed.digest(), "little")


def every(images: int, wanted: int) -> int:
    """One of how many is looked at, so that of `images` no more than about `wanted` are: a power of two."""
    return 1 << max(0, (max(1, images) - 1) // wanted).bit_length()


def mark_files(root: str, names: Sequence[str]) -> np.ndarray:
    """The marks of files by their names below a folder, uint64 (names,).

    A file that cannot be read is marked as such, which whoever decodes it will say.
    """
    marks, step = np.empty(len(names), np.uint64), every(len(names), FILES)
    for row, name in enumerate(names):
        path, encoded = f"{root}/{name}", name.encode("utf-8", "surrogateescape")
        try:
            size = os.stat(path).st_size  # noqa: PTH116, a Path for each of millions of files is slow
            content = _ends(path, size) if mark(encoded) % step == 0 else b""
        except OSError:
            size, content = -1, b""
        marks[row] = mark(encoded, str(size).encode(), content)
    return marks


def _ends(path: str, size: int) -> bytes:
    with open_regular(path) as file:
        if size <= 2 * ENDS:
            return file.read()
        first = file.read(ENDS)
        file.seek(size - ENDS)
        return first + file.read(ENDS)
