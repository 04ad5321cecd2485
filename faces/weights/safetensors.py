"""safetensors files: the length of a header, the header in JSON, and the values of all tensors one after the other.

The format was made to be read without trust, and reading it takes no more than what follows; its own package has no
NumPy array for bfloat16 and parses headers of up to 100 MB.

Not here: a model cut into several files and their index.
"""

import json
import struct
from typing import Any

import numpy as np

from faces.unpickle.pickled_arrays import shown
from faces.weights.weights_file import BFLOAT16, MAX_TEXT, WeightsFile

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": BFLOAT16, "BOOL": "b1", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
_LENGTH = 8  # bytes of the header's length


def is_one(file: WeightsFile) -> bool:
    """Whether the content begins as a safetensors file does."""
    return file.data[_LENGTH : _LENGTH + 1] == b"{" and _header_size(file) <= len(file.data)


def _header_size(file: WeightsFile) -> int:
    return struct.unpack("<Q", file.data[:_LENGTH])[0]


def read(file: WeightsFile) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file; its metadata are not read.

    Raises:
        WeightsError: a header that is no JSON or too long, values that overlap, leave a gap or are cut.
    """
    size = _header_size(file)
    if size > MAX_TEXT:
        raise file.error(f"a header of more than {MAX_TEXT:,} bytes, the limit")
    start = _LENGTH + size
    try:
        header = json.loads(file.data[_LENGTH:start])
    except (ValueError, RecursionError):
        raise file.damaged("its header is no JSON") from None
    header.pop("__metadata__", None)
    entries = sorted((_entry(file, name, entry), name) for name, entry in header.items())
    tensors = {}
    end = 0
    for ((first, last), dtype, shape), name in entries:
        if first != end:
            raise file.damaged(f"the values of {shown(name)} do not follow those of the tensor before it")
        end = last
        tensors[file.new_name(name)] = file.array(shape, _DTYPES[dtype], name, start + first, start + last)
    if start + end != len(file.data):
        raise file.damaged(f"{len(file.data) - start - end:,} bytes follow the last tensor")
    return tensors


def _entry(file: WeightsFile, name: str, entry: Any) -> tuple[tuple[int, int], str, tuple[int, ...]]:
    """Offsets, dtype and shape of a tensor."""
    match entry:
        case {"dtype": str() as dtype, "shape": list() as shape, "data_offsets": [int() as first, int() as last]} if (
            all(type(side) is int for side in shape) and 0 <= first <= last
        ):
            pass
        case _:
            raise file.damaged(f"the header's entry of {shown(name)} is malformed")
    if dtype not in _DTYPES:
        raise file.error(f"{shown(name)} has the dtype {shown(dtype)}; one of {', '.join(_DTYPES)} is read")
    return (first, last), dtype, tuple(shape)
