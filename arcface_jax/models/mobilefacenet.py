"""MobileFaceNet (Chen et al. 2018, Table 1), the small network beside ArcFace (arXiv 1801.07698, Sec. 3.1).

Inverted bottlenecks: a 1x1 convolution widens, a depthwise one looks around, a 1x1 without activation narrows. The last
map meets a depthwise kernel of its own size, so that each place keeps a weight of its own, where MobileNets average.

Not here: the angular margin and the class centres (`margins.py`, `head.py`).
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from arcface_jax.models.layers import LAST_LAYER, batch_norm
from faces.initialisers import linear_init
from faces.layers import Depthwise, PReLU, padded_conv

Row = tuple[float, int, int, int]
"""Expansion t, output channels c, number n and first stride s of bottlenecks, as in Table 1 of MobileFaceNet."""

TABLE_1_ROWS: Sequence[Row] = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
# The authors' PyTorch code doubles what runs between the bottlenecks and keeps their inner widths.
MBF_ROWS: Sequence[Row] = ((1, 128, 5, 2), (2, 256, 1, 2), (1, 256, 6, 1), (2, 256, 1, 2), (1, 256, 2, 1))
# Twice as wide again, and deeper; no depthwise convolution before the bottlenecks.
MBF_LARGE_ROWS: Sequence[Row] = (
    (0.5, 256, 2, 1), (0.5, 256, 9, 2), (1, 512, 1, 2), (0.5, 512, 12, 1), (1, 512, 1, 2), (0.5, 512, 4, 1)
)  # fmt: skip


class MobileFaceNet(nn.Module):
    """Images (B, H, W, 3), normalised -> embeddings (B, embedding_dim), float32, of any length.

    `rows`: the bottlenecks. `stem`: channels before them. `group`: channels that one output of the first depthwise
    convolution sees; 0: there is none. `epsilon`: of batch norm. `fixed_scale`: the last matrix has a bias and its
    batch norm no scale, as in an IResNet; otherwise the reverse. `flat`: the last map meets, in place of the depthwise
    kernel of its size, a 1x1 convolution to so many channels, all of whose places go to the matrix; 0 for the kernel.
    """

    embedding_dim: int
    dtype: DTypeLike
    rows: Sequence[Row] = TABLE_1_ROWS
    stem: int = 64
    group: int = 1
    epsilon: float = 1e-3  # CHOICE: the papers are silent; ArcFace's authors left it at MXNet's default
    fixed_scale: bool = False
    flat: int = 0

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        norm = partial(batch_norm, train, self.dtype, epsilon=self.epsilon)
        x = padded_conv(self.stem, 3, 2, self.dtype, name="conv1")(images.astype(self.dtype))
        x = PReLU(name="conv1_prelu")(norm("conv1_norm")(x))  # (B, H/2, W/2, stem)
        if self.group:
            x = Depthwise(1, self.dtype, self.group, name="conv2")(x)
            x = PReLU(name="conv2_prelu")(norm("conv2_norm")(x))
        blocks = [(t, c, s if first else 1) for t, c, n, s in self.rows for first in [True] + [False] * (n - 1)]
        for number, (expansion, features, stride) in enumerate(blocks, start=1):
            inner, name = int(expansion * x.shape[-1]), f"bottleneck{number}"
            x = Bottleneck(inner, features, stride, self.epsilon, self.dtype, name=name)(x, train)
        x = padded_conv(512, 1, dtype=self.dtype, name="conv3")(x)
        x = PReLU(name="conv3_prelu")(norm("conv3_norm")(x))  # (B, H/16, W/16, 512)
        if self.flat:
            x = padded_conv(self.flat, 1, dtype=self.dtype, name="flat")(x)
            x = PReLU(name="flat_prelu")(norm("flat_norm")(x))
            x = x.reshape(x.shape[0], -1)  # (B, h w c)
        else:
            x = norm("global_norm")(GlobalDepthwise(self.dtype, name="global")(x))  # (B, 512)
        last = nn.Dense(self.embedding_dim, self.fixed_scale, self.dtype, kernel_init=linear_init, name=LAST_LAYER)
        x = last(x)
        last_epsilon = 2e-5 if self.fixed_scale else self.epsilon
        return batch_norm(train, jnp.float32, "embedding_norm", last_epsilon, use_scale=not self.fixed_scale)(x)


class Bottleneck(nn.Module):
    """1x1 convolution to `inner` channels, 3x3 depthwise of `stride`, linear 1x1 to `features`; batch norm after each.

    Its input is added where stride and channels leave the shape as it was.
    """

    inner: int
    features: int
    stride: int
    epsilon: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = partial(batch_norm, train, self.dtype, epsilon=self.epsilon)
        y = padded_conv(self.inner, 1, dtype=self.dtype, name="widen")(x)
        y = PReLU(name="widen_prelu")(norm("widen_norm")(y))
        y = Depthwise(self.stride, self.dtype, name="depthwise")(y)
        y = PReLU(name="depthwise_prelu")(norm("depthwise_norm")(y))
        narrow = padded_conv(self.features, 1, dtype=self.dtype, init=linear_init, name="narrow")
        y = norm("narrow_norm")(narrow(y))
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class GlobalDepthwise(nn.Module):
    """One weighted sum of all places for each channel: (B, H, W, C) -> (B, C), GDConv in MobileFaceNet's paper."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", linear_init, (*x.shape[1:3], 1, x.shape[-1]))
        return jnp.einsum("bhwc,hwc->bc", x, kernel[:, :, 0].astype(self.dtype))
