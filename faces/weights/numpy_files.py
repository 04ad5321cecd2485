"""NumPy's files: `.npy` (one array, or a pickled dict of arrays) and `.npz` (a zip file of `.npy`).

The header of a `.npy` is a Python dict in text. NumPy evaluates it as Python; here it must have the one form that
NumPy and its imitators write. MTCNN's `det1.npy` and its like hold one pickled dict, {layer: {name: array}}, in an
array of objects, and others {network: [array, ...]}; it goes through `faces.unpickle.restricted_pickle`.

Not here: arrays of records, text or complex numbers.
"""

import re
import struct
import zipfile
from typing import Any

import numpy as np

from faces.errors import WeightsError
from faces.unpickle.pickled_arrays import OBJECT_ARRAY_NAMES, PickledArray, shown
from faces.unpickle.restricted_pickle import Contents, load_next
from faces.weights.weights_file import Buffer, Order, WeightsFile
from faces.weights.zip_members import content

MAGIC = b"\x93NUMPY"

_HEADER_LIMIT = 10_000
_HEADER = re.compile(
    rb"""\{\s*'descr':\s*'([<>|=]?)([A-Za-z]\d{0,9})',\s*'fortran_order':\s*(True|False),\s*"""
    rb"""'shape':\s*\(((?:\d{1,18}L?(?:,\s*|(?=\))))*)\),?\s*\}\s*"""
)
_CODES = frozenset({"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"})
_PICKLE = Contents(
    names=OBJECT_ARRAY_NAMES,
    mappings=True,
    instructions=300_000,
    text=2**21,
    latin=True,
    read="numbers, text, lists, tuples, dicts and NumPy arrays",
    fewer="write the arrays to a .npz file",
    error=WeightsError,
)


def read_npy(file: WeightsFile) -> dict[str, np.ndarray]:
    """The arrays of a `.npy` file: {"": array}, or of a pickled dict by "name" or "layer/name".

    Raises:
        WeightsError: the file is cut, damaged, holds more than data, or holds anything else.
    """
    shape, dtype, order, at = _header(file, file.data, 0, len(file.data), "the array")
    if dtype != "O":
        return {"": file.array(shape, dtype, "the array", at, len(file.data), order=order)}
    match load_next(file.data, at, file.name, _PICKLE)[0]:
        case PickledArray(objects=((), [dict() as layers])):
            return _flat(file, layers)
        case _:
            raise file.error("an array of objects that is no dict of arrays; write the arrays to a .npz file")


def read_npz(file: WeightsFile, entries: dict[str, zipfile.ZipInfo]) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by the names they were saved under.

    Args:
        file: the file.
        entries: as `zip_members.members`.

    Raises:
        WeightsError: a member is no `.npy` file, holds objects, or is damaged; as `zip_members.content`.
    """
    tensors = {}
    for entry in entries.values():
        name = file.new_name(entry.filename.removesuffix(".npy"))
        found = content(file, entry)
        if found.data[found.at : found.at + len(MAGIC)] != MAGIC:
            raise file.error(
                f"a zip archive whose member {shown(entry.filename)} is no .npy file; unpack it and give the file "
                "in it that holds the weights"
            )
        shape, dtype, order, at = _header(file, found.data, found.at, found.end, name)
        if dtype == "O":
            raise file.error(f"its member {shown(entry.filename)} holds Python objects; save arrays of numbers")
        tensors[name] = file.array(shape, dtype, name, at, found.end, found.data, order)
    return tensors


def _header(file: WeightsFile, data: Buffer, at: int, end: int, name: str) -> tuple[tuple[int, ...], str, Order, int]:
    """Shape, dtype ("O" for objects), order, and the first byte of the values."""
    start = at + len(MAGIC) + 2
    form = "<H" if data[start - 2 : start - 1] == b"\x01" else "<I"
    length = start + struct.calcsize(form)
    if length > end:
        raise file.error(f"the header of {shown(name)} was cut: copy it again")
    values = length + struct.unpack(form, data[start:length])[0]
    if values > min(end, length + _HEADER_LIMIT):
        raise file.damaged(f"the header of {shown(name)} is cut or endless")
    match = _HEADER.fullmatch(data[length:values])
    if match is None:
        raise file.error(f"{shown(name)} is no plain array of numbers, or its header is damaged; save it again")
    code = match[2].decode()
    if code != "O" and code not in _CODES:
        raise file.error(f"{shown(name)} has the dtype {code}; save it as numbers of 1 to 8 bytes")
    shape = tuple(int(side) for side in re.findall(rb"\d+", match[4]))
    byte_order = ">" if match[1] == b">" else "<"
    return shape, code if code == "O" else byte_order + code, "F" if match[3] == b"True" else "C", values


def _flat(file: WeightsFile, layers: dict[Any, Any]) -> dict[str, np.ndarray]:
    """A dict of arrays, or of dicts or lists of arrays, in one."""
    tensors = {}
    for layer, value in layers.items():
        layer = _key(file, layer)
        if isinstance(value, list) and all(isinstance(array, PickledArray) for array in value):
            value = {str(number): array for number, array in enumerate(value)}
        inner = value if isinstance(value, dict) else {"": value}
        for key, array in inner.items():
            name = file.joined(layer, "/", _key(file, key)) if isinstance(value, dict) else layer
            if not isinstance(array, PickledArray) or array.array is None:
                raise file.error(f"its entry {shown(name)} is no array; write the arrays to a .npz file")
            found = array.array
            if not found.dtype.isnative:
                file.spend(found.nbytes)
                found = found.astype(found.dtype.newbyteorder("="))
            tensors[file.new_name(name)] = found
    return tensors


def _key(file: WeightsFile, key: Any) -> str:
    match key:
        case str():
            return key
        case bytes():  # Python 2's str
            return file.text(key)
        case _:
            raise file.error("a dict with a key that is no text; write the arrays to a .npz file")
