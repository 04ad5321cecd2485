"""IResNet: ResNets with the improved residual unit, ArcFace's networks (arXiv 1801.07698, Sec. 3.1).

Nothing is thrown away early: the first convolution keeps all pixels of a 112x112 face, and the last map of 7x7 places
goes to the embedding place by place, without pooling. A unit is batch norm, convolution, batch norm, PReLU, convolution
(with the stride), batch norm, and no activation after the sum. The head is batch norm, dropout, a matrix, batch norm.

Not here: the angular margin and the class centres (`margins.py`, `head.py`), which need the embedding's direction only.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from arcface_jax.models.layers import LAST_LAYER, SqueezeExcite, batch_norm
from faces.errors import ConfigError
from faces.initialisers import linear_init
from faces.layers import PReLU, padded_conv

# Units of each stage. PAPER Sec. 3.1: ResNet50 and ResNet100. CHOICE: the paper does not divide the layers among the
# stages; these numbers, the other depths and the order within a unit are those of the authors' code.
IRESNET_18: Sequence[int] = (2, 2, 2, 2)
IRESNET_34: Sequence[int] = (3, 4, 6, 3)
IRESNET_50: Sequence[int] = (3, 4, 14, 3)
IRESNET_100: Sequence[int] = (3, 13, 30, 3)
IRESNET_200: Sequence[int] = (6, 26, 60, 6)


class IResNet(nn.Module):
    """Images (B, H, W, 3), normalised -> embeddings (B, embedding_dim), float32, of any length.

    The length is left to the caller: plain softmax, Eq. (1), uses it, and so does the sum with the mirrored image.

    `units`, `widths`, `strides`: number of units, channels and first unit's stride, stage by stage. `patch`: side of
    the blocks of pixels that become one with more channels; `stem_stride`: of the first convolution. Both are 1 in the
    published networks and 2 in ours for a CPU. `dropout`: rate, before the last matrix. `subsampled`, `reduction`: of
    `Unit`.
    """

    embedding_dim: int
    dtype: DTypeLike
    units: Sequence[int]
    widths: Sequence[int] = (64, 128, 256, 512)
    strides: Sequence[int] = (2, 2, 2, 2)
    patch: int = 1
    stem_stride: int = 1
    dropout: float = 0.4  # CHOICE: Sec. 3.1 gives no rate; this is that of the authors' code
    subsampled: bool = False
    reduction: int = 0

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        if any(size % self.patch for size in images.shape[1:3]):
            raise ConfigError(
                f"rows and columns of the images must be multiples of {self.patch}, not {images.shape[1:3]}"
            )
        x = blocks_to_channels(images.astype(self.dtype), self.patch)  # (B, H/patch, W/patch, 3 patch^2)
        x = padded_conv(self.widths[0], 3, self.stem_stride, self.dtype, name="stem_conv")(x)
        x = PReLU(name="stem_prelu")(batch_norm(train, self.dtype, "stem_norm")(x))
        stages = zip(self.units, self.widths, self.strides, strict=True)
        for stage, (units, width, stride) in enumerate(stages, start=1):
            for unit in range(1, units + 1):
                name = f"stage{stage}_unit{unit}"
                step = stride if unit == 1 else 1
                x = Unit(width, step, self.dtype, self.subsampled, self.reduction, name=name)(x, train)
        # PAPER Sec. 3.1: BN-Dropout-FC-BN.
        x = batch_norm(train, self.dtype, "head_norm")(x)
        # Row by row, column by column, channels innermost: published weights, whose channels are outermost, need their
        # matrix reordered.
        x = x.reshape(x.shape[0], -1)  # (B, h w c)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(self.embedding_dim, dtype=self.dtype, kernel_init=linear_init, name=LAST_LAYER)(x)
        # Its scale is fixed at 1, which the authors' code counts as d parameters more: no coordinate outweighs others.
        return batch_norm(train, jnp.float32, "embedding_norm", use_scale=False)(x)


class Unit(nn.Module):
    """The improved residual unit: BN, conv, BN, PReLU, conv of `stride`, BN, plus the input.

    Where the shape changes the input comes through a 1x1 convolution of the same stride and batch norm. With
    `subsampled` that is so where the channels change; where the stride alone does, the pixels it leaves out are left
    out. `reduction`: of the squeeze-and-excitation before the sum; 0 for none.
    """

    features: int
    stride: int
    dtype: DTypeLike
    subsampled: bool = False
    reduction: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        inner = batch_norm(train, self.dtype, "norm1")(x)
        inner = padded_conv(self.features, 3, 1, self.dtype, name="conv1")(inner)
        inner = PReLU(name="prelu")(batch_norm(train, self.dtype, "norm2")(inner))
        inner = padded_conv(self.features, 3, self.stride, self.dtype, init=linear_init, name="conv2")(inner)
        inner = batch_norm(train, self.dtype, "norm3")(inner)
        if self.reduction:
            inner = SqueezeExcite(self.dtype, self.reduction, name="attention")(inner)
        if x.shape[-1] == self.features and self.subsampled:
            x = x[:, :: self.stride, :: self.stride]
        elif self.stride != 1 or x.shape[-1] != self.features:
            x = padded_conv(self.features, 1, self.stride, self.dtype, init=linear_init, name="shortcut_conv")(x)
            x = batch_norm(train, self.dtype, "shortcut_norm")(x)
        return x + inner


def blocks_to_channels(x: jax.Array, side: int) -> jax.Array:
    """(B, H, W, C) -> (B, H/side, W/side, side^2 C): each block of pixels becomes one with all of their channels."""
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // side, side, width // side, side, channels)
    return jnp.swapaxes(blocks, 2, 3).reshape(batch, height // side, width // side, side * side * channels)
