"""ONNX's operations as the steps of `walk.py`: those that face networks are made of, with every attribute looked at.

Not here: reading the file (`onnx.py`), and which network the steps make up.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from faces.unpickle.pickled_arrays import shown
from faces.weights.graph import Node
from faces.weights.walk import ADD, AFFINE, BIAS, CONV, FLATTEN, MATRIX, NORM, PRELU, UNKNOWN, Step

_FLOATS = (1, 10, 11, 16)  # of TensorProto.DataType: float32, float16, float64, bfloat16


class _NotUnderstood(Exception):
    """Why a node is not understood."""


def steps_of_onnx(
    nodes: Sequence[Node], tensors: Mapping[str, np.ndarray]
) -> tuple[list[Step], dict[str, np.ndarray], dict[str, str]]:
    """The nodes of a graph as steps, and the tensors that they name.

    Args:
        nodes: each after those it takes its inputs from.
        tensors: the graph's initialisers and constants, by name.
    Returns:
        A step for each node that computes something of the image; the tensors, with those that nodes make of other
        tensors alone (transposed, say); and of which value each other value is a copy.
    """
    constants = dict(tensors)
    copy_of: dict[str, str] = {}
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
        try:
            if _is_copy(node, inputs, constants):
                copy_of[node.outputs[0]] = inputs[0]
                continue
            steps.append(_step(node, label, inputs, constants))
        except _NotUnderstood as error:
            reads = tuple(name for name in inputs if name and name not in constants)
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
                raise _NotUnderstood("it drops values")
            return True
        case "Cast" if inputs:
            if node.attributes.get("to") not in _FLOATS:
                raise _NotUnderstood("it rounds values")
            return True
    return False


def _step(node: Node, label: str, inputs: Sequence[str], constants: Mapping[str, np.ndarray]) -> Step:
    reads = tuple(name for name in inputs if name and name not in constants)
    given = [constants.get(name) for name in inputs]
    make = _MEANINGS.get(node.op)
    if make is None:
        raise _NotUnderstood("what it does is not known here")
    if any(output for output in node.outputs[1:]) and node.op != "BatchNormalization":
        raise _NotUnderstood("it has several outputs")
    op, names, settings = make(node, inputs, given)
    is_first = op in (AFFINE, BIAS) or reads[:1] == tuple(inputs[:1])
    if op != ADD and op != FLATTEN and (len(reads) != 1 or not is_first):
        raise _NotUnderstood("its weights are no tensors of the file")
    return Step(op, label, reads[:1] if op == FLATTEN else reads, node.outputs[0], tuple(names), settings)


Meaning = tuple[str, Sequence[str], dict[str, Any]]
Given = Sequence[np.ndarray | None]

_KINDS = {"strides": tuple, "pads": tuple, "axes": tuple, "group": int, "epsilon": (int, float), "transB": int}
"""Of attributes that are computed with."""


def _only(node: Node, **neutral: Any) -> None:
    """Refuse attributes other than these, and values of these that would change something; ... takes any value of the
    attribute's kind."""
    for key, value in node.attributes.items():
        if key not in neutral:
            raise _NotUnderstood(f"its {key} is not known here")
        if not isinstance(value, _KINDS.get(key, (int, float, str, tuple))):
            raise _NotUnderstood(f"it has {key} of another kind than ONNX's")
        if neutral[key] is not ... and value != neutral[key]:
            raise _NotUnderstood(f"it has {key} {value}")


def _conv(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    weight = given[1] if len(given) > 1 else None
    if weight is None or weight.ndim != 4 or weight.size == 0:
        raise _NotUnderstood("it is not of two dimensions with a kernel of the file's")
    _only(node, strides=..., pads=..., group=..., kernel_shape=weight.shape[2:], dilations=(1, 1), auto_pad="NOTSET")
    strides: Any = node.attributes.get("strides", (1, 1))
    pads: Any = node.attributes.get("pads", (0, 0, 0, 0))
    if len(set(strides)) != 1 or len(set(pads)) != 1:
        raise _NotUnderstood(f"it has strides {strides} and pads {pads}")
    settings = {"stride": strides[0], "pad": pads[0], "group": node.attributes.get("group", 1)}
    return CONV, inputs[1:], settings


def _norm(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node, epsilon=..., momentum=..., training_mode=0, spatial=1, is_test=1, consumed_inputs=...)
    if len(inputs) != 5:
        raise _NotUnderstood("it has not four tensors")
    return NORM, inputs[1:], {"epsilon": node.attributes.get("epsilon", 1e-5)}


def _prelu(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node)
    slope = given[1] if len(given) > 1 else None
    if slope is None or slope.shape[-2:] != (1, 1) or slope.size != slope.shape[-3 if slope.ndim > 2 else 0]:
        raise _NotUnderstood("its slopes are not one for each channel")
    return PRELU, inputs[1:], {}


def _gemm(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node, alpha=1.0, beta=1.0, transA=0, transB=...)
    return MATRIX, inputs[1:], {"is_transposed": bool(node.attributes.get("transB", 0))}


def _matmul(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node)
    if given[0] is not None:
        raise _NotUnderstood("its matrix is on the left")
    return MATRIX, inputs[1:], {"is_transposed": False}


def _arithmetic(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    """Sum of two values, or a value with one number."""
    _only(node, axis=..., broadcast=...)
    if len(given) != 2:
        raise _NotUnderstood("it has not two values")
    if given[0] is None and given[1] is None:
        if node.op == "Add":
            return ADD, (), {}
        raise _NotUnderstood("it joins two values otherwise than by their sum")
    array = next(part for part in given if part is not None)
    if node.op == "Add" and array.ndim == 1 and array.size > 1:
        return BIAS, [name for name, part in zip(inputs, given, strict=True) if part is not None], {}
    numbers = np.unique(array)
    number = float(numbers[0]) if numbers.size == 1 else np.nan
    is_first = given[0] is not None
    if not np.isfinite(number) or (node.op == "Div" and (is_first or number == 0)) or (node.op == "Sub" and is_first):
        raise _NotUnderstood("it is no number for all channels")
    factor = {"Mul": number, "Div": 1 / number if number else 0.0}.get(node.op, 1.0)
    mean = {"Sub": number, "Add": -number}.get(node.op, 0.0)
    if factor <= 0:
        raise _NotUnderstood(f"it multiplies by {factor}")
    return AFFINE, (), {"mean": mean, "factor": factor}


def _flatten(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node, axis=1, allowzero=...)
    return FLATTEN, (), {}


def _squeeze(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    """Rows and columns of 1 left out: what is left of a map of one place is its channels in a row."""
    _only(node, axes=...)
    axes: Any = node.attributes.get("axes", () if len(given) < 2 or given[1] is None else given[1].ravel().tolist())
    are_whole = all(isinstance(axis, int) for axis in axes)
    if not are_whole or sorted(axis % 4 for axis in axes) != [2, 3] or given[0] is not None:
        raise _NotUnderstood("it leaves out other sides than rows and columns")
    return FLATTEN, (), {}


_MEANINGS: dict[str, Callable[[Node, Sequence[str], Given], Meaning]] = {
    "Conv": _conv,
    "BatchNormalization": _norm,
    "PRelu": _prelu,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Reshape": _flatten,  # before a matrix, whose columns leave one way to read the map as rows
}
