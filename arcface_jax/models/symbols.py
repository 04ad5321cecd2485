"""MXNet's graphs held against ArcFace's networks (arXiv 1801.07698, Sec. 3.1), from the pixels to the embedding.

The names of its tensors say where they belong; what is computed with them, only the graph says: its strides, zeros,
groups, activations, and what it does to the pixels.

Not here: the names of the tensors (`iresnet_names.py`, `mobilefacenet_names.py`), what nodes mean (`faces.weights`).
"""

from collections.abc import Sequence

from arcface_jax.models import mobilefacenet
from arcface_jax.models.iresnet_names import units_of
from arcface_jax.models.mobilefacenet_names import bottleneck_strides, y1_layers
from arcface_jax.models.symbol_names import norm_tensors
from faces.errors import WeightsError
from faces.weights.graph import Node
from faces.weights.symbol_steps import steps_of_symbol
from faces.weights.walk import ADD, CONV, FLATTEN, MATRIX, NORM, PRELU, Walk


class _Symbol:
    """A walk along a symbol by the names of its tensors."""

    def __init__(self, symbol: Sequence[Node]):
        self.walk = Walk(steps_of_symbol(symbol), symbol[-1].name)

    def take(self, value: str, op: str, tensors: Sequence[str], **settings: int) -> str:
        step = self.walk.take(value, op, **settings)
        if step.tensors != tuple(tensors):
            given, expected = ", ".join(step.tensors), ", ".join(tensors)
            raise WeightsError(f"{step.label} has the tensors {given} instead of {expected}.")
        return step.gives

    def norm(self, value: str, name: str) -> str:
        return self.take(value, NORM, norm_tensors(name))

    def conv(self, value: str, name: str, stride: int, pad: int, side: int | None, alone: bool = False) -> str:
        """A convolution, `alone` where each channel is by itself; of any side where that is None."""
        settings = {"stride": stride, "pad": pad} | ({} if side is None else {"side": side})
        step = next((one for one in self.walk.reading(value) if one.op == CONV and one.tensors == (name,)), None)
        if step is not None:
            settings["group"] = step.settings["filters"] if alone else 1
        return self.take(value, CONV, [name], **settings)

    def prelu(self, value: str, name: str) -> str:
        return self.take(value, PRELU, [f"{name}_gamma"])

    def sum(self, one: str, other: str) -> str:
        added = self.walk.take(other, ADD)
        if sorted(added.reads) != sorted((one, other)):
            raise WeightsError(f"{added.label} adds other values than a unit's input and output.")
        return added.gives

    def end(self, value: str, matrix: str) -> None:
        value = self.walk.along(value, FLATTEN) if self.walk.has(value, FLATTEN) else value
        self.walk.end(self.norm(self.take(value, MATRIX, [matrix, "pre_fc1_bias"]), "fc1"))


def follow_y1(symbol: Sequence[Node]) -> tuple[float, float]:
    """y1's symbol followed: what it does to the pixels, (x - mean) * factor.

    Raises:
        WeightsError: it computes something else; the first node that differs is named.
    """
    graph = _Symbol(symbol)
    value, mean, factor = graph.walk.take_affine()
    strides, before = bottleneck_strides(mobilefacenet.TABLE_1_ROWS), value
    for layer in y1_layers():
        place, _, part = layer.ours.partition("/")
        stride = strides[int(place.removeprefix("bottleneck")) - 1] if part else 1
        halves = layer.ours == "conv1" or (part == "depthwise" and stride == 2)
        looks_around = layer.ours in ("conv1", "conv2") or part == "depthwise"
        before = value if part == "widen" else before
        side = None if layer.ours == "global" else 3 if looks_around else 1
        alone = layer.ours in ("conv2", "global") or part == "depthwise"
        value = graph.conv(value, f"{layer.conv}_weight", 2 if halves else 1, int(looks_around), side, alone)
        value = graph.norm(value, layer.norm)
        value = graph.prelu(value, layer.prelu) if layer.prelu else value
        if part == "narrow" and stride == 1:
            value = graph.sum(before, value)
    graph.end(value, "fc1_weight")
    return mean, factor


def follow_iresnet(symbol: Sequence[Node], units: Sequence[int]) -> tuple[float, float]:
    """The symbol of an IResNet with so many units in its stages, as `follow_y1`."""
    graph = _Symbol(symbol)
    value, mean, factor = graph.walk.take_affine()
    value = graph.prelu(graph.norm(graph.conv(value, "conv0_weight", 1, 1, 3), "bn0"), "relu0")
    for _, stage, number in units_of(units):
        name, stride = f"stage{stage + 1}_unit{number + 1}", 2 if number == 0 else 1
        inner = graph.norm(value, f"{name}_bn1")
        inner = graph.norm(graph.conv(inner, f"{name}_conv1_weight", 1, 1, 3), f"{name}_bn2")
        inner = graph.prelu(inner, f"{name}_relu1")
        inner = graph.norm(graph.conv(inner, f"{name}_conv2_weight", stride, 1, 3), f"{name}_bn3")
        if number == 0:
            value = graph.norm(graph.conv(value, f"{name}_conv1sc_weight", stride, 0, 1), f"{name}_sc")
        value = graph.sum(value, inner)
    graph.end(graph.norm(value, "bn1"), "pre_fc1_weight")
    return mean, factor
