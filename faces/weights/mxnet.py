"""MXNet's files: `.params` (named arrays) and `-symbol.json` (the network).

A `.params` file is a list: magic 0x112, a reserved word, the number of arrays, the arrays, the number of names, the
names. Each array has a header of the version that wrote it: since 1.0 a magic word and the kind of storage (V2), the
same under NumPy's rules for shapes (V3), before that a magic word and 64-bit sides (V1), and in the first files the
number of sides and 32-bit sides alone. Then come a device, a number for the dtype, and the values.

Not here: what the operations compute.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from faces.unpickle.pickled_arrays import shown
from faces.weights.graph import Node
from faces.weights.weights_file import BFLOAT16, MAX_TENSORS, MAX_TEXT, WeightsFile

MAGIC = struct.pack("<Q", 0x112)

_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_DTYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "b1", "<i2", "<u2", "<u4", "<u8", BFLOAT16)
_MAX_DIMENSIONS = 32


def read(file: WeightsFile) -> dict[str, np.ndarray]:
    """The arrays of a `.params` file, without the "arg:" and "aux:" before their names in the network's files.

    Raises:
        WeightsError: the file is cut, damaged, or holds sparse arrays.
    """
    at = len(MAGIC) + 8
    count, at = _number(file, at, "<Q")
    if count > MAX_TENSORS:
        raise file.error(f"more than {MAX_TENSORS:,} arrays, the limit")
    arrays: list[np.ndarray] = []
    for number in range(count):
        array, at = _array(file, at, f"array {number}")
        arrays.append(array)
    named, at = _number(file, at, "<Q")
    if named != count:
        raise file.damaged(f"{count:,} arrays have {named:,} names")
    tensors = {}
    for array in arrays:
        size, at = _number(file, at, "<Q")
        if size > len(file.data) - at:
            raise file.error("the file was cut in its names: copy it again")
        name = file.text(file.data[at : at + size])
        at += size
        tensors[file.new_name(name.removeprefix("arg:").removeprefix("aux:"))] = array
    if at != len(file.data):
        raise file.damaged(f"{len(file.data) - at:,} bytes follow the last name")
    return tensors


def _array(file: WeightsFile, at: int, name: str) -> tuple[np.ndarray, int]:
    """An array, and the byte after it."""
    version, at = _number(file, at, "<I")
    if version in (_V2, _V3):
        storage, at = _number(file, at, "<i")
        if storage != _DENSE:
            raise file.error(f"{name} is sparse; save it as a dense array")
    if version in (_V1, _V2, _V3):
        sides, at = _number(file, at, "<i")
    else:
        sides = version
    if not (sides or version == _V3):
        raise file.error(f"{name} has no values")
    if not 0 <= sides <= _MAX_DIMENSIONS:
        raise file.damaged(f"{name} has an impossible number of sides")
    shape = []
    for _ in range(sides):
        side, at = _number(file, at, "<q" if version in (_V1, _V2, _V3) else "<I")
        shape.append(side)
    at += 8  # kind and number of the device
    dtype, at = _number(file, at, "<i")
    if not 0 <= dtype < len(_DTYPES):
        raise file.damaged(f"{name} has an unknown dtype")
    end = at + file.size_of(shape, _DTYPES[dtype], name)
    return file.array(shape, _DTYPES[dtype], name, at, end), end


def _number(file: WeightsFile, at: int, form: str) -> tuple[int, int]:
    """A number, and the byte after it."""
    end = at + struct.calcsize(form)
    if end > len(file.data):
        raise file.error("the file was cut: copy it again")
    return struct.unpack(form, file.data[at:end])[0], end


def read_symbol(path: Path | str) -> tuple[Node, ...]:
    """The network of a `-symbol.json` file: its nodes, each after those it takes its inputs from, its output the last.

    Raises:
        WeightsError: no JSON, no symbol, a node whose inputs do not precede it, or none or several that are its output.
    """
    file = WeightsFile(path)
    if file.data[: len(MAGIC)] == MAGIC:
        raise file.error("MXNet's weights and not its network; give the -symbol.json that belongs to them")
    if len(file.data) > MAX_TEXT:
        raise file.error(f"more than {MAX_TEXT:,} bytes, the limit of a symbol file")
    try:
        content = json.loads(file.data[:])
    except (ValueError, RecursionError):
        raise file.error("no JSON; a symbol file of MXNet is expected") from None
    nodes: list[Node] = []
    match content:
        case {"nodes": list() as entries}:
            for entry in entries:
                nodes.append(_node(file, entry, nodes))
            nodes = nodes[: _end(file, content.get("heads", [[len(nodes) - 1, 0]]), len(nodes))]
        case _:
            raise file.error("no list of nodes; a symbol file of MXNet is expected")
    return tuple(nodes)


def _end(file: WeightsFile, heads: Any, count: int) -> int:
    """How many nodes stand up to the one whose output the network gives; those behind it change nothing."""
    match heads:
        case [[int() as node, 0, *_]] if 0 <= node < count:
            return node + 1
        case [_, _, *_]:
            raise file.error(f"it gives {len(heads)} outputs; a network that gives the embedding alone is expected")
    raise file.error("it does not say which node gives its output; a symbol file of MXNet is expected")


def _node(file: WeightsFile, entry: Any, before: list[Node]) -> Node:
    match entry:
        case {"name": str() as name, "op": str() as op, "inputs": list() as inputs}:
            names = []
            for value in inputs:
                match value:
                    case [int() as node, int() as output, *_] if 0 <= node < len(before) and 0 <= output < 2**31:
                        source = before[node].name
                        names.append(file.joined(source, f":{output}") if output else source)
                    case _:
                        raise file.damaged(f"node {shown(name)} takes an input from no node before it")
        case _:
            raise file.damaged(f"node {len(before)} lacks its name, its operation or its inputs")
    attributes: dict[str, str] = {}
    for word in ("attr", "param", "attrs"):  # the last is today's; the oldest files have the first two
        part = entry.get(word, {})
        if not isinstance(part, dict) or not all(isinstance(value, str) for value in part.values()):
            raise file.damaged(f"node {shown(name)} has attributes that are no text")
        attributes.update(part)
    return Node(name, op, tuple(names), (name,), {**attributes})
