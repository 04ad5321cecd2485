"""Published weights of SCRFD (arXiv 2105.04714, Sec. 5): the tensors of deepinsight/insightface's files.

By their names there, of a state dict of mmdetection, to our parameters. A batch norm after a convolution is multiplied
into it; so is the number that the authors' code multiplies a stride's distances by. A head that all strides share is
here one for each of them.

Not here: reading files (`faces.weights`), the names of an ONNX file (`onnx_names.py`).
"""

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from faces.backbone import Params
from faces.errors import WeightsError
from scrfd_jax.architectures import ARCHITECTURES, STRIDES, Architecture
from scrfd_jax.network import make_network

EPSILON = 1e-5  # of batch norm, PyTorch's default
UNUSED = re.compile(r"num_batches_tracked$|^bbox_head\.integral\.project$|^bbox_head\.reg_stride_convs\.")
HEAD = "bbox_head."
_NECK = {"lateral": "lateral_convs", "fpn": "fpn_convs", "down": "downsample_convs", "pafpn": "pafpn_convs"}
_UNIT = {"conv1": ("conv1", "bn1"), "conv2": ("conv2", "bn2"), "conv3": ("conv3", "bn3"),
         "downsample": ("downsample.1", "downsample.2")}  # fmt: skip
_PART = {"depthwise": ("0", "1"), "pointwise": ("3", "4")}
NO_POINTS = (
    "SCRFD without the five points, which faces are aligned by; give a network with them, such as det_10g.onnx or one "
    "whose name ends in bnkps"
)


class Weights(NamedTuple):
    """A network that is ready to use."""

    network: str  # of `ARCHITECTURES`
    is_grouped: bool  # whether its head has group norm
    params: Params


class Layer(NamedTuple):
    """Where a convolution's tensors are.

    Args:
        conv, norm: before `.weight` and the like.
        group_norm: the same, of a group norm.
        scale: what its outputs are multiplied by; "" for nothing.
    """

    conv: str
    norm: str = ""
    group_norm: str = ""
    scale: str = ""


def is_one(names: Collection[str]) -> bool:
    """Whether names are those of SCRFD's state dicts, with or without `module.` before each."""
    return any(name.removeprefix("module.").startswith(f"{HEAD}stride_cls.") for name in names)


def from_pytorch(tensors: Mapping[str, np.ndarray]) -> Weights:
    """Weights from the tensors of a published file.

    Args:
        tensors: as `faces.weights.read_weights` returns, with or without `module.` before every name; also with a
            convolution's bias in place of its batch norm.

    Returns:
        float32 `Weights`; which network it is, the shapes tell.

    Raises:
        WeightsError: a tensor is missing, is of another shape, or has no place in the network.
    """
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    if is_one(tensors) and not any(name.startswith(f"{HEAD}stride_kps.") for name in tensors):
        raise WeightsError(f"{NO_POINTS}.")
    name = _network_of(tensors)
    is_grouped = any(".gn." in name for name in tensors)
    found = _Found(name, tensors, any(key.startswith(f"{HEAD}stride_cls.0.") for key in tensors))
    params = jax.tree_util.tree_map_with_path(found.convert, _expected(name, is_grouped))
    left = [key for key in tensors if key not in found.used and not UNUSED.search(key)]
    if left:
        raise WeightsError(f'SCRFD {name} has no place for {len(left)} of the weights, such as "{left[0]}".')
    return Weights(name, is_grouped, params)


@cache
def _expected(name: str, is_grouped: bool) -> Any:
    """Shapes of a network's parameters."""
    return jax.eval_shape(make_network(name, is_grouped).init, jax.random.key(0))


def _network_of(tensors: Mapping[str, np.ndarray]) -> str:
    """The network whose widths the body's first convolution and the pyramid's first have."""
    for name, architecture in ARCHITECTURES.items():
        stem = "backbone.stem.0.0.weight" if architecture.is_separable else "backbone.stem.0.weight"
        shapes = {
            stem: (architecture.stem[0], 3, 3, 3),
            "neck.lateral_convs.0.conv.weight": (architecture.neck, architecture.outputs[1], 1, 1),
        }
        if all(key in tensors and tensors[key].shape == shape for key, shape in shapes.items()):
            return name
    raise WeightsError(f"the weights are none of SCRFD: its networks are {', '.join(ARCHITECTURES)}.")


class _Found:
    """The tensors of a file, and which of them have been used."""

    def __init__(self, network: str, tensors: Mapping[str, np.ndarray], is_shared: bool):
        self.network, self.used, self._tensors, self._is_shared = network, set[str](), tensors, is_shared

    def convert(self, path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        """A parameter's values."""
        *place, part = (key.key for key in path)
        is_norm, is_depthwise = place[-1] == "norm", place[-2:] == ["depthwise", "conv"] or place[-1] == "depthwise"
        layer = layer_of([key for key in place if key not in ("conv", "norm")], self._is_shared, self.network)
        if is_norm:
            return self._get(f"{layer.group_norm}.{'weight' if part == 'scale' else 'bias'}", leaf.shape)
        features = leaf.shape[-1]
        factor, bias = self._folded(layer, features)
        if part == "bias":
            return bias
        rows, columns, inputs, _ = leaf.shape
        kernel = self._get(f"{layer.conv}.weight", (features, 1 if is_depthwise else inputs, rows, columns))
        return (kernel * factor[:, None, None, None]).transpose(2, 3, 1, 0).astype(np.float32)

    def _folded(self, layer: Layer, features: int) -> tuple[np.ndarray, np.ndarray]:
        """What each output of a convolution is multiplied by, float64, and what is added, float32."""
        factor, bias = np.ones(features), np.zeros(features)
        if f"{layer.conv}.bias" in self._tensors:
            bias = self._get(f"{layer.conv}.bias", (features,)).astype(np.float64)
        if layer.norm and f"{layer.norm}.running_var" in self._tensors:
            parts = ("weight", "bias", "running_mean", "running_var")
            gamma, beta, mean, variance = (
                self._get(f"{layer.norm}.{part}", (features,)).astype(np.float64) for part in parts
            )
            factor = gamma / np.sqrt(np.maximum(variance, 0) + EPSILON)
            bias = beta + (bias - mean) * factor
        elif f"{layer.conv}.bias" not in self._tensors and not self._has_group_norm(layer):
            raise WeightsError(f'"{layer.conv}" of SCRFD {self.network} has neither bias nor batch norm.')
        if layer.scale in self._tensors:
            scale = self._get(layer.scale, self._tensors[layer.scale].shape)
            if scale.size != 1:
                raise WeightsError(f'"{layer.scale}" is {scale.shape}, and SCRFD {self.network} needs one number.')
            factor, bias = factor * float(scale.ravel()[0]), bias * float(scale.ravel()[0])
        return factor, bias.astype(np.float32)

    def _has_group_norm(self, layer: Layer) -> bool:
        return bool(layer.group_norm) and f"{layer.group_norm}.weight" in self._tensors

    def _get(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in self._tensors:
            raise WeightsError(f'the weights are none of SCRFD {self.network}: there is no "{name}" in them.')
        self.used.add(name)
        tensor = np.asarray(self._tensors[name], np.float32)
        if tensor.shape != shape:
            raise WeightsError(f'"{name}" is {tensor.shape}, and SCRFD {self.network} needs {shape}.')
        return tensor


def layer_of(place: list[str], is_shared: bool, network: str) -> Layer:
    """Where a layer's tensors are: ["backbone", "layer1_0", "conv1"] -> "backbone.layer1.0.conv1", and its norm's."""
    first, *rest = place
    if first == "backbone":
        block, number = rest[0].rsplit("_", 1)
        return _of_body(ARCHITECTURES[network], block, int(number), rest[1:])
    if first == "neck":
        kind, number = rest[0].rsplit("_", 1)
        return Layer(f"neck.{_NECK[kind]}.{number}.conv")
    stride = int(first.removeprefix("head_"))
    key = "0" if is_shared else f"({stride}, {stride})"
    if not rest[0].startswith("conv_"):
        scale = f"{HEAD}scales.{STRIDES.index(stride)}.scale" if rest[0] == "reg" else ""
        return Layer(f"{HEAD}stride_{rest[0]}.{key}", scale=scale)
    prefix = f"{HEAD}cls_stride_convs.{key}.{rest[0].removeprefix('conv_')}"
    prefix += f".{rest[1]}_conv" if len(rest) > 1 else ""
    return Layer(f"{prefix}.conv", f"{prefix}.bn", f"{prefix}.gn")


def _of_body(architecture: Architecture, block: str, number: int, part: list[str]) -> Layer:
    if architecture.is_separable:
        conv, norm = _PART[part[0]] if part else ("0", "1")
        prefix = f"backbone.{block}.{number}"
        return Layer(f"{prefix}.{conv}", f"{prefix}.{norm}")
    if block == "stem":  # each convolution, its norm and its ReLU in one row
        return Layer(f"backbone.stem.{3 * number}", f"backbone.stem.{3 * number + 1}")
    conv, norm = _UNIT[part[0]]
    prefix = f"backbone.{block}.{number}"
    return Layer(f"{prefix}.{conv}", f"{prefix}.{norm}")
