"""insightface's ONNX backbones under the names of arcface_torch (ArcFace, arXiv 1801.07698, Sec. 3.1).

The export to ONNX folds batch norms into the convolutions before them and calls what comes out by numbers. Where a
tensor belongs is told by the graph alone. An IResNet is stem, units of batch norm, convolution, PReLU and convolution,
and a head; a convolution that reads what a unit's batch norm reads is on the way round that unit, which begins a stage.
A MobileFaceNet has no batch norm before its head, only convolutions, with or without PReLU.

Not here: what is done with the names (`published.py`), and reading the file (`faces.weights`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from arcface_jax.models.published import TORCH_EPSILON, mbf_layers
from faces.received import Tensors
from faces.weights.graph import Node

CONV, NORM, PRELU, MATRIX = "Conv", "BatchNormalization", "PRelu", "Gemm"
_OPS = {CONV: CONV, NORM: NORM, PRELU: PRELU, MATRIX: MATRIX, "MatMul": MATRIX}
_COPIES = ("Identity", "Dropout", "Cast")
_ENDINGS: Sequence[str] = ("weight", "bias", "running_mean", "running_var")
_OF_PIXELS = ("Sub", "Mul", "Div")  # a graph that changes its pixels wants others than arcface_torch's

Parts = dict[str, np.ndarray]
"""A layer's tensors by arcface_torch's endings."""


class Layer(NamedTuple):
    """A node with parameters: what it computes, the value it reads, its tensors, and those of a convolution's own batch
    norm where that is not folded."""

    op: str
    reads: str
    parts: Parts
    norm: Mapping[str, np.ndarray] = {}


Named = Iterator[tuple[Layer, str, str]]
"""Layers with their own name and that of their batch norm."""


def named(nodes: Sequence[Node], tensors: Tensors) -> Parts | None:
    """The tensors of a graph by arcface_torch's names, or None where it is neither of the two networks.

    Args:
        nodes: each after those it takes its inputs from.
        tensors: of the file.
    """
    if any(node.op in _OF_PIXELS for node in nodes):
        return None
    layers = _layers(nodes, tensors)
    start_of_unit = {layer.reads for layer in layers if layer.op == NORM}
    way = [layer for layer in layers if layer.op != CONV or layer.reads not in start_of_unit]
    beside = {layer.reads: layer for layer in layers if layer.op == CONV and layer.reads in start_of_unit}
    ops = [layer.op for layer in way]
    if ops[-1:] == [MATRIX]:
        ops.append(NORM)  # folded as well, by newer exports
    units = (len(ops) - 5) // 4
    if ops == [CONV, PRELU, *[NORM, CONV, PRELU, CONV] * units, NORM, MATRIX, NORM] and units:
        found = list(_iresnet(way, beside, units))
    elif ops == [op for op, _, _ in _mbf()] and not beside:
        found = [(layer, name, norm) for layer, (_, name, norm) in zip(way, _mbf(), strict=False)]
    else:
        return None
    result: Parts = {}
    for layer, name, norm in found:
        result |= {f"{name}.{part}": tensor for part, tensor in layer.parts.items()}
        result |= {f"{norm}.{part}": tensor for part, tensor in layer.norm.items()}
    return result


def _iresnet(way: Sequence[Layer], beside: Mapping[str, Layer], units: int) -> Named:
    stage, unit, end = 0, 0, 2 + 4 * units
    yield from ((way[0], "conv1", "bn1"), (way[1], "prelu", ""))
    for at in range(2, end, 4):
        begins = beside.get(way[at].reads)
        stage, unit = (stage + 1, 0) if begins else (stage, unit + 1)
        place = f"layer{stage}.{unit}"
        names = (("bn1", ""), ("conv1", "bn2"), ("prelu", ""), ("conv2", "bn3"))
        for layer, (name, norm) in zip(way[at : at + 4], names, strict=True):
            yield layer, f"{place}.{name}", f"{place}.{norm}"
        if begins:
            yield begins, f"{place}.downsample.0", f"{place}.downsample.1"
    for layer, name in zip(way[end:], ("bn2", "fc", "features"), strict=False):
        yield layer, name, ""


def _mbf() -> Iterator[tuple[str, str, str]]:
    """Operation, name and name of the batch norm of a MobileFaceNet's layers."""
    for _, name, has_prelu in mbf_layers():
        yield CONV, f"{name}.layers.0", f"{name}.layers.1"
        if has_prelu:
            yield PRELU, f"{name}.layers.2", ""
    yield from ((MATRIX, "features.layers.2", ""), (NORM, "features.layers.3", ""))


def _layers(nodes: Sequence[Node], tensors: Tensors) -> list[Layer]:
    """The nodes with parameters, in their order; empty where one of them has none in the file."""
    copy_of: dict[str, str] = {}
    made_by: dict[str, int] = {}  # value -> place of the convolution that makes it
    layers: list[Layer] = []
    for node in nodes:
        inputs = [copy_of.get(name, name) for name in node.inputs]
        if node.op in _COPIES and inputs and node.outputs:
            copy_of[node.outputs[0]] = inputs[0]
        if node.op not in _OPS:
            continue
        if not all(name in tensors for name in inputs[1:] if name) or len(inputs) < 2:
            return []
        parts = _parts(node, [tensors[name] for name in inputs[1:] if name])
        if node.op == NORM and inputs[0] in made_by:
            place = made_by[inputs[0]]
            layers[place] = layers[place]._replace(norm=parts)
            continue
        if node.op == CONV:
            made_by[node.outputs[0]] = len(layers)
        layers.append(Layer(_OPS[node.op], inputs[0], parts))
    return layers


def _parts(node: Node, given: Sequence[np.ndarray]) -> Parts:
    parts: Parts = dict(zip(_ENDINGS, given, strict=False))
    if _OPS[node.op] == MATRIX and not node.attributes.get("transB"):
        parts["weight"] = parts["weight"].T
    if node.op == NORM and len(given) == 4:  # names go with the eps of arcface_torch
        epsilon = node.attributes.get("epsilon", TORCH_EPSILON)
        difference = np.float32(epsilon) - np.float32(TORCH_EPSILON) if isinstance(epsilon, float) else 0.0
        parts["running_var"] = parts["running_var"] + difference
    return parts
