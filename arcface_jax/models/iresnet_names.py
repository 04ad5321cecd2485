"""Published weights of IResNets by their names (ArcFace, arXiv 1801.07698, Sec. 3.1, and programs around it).

    layer1.0.conv1.weight            arcface_torch, and MagFace, whose batch norms have another eps
    stage1_unit1_conv1_weight        MXNet: the release of ArcFace's authors
    body.0.res_layer.1.weight        InsightFace_Pytorch, AdaFace, and others after them: `ir_18`, `ir_se_50` and so on

The eps of ours, after MXNet's, is 2e-5; running variances take up the difference to PyTorch's 1e-5.

Not here: which file is which (`published.py`), and MXNet's graph (`symbols.py`).
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from arcface_jax.models.symbol_names import norms_of_symbol
from arcface_jax.models.torch_names import (
    TORCH_EPSILON,
    norm_or_bias,
    prelu,
    rows_columns_channels,
    torch_norm,
)
from faces.weights.graph import Node
from faces.weights.layouts import (
    Row,
    Tensors,
    batch_norm,
    folded_norm,
    kernel,
    no_norm,
    same,
    scaleless_norm,
)

EPSILON = 2e-5
"""Of our batch norms, of MXNet's, and of MagFace's."""


class Unit(NamedTuple):
    """A residual unit: its name here, its stage and its number in the stage, both from 0."""

    ours: str
    stage: int
    number: int


def units_of(units: Sequence[int]) -> Iterator[Unit]:
    """The units of a network that has so many in each stage."""
    for stage, number in enumerate(units):
        for unit in range(number):
            yield Unit(f"stage{stage + 1}_unit{unit + 1}", stage, unit)


# arcface_torch's and MagFace's.


def iresnet_rows(units: Sequence[int], tensors: Tensors, epsilon: float = TORCH_EPSILON) -> list[Row]:
    """Rows of arcface_torch's IResNet.

    Args:
        units: of each stage.
        tensors: of the file; only their names are looked at, for whether batch norms are folded.
        epsilon: of its batch norms.
    """

    def conv_norm(ours: str, theirs: str, our_norm: str, their_norm: str) -> list[Row]:
        rows = [Row(f"params/{ours}/kernel", (f"{theirs}.weight",), kernel)]
        return rows + norm_or_bias(our_norm, their_norm, f"{theirs}.bias", EPSILON, tensors, epsilon)

    is_folded = "conv1.bias" in tensors
    rows = [*conv_norm("stem_conv", "conv1", "stem_norm", "bn1"), prelu("stem_prelu", "prelu")]
    for ours, stage, number in units_of(units):
        theirs = f"layer{stage + 1}.{number}"
        rows += batch_norm(f"{ours}/norm1", torch_norm(f"{theirs}.bn1", epsilon), EPSILON)
        rows += conv_norm(f"{ours}/conv1", f"{theirs}.conv1", f"{ours}/norm2", f"{theirs}.bn2")
        rows += [prelu(f"{ours}/prelu", f"{theirs}.prelu")]
        rows += conv_norm(f"{ours}/conv2", f"{theirs}.conv2", f"{ours}/norm3", f"{theirs}.bn3")
        if number == 0:
            beside = f"{theirs}.downsample"
            rows += conv_norm(f"{ours}/shortcut_conv", f"{beside}.0", f"{ours}/shortcut_norm", f"{beside}.1")
    rows += batch_norm("head_norm", torch_norm("bn2", epsilon), EPSILON)
    matrix_row = Row("params/fc/kernel", ("fc.weight", "bn2.weight"), rows_columns_channels)
    if "features.bias" not in tensors and is_folded:
        no_bias = Row("params/fc/bias", ("fc.bias",), np.zeros_like)  # it is the batch norm's then
        return [*rows, matrix_row, no_bias, *folded_norm("embedding_norm", "fc.bias", EPSILON, has_scale=False)]
    last = [matrix_row, Row("params/fc/bias", ("fc.bias",), same)]
    return rows + scaleless_norm("embedding_norm", torch_norm("features", epsilon), EPSILON, last)


# MXNet's.


def mxnet_iresnet_rows(units: Sequence[int], symbol: Sequence[Node] = ()) -> list[Row]:
    """Rows of an IResNet of ArcFace's own release.

    Args:
        units: of each stage.
        symbol: the graph, as for `mobilefacenet_names.y1_rows`.
    """
    norm = norms_of_symbol(symbol)

    def conv_norm(ours: str, theirs: str, our_norm: str, their_norm: str) -> list[Row]:
        rows = [Row(f"params/{ours}/kernel", (f"{theirs}_weight",), kernel)]
        return rows + batch_norm(our_norm, norm(their_norm, EPSILON, False), EPSILON)

    rows = conv_norm("stem_conv", "conv0", "stem_norm", "bn0")
    rows += [Row("params/stem_prelu/slope", ("relu0_gamma",), same)]
    for ours, stage, number in units_of(units):
        theirs = f"stage{stage + 1}_unit{number + 1}"
        rows += batch_norm(f"{ours}/norm1", norm(f"{theirs}_bn1", EPSILON, False), EPSILON)
        rows += conv_norm(f"{ours}/conv1", f"{theirs}_conv1", f"{ours}/norm2", f"{theirs}_bn2")
        rows += [Row(f"params/{ours}/prelu/slope", (f"{theirs}_relu1_gamma",), same)]
        rows += conv_norm(f"{ours}/conv2", f"{theirs}_conv2", f"{ours}/norm3", f"{theirs}_bn3")
        if number == 0:
            rows += conv_norm(f"{ours}/shortcut_conv", f"{theirs}_conv1sc", f"{ours}/shortcut_norm", f"{theirs}_sc")
    rows += batch_norm("head_norm", norm("bn1", EPSILON, False), EPSILON)
    last = [
        Row("params/fc/kernel", ("pre_fc1_weight", "bn1_gamma"), rows_columns_channels),
        Row("params/fc/bias", ("pre_fc1_bias",), same),
    ]
    return rows + scaleless_norm("embedding_norm", norm("fc1", EPSILON, True), EPSILON, last)


# InsightFace_Pytorch's, AdaFace's and those after them.


def ir_rows(units: Sequence[int], tensors: Tensors) -> list[Row]:
    """Rows of a network such as `ir_50` or `ir_se_50`.

    InsightFace_Pytorch's units have no batch norm before the PReLU, and ours one that changes nothing. The last batch
    norm of AdaFace's has neither scale nor shift.

    Args:
        units: of each stage.
        tensors: of the file; only their names and numbers of dimensions are looked at.
    """
    rows = [
        Row("params/stem_conv/kernel", ("input_layer.0.weight",), kernel),
        *batch_norm("stem_norm", torch_norm("input_layer.1"), EPSILON),
        prelu("stem_prelu", "input_layer.2"),
    ]
    for (ours, stage, number), place in zip(units_of(units), itertools.count(), strict=False):
        theirs = f"body.{place}.res_layer"
        has_norm = f"{theirs}.2.running_mean" in tensors
        slope, second = ("3", "4") if has_norm else ("2", "3")
        after = int(second) + 1
        rows += batch_norm(f"{ours}/norm1", torch_norm(f"{theirs}.0"), EPSILON)
        rows += [Row(f"params/{ours}/conv1/kernel", (f"{theirs}.1.weight",), kernel)]
        if has_norm:
            rows += batch_norm(f"{ours}/norm2", torch_norm(f"{theirs}.2"), EPSILON)
        else:
            rows += no_norm(f"{ours}/norm2", f"{theirs}.{slope}.weight", EPSILON)
        rows += [prelu(f"{ours}/prelu", f"{theirs}.{slope}")]
        rows += [Row(f"params/{ours}/conv2/kernel", (f"{theirs}.{second}.weight",), kernel)]
        rows += batch_norm(f"{ours}/norm3", torch_norm(f"{theirs}.{after}"), EPSILON)
        if attention := attention_of(theirs, tensors):
            rows += [
                Row(f"params/{ours}/attention/squeeze/kernel", (f"{attention}.fc1.weight",), kernel),
                Row(f"params/{ours}/attention/excite/kernel", (f"{attention}.fc2.weight",), kernel),
            ]
        if number == 0 and stage > 0:  # the first stage keeps its channels
            beside = f"body.{place}.shortcut_layer"
            rows += [Row(f"params/{ours}/shortcut_conv/kernel", (f"{beside}.0.weight",), kernel)]
            rows += batch_norm(f"{ours}/shortcut_norm", torch_norm(f"{beside}.1"), EPSILON)
    rows += batch_norm("head_norm", torch_norm("output_layer.0"), EPSILON)
    last = [
        Row("params/fc/kernel", ("output_layer.3.weight", "output_layer.0.weight"), rows_columns_channels),
        Row("params/fc/bias", ("output_layer.3.bias",), same),
    ]
    norm = torch_norm("output_layer.4")
    if norm.beta in tensors:
        return rows + scaleless_norm("embedding_norm", norm, EPSILON, last)
    plain = scaleless_norm("embedding_norm", norm._replace(gamma=None), EPSILON, last)
    return rows + [Row(row.ours, (norm.mean,), np.zeros_like) if row.names == (norm.beta,) else row for row in plain]


def attention_of(layer: str, tensors: Tensors) -> str:
    """The squeeze-and-excitation of a unit, by the name of its layers; empty where it has none."""
    names = (f"{layer}.se_block", f"{layer}.5", f"{layer}.6")
    return next((name for name in names if f"{name}.fc1.weight" in tensors), "")
