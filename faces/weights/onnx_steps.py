"""An ONNX graph's nodes as the steps of `walk.py`, without those that only copy, compute sizes or change tensors.

Not here: reading the file (`onnx.py`), what each operation computes (`onnx_meanings.py`), and which network the steps
make up.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from faces.unpickle.pickled_arrays import shown
from faces.weights.graph import Node
from faces.weights.onnx_meanings import MEANINGS, NotUnderstood
from faces.weights.walk import ADD, AFFINE, BIAS, FLATTEN, RESIZE, UNKNOWN, Step

_OF_SIZES = frozenset({"Cast", "Concat", "Gather", "Identity", "Slice", "Squeeze", "Unsqueeze"})
"""What exporters put together a map's sizes with, which change no number of the map."""
_FLOATS = (1, 10, 11, 16)  # of TensorProto.DataType: float32, float16, float64, bfloat16


class _Sizes(NamedTuple):
    """What is known of computed sizes."""

    of: frozenset[str]  # the values whose sizes they are made of
    last: tuple[int, ...]  # those at the end that are numbers of the file


def steps_of_onnx(
    nodes: Sequence[Node], tensors: Mapping[str, np.ndarray]
) -> tuple[list[Step], dict[str, np.ndarray], dict[str, str]]:
    """The nodes of a graph as steps, and the tensors that they name.

    Args:
        nodes: each after those it takes its inputs from.
        tensors: the graph's initialisers and constants, by name.
    Returns:
        A step for each node that computes something of the image, its sizes aside; the tensors, with those that nodes
        make of other tensors alone (transposed, say); and of which value each other value is a copy.
    """
    constants = dict(tensors)
    copy_of: dict[str, str] = {}
    sizes: dict[str, _Sizes] = {}
    steps: list[Step] = []
    for number, node in enumerate(nodes):
        label = f"node '{shown(node.name or ''.join(node.outputs[:1]) or str(number))}' ({shown(node.op)})"
        inputs = [copy_of.get(name, name) for name in node.inputs]
        if not node.outputs:
            continue
        if all(name in constants for name in inputs if name) and (inputs or node.op == "Constant"):
            try:
                made = _constant(node, [constants[name] for name in inputs if name])
            except (TypeError, ValueError):  # attributes that make no sense
                made = None
            if made is not None:
                constants.setdefault(node.outputs[0], made)
                continue
        if node.op == "Shape" and inputs:
            sizes[node.outputs[0]] = _Sizes(frozenset(inputs[:1]), ())
            continue
        if node.op in _OF_SIZES and (made_of := _sizes(node, inputs, constants, sizes)):
            sizes[node.outputs[0]] = made_of
            continue
        try:
            if _is_copy(node, inputs, constants):
                copy_of[node.outputs[0]] = inputs[0]
                continue
            steps.append(_step(node, label, inputs, constants, sizes))
        except NotUnderstood as error:
            reads = tuple(name for name in inputs if name and name not in constants and name not in sizes)
            steps.append(Step(UNKNOWN, label, reads, node.outputs[0], why=str(error)))
    return steps, constants, copy_of


def _constant(node: Node, given: Sequence[np.ndarray]) -> np.ndarray | None:
    """What a node makes of tensors alone; None where that is not computed here."""
    match node.op, given:
        case "Constant", _:
            value = next((node.attributes[key] for key in ("value", "value_float", "value_int", "value_floats",
                                                           "value_ints") if key in node.attributes), None)  # fmt: skip
            return None if value is None or isinstance(value, str) else np.asarray(value)
        case "Identity" | "Dropout", [array, *_]:
            return array
        case "Transpose", [array]:
            order: Any = node.attributes.get("perm", tuple(reversed(range(array.ndim))))
            return array.transpose(order) if sorted(order) == list(range(array.ndim)) else None
        case "Unsqueeze", [array, *rest]:
            axes: Any = node.attributes.get("axes", rest[0].ravel().tolist() if rest else ())
            return np.expand_dims(array, tuple(axes)) if axes and len(axes) + array.ndim <= 8 else None
        case "Reshape", [array, shape] if shape.size <= 8:
            try:
                return array.reshape(shape.ravel().astype(int).tolist())
            except ValueError:
                return None
    return None


def _is_copy(node: Node, inputs: Sequence[str], constants: Mapping[str, np.ndarray]) -> bool:
    match node.op:
        case "Identity" if inputs:
            return True
        case "Dropout" if inputs:
            trains = len(inputs) > 2 and inputs[2] and not (inputs[2] in constants and not constants[inputs[2]].any())
            if trains or node.attributes.get("is_test", 1) == 0:
                raise NotUnderstood("it drops values")
            return True
        case "Cast" if inputs:
            if node.attributes.get("to") not in _FLOATS:
                raise NotUnderstood("it rounds values")
            return True
    return False


def _sizes(
    node: Node, inputs: Sequence[str], constants: Mapping[str, np.ndarray], sizes: Mapping[str, _Sizes]
) -> _Sizes | None:
    """What a node makes of sizes and tensors alone; None where it reads something else."""
    known = [sizes[name] for name in inputs if name in sizes]
    if not known or not all(name in constants or name in sizes for name in inputs if name):
        return None
    last: tuple[int, ...] = ()
    if node.op == "Concat" and inputs[-1] in constants:
        last = tuple(constants[inputs[-1]].ravel()[-4:].tolist())
    elif node.op in ("Cast", "Identity"):
        last = known[0].last
    return _Sizes(frozenset().union(*(one.of for one in known)), last)


def _step(
    node: Node,
    label: str,
    inputs: Sequence[str],
    constants: Mapping[str, np.ndarray],
    sizes: Mapping[str, _Sizes],
) -> Step:
    reads = tuple(name for name in inputs if name and name not in constants)
    given = [constants.get(name) for name in inputs]
    make = MEANINGS.get(node.op)
    if make is None:
        raise NotUnderstood("what it does is not known here")
    if any(output for output in node.outputs[1:]) and node.op != "BatchNormalization":
        raise NotUnderstood("it has several outputs")
    if not inputs:
        raise NotUnderstood("it reads nothing")
    op, names, settings = make(node, inputs, given)
    if op == RESIZE:
        of, last = sizes.get(inputs[-1], _Sizes(frozenset(), ()))
        settings |= {"shapes_of": of, "sizes": settings["sizes"] or last}
    if op in (FLATTEN, RESIZE):  # what follows the value are its sizes
        reads = reads[:1]
    is_first = op in (AFFINE, BIAS) or reads[:1] == tuple(inputs[:1])
    if op != ADD and op != FLATTEN and (len(reads) != 1 or not is_first):
        raise NotUnderstood("its weights are no tensors of the file")
    return Step(op, label, reads, node.outputs[0], tuple(names), settings)
