"""OpenFace's networks: Table 2 of FaceNet as its open reimplementation reads it (nn4 and nn4.small2, Torch 7).

Batch norm follows every convolution. nn4.small2 keeps half of the modules: 4b, 4c and 4d are gone, 5a and 5b shrunk.
Two habits of Torch make the function differ from Table 2 where the numbers of parameters do not. In-module poolings
have no padding and step 2 (max) or 3 (L2), also where the module's stride is 1; the smaller map is set into the middle
of a zero map of the module's size. And stride-2 layers pad both sides alike, where "SAME" pads more at the end.
The definitions are `models/openface/nn4*.def.lua` in cmusatyalab/openface; the module is `nn.Inception` of its Torch.

Not here: OpenFace's training, its alignment, and its weights.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from facenet_jax.models.inception import NN2_ROWS, Row
from facenet_jax.models.layers import l2_pool, max_pool, response_norm
from faces.initialisers import linear_init
from faces.layers import padded_conv
from faces.ops import l2_normalise

NN4_ROWS: Mapping[str, Row] = {
    **NN2_ROWS,
    "5a": NN2_ROWS["5a"]._replace(five=None),
    "5b": NN2_ROWS["5b"]._replace(five=None),
}

NN4_SMALL2_ROWS: Mapping[str, Row] = {
    **{name: NN2_ROWS[name] for name in ("3a", "3b", "3c", "4a", "4e")},
    "5a": Row(256, (96, 384), None, "l2", 96),
    "5b": Row(256, (96, 384), None, "max", 96),
}


class OpenFaceNet(nn.Module):
    """Stem, inception modules, average over the whole map, fully connected, L2.

    Attributes:
        embedding_dim: d, the length of the embedding.
        rows: the inception modules in order.
        dtype: of the arithmetic; parameters and batch statistics are float32.
    """

    embedding_dim: int
    rows: Mapping[str, Row]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images (B, H, W, 3) to embeddings of length 1, float32 (B, d); `train` takes the batch's own statistics."""
        x = images.astype(self.dtype)
        x = _conv_norm_relu(x, 64, 7, 2, name="conv1", dtype=self.dtype, train=train)  # (B, H/2, W/2, 64)
        x = response_norm(max_pool(x, 2, _both_sides(3)))  # (B, H/4, W/4, 64)
        x = _InceptionTwo(self.dtype, name="inception_2")(x, train)
        x = max_pool(response_norm(x), 2, _both_sides(3))  # (B, H/8, W/8, 192)
        for name, row in self.rows.items():
            x = DepthConcatInception(row, self.dtype, name=f"inception_{name}")(x, train)
        x = x.mean(axis=(1, 2))  # (B, C)
        x = nn.Dense(self.embedding_dim, dtype=self.dtype, kernel_init=linear_init, name="fc")(x)
        return l2_normalise(x)


class DepthConcatInception(nn.Module):
    """An inception module as Torch's `nn.Inception` makes it; its channels come in the order 3x3, 5x5, pool, 1x1."""

    row: Row
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(B, H, W, C) to (B, H / stride, W / stride, sum of the branches' channels)."""

        def conv(x: jax.Array, name: str, features: int, kernel: int, stride: int = 1) -> jax.Array:
            return _conv_norm_relu(x, features, kernel, stride, name=name, dtype=self.dtype, train=train)

        row = self.row
        branches = [conv(conv(x, "reduce_3x3", row.three[0], 1), "conv_3x3", row.three[1], 3, row.stride)]
        if row.five:
            branches.append(conv(conv(x, "reduce_5x5", row.five[0], 1), "conv_5x5", row.five[1], 5, row.stride))
        pooled = max_pool(x, 2, "VALID") if row.pool == "max" else l2_pool(x, 3, "VALID")
        if row.projection:
            pooled = conv(pooled, "pool_projection", row.projection, 1)
        branches.append(_centred(pooled, *branches[0].shape[1:3]))
        if row.one:
            branches.append(conv(x, "conv_1x1", row.one, 1))
        return jnp.concatenate(branches, axis=-1)


class _InceptionTwo(nn.Module):
    """Table 2's inception (2), of which only the 3x3 column is filled."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = _conv_norm_relu(x, 64, 1, 1, name="reduce_3x3", dtype=self.dtype, train=train)
        return _conv_norm_relu(x, 192, 3, 1, name="conv_3x3", dtype=self.dtype, train=train)


def _conv_norm_relu(
    x: jax.Array, features: int, kernel: int, stride: int, *, name: str, dtype: DTypeLike, train: bool
) -> jax.Array:
    """Convolution with bias, batch norm with Torch's constants, ReLU; called inside a module's compact method."""
    conv = padded_conv(features, kernel, stride, dtype, use_bias=True, name=name)
    norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=dtype, name=f"{name}_norm")
    return nn.relu(norm(conv(x)))


def _both_sides(kernel: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Torch's padding: half a kernel before and after."""
    half = kernel // 2
    return ((half, half), (half, half))


def _centred(x: jax.Array, height: int, width: int) -> jax.Array:
    """`x` in the middle of a zero map of the given size, an odd row or column of zeros going to the end."""
    rows, columns = height - x.shape[1], width - x.shape[2]
    return jnp.pad(x, ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0)))
