"""Published weights of ArcFace's networks: what a file is, by the names of its tensors (arXiv 1801.07698, Sec. 3.1).

Programs that call their tensors alike may have trained on other colours: then the names do not say what a network wants
to see, and the person who gives the file does (`WHOSE`), unless the names have a program's own word before them
(`wrapper`). ONNX files have lost most of their names; `onnx_names.py` gives them those of arcface_torch.

Not here: the tables of names (`iresnet_names.py`, `mobilefacenet_names.py`, `vit_names.py`, `vgg_face_names.py`),
reading files (`faces.weights`), and filling in the parameters (`faces.weights.layouts`).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from arcface_jax.models import iresnet, mobilefacenet, vgg_face_names, vit_names
from arcface_jax.models.iresnet_names import (
    EPSILON,
    attention_of,
    ir_rows,
    iresnet_rows,
    mxnet_iresnet_rows,
)
from arcface_jax.models.mobilefacenet_names import (
    FLAT,
    insightface_pytorch_rows,
    mbf_rows,
    mobilefacenet_pytorch_rows,
    y1_rows,
)
from arcface_jax.models.symbols import follow_iresnet, follow_y1
from arcface_jax.models.torch_names import TORCH_EPSILON
from faces.errors import WeightsError, option
from faces.preprocessing import WHOLE, Preprocessing
from faces.weights.graph import Node
from faces.weights.layouts import Published, Row, Tensors

IRESNETS: Mapping[str, Sequence[int]] = {
    "iresnet18": iresnet.IRESNET_18,
    "iresnet34": iresnet.IRESNET_34,
    "iresnet50": iresnet.IRESNET_50,
    "iresnet100": iresnet.IRESNET_100,
    "iresnet200": iresnet.IRESNET_200,
}
IRS: Mapping[str, Sequence[int]] = {
    "ir_18": iresnet.IRESNET_18,
    "ir_34": iresnet.IRESNET_34,
    "ir_50": iresnet.IRESNET_50,
    "ir_101": iresnet.IRESNET_100,
}
IR_SES: Mapping[str, Sequence[int]] = {"ir_se_50": iresnet.IRESNET_50, "ir_se_101": iresnet.IRESNET_100}

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

MXNET_PREPROCESSING = replace(PREPROCESSING, scale=128.0)
"""Of MXNet's networks, whose symbol begins with (x - 127.5) * 0.0078125."""

WHOSE: Mapping[str, Mapping[str, Any]] = {
    "arcface_torch": {},
    "magface": {"channels": "bgr", "mean": 0.0, "scale": 255.0, "flip": "none"},
    "insightface_pytorch": {"channels": "bgr", "flip": "none"},
    "face_evolve": {},
    "adaface": {"channels": "bgr"},
    "tface": {},
}
"""Programs whose files can be taken for each other's, with what each of them changes in `PREPROCESSING`."""

_TORCH = ("arcface_torch", "magface")
_WITH_SHIFT, _WITHOUT_SHIFT = ("insightface_pytorch", "face_evolve"), ("adaface", "tface")
"""Whose `ir_` networks end in a batch norm with a scale and a shift, and whose do not."""

_OF_WRAPPERS = {"features.module.": "magface", "module.features.": "magface", "model.": "adaface"}
"""Whose names have these words before them; `model.` before those of an `ir_` network alone."""

_MBFS: Mapping[int, tuple[str, Sequence[mobilefacenet.Row] | None]] = {
    64: ("mobilefacenet", mobilefacenet.TABLE_1_ROWS),
    128: ("mobilefacenet_mbf", None),
    256: ("mobilefacenet_mbf_large", mobilefacenet.MBF_LARGE_ROWS),
}
"""arcface_torch's MobileFaceNets by the channels of their first convolution."""

NETWORKS = (
    "mobilefacenet_y1", *(name for name, _ in _MBFS.values()), "mobilefacenet_mbf_flat", *IRESNETS, *IRS, *IR_SES,
    *vit_names.WIDTHS.values(), "vgg_face",
)  # fmt: skip
"""Of which published weights are known here."""


class _Layout(NamedTuple):
    """A naming.

    `first`: a tensor of it. `last`: tensors with a value for each coordinate of the embedding. `read`: network, rows
    and preprocessing. `programs`: of `WHOSE`, those that name their tensors so.
    """

    first: str
    last: Sequence[str]
    read: Callable[["_Given"], tuple[str, Sequence[Row], Preprocessing]]
    programs: Collection[str] = ()


class _Given(NamedTuple):
    """What `recognise` is given."""

    tensors: Tensors
    told: str | None
    symbol: Sequence[Node]
    wrapper: str


def recognise(
    tensors: Tensors, network: str | None = None, symbol: Sequence[Node] = (), wrapper: str = ""
) -> Published | None:
    """What the tensors are, or None where no naming that is known here fits.

    Args:
        tensors: of a file, by their names there.
        network: the name of the network that they are of, or of `WHOSE`, where the caller knows it; else None.
        symbol: MXNet's graph, where it is at hand.
        wrapper: what stood before all names in the file.
    Raises:
        WeightsError: an IResNet of a depth that is not ours; a graph that computes something else than the network;
            nothing says whose of several programs the file is.
    """
    given = _Given(tensors, network, symbol, wrapper)
    for layout in _LAYOUTS:
        last = next((tensors[name] for name in layout.last if name in tensors), None)
        first = tensors.get(layout.first)
        if first is None or last is None or not (first.ndim and last.ndim):
            continue
        found, rows, preprocessing = layout.read(given)
        if network in (None, found, *layout.programs):
            return Published(found, len(last), rows, _is_weight, preprocessing, layout.read in (_mxnet_iresnet, _y1))
    return None


def _is_weight(name: str) -> bool:
    """Others are PyTorch's counters, the scale of MXNet's last batch norm, which its symbol fixes at 1, and masks."""
    return not name.endswith("num_batches_tracked") and name not in ("fc1_gamma", vit_names.MASK)


def _torch_iresnet(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    found, units = _depth(given, IRESNETS, _units_by_stage(given.tensors, "layer", "."))
    whose = _whose(given, _TORCH, "arcface_torch")
    rows = iresnet_rows(units, given.tensors, EPSILON if whose == "magface" else TORCH_EPSILON)
    return found, rows, _seen_by(whose)


def _mxnet_iresnet(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    found, units = _depth(given, IRESNETS, _units_by_stage(given.tensors, "stage", "_"))
    seen = _seen(*follow_iresnet(given.symbol, units)) if given.symbol else MXNET_PREPROCESSING
    return found, mxnet_iresnet_rows(units, given.symbol), seen


def _ir(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    starts = [f"body.{place}.shortcut_layer.0.weight" in given.tensors for place in range(_bodies(given.tensors))]
    stages = Counter(itertools.accumulate(map(int, starts)))  # the first begins without a convolution
    counted = [stages[stage] for stage in range(4)] if sum(starts) == 3 else [len(starts)]
    has_attention = bool(attention_of("body.0.res_layer", given.tensors))
    found, units = _depth(given, IR_SES if has_attention else IRS, counted)
    if given.told not in (None, found, *WHOSE):
        return found, (), PREPROCESSING
    has_shift = "output_layer.4.bias" in given.tensors
    whose = _whose(given, _WITH_SHIFT if has_shift else _WITHOUT_SHIFT)
    return found, ir_rows(units, given.tensors), _seen_by(whose)


def _mbf(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    found, rows = _MBFS.get(len(given.tensors["layers.0.layers.0.weight"]), _MBFS[128])
    if f"{FLAT}.0.weight" in given.tensors:
        if rows is not None:
            raise WeightsError(f"a {found} whose matrix sees all places of a map; mobilefacenet_mbf alone has that.")
        return f"{found}_flat", mbf_rows(given.tensors, rows), PREPROCESSING
    size = _size(given.tensors.get("features.layers.0.layers.0.weight"))
    return found, mbf_rows(given.tensors, rows), replace(PREPROCESSING, size=size)


def _insightface_pytorch_mfn(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    return "mobilefacenet", insightface_pytorch_rows(given.tensors), _seen_by("insightface_pytorch")


def _mobilefacenet_pytorch(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    size = _size(given.tensors["linear7.conv.weight"])
    preprocessing = replace(MXNET_PREPROCESSING, size=size, flip="concatenate")
    return "mobilefacenet", mobilefacenet_pytorch_rows(given.tensors), preprocessing


def _y1(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    seen = _seen(*follow_y1(given.symbol)) if given.symbol else MXNET_PREPROCESSING
    return "mobilefacenet_y1", y1_rows(given.symbol), seen


def _vit(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    return vit_names.network_of(given.tensors), vit_names.vit_rows(), PREPROCESSING


def _vgg_dag(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    return "vgg_face", vgg_face_names.vgg_face_rows(vgg_face_names.FIRSTS[0]), vgg_face_names.PREPROCESSING


def _vgg_t7(given: _Given) -> tuple[str, Sequence[Row], Preprocessing]:
    rows = vgg_face_names.vgg_face_rows(vgg_face_names.FIRSTS[1])
    return "vgg_face", rows, replace(vgg_face_names.PREPROCESSING, channels="bgr")


_LAYOUTS = (
    _Layout("conv1.weight", ("fc.bias",), _torch_iresnet, _TORCH),
    _Layout("conv0_weight", ("pre_fc1_bias",), _mxnet_iresnet),
    _Layout("input_layer.0.weight", ("output_layer.3.bias",), _ir, _WITH_SHIFT + _WITHOUT_SHIFT),
    _Layout("layers.0.layers.0.weight", ("features.layers.3.bias", "features.layers.2.bias"), _mbf, ("arcface_torch",)),
    _Layout("conv_6_dw.conv.weight", ("bn.bias",), _insightface_pytorch_mfn, ("insightface_pytorch",)),
    _Layout("linear7.conv.weight", ("linear1.bn.bias",), _mobilefacenet_pytorch),
    _Layout("pre_fc1_bias", ("pre_fc1_bias",), _y1),
    _Layout(vit_names.FIRST, (vit_names.LAST,), _vit, ("arcface_torch",)),
    _Layout(vgg_face_names.FIRSTS[0], (vgg_face_names.LAST,), _vgg_dag),
    _Layout(vgg_face_names.FIRSTS[1], (vgg_face_names.LAST,), _vgg_t7),
)
FIRST = tuple(layout.first for layout in _LAYOUTS)
"""A tensor of each naming."""


def _seen_by(whose: str) -> Preprocessing:
    return replace(PREPROCESSING, **WHOSE[whose])


def _seen(mean: float, factor: float) -> Preprocessing:
    """The preprocessing of a graph of MXNet's that begins with (x - mean) * factor."""
    return replace(MXNET_PREPROCESSING, mean=mean, scale=1.0 / factor)


def _size(last_kernel: np.ndarray | None) -> tuple[int, int]:
    """Rows and columns of the images, of which four halvings leave a map of the kernel's size."""
    if last_kernel is None or last_kernel.ndim != 4 or not last_kernel.size:
        return PREPROCESSING.size  # what is missing or of another shape is told of where it is used
    rows, columns = last_kernel.shape[2:]
    return 16 * rows, 16 * columns


def _whose(given: _Given, ones: Sequence[str], usual: str | None = None) -> str:
    """Whose of several programs a file is.

    Raises:
        WeightsError: nothing says so, and there is no usual one; or it is none of the one that a person says.
    """
    if given.told in ones:
        return str(given.told)
    if given.told in WHOSE:
        raise WeightsError(f"its names are not those of {given.told}, but of {' or '.join(ones)}.")
    said = next((whose for words, whose in _OF_WRAPPERS.items() if words in given.wrapper and whose in ones), usual)
    if said is None:
        each = " or ".join(f"{one} for {_described(_seen_by(one))}" for one in ones)
        raise WeightsError(
            "its names are those of several programs, which want other images: say by "
            f"{option('network', 'NAME')} which, {each}."
        )
    return said


def _described(preprocessing: Preprocessing) -> str:
    order = "red, green, blue" if preprocessing.channels == "rgb" else "blue, green, red"
    return f"{order} minus {preprocessing.mean:g}, divided by {preprocessing.scale:g}"


def _units_by_stage(tensors: Tensors, word: str, between: str) -> list[int]:
    """How many units the names count in each of four stages: word, stage, between, unit."""
    places = {tuple(name.split(between)[:2]) for name in tensors if name.startswith(word)}
    return [sum(stage == f"{word}{number}" for stage, *_ in places) for number in range(1, 5)]


def _bodies(tensors: Tensors) -> int:
    return len({name.split(".")[1] for name in tensors if name.startswith("body.")})


def _depth(given: _Given, networks: Mapping[str, Sequence[int]], counted: Sequence[int]) -> tuple[str, Sequence[int]]:
    """The network that a person says, or the one that has as many units in each stage as the names count."""
    if given.told is not None and given.told in networks:
        return given.told, networks[given.told]
    for name, units in networks.items():
        if list(units) == list(counted):
            return name, units
    known = "; ".join(f"{name}: {', '.join(map(str, units))}" for name, units in networks.items())
    raise WeightsError(f"an IResNet of {', '.join(map(str, counted))} units in its stages; those here have {known}.")
