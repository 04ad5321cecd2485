"""Names and layouts that the published weights of ArcFace's networks from PyTorch share (arXiv 1801.07698, Sec. 3.1).

A batch norm has an eps of 1e-5 there. Where a file has folded one into the convolution before it, a bias is left.

Not here: the networks' own names (`iresnet_names.py`, `mobilefacenet_names.py`).
"""

import math

import numpy as np

from faces.weights.layouts import Norm, Row, Tensors, batch_norm, folded_norm

TORCH_EPSILON = 1e-5


def torch_norm(name: str, epsilon: float = TORCH_EPSILON) -> Norm:
    """The names of a batch norm's tensors."""
    return Norm(f"{name}.weight", f"{name}.bias", f"{name}.running_mean", f"{name}.running_var", epsilon)


def norm_or_bias(
    ours: str, theirs: str, folded: str, epsilon: float, tensors: Tensors, their_epsilon: float = TORCH_EPSILON
) -> list[Row]:
    """Rows of a batch norm, which the file holds as such or has folded into the bias `folded`."""
    if folded in tensors:
        return folded_norm(ours, folded, epsilon, has_scale=True)
    return batch_norm(ours, torch_norm(theirs, their_epsilon), epsilon)


def prelu(ours: str, theirs: str) -> Row:
    """A slope for each channel; in ONNX it has two dimensions of 1 behind."""
    return Row(f"params/{ours}/slope", (f"{theirs}.weight",), np.ravel)


def rows_columns_channels(weight: np.ndarray, of_channels: np.ndarray) -> np.ndarray:
    """The last matrix (d, C H W) as ours (H W C, d): a flattened map there has its channels outermost.

    The map is square; `of_channels`, of the layer before the matrix, has as many values as it has channels.
    """
    side = math.isqrt(weight.shape[1] // of_channels.size)
    maps = weight.reshape(-1, of_channels.size, side, side)  # (d, C, H, W)
    return maps.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])
