"""MATLAB files of version 5, numbers, text and cells of these.

A file is a header of 128 bytes and a list of elements, each with a type and a length in bytes, one for a variable,
mostly compressed. A variable is again a list of elements: class, dimensions, name and content. What a file declares is
compared with the bytes that are there before anything of that size is made, which SciPy's reader does not do: a cell of
half a billion elements in a file of 250 bytes takes 4 GB there.

Not here: what the variables mean (`wider.py`).
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from faces.errors import DataError
from faces.opening import read_bytes

Value = np.ndarray | str | list["Value"]
"""Numbers in their dimensions, text, or the elements of a cell column by column."""

LARGEST_FILE = 64 << 20
LARGEST_CONTENT = 64 << 20  # bytes of all compressed variables, decompressed
_DEEPEST = 8
_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}
_CELL, _CHARACTERS, _NUMERIC = 1, 4, range(6, 16)
_COMPLEX = 0x800
_NOTHING = np.zeros((0, 0))


def read_mat(path: Path | str, names: Collection[str]) -> dict[str, Value]:
    """The variables of a file that have these names; others are not decoded.

    Raises:
        DataError: no such file; not MATLAB's version 5, little-endian; one that ends early, contradicts itself, is too
            large, or has complex numbers, structures or objects where a name was asked for.
    """
    path = Path(path)
    try:
        data = read_bytes(path, LARGEST_FILE)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(data) < 128 or data[124:128] != b"\x00\x01IM":
        raise DataError(f"{path}: no MATLAB file of version 5 (little-endian); save it with -v7 or older.")
    found: dict[str, Value] = {}
    budget = LARGEST_CONTENT
    try:
        for kind, content in _elements(memoryview(data)[128:]):
            if kind == _COMPRESSED:
                inflater = zlib.decompressobj()
                plain = inflater.decompress(content, budget)
                if not inflater.eof:
                    raise ValueError("a variable that ends early or is too large once decompressed")
                budget = max(1, budget - len(plain))  # 0 would mean no limit
                kind, content = next(_elements(memoryview(plain)))
            if kind == _MATRIX:
                name, value = _variable(content, names, 0)
                if name in names:
                    found[name] = value
    except (ValueError, StopIteration, struct.error, zlib.error) as error:
        raise DataError(f"{path}: damaged, or of a kind not read here ({error}); get the file again.") from None
    return found


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and content of each element."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind >> 16:  # up to 4 bytes lie in the place of the length
            kind, length, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            after = start + length + (0 if kind == _COMPRESSED else -length % 8)
        if (length > 4 and start == at + 4) or start + length > len(data):
            raise ValueError("an element that is longer than the file")
        yield kind, data[start : start + length]
        at = after


def _variable(data: memoryview, names: Collection[str], depth: int) -> tuple[str, Value]:
    """Name and value of a variable, or of an element of a cell (whose name is empty)."""
    if not len(data):  # how an empty element of a cell is written
        return "", _NOTHING
    elements = _elements(data)
    flags = struct.unpack("<II", next(elements)[1])[0]
    dimensions = _integers(next(elements)[1])
    name = bytes(next(elements)[1]).decode("latin-1")
    if depth > _DEEPEST:
        raise ValueError("cells within cells without end")
    if depth == 0 and name not in names:
        return name, _NOTHING
    count, kind = math.prod(dimensions), flags & 0xFF
    if kind == _CELL:
        inner: list[Value] = [_variable(content, names, depth + 1)[1] for _, content in elements]
        if len(inner) != count:
            raise ValueError(f"a cell of {count:,} with {len(inner):,} elements")
        return name, inner
    stored, content = next(elements)
    if kind == _CHARACTERS and stored in _TEXT:
        return name, bytes(content).decode(_TEXT[stored])
    if kind not in _NUMERIC or stored not in _NUMBERS or flags & _COMPLEX:
        raise ValueError(f"class {kind} where numbers, text or a cell is expected")
    numbers = np.frombuffer(content, "<" + _NUMBERS[stored])
    if numbers.size != count:
        raise ValueError(f"{numbers.size:,} numbers where {count:,} are declared")
    return name, numbers.reshape(dimensions, order="F").copy()


def _integers(content: memoryview) -> list[int]:
    dimensions = np.frombuffer(content, "<i4").tolist()
    if min(dimensions, default=-1) < 0 or len(dimensions) > 8:
        raise ValueError("dimensions that are none")
    return dimensions
