"""The Inception networks NN2, NN3 and NN4 (arXiv 1503.03832, Table 2).

Each module runs up to four branches side by side and concatenates their channels: a 1x1 convolution, a 3x3 and a 5x5
one behind 1x1 reductions, and a 3x3 pooling with a 1x1 projection. Stride-2 modules do without the 1x1 branch and the
projection. NN3 is NN2 on 160x160 images; NN4, on 96x96, has no 5x5 convolutions in its last modules, where the map has
shrunk to 3x3.

PAPER: no batch norm anywhere; the tables' parameter counts are those of weights and biases alone.

Not here: the small networks whose layers the paper keeps to itself (`mini_inception.py`) and OpenFace's readings of
Table 2 with batch norm (`openface.py`).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from facenet_jax.models.layers import conv_relu, l2_pool, max_pool, response_norm
from faces.initialisers import linear_init, relu_init
from faces.ops import l2_normalise


class Row(NamedTuple):
    """One inception row of Table 2; numbers are output channels, 0 or None where the table has nothing."""

    one: int
    three: tuple[int, int]
    """1x1 reduction, 3x3 convolution."""
    five: tuple[int, int] | None
    """1x1 reduction, 5x5 convolution."""
    pool: Literal["max", "l2"]
    projection: int
    stride: int = 1
    """Of the 3x3 and 5x5 convolutions and the pooling; with stride 2 the pooled channels pass unprojected."""


class Stem(NamedTuple):
    """Table 2's rows before its modules, conv1 and inception (2); numbers are output channels."""

    kernel: int = 7
    conv1: int = 64
    reduction: int = 64
    three: int = 192


NN2_ROWS: Mapping[str, Row] = {
    "3a": Row(64, (96, 128), (16, 32), "max", 32),
    "3b": Row(64, (96, 128), (32, 64), "l2", 64),
    "3c": Row(0, (128, 256), (32, 64), "max", 0, stride=2),
    "4a": Row(256, (96, 192), (32, 64), "l2", 128),
    "4b": Row(224, (112, 224), (32, 64), "l2", 128),
    "4c": Row(192, (128, 256), (32, 64), "l2", 128),
    "4d": Row(160, (144, 288), (32, 64), "l2", 128),
    "4e": Row(0, (160, 256), (64, 128), "max", 0, stride=2),
    "5a": Row(384, (192, 384), (48, 128), "l2", 128),
    "5b": Row(384, (192, 384), (48, 128), "max", 128),
}

# CHOICE: the paper takes the 5x5 convolutions from NN4's "higher layers" without naming them. Without those of 4e, 5a
# and 5b the network has 6.6M parameters and does 285M multiply-adds, figures that the paper gives; with those of 4e it
# has 6.9M and does 289M, without those of 4d as well 6.5M and 281M.
NN4_ROWS: Mapping[str, Row] = {
    name: row._replace(five=None) if name in ("4e", "5a", "5b") else row for name, row in NN2_ROWS.items()
}

# PAPER Table 6: its 96x96 network has no 5x5 convolutions in the Inception modules.
WITHOUT_5X5_ROWS: Mapping[str, Row] = {name: row._replace(five=None) for name, row in NN2_ROWS.items()}


class InceptionModule(nn.Module):
    """The branches of one row of Table 2, concatenated in the order of its columns.

    CHOICE: ReLU after every convolution, the reductions and projections included, as in GoogLeNet.
    """

    row: Row
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) to (B, H / stride, W / stride, sum of the branches' channels)."""

        def conv(x: jax.Array, name: str, features: int, kernel: int, strides: int = 1) -> jax.Array:
            return conv_relu(x, features, kernel, strides=strides, name=name, dtype=self.dtype)

        row = self.row
        branches = []
        if row.one:
            branches.append(conv(x, "conv_1x1", row.one, 1))
        branches.append(conv(conv(x, "reduce_3x3", row.three[0], 1), "conv_3x3", row.three[1], 3, row.stride))
        if row.five:
            branches.append(conv(conv(x, "reduce_5x5", row.five[0], 1), "conv_5x5", row.five[1], 5, row.stride))
        pooled = {"max": max_pool, "l2": l2_pool}[row.pool](x, row.stride)
        branches.append(conv(pooled, "pool_projection", row.projection, 1) if row.projection else pooled)
        return jnp.concatenate(branches, axis=-1)


class InceptionNet(nn.Module):
    """A network laid out as Table 2: stem, inception modules, average over the whole map, fully connected, L2.

    Attributes:
        embedding_dim: d, the length of the embedding.
        rows: the inception modules in order, by the table's names.
        stem: conv1 and inception (2).
        fc1: width of a hidden fully connected layer in the place of the average pooling; None for none.
        dtype: of the arithmetic; parameters are float32.
    """

    embedding_dim: int
    rows: Mapping[str, Row]
    stem: Stem = Stem()
    fc1: int | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images (B, H, W, 3) to embeddings of length 1, float32 (B, d). Training and use are the same function."""
        stem = self.stem
        x = images.astype(self.dtype)
        x = conv_relu(x, stem.conv1, stem.kernel, strides=2, name="conv1", dtype=self.dtype)  # (B, H/2, W/2, .)
        x = response_norm(max_pool(x, 2))  # (B, H/4, W/4, .)
        x = _InceptionTwo(stem, self.dtype, name="inception_2")(x)
        x = max_pool(response_norm(x), 2)  # (B, H/8, W/8, .)
        for name, row in self.rows.items():
            x = InceptionModule(row, self.dtype, name=f"inception_{name}")(x)
        if self.fc1 is None:
            x = x.mean(axis=(1, 2))  # (B, C)  Table 2's 7x7 average pooling is over all of the map
        else:
            x = x.reshape(x.shape[0], -1)  # (B, H/32 * W/32 * C)
            x = nn.relu(nn.Dense(self.fc1, dtype=self.dtype, kernel_init=relu_init, name="fc1")(x))
        x = nn.Dense(self.embedding_dim, dtype=self.dtype, kernel_init=linear_init, name="fc")(x)
        return l2_normalise(x)


class _InceptionTwo(nn.Module):
    """Table 2's inception (2), of which only the 3x3 column is filled."""

    stem: Stem
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = conv_relu(x, self.stem.reduction, 1, name="reduce_3x3", dtype=self.dtype)
        return conv_relu(x, self.stem.three, 3, name="conv_3x3", dtype=self.dtype)
