"""Published tensors into a network's own parameters: one row of a table for each parameter, checked both ways.

A row names the published tensors that a parameter is made from, and how. Every parameter must come out with its shape,
and every tensor of the file must be used or be known as superfluous; otherwise the file is of another network, and a
part of it that fits proves nothing.

Not here: reading files (`faces.weights`), and the names in them (`published.py` in each paper's `models`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from faces.backbone import Backbone, BatchStats, Params
from faces.errors import WeightsError
from faces.preprocessing import Preprocessing

Tensors = Mapping[str, np.ndarray]


class Row(NamedTuple):
    """Where one parameter comes from.

    `ours`: its path, such as "params/stem_conv/kernel" or "batch_stats/stem_norm/mean". `names`: the tensors that it is
    made from, the one of which it is a copy or a rearrangement first. `make`: from these to the parameter; shapes that
    do not fit may raise ValueError, IndexError or ZeroDivisionError.
    """

    ours: str
    names: tuple[str, ...]
    make: Callable[..., np.ndarray]


class Published(NamedTuple):
    """What a file was recognised as.

    `network`: its name here. `embedding_dim`: d. `rows`: one for each parameter. `is_weight`: whether a tensor of this
    name must be used; files also hold counters and classifiers. `preprocessing`: what it was trained to see.
    `has_symbol`: whether such files come with a graph of MXNet's.
    """

    network: str
    embedding_dim: int
    rows: Sequence[Row]
    is_weight: Callable[[str], bool]
    preprocessing: Preprocessing
    has_symbol: bool = False


def receive(published: Published, tensors: Tensors, backbone: Backbone, file: str) -> tuple[Params, BatchStats]:
    """The parameters and batch statistics of a network, made from published tensors.

    Args:
        published: the rows.
        tensors: of the file.
        backbone: the network.
        file: named in messages.
    Returns:
        Float32 NumPy arrays in the trees of `backbone.init`.
    Raises:
        WeightsError: a tensor is missing, of another shape, not of floating point, not finite, or has no place.
    """
    params, batch_stats = jax.eval_shape(backbone.init, jax.random.key(0))
    shapes = {
        "/".join(entry.key for entry in path): leaf.shape
        for path, leaf in jax.tree.leaves_with_path({"params": params, "batch_stats": batch_stats})
    }
    rows = {row.ours: row for row in published.rows if row.ours in shapes}
    for row in rows.values():
        for name in row.names:
            if name not in tensors:
                raise WeightsError(
                    f"{file}: tensor {name!r} is missing, which {published.network} needs for {row.ours}."
                )
    used = {name for row in rows.values() for name in row.names}
    for name, tensor in tensors.items():
        if name not in used and published.is_weight(name):
            raise WeightsError(
                f"{file}: tensor {name!r}, of shape {tensor.shape}, has no place in {published.network}; is the file "
                "of another network?"
            )
    values = {ours: _value(row, tensors, shapes[ours], published.network, file) for ours, row in rows.items()}
    received = jax.tree.map_with_path(
        lambda path, _: values["/".join(entry.key for entry in path)], {"params": params, "batch_stats": batch_stats}
    )
    return received["params"], received["batch_stats"]


def _value(row: Row, tensors: Tensors, shape: tuple[int, ...], network: str, file: str) -> np.ndarray:
    for name in row.names:
        if not np.issubdtype(tensors[name].dtype, np.floating):
            raise WeightsError(f"{file}: tensor {name!r} is of {tensors[name].dtype}; floating point is expected.")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
        parts = [np.asarray(tensors[name], np.float32) for name in row.names]
        try:
            value = np.ascontiguousarray(row.make(*parts), np.float32)
        except (ValueError, IndexError, ZeroDivisionError):
            value = None
    if value is None or value.shape != shape:
        raise WeightsError(
            f"{file}: tensor {row.names[0]!r} is of shape {parts[0].shape}, which does not give the {shape} of "
            f"{row.ours} in {network}."
        )
    if not np.isfinite(value).all():
        raise WeightsError(
            f"{file}: tensor {row.names[0]!r} holds values that are not finite, or negative variances; is the file "
            "damaged?"
        )
    return value


# Layouts.


def same(tensor: np.ndarray) -> np.ndarray:
    """The tensor as it is."""
    return tensor


def kernel(tensor: np.ndarray) -> np.ndarray:
    """A convolution's kernel (out, in, rows, columns) as (rows, columns, in, out)."""
    return tensor.transpose(2, 3, 1, 0)


def matrix(tensor: np.ndarray) -> np.ndarray:
    """A matrix (out, in) as (in, out)."""
    return tensor.transpose(1, 0)


# Batch norm: y = (x - mean) / sqrt(var + eps) * gamma + beta.


class Norm(NamedTuple):
    """Names of a published batch norm's tensors, and its eps; `gamma` is None where the scale is 1."""

    gamma: str | None
    beta: str
    mean: str
    variance: str
    epsilon: float


def batch_norm(ours: str, norm: Norm, epsilon: float) -> list[Row]:
    """Rows of a batch norm with a scale.

    The running variance takes up the difference between the two eps, var + eps being what counts.

    Args:
        ours: path of ours, without "params" and "batch_stats".
        norm: the published one.
        epsilon: of ours.
    """
    scale = ((norm.beta,), np.ones_like) if norm.gamma is None else ((norm.gamma,), same)
    return [
        Row(f"params/{ours}/scale", *scale),
        Row(f"params/{ours}/bias", (norm.beta,), same),
        Row(f"batch_stats/{ours}/mean", (norm.mean,), same),
        _variance(ours, norm, epsilon),
    ]


def scaleless_norm(ours: str, norm: Norm, epsilon: float, before: Sequence[Row]) -> list[Row]:
    """Rows of a batch norm without a scale, and of the linear layer before it, which takes up a published scale.

    gamma (W x - mean) / sqrt(var + eps) is the same with gamma W and gamma mean for W and mean.

    Args:
        ours: path of ours, without "params" and "batch_stats".
        norm: the published one.
        epsilon: of ours.
        before: rows of the layer that feeds it, its output channels last.
    """
    rows = [*before, Row(f"batch_stats/{ours}/mean", (norm.mean,), same)]
    if norm.gamma is not None:
        rows = [_scaled(row, norm.gamma) for row in rows]
    return [*rows, Row(f"params/{ours}/bias", (norm.beta,), same), _variance(ours, norm, epsilon)]


def folded_norm(ours: str, bias: str, epsilon: float, has_scale: bool) -> list[Row]:
    """Rows of a batch norm that a file has folded into the kernel before it, which leaves a bias.

    Statistics that change nothing are put in its place: mean 0, var + eps = 1. In training the batch's statistics take
    over, and the bias, which holds what was the mean, is then wrong: such a network is trained on with statistics that
    stay, `model.batch_norm` "running", alone.

    Args:
        ours: path of ours, without "params" and "batch_stats".
        bias: name of the tensor.
        epsilon: of ours.
        has_scale: whether ours has a scale.
    """
    rows = [
        Row(f"params/{ours}/bias", (bias,), same),
        Row(f"batch_stats/{ours}/mean", (bias,), np.zeros_like),
        Row(f"batch_stats/{ours}/var", (bias,), lambda bias: np.full_like(bias, 1.0 - epsilon)),
    ]
    return [*rows, Row(f"params/{ours}/scale", (bias,), np.ones_like)] if has_scale else rows


def no_norm(ours: str, like: str, epsilon: float) -> list[Row]:
    """Rows of a batch norm with a scale, where the file has none: one that changes nothing, for use as `folded_norm`.

    Args:
        ours: path of ours, without "params" and "batch_stats".
        like: name of a tensor with a value for each of its channels.
        epsilon: of ours.
    """
    return [
        row._replace(make=np.zeros_like) if row.make is same else row
        for row in folded_norm(ours, like, epsilon, has_scale=True)
    ]


def _variance(ours: str, norm: Norm, epsilon: float) -> Row:
    def shifted(variance: np.ndarray) -> np.ndarray:
        return np.where(variance + norm.epsilon > 0, variance + (norm.epsilon - epsilon), np.nan)

    return Row(f"batch_stats/{ours}/var", (norm.variance,), shifted)


def _scaled(row: Row, gamma: str) -> Row:
    return row._replace(names=(*row.names, gamma), make=lambda *parts: row.make(*parts[:-1]) * parts[-1])
