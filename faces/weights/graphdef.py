"""TensorFlow's frozen graphs (`.pb`): a GraphDef in which every variable has become a constant.

A graph is a row of nodes, a node a name, an operation, inputs, a device and a map of attributes; the weights are the
attribute "value" of the nodes whose operation is Const. Field numbers are those of TensorFlow's graph.proto,
node_def.proto, attr_value.proto, tensor.proto and tensor_shape.proto.

Not here: saved models, checkpoints with an index, functions inside a graph.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from faces.unpickle.pickled_arrays import shown
from faces.weights.graph import Node, Value
from faces.weights.protobuf import Span, Wire, signed
from faces.weights.weights_file import BFLOAT16, WeightsFile

_STRING = 7
_DTYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "b1", 14: BFLOAT16, 17: "<u2", 19: "<f2",
    22: "<u4", 23: "<u8",
}  # by the numbers of types.proto  # fmt: skip


def read(file: WeightsFile) -> dict[str, np.ndarray]:
    """The constants of a graph by the names of their nodes, except those of text.

    Raises:
        WeightsError: the file is cut, damaged or no graph.
    """
    wire = Wire(file)
    tensors = {}
    for node, value in _nodes(wire):
        if node.op == "Const" and value is not None:
            array = _tensor(wire, node.name, value)
            if array is not None:
                tensors[file.new_name(node.name)] = array
    return tensors


def read_graphdef(path: Path | str) -> tuple[Node, ...]:
    """The nodes of a graph in the order of the file, with their attributes but for tensors and functions.

    Raises:
        WeightsError: the file is cut, damaged or no graph.
    """
    return tuple(node for node, _ in _nodes(Wire(WeightsFile(path))))


def _nodes(wire: Wire) -> Iterator[tuple[Node, Span | None]]:
    """Each node, and its attribute "value" if that is a tensor."""
    for number, value in wire.fields(Span(0, len(wire.file.data))):
        if number == 1 and isinstance(value, Span):
            yield _node(wire, value)


def _node(wire: Wire, span: Span) -> tuple[Node, Span | None]:
    name = op = ""
    inputs: list[str] = []
    attributes: dict[str, Value] = {}
    tensor = None
    for field in wire.fields(span):
        match field:
            case 1, Span() as value:
                name = wire.text(value)
            case 2, Span() as value:
                op = wire.text(value)
            case 3, Span() as value:
                inputs.append(wire.text(value).removesuffix(":0"))  # the first output, also without the number
            case 5, Span() as entry:
                key, content = "", None
                for part in wire.fields(entry):
                    match part:
                        case 1, Span() as value:
                            key = wire.text(value)
                        case 2, Span() as value:
                            content = value
                attribute = _attribute(wire, content) if content is not None else None
                if not isinstance(attribute, Span):
                    if attribute is not None:
                        attributes[key] = attribute
                elif key == "value":
                    tensor = attribute
    return Node(name, op, tuple(inputs), (name,), attributes), tensor


def _attribute(wire: Wire, span: Span) -> Value | Span | None:
    """The value of an attribute; the span of a tensor; None for a function and the like."""
    for field in wire.fields(span):
        match field:
            case 1, Span() as value:
                return _row(wire, value)
            case 2, Span() as value:
                return wire.text(value)
            case 4, Span() as value:
                return wire.real(value)
            case 5, int() as value:
                return bool(value)
            case (3 | 6, int() as value):
                return signed(value)
            case 7, Span() as value:
                return _shape(wire, value)
            case 8, Span() as value:
                return value
    return None


def _row(wire: Wire, span: Span) -> Value:
    """A list of text, of floats, or of whole numbers; a list of anything else comes empty."""
    texts: list[str] = []
    floats: list[float] = []
    wholes: list[int] = []
    for field in wire.fields(span):
        match field:
            case 2, Span() as value:
                texts.append(wire.text(value))
            case 4, Span() as value:
                floats += wire.reals(value)
            case ((3 | 5 | 6), value):
                wholes += wire.whole(value)
    return tuple(texts) or tuple(floats) or tuple(wholes)


def _shape(wire: Wire, span: Span) -> tuple[int, ...]:
    """Sides of a shape; -1 where a graph leaves one open."""
    sides = []
    for field in wire.fields(span):
        match field:
            case 2, Span() as dimension:
                sizes = [value for number, value in wire.fields(dimension) if number == 1 and isinstance(value, int)]
                sides.append(signed(sizes[-1]) if sizes else 0)
    return tuple(sides)


def _tensor(wire: Wire, name: str, span: Span) -> np.ndarray | None:
    """A constant's values; None where they are text."""
    dtype, shape = 0, ()
    content: list[Span] = []
    values: list[Span] = []
    wholes: list[int] = []
    for field in wire.fields(span):
        match field:
            case 1, int() as value:
                dtype = value
            case 2, Span() as value:
                shape = _shape(wire, value)
            case 4, Span() as value if value.end > value.at:
                content = [value]
            case ((5 | 6), Span() as value):  # floats, doubles
                values.append(value)
            case ((7 | 10 | 11 | 13 | 16 | 17), value):  # whole numbers, truth values, bits of 16-bit floats
                wholes += wire.whole(value)
    if dtype == _STRING:
        return None
    if dtype not in _DTYPES:
        raise wire.file.error(f"{shown(name)} has TensorFlow's dtype {dtype}, which is not read; save it as numbers")
    if content:
        return wire.tensor(name, shape, _DTYPES[dtype], content)
    return wire.tensor(name, shape, _DTYPES[dtype], values, wholes, fill=True)
