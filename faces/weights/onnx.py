"""ONNX models (`.onnx`): the weights are the graph's initialisers.

Field numbers are those of onnx.proto: ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto.

Not here: values in files beside the model (`onnx_external.py`), sparse tensors, graphs inside attributes, functions.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from faces.unpickle.pickled_arrays import shown
from faces.weights.graph import Node, Value
from faces.weights.onnx_external import ExternalFiles
from faces.weights.protobuf import Span, Wire, signed
from faces.weights.weights_file import BFLOAT16, WeightsFile

_STRING = 8
_FLOAT, _INT = 1, 2  # of AttributeProto.AttributeType
_DTYPES = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "b1", 10: "<f2", 11: "<f8", 12: "<u4",
    13: "<u8", 16: BFLOAT16,
}  # by the numbers of TensorProto.DataType  # fmt: skip


def read(file: WeightsFile) -> dict[str, np.ndarray]:
    """The initialisers of a model, and the constants among its nodes, by name, except those of text.

    Raises:
        WeightsError: the file is cut, damaged or no model; as `ExternalFiles.tensor` for values in other files.
    """
    wire, external = Wire(file), ExternalFiles(file)
    tensors = {}
    for number, value in _graph(wire):
        if number == 5:
            name, array = _tensor(wire, value, external)
            if array is not None:
                tensors[file.new_name(name)] = array
        elif number == 1:
            node = _node(wire, value)
            if node.op == "Constant" and isinstance(array := node.attributes.get("value"), np.ndarray) and node.outputs:
                tensors[file.new_name(node.outputs[0])] = array
    return tensors


def read_onnx_graph(path: Path | str) -> tuple[Node, ...]:
    """The nodes of a model in the order of the file; tensors among their attributes come as arrays.

    Raises:
        WeightsError: the file is cut, damaged or no model.
    """
    wire = Wire(WeightsFile(path))
    return tuple(_node(wire, value) for number, value in _graph(wire) if number == 1)


def read_onnx_outputs(path: Path | str) -> tuple[str, ...]:
    """The values that a model gives, by name.

    Raises:
        WeightsError: as `read_onnx_graph`.
    """
    wire = Wire(WeightsFile(path))
    names = []
    for number, value in _graph(wire):
        if number == 12:
            names += [wire.text(part) for field, part in wire.fields(value) if field == 1 and isinstance(part, Span)]
    return tuple(names)


def read_onnx_locations(path: Path | str) -> tuple[Path, ...]:
    """The files beside a model that hold values of it; each once, in the model's order.

    Raises:
        WeightsError: as `read_onnx_graph`; a file is not in the model's folder.
    """
    wire = Wire(WeightsFile(path))
    external, found = ExternalFiles(wire.file), dict[Path, None]()
    for number, value in _graph(wire):
        if number == 5:
            for field, part in wire.fields(value):
                if field == 13 and isinstance(part, Span) and "location" in (entry := _entry(wire, part)):
                    found[external.path("a tensor", entry["location"])] = None
    return tuple(found)


def _graph(wire: Wire) -> Iterator[tuple[int, Span]]:
    for number, value in wire.fields(Span(0, len(wire.file.data))):
        if number == 7 and isinstance(value, Span):
            for inner, content in wire.fields(value):
                if isinstance(content, Span):
                    yield inner, content


def _node(wire: Wire, span: Span) -> Node:
    name = op = domain = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, Value] = {}
    for field in wire.fields(span):
        match field:
            case 1, Span() as value:
                inputs.append(wire.text(value))
            case 2, Span() as value:
                outputs.append(wire.text(value))
            case 3, Span() as value:
                name = wire.text(value)
            case 4, Span() as value:
                op = wire.text(value)
            case 7, Span() as value:
                domain = wire.text(value)
            case 5, Span() as value:
                key, attribute = _attribute(wire, value)
                if attribute is not None:
                    attributes[key] = attribute
    if domain not in ("", "ai.onnx"):  # somebody's own operation may share its name with one of ONNX
        op = wire.file.joined(f"{domain}.", op)
    return Node(name, op, tuple(inputs), tuple(outputs), attributes)


def _attribute(wire: Wire, span: Span) -> tuple[str, Value | None]:
    """Name and value; None for a graph and the like."""
    name = ""
    single: Value | None = None
    floats: list[float] = []
    wholes: list[int] = []
    texts: list[str] = []
    kind = 0
    for field in wire.fields(span):
        match field:
            case 20, int() as value:
                kind = value
            case 1, Span() as value:
                name = wire.text(value)
            case 2, Span() as value:
                single = wire.real(value)
            case 3, int() as value:
                single = signed(value)
            case 4, Span() as value:
                single = wire.text(value)
            case 5, Span() as value:
                single = _tensor(wire, value)[1]
            case 7, Span() as value:
                floats += wire.reals(value)
            case 8, value:
                wholes += wire.whole(value)
            case 9, Span() as value:
                texts.append(wire.text(value))
    if single is None and not (floats or wholes or texts):
        single = {_FLOAT: 0.0, _INT: 0}.get(kind)  # some writers leave a zero out
    return name, single if single is not None else tuple(floats) or tuple(wholes) or tuple(texts) or None


def _tensor(wire: Wire, span: Span, external: ExternalFiles | None = None) -> tuple[str, np.ndarray | None]:
    """Name and values; None where they are text. Those in another file are read with `external` alone."""
    name = ""
    dtype = 0
    shape: list[int] = []
    values: list[Span] = []
    wholes: list[int] = []
    entries: dict[str, str] = {}
    is_elsewhere = False
    for field in wire.fields(span):
        match field:
            case 1, value:
                shape += wire.whole(value)
            case 2, int() as value:
                dtype = value
            case ((4 | 9 | 10), Span() as value):  # floats, raw bytes, doubles
                values.append(value)
            case ((5 | 7 | 11), value):  # whole numbers, truth values, bits of 16-bit floats
                wholes += wire.whole(value)
            case 8, Span() as value:
                name = wire.text(value)
            case 13, Span() as value:
                entries |= _entry(wire, value)
            case 14, int() as value:
                is_elsewhere = value == 1
    if is_elsewhere and "location" not in entries:
        raise wire.file.error("its weights lie in another file, which it does not name; save the model in one file")
    if dtype == _STRING:
        return name, None
    if dtype not in _DTYPES:
        raise wire.file.error(f"{shown(name)} has ONNX's dtype {dtype}, which is not read; save it as numbers")
    if is_elsewhere or entries:
        if external is None:
            raise wire.file.error("a constant of its graph lies in another file; save the model in one file")
        return name, external.tensor(name, shape, _DTYPES[dtype], entries)
    return name, wire.tensor(name, shape, _DTYPES[dtype], values, wholes)


def _entry(wire: Wire, span: Span) -> dict[str, str]:
    key = content = ""
    for field in wire.fields(span):
        match field:
            case 1, Span() as value:
                key = wire.text(value)
            case 2, Span() as value:
                content = wire.text(value)
    return {key: content}
