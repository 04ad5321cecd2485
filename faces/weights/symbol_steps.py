"""MXNet's operations as the steps of `walk.py`: those that face networks are made of, with every attribute looked at.

Not here: reading the file (`mxnet.py`), and which network the steps make up.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from faces.unpickle.pickled_arrays import shown
from faces.weights.graph import Node
from faces.weights.walk import ADD, AFFINE, CONV, FLATTEN, MATRIX, NORM, PRELU, UNKNOWN, Step

EPSILON = 1e-3
"""Of a batch norm that states none."""

_OF_TRAINING = {"lr_mult", "wd_mult", "workspace", "cudnn_tune", "cudnn_off", "momentum"}
"""Attributes that change nothing in an embedding; those of two underscores are for training as well."""


class _NotUnderstood(Exception):
    """Why a node is not understood."""


def steps_of_symbol(nodes: Sequence[Node]) -> list[Step]:
    """The nodes of a symbol as steps; a parameter is a node of its own there, "null", and no step."""
    tensors = {node.name for node in nodes if node.op == "null" and node.name != _image(nodes)}
    copy_of: dict[str, str] = {}
    steps = []
    for node in nodes:
        if node.op == "null":
            continue
        inputs = [copy_of.get(name, name) for name in node.inputs]
        label = f"node '{shown(node.name)}' ({shown(node.op)})"
        reads = tuple(name for name in inputs if name not in tensors)
        drops = node.op == "Dropout" and node.attributes.get("mode", "training") != "training"
        if node.op in ("Dropout", "identity", "_copy") and len(reads) == 1 and not drops:
            copy_of[node.name] = reads[0]
            continue
        make = _MEANINGS.get(node.op)
        try:
            if make is None:
                raise _NotUnderstood("what it does is not known here")
            op, settings = make(node)
            if len(reads) != (2 if op == ADD else 1):
                raise _NotUnderstood("its weights are no tensors of the file")
            named = tuple(name for name in inputs if name in tensors)
            steps.append(Step(op, label, reads, node.name, named, settings))
        except _NotUnderstood as error:
            steps.append(Step(UNKNOWN, label, reads, node.name, why=str(error)))
    return steps


def _image(nodes: Sequence[Node]) -> str:
    """The input of the graph: the first value that the first operation reads."""
    return next((node.inputs[0] for node in nodes if node.op != "null" and node.inputs), "data")


Meaning = tuple[str, dict[str, Any]]


def _only(node: Node, **neutral: str | None) -> None:
    """Refuse attributes other than these, and values of these that would change something; None takes any value."""
    for key, value in node.attributes.items():
        if key in _OF_TRAINING or key.startswith("__"):
            continue
        if key not in neutral:
            raise _NotUnderstood(f"its {shown(key)} is not known here")
        wanted = neutral[key]
        if wanted is not None and str(value) != wanted:
            raise _NotUnderstood(f"it has {key} {shown(str(value))}")


def number(node: Node, key: str, default: float | None = None) -> float:
    """A number among a node's attributes; nan where there is none."""
    try:
        return float(str(node.attributes[key])) if key in node.attributes or default is None else default
    except (KeyError, ValueError):
        return math.nan


def _truth(node: Node, key: str, default: bool) -> bool:
    """A truth value as MXNet's symbols spell it."""
    text = str(node.attributes.get(key, default))
    if text not in ("True", "true", "1", "False", "false", "0"):
        raise _NotUnderstood(f"its {key}, {shown(text)}, is neither true nor false")
    return text in ("True", "true", "1")


def _pair(node: Node, key: str, default: int) -> int:
    found = [int(digits) for digits in re.findall(r"\d+", str(node.attributes.get(key, (default, default))))]
    if len(set(found)) != 1:
        raise _NotUnderstood(f"it has {key} {shown(str(node.attributes.get(key)))}")
    return found[0]


def _convolution(node: Node) -> Meaning:
    _only(node, kernel=None, stride=None, pad=None, num_filter=None, num_group=None, no_bias="True",
          dilate="(1, 1)", layout="NCHW")  # fmt: skip
    group = number(node, "num_group", 1)
    settings = {"stride": _pair(node, "stride", 1), "pad": _pair(node, "pad", 0), "side": _pair(node, "kernel", 0)}
    return CONV, settings | {"group": group, "filters": number(node, "num_filter")}


def _batch_norm(node: Node) -> Meaning:
    _only(node, eps=None, fix_gamma=None, use_global_stats=None, axis="1", output_mean_var="False")
    fixed = _truth(node, "fix_gamma", True)  # MXNet's default
    epsilon = number(node, "eps", EPSILON)
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise _NotUnderstood(f"its eps, {shown(str(node.attributes.get('eps')))}, is no number")
    return NORM, {"epsilon": epsilon, "is_fixed": fixed}


def _prelu(node: Node) -> Meaning:
    _only(node, act_type="prelu", slope=None)
    if node.attributes.get("act_type") != "prelu":
        raise _NotUnderstood("its slope is no tensor")
    return PRELU, {}


def _fully_connected(node: Node) -> Meaning:
    _only(node, num_hidden=None, no_bias="False", flatten="True")
    return MATRIX, {}


def _scalar(node: Node) -> Meaning:
    _only(node, scalar=None)
    value = number(node, "scalar")
    if not math.isfinite(value):
        raise _NotUnderstood(f"it has the scalar {shown(str(node.attributes.get('scalar')))}")
    mean = {"_minus_scalar": value, "_plus_scalar": -value}.get(node.op, 0.0)
    factor = {"_mul_scalar": value, "_div_scalar": 1 / value if value else 0.0}.get(node.op, 1.0)
    if factor <= 0:
        raise _NotUnderstood(f"it multiplies pixels by {factor}")
    return AFFINE, {"mean": mean, "factor": factor}


def _sum(node: Node) -> Meaning:
    _only(node)
    return ADD, {}


def _flatten(node: Node) -> Meaning:
    _only(node)
    return FLATTEN, {}


_MEANINGS: dict[str, Callable[[Node], Meaning]] = {
    "Convolution": _convolution,
    "BatchNorm": _batch_norm,
    "LeakyReLU": _prelu,
    "FullyConnected": _fully_connected,
    "Flatten": _flatten,
    "elemwise_add": _sum,
    "_Plus": _sum,
    "_plus": _sum,
} | dict.fromkeys(("_minus_scalar", "_plus_scalar", "_mul_scalar", "_div_scalar"), _scalar)
