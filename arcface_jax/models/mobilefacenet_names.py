"""Published weights of MobileFaceNet by their names (ArcFace, arXiv 1801.07698, Sec. 3.1, and programs around it).

    layers.0.layers.0.weight          arcface_torch: "mbf", "mbf_large", and, at its scale 1, Table 1 of MobileFaceNet
    conv_23.conv_dw.conv.weight       InsightFace_Pytorch: Table 1
    blocks.0.conv.3.weight            MobileFaceNet_Pytorch: Table 1, for faces of 112x96 as well
    dconv_23_conv_dw_conv2d_weight    MXNet: "y1"

Not here: which file is which (`published.py`), and MXNet's graph (`symbol_names.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from arcface_jax.models import mobilefacenet
from arcface_jax.models.symbol_names import norms_of_symbol
from arcface_jax.models.torch_names import TORCH_EPSILON, norm_or_bias, prelu, rows_columns_channels
from faces.weights.graph import Node
from faces.weights.layouts import Row, Tensors, batch_norm, kernel, matrix, same, scaleless_norm

MXNET_EPSILON = 1e-3
"""MXNet's default, which y1 leaves as it is but in its last batch norm; and ours in Table 1's network."""
LAST_EPSILON = 2e-5
"""Of y1's last batch norm."""


class Layer(NamedTuple):
    """A convolution of MobileFaceNet, its batch norm, and PReLU where there is one.

    `ours`: our name of all three. `conv`, `norm`, `prelu`: theirs, without what is said of the single tensor; `prelu`
    is empty where there is none.
    """

    ours: str
    conv: str
    norm: str
    prelu: str


class Place(NamedTuple):
    """A convolution within the bottlenecks.

    `bottleneck`: number, from 0. `part`: widen, depthwise or narrow. `halvings`: how often the map has been halved
    before or within the bottleneck. `number`: among the bottlenecks after the halving one; None for that one.
    """

    bottleneck: int
    part: str
    halvings: int
    number: int | None


PARTS: Sequence[str] = ("widen", "depthwise", "narrow")


def _places(rows: Sequence[mobilefacenet.Row]) -> Iterator[Place]:
    halvings, since = 0, 0
    for bottleneck, stride in enumerate(bottleneck_strides(rows)):
        halvings, since = (halvings + 1, 0) if stride == 2 else (halvings, since + 1)
        for part in PARTS:
            yield Place(bottleneck, part, halvings, None if stride == 2 else since - 1)


def bottleneck_strides(rows: Sequence[mobilefacenet.Row]) -> list[int]:
    """Of each bottleneck of a MobileFaceNet."""
    return [stride if first else 1 for *_, count, stride in rows for first in [True] + [False] * (count - 1)]


def _layers(
    rows: Sequence[mobilefacenet.Row],
    around: Sequence[str],
    of_bottleneck: Callable[[Place], str],
    split: Callable[[str], tuple[str, str, str]],
) -> Iterator[Layer]:
    """All convolutions of a MobileFaceNet, in the network's order.

    Args:
        rows: its bottlenecks.
        around: their names of the convolutions before the bottlenecks and of the two after.
        of_bottleneck: their name of a bottleneck's convolution.
        split: from their name of a convolution to those of itself, its batch norm and its PReLU.
    """
    *before, sep, last = around
    for ours, theirs in zip(("conv1", "conv2"), before, strict=False):
        yield Layer(ours, *split(theirs))
    for place in _places(rows):
        conv, norm, slope = split(of_bottleneck(place))
        ours = f"bottleneck{place.bottleneck + 1}/{place.part}"
        yield Layer(ours, conv, norm, "" if place.part == "narrow" else slope)
    yield Layer("conv3", *split(sep))
    yield Layer("global", *split(last)[:2], "")


# arcface_torch's.


def mbf_layers(rows: Sequence[mobilefacenet.Row] | None = None) -> Iterator[Layer]:
    """Convolutions of arcface_torch's MobileFaceNets; without `rows` those of "mbf"."""
    rows = mobilefacenet.MBF_ROWS if rows is None else rows
    is_large = bottleneck_strides(rows)[0] == 1  # bottlenecks stand where the others have a depthwise convolution

    def of_bottleneck(place: Place) -> str:
        halving = place.number is None
        outer = f"layers.{2 * place.halvings + (0 if halving else 1)}" + ("" if halving else f".layers.{place.number}")
        return f"{outer}.layers.{PARTS.index(place.part)}"

    def split(name: str) -> tuple[str, str, str]:
        return f"{name}.layers.0", f"{name}.layers.1", f"{name}.layers.2"

    around = ["layers.0", *([] if is_large else ["layers.1"]), "conv_sep", "features.layers.0"]
    return _layers(rows, around, of_bottleneck, split)


def mbf_rows(tensors: Tensors, rows: Sequence[mobilefacenet.Row] | None = None) -> list[Row]:
    """Rows of arcface_torch's MobileFaceNets.

    Args:
        tensors: of the file; looked at for its names and the width of the last map alone.
        rows: bottlenecks; None for those of "mbf".
    """
    ours = MXNET_EPSILON if rows is mobilefacenet.TABLE_1_ROWS else TORCH_EPSILON
    is_flat = f"{FLAT}.0.weight" in tensors
    table = _rows_of([layer for layer in mbf_layers(rows) if not (is_flat and layer.ours == "global")], ours, tensors)
    if is_flat:
        table += _rows_of([Layer("flat", f"{FLAT}.0", f"{FLAT}.1", f"{FLAT}.2")], ours, tensors)
        table.append(Row("params/fc/kernel", ("features.layers.2.weight", f"{FLAT}.2.weight"), rows_columns_channels))
    else:
        table.append(Row("params/fc/kernel", ("features.layers.2.weight",), _matrix))
    return table + norm_or_bias("embedding_norm", "features.layers.3", "features.layers.2.bias", ours, tensors)


FLAT = "features.flat"
"""The 1x1 convolution of a head that ends in a matrix over all places of the last map, as `onnx_names.py` calls it."""


def _matrix(weight: np.ndarray) -> np.ndarray:
    """A matrix (d, C), or a 1x1 convolution that stands for one, as (C, d)."""
    is_conv = weight.ndim == 4 and weight.shape[2:] == (1, 1)
    return matrix(weight.reshape(weight.shape[:2]) if is_conv else weight)


def _rows_of(layers: Iterable[Layer], ours: float, tensors: Tensors) -> list[Row]:
    """Rows of convolutions from PyTorch, `ours` being the eps of our batch norms."""
    table = []
    for layer in layers:
        table.append(Row(f"params/{layer.ours}/kernel", (f"{layer.conv}.weight",), kernel))
        table += norm_or_bias(f"{layer.ours}_norm", layer.norm, f"{layer.conv}.bias", ours, tensors)
        table += [prelu(f"{layer.ours}_prelu", layer.prelu)] if layer.prelu else []
    return table


# Table 1 in other programs of PyTorch's.


def insightface_pytorch_rows(tensors: Tensors) -> list[Row]:
    """Rows of InsightFace_Pytorch's MobileFaceNet."""
    parts = dict(zip(PARTS, ("conv", "conv_dw", "project"), strict=True))

    def of_bottleneck(place: Place) -> str:
        after = place.halvings + 2
        outer = f"conv_{after - 1}{after}" if place.number is None else f"conv_{after}.model.{place.number}"
        return f"{outer}.{parts[place.part]}"

    around = ("conv1", "conv2_dw", "conv_6_sep", "conv_6_dw")
    return _table_1_rows(_layers(mobilefacenet.TABLE_1_ROWS, around, of_bottleneck, _named), "linear", "bn", tensors)


def mobilefacenet_pytorch_rows(tensors: Tensors) -> list[Row]:
    """Rows of MobileFaceNet_Pytorch."""

    def of_bottleneck(place: Place) -> str:
        return f"blocks.{place.bottleneck}.conv.{3 * PARTS.index(place.part)}"

    def split(name: str) -> tuple[str, str, str]:
        if not name.startswith("blocks."):
            return _named(name)
        start, _, number = name.rpartition(".")
        return name, f"{start}.{int(number) + 1}", f"{start}.{int(number) + 2}"

    layers = _layers(mobilefacenet.TABLE_1_ROWS, ("conv1", "dw_conv1", "conv2", "linear7"), of_bottleneck, split)
    return _table_1_rows(layers, "linear1.conv", "linear1.bn", tensors)


def _named(name: str) -> tuple[str, str, str]:
    return f"{name}.conv", f"{name}.bn", f"{name}.prelu"


def _table_1_rows(layers: Iterable[Layer], last: str, last_norm: str, tensors: Tensors) -> list[Row]:
    table = _rows_of(layers, MXNET_EPSILON, tensors)
    table.append(Row("params/fc/kernel", (f"{last}.weight",), _matrix))
    return table + norm_or_bias("embedding_norm", last_norm, f"{last}.bias", MXNET_EPSILON, tensors)


# MXNet's.


def y1_layers() -> Iterator[Layer]:
    """Convolutions of y1."""
    parts = dict(zip(PARTS, ("sep", "dw", "proj"), strict=True))

    def of_bottleneck(place: Place) -> str:
        after = place.halvings + 2
        outer = f"dconv_{after - 1}{after}" if place.number is None else f"res_{after}_block{place.number}"
        return f"{outer}_conv_{parts[place.part]}"

    def split(name: str) -> tuple[str, str, str]:
        return f"{name}_conv2d", f"{name}_batchnorm", f"{name}_relu"

    return _layers(
        mobilefacenet.TABLE_1_ROWS, ("conv_1", "conv_2_dw", "conv_6sep", "conv_6dw7_7"), of_bottleneck, split
    )


def y1_rows(symbol: Sequence[Node] = ()) -> list[Row]:
    """Rows of MXNet's y1.

    Args:
        symbol: the graph, which states the eps of each batch norm and whose scale is fixed at 1; without it, these are
            as in the published one.
    """
    norm = norms_of_symbol(symbol)
    table = []
    for layer in y1_layers():
        table.append(Row(f"params/{layer.ours}/kernel", (f"{layer.conv}_weight",), kernel))
        table += batch_norm(f"{layer.ours}_norm", norm(layer.norm, MXNET_EPSILON, False), MXNET_EPSILON)
        table += [Row(f"params/{layer.ours}_prelu/slope", (f"{layer.prelu}_gamma",), same)] if layer.prelu else []
    last = [Row("params/fc/kernel", ("fc1_weight",), matrix), Row("params/fc/bias", ("pre_fc1_bias",), same)]
    return table + scaleless_norm("embedding_norm", norm("fc1", LAST_EPSILON, True), LAST_EPSILON, last)
