"""ONNX's operations in the words of `walk.py`: those that face networks are made of, with every attribute looked at.

Not here: nodes that only copy or compute sizes (`onnx_steps.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from faces.weights.graph import Node
from faces.weights.walk import (
    ADD,
    AFFINE,
    BIAS,
    CONV,
    FACTORS,
    FLATTEN,
    INSTANCE,
    MATRIX,
    NORM,
    OFFSETS,
    POOL,
    PRELU,
    RELU,
    RESIZE,
    SIGMOID,
    TRANSPOSE,
)


class NotUnderstood(Exception):
    """Why a node is not understood."""


Meaning = tuple[str, Sequence[str], dict[str, Any]]
Given = Sequence[np.ndarray | None]

_KINDS = {"strides": tuple, "pads": tuple, "axes": tuple, "kernel_shape": tuple, "perm": tuple, "group": int,
          "epsilon": (int, float), "transB": int}  # fmt: skip
"""Of attributes that are computed with."""


def _only(node: Node, **neutral: Any) -> None:
    """Refuse attributes other than these, and values of these that would change something; ... takes any value of the
    attribute's kind."""
    for key, value in node.attributes.items():
        if key not in neutral:
            raise NotUnderstood(f"its {key} is not known here")
        if not isinstance(value, _KINDS.get(key, (int, float, str, tuple))):
            raise NotUnderstood(f"it has {key} of another kind than ONNX's")
        if neutral[key] is not ... and value != neutral[key]:
            raise NotUnderstood(f"it has {key} {value}")


def _conv(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    weight = given[1] if len(given) > 1 else None
    if weight is None or weight.ndim != 4 or weight.size == 0:
        raise NotUnderstood("it is not of two dimensions with a kernel of the file's")
    _only(node, strides=..., pads=..., group=..., kernel_shape=weight.shape[2:], dilations=(1, 1), auto_pad="NOTSET")
    strides: Any = node.attributes.get("strides", (1, 1))
    pads: Any = node.attributes.get("pads", (0, 0, 0, 0))
    if len(set(strides)) != 1 or len(set(pads)) != 1:
        raise NotUnderstood(f"it has strides {strides} and pads {pads}")
    rows, columns = weight.shape[2:]
    settings = {"stride": strides[0], "pad": pads[0], "group": node.attributes.get("group", 1)}
    settings |= {"features": len(weight), "window": rows if rows == columns else (rows, columns)}
    return CONV, inputs[1:], settings


def _norm(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node, epsilon=..., momentum=..., training_mode=0, spatial=1, is_test=1, consumed_inputs=...)
    if len(inputs) != 5:
        raise NotUnderstood("it has not four tensors")
    return NORM, inputs[1:], {"epsilon": node.attributes.get("epsilon", 1e-5)}


def _prelu(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node)
    slope = given[1] if len(given) > 1 else None
    if slope is None or slope.shape[-2:] != (1, 1) or slope.size != slope.shape[-3 if slope.ndim > 2 else 0]:
        raise NotUnderstood("its slopes are not one for each channel")
    return PRELU, inputs[1:], {}


def _instance(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node, epsilon=...)
    factors, offsets = given[1:] if len(given) == 3 else (None, None)
    if factors is None or offsets is None or not (factors == 1).all() or offsets.any():
        raise NotUnderstood("it has factors and sums of its own")
    return INSTANCE, (), {"channels": factors.size, "epsilon": node.attributes.get("epsilon", 1e-5)}


def _gemm(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node, alpha=1.0, beta=1.0, transA=0, transB=...)
    return MATRIX, inputs[1:], {"is_transposed": bool(node.attributes.get("transB", 0))}


def _matmul(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node)
    if given[0] is not None:
        raise NotUnderstood("its matrix is on the left")
    return MATRIX, inputs[1:], {"is_transposed": False}


def _arithmetic(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    """Sum of two values, or a value with one number, or with one for each channel."""
    _only(node, axis=..., broadcast=...)
    if len(given) != 2:
        raise NotUnderstood("it has not two values")
    if given[0] is None and given[1] is None:
        if node.op == "Add":
            return ADD, (), {}
        raise NotUnderstood("it joins two values otherwise than by their sum")
    array = next(part for part in given if part is not None)
    if node.op == "Add" and array.ndim == 1 and array.size > 1:
        return BIAS, [name for name, part in zip(inputs, given, strict=True) if part is not None], {}
    numbers = np.unique(array)
    number = float(numbers[0]) if numbers.size == 1 else np.nan
    is_first = given[0] is not None
    if node.op in ("Add", "Mul") and numbers.size > 1 and array.ndim > 2 and array.shape[-3:] == (array.size, 1, 1):
        tensor = inputs[0] if is_first else inputs[1]
        return FACTORS if node.op == "Mul" else OFFSETS, [tensor], {}
    if not np.isfinite(number) or (node.op == "Div" and (is_first or number == 0)) or (node.op == "Sub" and is_first):
        raise NotUnderstood("it is no number for all channels")
    factor = {"Mul": number, "Div": 1 / number if number else 0.0}.get(node.op, 1.0)
    mean = {"Sub": number, "Add": -number}.get(node.op, 0.0)
    if factor <= 0:
        raise NotUnderstood(f"it multiplies by {factor}")
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
        raise NotUnderstood("it leaves out other sides than rows and columns")
    return FLATTEN, (), {}


def _relu(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node)
    return RELU, (), {}


def _sigmoid(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node)
    return SIGMOID, (), {}


def _transpose(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    _only(node, perm=...)
    return TRANSPOSE, (), {"order": node.attributes.get("perm")}


def _pool(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    """Of windows that follow each other without gap; what no window of a map's own size touches is of no concern."""
    _only(
        node, kernel_shape=..., strides=..., pads=..., ceil_mode=..., count_include_pad=..., storage_order=0,
        dilations=(1, 1), auto_pad="NOTSET",
    )  # fmt: skip
    window: Any = node.attributes.get("kernel_shape")
    strides: Any = node.attributes.get("strides", (1, 1))
    if any(node.attributes.get("pads", ())):  # pyright: ignore[reportArgumentType]
        raise NotUnderstood("it has zeros around")
    if len(window or ()) != 2 or len({*window, *strides}) != 1:
        raise NotUnderstood(f"it has windows of {window} and strides of {strides}")
    return POOL, (), {"kind": "largest" if node.op == "MaxPool" else "mean", "window": window[0]}


_NEAREST = frozenset({
    ("asymmetric", "floor"), ("asymmetric", "round_prefer_floor"),
    *((mode, how) for mode in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
      for how in ("round_prefer_floor", "round_prefer_ceil")),
})  # fmt: skip
"""Where Resize takes its values from and how it rounds, of those that give each value twice where a map is doubled."""


def _resize(node: Node, inputs: Sequence[str], given: Given) -> Meaning:
    """Each value of a map several times, as often as scales or sizes say; sizes may be computed from other maps'."""
    _only(
        node, mode="nearest", coordinate_transformation_mode=..., nearest_mode=..., cubic_coeff_a=...,
        exclude_outside=..., extrapolation_value=..., antialias=0, keep_aspect_ratio_policy="stretch",
    )  # fmt: skip
    mode = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    how = node.attributes.get("nearest_mode", "round_prefer_floor")
    if (mode, how) not in _NEAREST:
        raise NotUnderstood(f"it takes its values {mode}, {how}")
    scales, sizes = (given[place] if len(given) > place and inputs[place] else None for place in (2, 3))
    by_scales = len(inputs) == 3
    return RESIZE, (), {
        "doubles": by_scales and scales is not None and scales.ravel().tolist() == [1, 1, 2, 2],
        "sizes": () if by_scales or sizes is None else tuple(sizes.ravel().tolist()),
    }  # fmt: skip


MEANINGS: dict[str, Callable[[Node, Sequence[str], Given], Meaning]] = {
    "Conv": _conv,
    "BatchNormalization": _norm,
    "InstanceNormalization": _instance,
    "PRelu": _prelu,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Reshape": _flatten,  # before a matrix, whose columns leave one way to read the map as rows, and the like
    "Relu": _relu,
    "Sigmoid": _sigmoid,
    "Transpose": _transpose,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "Resize": _resize,
}
