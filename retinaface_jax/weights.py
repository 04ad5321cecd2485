"""Published weights of RetinaFace (arXiv 1905.00641, Sec. 4.2): the tensors of biubug6/Pytorch_Retinaface's files.

By their names there, of a PyTorch state dict, to our parameters and back.

Not here: reading files (`faces.weights`).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from faces.backbone import BatchStats, Params
from faces.errors import WeightsError
from retinaface_jax.network import make_network

# Names there that differ from ours by more than a dot; numbers are places in a `Sequential`.
THEIRS = {
    "conv": "0",
    "norm": "1",
    "depthwise": "0",
    "depthwise_norm": "1",
    "pointwise": "3",
    "pointwise_norm": "4",
    "conv3x3": "conv3X3",
    "conv5x5_1": "conv5X5_1",
    "conv5x5_2": "conv5X5_2",
    "conv7x7_2": "conv7X7_2",
    "conv7x7_3": "conv7x7_3",
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
HEADS = {"class_head": "ClassHead", "box_head": "BboxHead", "points_head": "LandmarkHead"}
UNUSED = re.compile(r"num_batches_tracked$|^body\.fc\.")


class Weights(NamedTuple):
    """A network that is ready to use."""

    network: str  # of `network.BODIES`
    params: Params
    batch_stats: BatchStats


def from_pytorch(tensors: Mapping[str, np.ndarray]) -> Weights:
    """Weights from the tensors of a published file.

    Args:
        tensors: as `faces.weights.read_weights` returns, with or without `module.` before every name.

    Returns:
        float32 `Weights`; which body it is, the names tell.

    Raises:
        WeightsError: a tensor is missing, is of another shape, or has no place in the network.
    """
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    network = "resnet50" if "body.conv1.weight" in tensors else "mobilenet0.25"
    expected = jax.eval_shape(make_network(network).init, jax.random.key(0))
    used: set[str] = set()

    def convert(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = pytorch_name(tuple(key.key for key in path))
        if name not in tensors:
            raise WeightsError(f'the weights are none of RetinaFace {network}: there is no "{name}" in them.')
        used.add(name)
        tensor = np.asarray(tensors[name], np.float32)
        if tensor.ndim == 4:
            tensor = tensor.transpose(2, 3, 1, 0)  # features, channels, rows, columns -> (rows, columns, ...)
        if tensor.shape != leaf.shape:
            raise WeightsError(f'"{name}" is {tensor.shape}, and RetinaFace {network} needs {leaf.shape}.')
        return tensor

    params, batch_stats = (jax.tree_util.tree_map_with_path(convert, tree) for tree in expected)
    left = [name for name in tensors if name not in used and not UNUSED.search(name)]
    if left:
        raise WeightsError(f'RetinaFace {network} has no place for {len(left)} of the weights, such as "{left[0]}".')
    return Weights(network, params, batch_stats)


def pytorch_name(path: tuple[str, ...]) -> str:
    """The name there of a parameter: ("body", "stage1_0", "conv", "kernel") -> "body.stage1.0.0.weight"."""
    parts = []
    for part in path:
        head, level = part[:-1], part[-1]
        if head in HEADS:
            parts += [HEADS[head], str(int(level) - 1), "conv1x1"]
        else:
            parts.append(THEIRS.get(part) or re.sub(r"_(\d+)$", r".\1", part))
    return ".".join(parts)


def to_pytorch(weights: Weights) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch state dict, by their names there: what `from_pytorch` takes."""

    def convert(leaf: jax.Array) -> np.ndarray:
        tensor = np.asarray(leaf)
        return tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor

    leaves = [leaf for tree in weights[1:] for leaf in jax.tree_util.tree_leaves_with_path(tree)]
    return {pytorch_name(tuple(key.key for key in path)): convert(leaf) for path, leaf in leaves}
