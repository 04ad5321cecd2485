"""Inception-ResNet-v1 (Szegedy et al. 2016), in which FaceNet (arXiv 1503.03832, Sec. 3.3) is best known today.

FaceNet's published open weights are of this network, not of Table 2's. It keeps Table 2's idea, branches side by side,
and makes each module a correction: the branches are joined, projected back to the input's channels by a 1x1
convolution, scaled down and added to the input. Two modules between the groups halve the map. The layout is that of
davidsandberg/facenet, with batch norm, without scale, after every convolution but the projections.

Not here: published weights by their names (`published.py`), and the softmax training that made them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from facenet_jax.models.layers import max_pool
from faces import layers
from faces.initialisers import xavier_init
from faces.ops import l2_normalise

EPSILON = 1e-3
"""Added to the variance in every batch norm."""


class ConvSpec(NamedTuple):
    """A convolution with batch norm and ReLU: output channels, rows and columns of its kernel, stride, padding."""

    features: int
    window: tuple[int, int]
    stride: int = 1
    padding: str = "SAME"


Branch = Sequence[ConvSpec]
"""Convolutions one after the other; of none, in a reduction, the branch is a max pooling."""


class Residual(NamedTuple):
    """The modules of one map size: branches, number of modules, factor of what they add."""

    branches: Sequence[Branch]
    number: int
    scale: float


def _halving(features: int) -> ConvSpec:
    return ConvSpec(features, (3, 3), 2, "VALID")


STEM: Branch = (ConvSpec(32, (3, 3), 2, "VALID"), ConvSpec(32, (3, 3), 1, "VALID"), ConvSpec(64, (3, 3)))
AFTER_POOL: Branch = (ConvSpec(80, (1, 1)), ConvSpec(192, (3, 3), 1, "VALID"), _halving(256))

BLOCK_35 = Residual(
    (
        (ConvSpec(32, (1, 1)),),
        (ConvSpec(32, (1, 1)), ConvSpec(32, (3, 3))),
        (ConvSpec(32, (1, 1)), ConvSpec(32, (3, 3)), ConvSpec(32, (3, 3))),
    ),
    number=5,
    scale=0.17,
)
BLOCK_17 = Residual(
    ((ConvSpec(128, (1, 1)),), (ConvSpec(128, (1, 1)), ConvSpec(128, (1, 7)), ConvSpec(128, (7, 1)))),
    number=10,
    scale=0.1,
)
BLOCK_8 = Residual(
    ((ConvSpec(192, (1, 1)),), (ConvSpec(192, (1, 1)), ConvSpec(192, (1, 3)), ConvSpec(192, (3, 1)))),
    number=5,
    scale=0.2,
)
MIXED_6A: Sequence[Branch] = (
    (_halving(384),),
    (ConvSpec(192, (1, 1)), ConvSpec(192, (3, 3)), _halving(256)),
    (),
)
MIXED_7A: Sequence[Branch] = (
    (ConvSpec(256, (1, 1)), _halving(384)),
    (ConvSpec(256, (1, 1)), _halving(256)),
    (ConvSpec(256, (1, 1)), ConvSpec(256, (3, 3)), _halving(256)),
    (),
)


class InceptionResNetV1(nn.Module):
    """Images (B, H, W, 3), normalised -> embeddings (B, embedding_dim), float32, of length 1.

    `block_35`, `block_17`, `block_8`: the modules of the three map sizes. `dropout`: rate before the last matrix.
    """

    embedding_dim: int
    dtype: DTypeLike = jnp.float32
    block_35: Residual = BLOCK_35
    block_17: Residual = BLOCK_17
    block_8: Residual = BLOCK_8
    dropout: float = 0.2

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        x = images.astype(self.dtype)
        for name, conv in zip(("conv_1a", "conv_2a", "conv_2b"), STEM, strict=True):
            x = ConvNormRelu(conv, self.dtype, name=name)(x, train)  # (B, 77, 77, 64) of 160x160
        x = max_pool(x, 2, "VALID")
        for name, conv in zip(("conv_3b", "conv_4a", "conv_4b"), AFTER_POOL, strict=True):
            x = ConvNormRelu(conv, self.dtype, name=name)(x, train)  # (B, 17, 17, 256)
        x = self._residuals(x, "block_35", self.block_35, train)
        x = Reduction(MIXED_6A, self.dtype, name="mixed_6a")(x, train)  # (B, 8, 8, 896)
        x = self._residuals(x, "block_17", self.block_17, train)
        x = Reduction(MIXED_7A, self.dtype, name="mixed_7a")(x, train)  # (B, 3, 3, 1792)
        x = self._residuals(x, "block_8", self.block_8, train)
        last = ResidualModule(self.block_8.branches, 1.0, False, self.dtype, name="block_8_last")
        x = last(x, train).mean(axis=(1, 2))  # (B, 1792)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(self.embedding_dim, False, self.dtype, kernel_init=xavier_init, name="fc")(x)
        return l2_normalise(_norm(train, jnp.float32, "embedding_norm")(x))

    def _residuals(self, x: jax.Array, name: str, modules: Residual, train: bool) -> jax.Array:
        for number in range(1, modules.number + 1):
            module = ResidualModule(modules.branches, modules.scale, True, self.dtype, name=f"{name}_{number}")
            x = module(x, train)
        return x


class ConvNormRelu(nn.Module):
    """Convolution without bias, batch norm without scale, ReLU."""

    conv: ConvSpec
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        features, window, stride, padding = self.conv
        x = layers.Conv(features, window, stride, padding, False, self.dtype, xavier_init, name="conv")(x)
        return nn.relu(_norm(train, self.dtype, "norm")(x))


class ResidualModule(nn.Module):
    """x + scale * projection(branches of x), and a ReLU after the sum unless it is the network's last module."""

    branches: Sequence[Branch]
    scale: float
    ends_in_relu: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(B, H, W, C) to the same shape."""
        mixed = jnp.concatenate(_outputs(self.branches, x, self.dtype, train), axis=-1)
        up = layers.Conv(x.shape[-1], (1, 1), dtype=self.dtype, init=xavier_init, name="projection")(mixed)
        x = x + self.scale * up
        return nn.relu(x) if self.ends_in_relu else x


class Reduction(nn.Module):
    """Branches of stride 2 and a max pooling, side by side: half the rows and columns, more channels."""

    branches: Sequence[Branch]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return jnp.concatenate(_outputs(self.branches, x, self.dtype, train), axis=-1)


def _outputs(branches: Sequence[Branch], x: jax.Array, dtype: DTypeLike, train: bool) -> list[jax.Array]:
    """What each branch makes of `x`; its convolutions become children of the calling module."""
    outputs = []
    for branch, convs in enumerate(branches):
        y = x if convs else max_pool(x, 2, "VALID")
        for number, conv in enumerate(convs, start=1):
            y = ConvNormRelu(conv, dtype, name=f"branch{branch}_conv{number}")(y, train)
        outputs.append(y)
    return outputs


def _norm(train: bool, dtype: DTypeLike, name: str) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.995, epsilon=EPSILON, use_scale=False, dtype=dtype, name=name
    )
