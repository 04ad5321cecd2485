"""Published weights of ArcFace's networks by their names (arXiv 1801.07698, Sec. 3.1, and its authors' code).

Three families of names: the state dicts of arcface_torch for IResNet and for MobileFaceNet ("mbf"), and the MXNet
parameters of MobileFaceNet ("y1"). A fourth, insightface's ONNX files, has lost most of its names; `onnx_names.py`
gives it those of arcface_torch. There a batch norm behind a convolution is folded into it, and a bias is left.

The batch norms of PyTorch's IResNets have an eps of 1e-5 and ours, after MXNet's, 2e-5: the running variances take up
the difference.

Not here: reading files (`faces.weights`), and filling in the parameters (`faces.weights.layouts`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from arcface_jax.models import iresnet, mobilefacenet
from faces.errors import WeightsError
from faces.preprocessing import WHOLE, Preprocessing
from faces.weights.graph import Node
from faces.weights.layouts import (
    Norm,
    Published,
    Row,
    Tensors,
    batch_norm,
    folded_norm,
    kernel,
    matrix,
    same,
    scaleless_norm,
)
from faces.weights.symbol_steps import steps_of_symbol
from faces.weights.walk import ADD, CONV, FLATTEN, MATRIX, NORM, PRELU, Walk

IRESNETS: Mapping[str, Sequence[int]] = {
    "iresnet18": iresnet.IRESNET_18,
    "iresnet34": iresnet.IRESNET_34,
    "iresnet50": iresnet.IRESNET_50,
    "iresnet100": iresnet.IRESNET_100,
    "iresnet200": iresnet.IRESNET_200,
}

PREPROCESSING = Preprocessing(
    size=(112, 112),
    channels="rgb",
    mean=127.5,
    scale=127.5,
    alignment="five_points",
    margin=0.0,
    resized=0,
    box=WHOLE,
    flip="sum",
)
"""Of arcface_torch, which divides by 255, subtracts 0.5 and divides by 0.5."""

Y1_PREPROCESSING = replace(PREPROCESSING, scale=128.0)
"""Of y1, whose symbol begins with (x - 127.5) * 0.0078125."""

TORCH_EPSILON = 1e-5
MXNET_EPSILON = 1e-3
"""MXNet's default, which y1 leaves as it is but in its last batch norm."""
IRESNET_EPSILON = 2e-5
"""Ours, and that of y1's last batch norm."""


def recognise(tensors: Tensors, network: str | None = None, symbol: Sequence[Node] = ()) -> Published | None:
    """What the tensors are, or None where no naming that is known here fits.

    Args:
        tensors: of a file, by their names there.
        network: the name of the network that they are of, where the caller knows it; else None.
        symbol: MXNet's graph, where it is at hand.
    Raises:
        WeightsError: an IResNet of a depth that is not ours; a graph that computes something else than y1.
    """
    if (bias := tensors.get("pre_fc1_bias")) is not None and network in (None, "mobilefacenet_y1"):
        preprocessing = _followed_y1(symbol) if symbol else Y1_PREPROCESSING
        return Published("mobilefacenet_y1", bias.size, y1_rows(symbol), _is_weight, preprocessing)
    bias = tensors.get("features.layers.3.bias", tensors.get("features.layers.2.bias"))
    if bias is not None and network in (None, "mobilefacenet_mbf"):
        return Published("mobilefacenet_mbf", bias.size, mbf_rows(tensors), _is_weight, PREPROCESSING)
    if (bias := tensors.get("fc.bias")) is not None and "layer1.0.conv1.weight" in tensors:
        found = network or _iresnet_of(tensors)
        if found in IRESNETS:
            rows = iresnet_rows(IRESNETS[found], tensors)
            return Published(found, bias.size, rows, _is_weight, PREPROCESSING)
    return None


def _is_weight(name: str) -> bool:
    """Others are PyTorch's counters, and the scale of y1's last batch norm, which its symbol fixes at 1."""
    return not name.endswith("num_batches_tracked") and name != "fc1_gamma"


def _iresnet_of(tensors: Tensors) -> str:
    """The IResNet that has as many units in each stage as the names count."""
    places = {tuple(name.split(".")[:2]) for name in tensors if name.startswith("layer")}
    counted = [sum(stage == f"layer{number}" for stage, *_ in places) for number in range(1, 5)]
    for name, units in IRESNETS.items():
        if list(units) == counted:
            return name
    known = "; ".join(f"{name}: {', '.join(map(str, units))}" for name, units in IRESNETS.items())
    raise WeightsError(f"an IResNet of {', '.join(map(str, counted))} units in its stages; those here have {known}.")


def _torch_norm(name: str) -> Norm:
    return Norm(f"{name}.weight", f"{name}.bias", f"{name}.running_mean", f"{name}.running_var", TORCH_EPSILON)


def _norm(ours: str, theirs: str, folded: str, epsilon: float, tensors: Tensors) -> list[Row]:
    """Rows of a batch norm, which the file holds as such or has folded into the bias `folded`."""
    if folded in tensors:
        return folded_norm(ours, folded, epsilon, has_scale=True)
    return batch_norm(ours, _torch_norm(theirs), epsilon)


def _prelu(ours: str, theirs: str) -> Row:
    """A slope for each channel; in ONNX it has two dimensions of 1 behind."""
    return Row(f"params/{ours}/slope", (f"{theirs}.weight",), np.ravel)


def iresnet_rows(units: Sequence[int], tensors: Tensors) -> list[Row]:
    """Rows of arcface_torch's IResNet.

    Args:
        units: of each stage.
        tensors: of the file; only their names are looked at, for whether batch norms are folded.
    """

    def conv_norm(ours: str, theirs: str, our_norm: str, their_norm: str) -> list[Row]:
        rows = [Row(f"params/{ours}/kernel", (f"{theirs}.weight",), kernel)]
        return rows + _norm(our_norm, their_norm, f"{theirs}.bias", IRESNET_EPSILON, tensors)

    is_folded = "conv1.bias" in tensors
    rows = [*conv_norm("stem_conv", "conv1", "stem_norm", "bn1"), _prelu("stem_prelu", "prelu")]
    for stage, number in enumerate(units, start=1):
        for unit in range(number):
            ours, theirs = f"stage{stage}_unit{unit + 1}", f"layer{stage}.{unit}"
            rows += batch_norm(f"{ours}/norm1", _torch_norm(f"{theirs}.bn1"), IRESNET_EPSILON)
            rows += conv_norm(f"{ours}/conv1", f"{theirs}.conv1", f"{ours}/norm2", f"{theirs}.bn2")
            rows += [_prelu(f"{ours}/prelu", f"{theirs}.prelu")]
            rows += conv_norm(f"{ours}/conv2", f"{theirs}.conv2", f"{ours}/norm3", f"{theirs}.bn3")
            if unit == 0:
                beside = f"{theirs}.downsample"
                rows += conv_norm(f"{ours}/shortcut_conv", f"{beside}.0", f"{ours}/shortcut_norm", f"{beside}.1")
    rows += batch_norm("head_norm", _torch_norm("bn2"), IRESNET_EPSILON)
    matrix_row = Row("params/fc/kernel", ("fc.weight", "bn2.weight"), _rows_columns_channels)
    if "features.bias" not in tensors and is_folded:
        no_bias = Row("params/fc/bias", ("fc.bias",), np.zeros_like)  # it is the batch norm's then
        return [*rows, matrix_row, no_bias, *folded_norm("embedding_norm", "fc.bias", IRESNET_EPSILON, has_scale=False)]
    last = [matrix_row, Row("params/fc/bias", ("fc.bias",), same)]
    return rows + scaleless_norm("embedding_norm", _torch_norm("features"), IRESNET_EPSILON, last)


def _rows_columns_channels(weight: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """The last matrix (d, C H W) as ours (H W C, d): a flattened map there has its channels outermost.

    The map is square; the batch norm before the matrix has as many values as it has channels.
    """
    side = math.isqrt(weight.shape[1] // norm.size)
    return weight.reshape(-1, norm.size, side, side).transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])


class Layer(NamedTuple):
    """A convolution of MobileFaceNet with its batch norm, and PReLU where there is one: names ours and theirs."""

    ours: str
    theirs: str
    has_prelu: bool


def _layers(
    rows: Sequence[mobilefacenet.Row],
    around: tuple[str, str, str, str],
    of_bottleneck: Callable[[int, int | None, str], str],
) -> Iterator[Layer]:
    """All convolutions of a MobileFaceNet.

    Args:
        rows: its bottlenecks.
        around: their names of the two convolutions before the bottlenecks and of the two after.
        of_bottleneck: their name of a bottleneck's convolution, from how often the map has been halved, from the
            number among the bottlenecks that follow the halving one (None for that), and from our name.
    """
    yield from (Layer("conv1", around[0], True), Layer("conv2", around[1], True))
    numbers = [(stride, number) for _, _, count, stride in rows for number in range(count)]
    halvings, since = 0, 0
    for bottleneck, (stride, number) in enumerate(numbers, start=1):
        halving = stride == 2 and number == 0
        halvings, since = (halvings + 1, 0) if halving else (halvings, since + 1)
        for ours in ("widen", "depthwise", "narrow"):
            theirs = of_bottleneck(halvings, None if halving else since - 1, ours)
            yield Layer(f"bottleneck{bottleneck}/{ours}", theirs, ours != "narrow")
    yield from (Layer("conv3", around[2], True), Layer("global", around[3], False))


def mbf_layers() -> Iterator[Layer]:
    """Convolutions of arcface_torch's MobileFaceNet, in the network's order."""

    def of_bottleneck(halvings: int, number: int | None, ours: str) -> str:
        place = f"layers.{2 * halvings}" if number is None else f"layers.{2 * halvings + 1}.layers.{number}"
        return f"{place}.layers.{('widen', 'depthwise', 'narrow').index(ours)}"

    around = ("layers.0", "layers.1", "conv_sep", "features.layers.0")
    return _layers(mobilefacenet.MBF_ROWS, around, of_bottleneck)


def mbf_rows(tensors: Tensors) -> list[Row]:
    """Rows of arcface_torch's MobileFaceNet; `tensors` as for `iresnet_rows`."""
    rows = []
    for ours, theirs, has_prelu in mbf_layers():
        rows.append(Row(f"params/{ours}/kernel", (f"{theirs}.layers.0.weight",), kernel))
        rows += _norm(f"{ours}_norm", f"{theirs}.layers.1", f"{theirs}.layers.0.bias", TORCH_EPSILON, tensors)
        rows += [_prelu(f"{ours}_prelu", f"{theirs}.layers.2")] if has_prelu else []
    rows.append(Row("params/fc/kernel", ("features.layers.2.weight",), matrix))
    return rows + _norm("embedding_norm", "features.layers.3", "features.layers.2.bias", TORCH_EPSILON, tensors)


def y1_rows(symbol: Sequence[Node] = ()) -> list[Row]:
    """Rows of MXNet's y1.

    Args:
        symbol: the graph, which states the eps of each batch norm and whose scale is fixed at 1; without it, these are
            as in the published one.
    """
    stated = {step.tensors[1]: step.settings for step in steps_of_symbol(symbol) if step.op == NORM and step.tensors}

    def norm(name: str, epsilon: float, is_fixed: bool) -> Norm:
        beta, mean, variance = (f"{name}_{part}" for part in ("beta", "moving_mean", "moving_var"))
        if beta in stated:
            epsilon, is_fixed = stated[beta]["epsilon"], stated[beta]["is_fixed"]
        return Norm(None if is_fixed else f"{name}_gamma", beta, mean, variance, epsilon)

    rows = []
    for ours, theirs, has_prelu in _y1_layers():
        rows.append(Row(f"params/{ours}/kernel", (f"{theirs}_conv2d_weight",), kernel))
        rows += batch_norm(f"{ours}_norm", norm(f"{theirs}_batchnorm", MXNET_EPSILON, False), MXNET_EPSILON)
        rows += [Row(f"params/{ours}_prelu/slope", (f"{theirs}_relu_gamma",), same)] if has_prelu else []
    last = [Row("params/fc/kernel", ("fc1_weight",), matrix), Row("params/fc/bias", ("pre_fc1_bias",), same)]
    return rows + scaleless_norm("embedding_norm", norm("fc1", IRESNET_EPSILON, True), IRESNET_EPSILON, last)


def _y1_layers() -> Iterator[Layer]:
    parts = {"widen": "sep", "depthwise": "dw", "narrow": "proj"}

    def of_bottleneck(halvings: int, number: int | None, ours: str) -> str:
        place = f"dconv_{halvings + 1}{halvings + 2}" if number is None else f"res_{halvings + 2}_block{number}"
        return f"{place}_conv_{parts[ours]}"

    return _layers(mobilefacenet.TABLE_1_ROWS, ("conv_1", "conv_2_dw", "conv_6sep", "conv_6dw7_7"), of_bottleneck)


def bottleneck_strides(rows: Sequence[mobilefacenet.Row]) -> list[int]:
    """Of each bottleneck of a MobileFaceNet."""
    return [stride if first else 1 for *_, count, stride in rows for first in [True] + [False] * (count - 1)]


def _followed_y1(symbol: Sequence[Node]) -> Preprocessing:
    """y1's symbol followed from the pixels to the embedding: what it does to the pixels.

    Raises:
        WeightsError: it computes something else; the first node that differs is named.
    """
    walk = Walk(steps_of_symbol(symbol), symbol[-1].name)
    value, mean, factor = walk.take_affine()
    strides, before = bottleneck_strides(mobilefacenet.TABLE_1_ROWS), value

    def take(value: str, op: str, tensors: Sequence[str], **settings: int) -> str:
        step = walk.take(value, op, **settings)
        if step.tensors != tuple(tensors):
            given, expected = ", ".join(step.tensors), ", ".join(tensors)
            raise WeightsError(f"{step.label} has the tensors {given} instead of {expected}.")
        return step.gives

    def norm(value: str, name: str) -> str:
        return take(value, NORM, [f"{name}_{part}" for part in ("gamma", "beta", "moving_mean", "moving_var")])

    for ours, theirs, has_prelu in _y1_layers():
        place, _, part = ours.partition("/")
        stride = strides[int(place.removeprefix("bottleneck")) - 1] if part else 1
        halves = ours == "conv1" or (part == "depthwise" and stride == 2)
        looks_around = ours in ("conv1", "conv2") or part == "depthwise"
        before = value if part == "widen" else before
        settings = {"stride": 2 if halves else 1, "pad": int(looks_around)}
        if ours != "global":
            settings["side"] = 3 if looks_around else 1
        step = next((one for one in walk.reading(value) if one.op == CONV), None)
        if step is not None:
            alone = ours in ("conv2", "global") or part == "depthwise"  # each channel by itself
            settings["group"] = step.settings["filters"] if alone else 1
        value = norm(take(value, CONV, [f"{theirs}_conv2d_weight"], **settings), f"{theirs}_batchnorm")
        value = take(value, PRELU, [f"{theirs}_relu_gamma"]) if has_prelu else value
        if part == "narrow" and stride == 1:
            added = walk.take(value, ADD)
            if sorted(added.reads) != sorted((before, value)):
                raise WeightsError(f"{added.label} adds other values than a unit's input and output.")
            value = added.gives
    value = walk.along(value, FLATTEN) if walk.has(value, FLATTEN) else value
    walk.end(norm(take(value, MATRIX, ["fc1_weight", "pre_fc1_bias"]), "fc1"))
    return replace(Y1_PREPROCESSING, mean=mean, scale=1.0 / factor)
