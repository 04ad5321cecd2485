"""SCRFD's ONNX files (arXiv 2105.04714, Sec. 5) under the names of its state dicts.

The export folds batch norms into the convolutions before them and calls what comes out by numbers. Where a tensor
belongs is told by the graph alone, which is followed from the image to the nine outputs as the network here computes:
every node that they need has its place, its strides and its zeros, or the file is refused by that node's name.

Not here: what is done with the names (`weights.py`), reading the file and what its nodes mean (`faces.weights`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from faces.errors import WeightsError
from faces.weights import Node
from faces.weights.onnx_steps import steps_of_onnx
from faces.weights.walk import (
    ADD,
    AFFINE,
    CONV,
    FACTORS,
    FLATTEN,
    INSTANCE,
    NORM,
    OFFSETS,
    POOL,
    RELU,
    RESIZE,
    SIGMOID,
    TRANSPOSE,
    Step,
    Walk,
)
from scrfd_jax.architectures import ARCHITECTURES, PLACES_ANCHORS, STRIDES, Architecture
from scrfd_jax.network import OUTPUTS
from scrfd_jax.weights import EPSILON, NO_POINTS, Weights, from_pytorch, layer_of

Parts = dict[str, np.ndarray]
Place = list[str]
CHANNELS_LAST = (0, 2, 3, 1)
_NORM = ("weight", "bias", "running_mean", "running_var")


def from_onnx(nodes: Sequence[Node], tensors: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Weights:
    """Weights from a published graph.

    Args:
        nodes: as `faces.weights.read_onnx_graph` gives them, each after those it takes its inputs from.
        tensors: of the file, by name.
        outputs: what the model gives, in any order.

    Raises:
        WeightsError: it computes something else than the networks here; the first node that differs is named. Or as
            `from_pytorch`.
    """
    return from_pytorch(named(nodes, tensors, outputs))


def named(nodes: Sequence[Node], tensors: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Parts:
    """The tensors of a graph by the names of the authors' state dicts; as `from_onnx`."""
    expected = len(STRIDES) * len(OUTPUTS)
    if len(outputs) == expected - len(STRIDES):
        raise WeightsError(f"its graph gives {len(outputs)} outputs, as {NO_POINTS}.")
    if len(outputs) != expected:
        raise WeightsError(f"its graph gives {len(outputs)} outputs, and SCRFD's gives {expected}.")
    steps, constants, copy_of = steps_of_onnx(nodes, tensors)
    refusals: list[tuple[int, bool, str]] = []
    for name in ARCHITECTURES:
        walk = Walk(steps, *(copy_of.get(output, output) for output in outputs))
        found = _Found(walk, constants, name)
        try:
            walk.end(*_follow(found))
            return found.parts
        except WeightsError as error:
            refusals.append((walk.taken, found.begins(), f"its graph is no SCRFD that is known here: {error}"))
    raise WeightsError(max(refusals)[2])


class _Found:
    """The tensors found so far on a walk, by the names of the authors' state dicts."""

    def __init__(self, walk: Walk, constants: Mapping[str, np.ndarray], network: str):
        self.walk, self.network, self.architecture = walk, network, ARCHITECTURES[network]
        self.parts, self._constants = Parts(), constants
        self._channels = {walk.input: 3}  # of each value that has been reached

    def begins(self) -> bool:
        """Whether a convolution that reads the image, and is not taken yet, has the network's width."""
        width = self.architecture.stem[0]
        return any(step.settings.get("features") == width for step in self.walk.reading(self.walk.input))

    def conv(
        self, value: str, place: Place, features: int, window: int, stride: int = 1, is_depthwise: bool = False
    ) -> str:
        """A convolution with as many zeros as keep a map of stride 1 its size; and its norm."""
        inputs = self._channels[value]
        group = inputs if is_depthwise else 1
        step = self.walk.take(
            value, CONV, features=features, window=window, stride=stride, pad=window // 2, group=group
        )  # fmt: skip
        kernel = self._constants[step.tensors[0]]
        if kernel.shape[1] != inputs // group:
            raise WeightsError(f"{step.label} has a kernel of {kernel.shape} where {inputs} channels are read.")
        layer = layer_of(place, False, self.network)
        self._keep(layer.conv, step)
        value = step.gives
        if layer.norm and self.walk.has(value, NORM):
            step = self.walk.take(value, NORM)
            self._keep(layer.norm, step, _NORM)
            # Names go with the authors' eps, so the variance takes up another.
            difference = np.float32(step.settings["epsilon"]) - np.float32(EPSILON)
            self.parts[f"{layer.norm}.running_var"] = self.parts[f"{layer.norm}.running_var"] + difference
            value = step.gives
        else:
            self.parts.setdefault(f"{layer.conv}.bias", np.zeros(features, np.float32))
        if layer.group_norm and self.walk.has(value, FLATTEN):
            value = self._group_norm(value, layer.group_norm)
        self._channels[value] = features
        return value

    def _group_norm(self, value: str, name: str) -> str:
        """Each group's values in a row, their norm, the map again, and a factor and a sum for each channel."""
        step = self.walk.take(self.walk.along(value, FLATTEN), INSTANCE, channels=self.architecture.groups)
        if not np.isclose(step.settings["epsilon"], EPSILON, rtol=1e-3, atol=0.0):
            raise WeightsError(f"{step.label} has epsilon {step.settings['epsilon']:g} where {EPSILON:g} is expected.")
        value = self.walk.along(step.gives, FLATTEN)
        for op, part in ((FACTORS, "weight"), (OFFSETS, "bias")):
            step = self.walk.take(value, op)
            self.parts[f"{name}.{part}"] = self._constants[step.tensors[0]].ravel()
            value = step.gives
        return value

    def bent(
        self, value: str, place: Place, features: int, window: int, stride: int = 1, is_depthwise: bool = False
    ) -> str:
        """As `conv`, and the ReLU after it."""
        return self.along(self.conv(value, place, features, window, stride, is_depthwise), RELU)

    def separable(self, value: str, place: Place, features: int, stride: int = 1) -> str:
        """A convolution of each channel by itself, and one of all channels at each place, with a ReLU after each."""
        value = self.bent(value, [*place, "depthwise"], self._channels[value], 3, stride, is_depthwise=True)
        return self.bent(value, [*place, "pointwise"], features, 1)

    def along(self, value: str, op: str, **settings: object) -> str:
        """The value after a node that keeps the number of channels."""
        after = self.walk.along(value, op, **settings)
        self._channels[after] = self._channels[value]
        return after

    def sum(self, one: str, other: str) -> str:
        """The sum of two values."""
        step = self.walk.take(other, ADD)
        if sorted(step.reads) != sorted((one, other)):
            raise WeightsError(f"{step.label} adds other values than a network of SCRFD adds.")
        self._channels[step.gives] = self._channels[one]
        return step.gives

    def keep_scale(self, stride: int, scale: float) -> None:
        """What the distances of a stride are multiplied by."""
        self.parts[layer_of([f"head_{stride}", "reg"], False, self.network).scale] = np.array(scale, np.float32)

    def _keep(self, name: str, step: Step, endings: Sequence[str] = ("weight", "bias")) -> None:
        for ending, tensor in zip(endings, step.tensors, strict=False):
            if tensor:
                if tensor not in self._constants:
                    raise WeightsError(f"{step.label} takes its {ending} from no tensor of the file.")
                self.parts[f"{name}.{ending}"] = self._constants[tensor]


def _follow(found: _Found) -> list[str]:
    """From the image to the values of all outputs."""
    maps = _mobilenet(found) if found.architecture.is_separable else _resnet(found)
    ends = []
    for stride, value in zip(STRIDES, _pyramid(found, maps), strict=True):
        ends += _head(found, value, stride)
    return ends


def _mobilenet(found: _Found) -> list[str]:
    first, second = found.architecture.stem
    value = found.bent(found.walk.input, ["backbone", "stem_0"], first, 3, 2)
    value = found.separable(value, ["backbone", "stem_1"], second)
    maps = []
    for stage, block, width in _blocks(found.architecture):
        value = found.separable(value, ["backbone", f"layer{stage}_{block}"], width, 2 if block == 0 else 1)
        maps[stage - 1 :] = [value]
    return maps[1:]


def _resnet(found: _Found) -> list[str]:
    value = found.walk.input
    for place, width in enumerate(found.architecture.stem):
        value = found.bent(value, ["backbone", f"stem_{place}"], width, 3, 2 if place == 0 else 1)
    value = found.along(value, POOL, kind="largest", window=2)
    maps, inputs = [], found.architecture.stem[-1]
    for stage, block, width in _blocks(found.architecture):
        stride, outputs = 2 if block == 0 and stage > 1 else 1, found.architecture.outputs[stage - 1]
        place = ["backbone", f"layer{stage}_{block}"]
        if found.architecture.block == "bottleneck":
            inner = found.bent(value, [*place, "conv1"], width, 1)
            inner = found.bent(inner, [*place, "conv2"], width, 3, stride)
            inner = found.conv(inner, [*place, "conv3"], outputs, 1)
        else:
            inner = found.bent(value, [*place, "conv1"], width, 3, stride)
            inner = found.conv(inner, [*place, "conv2"], outputs, 3)
        if stride == 2 or inputs != outputs:
            if stride == 2 or found.walk.has(value, POOL):  # the mean of one value is that value
                value = found.along(value, POOL, kind="mean", window=stride)
            value = found.conv(value, [*place, "downsample"], outputs, 1)
        value, inputs = found.along(found.sum(value, inner), RELU), outputs
        maps[stage - 1 :] = [value]
    return maps[1:]


def _blocks(architecture: Architecture) -> list[tuple[int, int, int]]:
    """Stage, from 1 on, block, from 0 on, and width."""
    stages = enumerate(zip(architecture.blocks, architecture.widths, strict=True), start=1)
    return [(stage, block, width) for stage, (blocks, width) in stages for block in range(blocks)]


def _pyramid(found: _Found, maps: Sequence[str]) -> list[str]:
    def layer(value: str, window: int, name: str, stride: int = 1) -> str:
        return found.conv(value, ["neck", name], found.architecture.neck, window, stride)

    merged = [layer(value, 1, f"lateral_{level}") for level, value in enumerate(maps)]
    sizes: list[tuple[int, ...]] = []
    for level in (1, 0):
        merged[level] = found.sum(merged[level], _doubled(found, merged[level + 1], merged[level], sizes))
    merged = [layer(value, 3, f"fpn_{level}") for level, value in enumerate(merged)]
    for level in (0, 1):
        merged[level + 1] = found.sum(merged[level + 1], layer(merged[level], 3, f"down_{level}", 2))
    return [merged[0], *(layer(merged[level + 1], 3, f"pafpn_{level}") for level in (0, 1))]


def _doubled(found: _Found, value: str, finer: str, sizes: list[tuple[int, ...]]) -> str:
    """A map with each value four times, by a factor of 2 or to the finer map's own size.

    Args:
        value, finer: the two maps.
        sizes: what those before were brought to, where that is a number of rows and columns; it is added.
    """
    step = found.walk.take(value, RESIZE)
    numbers = step.settings["sizes"][-2:]
    by_numbers = len(numbers) == 2 and all(size > 0 and size % 2 == 0 for size in numbers)
    by_numbers = by_numbers and (not sizes or numbers == tuple(2 * size for size in sizes[-1]))
    of = {finer} <= step.settings["shapes_of"] <= {finer, value}
    if not (step.settings["doubles"] or by_numbers or of):
        raise WeightsError(f"{step.label} brings a map to another size than twice its own.")
    if by_numbers:
        sizes.append(numbers)
    return step.gives


def _head(found: _Found, value: str, stride: int) -> list[str]:
    for number in range(found.architecture.depth):
        place, width = [f"head_{stride}", f"conv_{number}"], found.architecture.head
        if found.architecture.is_separable:
            value = found.separable(value, place, width)
        else:
            value = found.bent(value, place, width, 3)
    return [_end(found, value, stride, name, numbers) for name, numbers in OUTPUTS.items()]


def _end(found: _Found, value: str, stride: int, name: str, numbers: int) -> str:
    """An output: its convolution, the numbers of each anchor in a row, a score's sigmoid, a distance's factor."""
    value = found.conv(value, [f"head_{stride}", name], PLACES_ANCHORS * numbers, 3)
    expected = [SIGMOID, TRANSPOSE, FLATTEN] if name == "cls" else [TRANSPOSE, FLATTEN]
    scale = 1.0
    while expected:
        if name == "reg" and found.walk.has(value, AFFINE):
            step = found.walk.take(value, AFFINE, mean=0.0)
            value, scale = step.gives, scale * step.settings["factor"]
            continue
        op = SIGMOID if SIGMOID in expected and found.walk.has(value, SIGMOID) else next(
            one for one in expected if one != SIGMOID or expected == [SIGMOID]
        )
        value = found.walk.along(value, op, **{"order": CHANNELS_LAST} if op == TRANSPOSE else {})
        expected.remove(op)
    if name == "reg":
        found.keep_scale(stride, scale)
    return value
