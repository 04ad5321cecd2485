"""insightface's ONNX backbones under the names of arcface_torch (ArcFace, arXiv 1801.07698, Sec. 3.1).

The export to ONNX folds batch norms into the convolutions before them and calls what comes out by numbers. Where a
tensor belongs is told by the graph alone, which is followed from the image to the embedding as the network here
computes: every node that the embedding needs has its place, its strides and its zeros, or the file is refused by that
node's name. What a graph does to its pixels first, one number taken off and one multiplied, is what the network wants
of its images.

Not here: what is done with the names (`published.py`), reading the file and what its nodes mean (`faces.weights`).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from arcface_jax.models import mobilefacenet
from arcface_jax.models.mobilefacenet_names import FLAT, Layer, bottleneck_strides, mbf_layers
from arcface_jax.models.torch_names import TORCH_EPSILON
from faces.errors import WeightsError
from faces.weights import Node
from faces.weights.layouts import Tensors
from faces.weights.onnx_steps import steps_of_onnx
from faces.weights.walk import ADD, BIAS, CONV, FLATTEN, MATRIX, NORM, PRELU, Step, Walk

Parts = dict[str, np.ndarray]

_NORM = ("weight", "bias", "running_mean", "running_var")


class Named(NamedTuple):
    """A graph's tensors.

    Args:
        tensors: by arcface_torch's names.
        mean, factor: what the graph does to its pixels before the network, (x - mean) * factor; 0 and 1 for nothing.
    """

    tensors: Parts
    mean: float
    factor: float


def named(nodes: Sequence[Node], tensors: Tensors, outputs: Sequence[str] = ()) -> Named:
    """The tensors of a graph by arcface_torch's names.

    Args:
        nodes: each after those it takes its inputs from.
        tensors: of the file, by name.
        outputs: what the model gives; the first that is a network's embedding is taken. None: what the last node makes.
    Raises:
        WeightsError: it computes something else than the networks here; the first node that differs is named.
    """
    steps, constants, copy_of = steps_of_onnx(nodes, tensors)
    if not nodes:
        raise WeightsError("its graph is empty.")
    refusals: list[tuple[int, str]] = []
    networks = (("IResNet", _iresnet), ("MobileFaceNet", _mbf), ("MobileFaceNet", _mbf_large))
    for output, (network, follow) in itertools.product(outputs or nodes[-1].outputs[:1], networks):
        walk = Walk(steps, copy_of.get(output, output))
        found = _Found(walk, constants)
        try:
            value, mean, factor = walk.take_affine()
            walk.end(follow(found, value))
            return Named(found.parts, mean, factor)
        except WeightsError as error:
            refusals.append((walk.taken, f"its graph is no {network} that is known here: {error}"))
    raise WeightsError(max(refusals, key=lambda refusal: refusal[0])[1])


class _Found:
    """The tensors found so far on a walk, by arcface_torch's names."""

    def __init__(self, walk: Walk, constants: Mapping[str, np.ndarray]):
        self.walk, self.parts, self._constants, self.channels = walk, Parts(), constants, 3

    def conv(self, value: str, name: str, own_norm: str, stride: int, is_whole: bool = False) -> str:
        """A convolution with as many zeros as keep the map's size, or none over the whole map; and its batch norm."""
        step = self.walk.take(value, CONV, stride=stride)
        kernel = self._constants[step.tensors[0]]
        pad, group = 0 if is_whole else kernel.shape[2] // 2, self.channels // kernel.shape[1]
        for key, expected in (("pad", pad), ("group", group)):
            if step.settings[key] != expected:
                raise WeightsError(f"{step.label} has {key} {step.settings[key]} where {expected} is expected.")
        self.channels = kernel.shape[0]
        self._keep(name, step)
        if not self.walk.has(step.gives, NORM):
            return step.gives
        value = self.norm(step.gives, own_norm)
        self._without_bias(name, own_norm)
        return value

    def is_pointwise(self, value: str) -> bool:
        """Whether a convolution reads the value that mixes its channels and looks at one place alone."""
        step = next((step for step in self.walk.reading(value) if step.op == CONV), None)
        return step is not None and self._constants[step.tensors[0]].shape[1:] == (self.channels, 1, 1)

    def norm(self, value: str, name: str) -> str:
        """A batch norm; names go with the eps of arcface_torch, so the variance takes up another."""
        step = self.walk.take(value, NORM)
        self._keep(name, step, _NORM)
        difference = np.float32(step.settings["epsilon"]) - np.float32(TORCH_EPSILON)
        self.parts[f"{name}.running_var"] = self.parts[f"{name}.running_var"] + difference
        return step.gives

    def prelu(self, value: str, name: str) -> str:
        """A PReLU."""
        step = self.walk.take(value, PRELU)
        self._keep(name, step)
        return step.gives

    def head(self, value: str, matrix: str, last_norm: str) -> str:
        """The map in a row, the matrix that makes the embedding, and its batch norm where that is not folded."""
        step = self.walk.take(self.walk.along(value, FLATTEN), MATRIX)
        self._keep(matrix, step)
        if not step.settings["is_transposed"]:
            self.parts[f"{matrix}.weight"] = self.parts[f"{matrix}.weight"].T
        value = step.gives
        if self.walk.has(value, BIAS):
            added = self.walk.take(value, BIAS)
            self.parts[f"{matrix}.bias"] = self._constants[added.tensors[0]]
            value = added.gives
        if not self.walk.has(value, NORM):
            return value
        value = self.norm(value, last_norm)
        if matrix != "fc":  # which has a bias in arcface_torch as well
            self._without_bias(matrix, last_norm)
        return value

    def _without_bias(self, layer: str, norm: str) -> None:
        """A layer before a batch norm has no bias in arcface_torch: W x + b - mean = W x - (mean - b)."""
        bias, mean = self.parts.pop(f"{layer}.bias", None), f"{norm}.running_mean"
        if bias is not None:
            if bias.shape != self.parts[mean].shape:
                raise WeightsError(f"the bias of {layer} has the shape {bias.shape}.")
            self.parts[mean] = self.parts[mean] - bias

    def _keep(self, name: str, step: Step, endings: Sequence[str] = ("weight", "bias")) -> None:
        for ending, tensor in zip(endings, step.tensors, strict=False):
            if tensor:
                self.parts[f"{name}.{ending}"] = self._constants[tensor]


def _iresnet(found: _Found, value: str) -> str:
    """Stem, units of batch norm, convolution, PReLU and convolution, and a head; a convolution beside a unit, which
    begins a stage, halves the map as the second one of the unit does."""
    walk = found.walk
    value = found.prelu(found.conv(value, "conv1", "bn1", 1), "prelu")
    stage, unit = 0, 0
    while len(walk.reading(value)) > 1 or stage == 0:
        begins = walk.has(value, CONV)
        stage, unit = (stage + 1, 0) if begins else (stage, unit + 1)
        place, stride, channels = f"layer{stage}.{unit}", 2 if begins else 1, found.channels
        inner = found.norm(value, f"{place}.bn1")
        inner = found.prelu(found.conv(inner, f"{place}.conv1", f"{place}.bn2", 1), f"{place}.prelu")
        inner = found.conv(inner, f"{place}.conv2", f"{place}.bn3", stride)
        if begins:
            found.channels = channels
            value = found.conv(value, f"{place}.downsample.0", f"{place}.downsample.1", stride)
        value = _sum(walk, value, inner)
    return found.head(found.norm(value, "bn2"), "fc", "features")


def _mbf(found: _Found, value: str) -> str:
    """The MobileFaceNets whose bottlenecks stand as in Table 1, of whatever widths."""
    return _mobilefacenet(found, value, mobilefacenet.MBF_ROWS)


def _mbf_large(found: _Found, value: str) -> str:
    return _mobilefacenet(found, value, mobilefacenet.MBF_LARGE_ROWS)


def _mobilefacenet(found: _Found, value: str, rows: Sequence[mobilefacenet.Row]) -> str:
    """Convolutions, with or without PReLU; a bottleneck that does not halve the map has its input added."""
    strides, before = bottleneck_strides(rows), value
    for layer in mbf_layers(rows):
        place, _, part = layer.ours.partition("/")
        if layer.ours == "global":
            return _head(found, value, layer)
        stride = strides[int(place.removeprefix("bottleneck")) - 1] if part else 1
        before = value if part == "widen" else before
        halves = layer.ours == "conv1" or (part == "depthwise" and stride == 2)
        value = found.conv(value, layer.conv, layer.norm, 2 if halves else 1)
        value = found.prelu(value, layer.prelu) if layer.prelu else value
        value = _sum(found.walk, before, value) if part == "narrow" and stride == 1 else value
    raise AssertionError("its last convolution is the one over the whole map")


def _head(found: _Found, value: str, last: Layer) -> str:
    """The last map as an embedding: a depthwise kernel of its size and a matrix, which may be a 1x1 convolution; or a
    1x1 convolution to fewer channels, with or without PReLU, and a matrix over all places."""
    if found.is_pointwise(value):
        value = found.conv(value, f"{FLAT}.0", f"{FLAT}.1", 1)
        channels = np.ones((found.channels, 1, 1), np.float32)
        if found.walk.has(value, PRELU):
            value = found.prelu(value, f"{FLAT}.2")
        else:  # a slope of 1 changes nothing
            found.parts[f"{FLAT}.2.weight"] = channels
        return found.head(value, "features.layers.2", "features.layers.3")
    value = found.conv(value, last.conv, last.norm, 1, is_whole=True)
    if found.walk.has(value, CONV):
        value = found.conv(value, "features.layers.2", "features.layers.3", 1)
        return found.walk.along(value, FLATTEN) if found.walk.has(value, FLATTEN) else value
    return found.head(value, "features.layers.2", "features.layers.3")


def _sum(walk: Walk, one: str, other: str) -> str:
    step = walk.take(other, ADD)
    if sorted(step.reads) != sorted((one, other)):
        raise WeightsError(f"{step.label} adds other values than a unit's input and output.")
    return step.gives
