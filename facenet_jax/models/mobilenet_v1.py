"""MobileNetV1-FaceNet: MobileNetV1 (Howard et al., arXiv 1704.04861) in the place of FaceNet's networks (Sec. 3.3).

Each 3x3 convolution of a plain network becomes a depthwise one, which looks around, and a 1x1 one, which mixes
channels: an eighth to a ninth of the work. The last map, 1024 channels on 5x5 places of a 160x160 face, is averaged; a
matrix of 1024 x 128 and a batch norm make the embedding. The layout is that of bubbliiiing/facenet-pytorch, which
trains it by triplets and a classifier together (`../auxiliary.py`).

Not here: published weights by their names (`mobilenet_v1_names.py`).
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from faces.initialisers import linear_init
from faces.layers import Depthwise, padded_conv
from faces.ops import l2_normalise

STEM = 32
"""Channels of the first convolution, of stride 2."""
BLOCKS: Sequence[tuple[int, int]] = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
"""Output channels and stride of each depthwise-separable block, Table 1 of MobileNetV1."""
EPSILON = 1e-5
"""Added to the variance in the batch norms of the convolutions."""
LAST_EPSILON = 1e-3
"""The same in the embedding's batch norm."""


class MobileNetV1(nn.Module):
    """Images (B, H, W, 3), of 0 to 1 -> embeddings (B, embedding_dim), float32, of length 1.

    `stem`: channels of the first convolution. `blocks`: output channels and stride of the others. `dropout`: rate
    before the last matrix.
    """

    embedding_dim: int
    dtype: DTypeLike = jnp.float32
    stem: int = STEM
    blocks: Sequence[tuple[int, int]] = BLOCKS
    dropout: float = 0.5

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        norm = partial(_norm, train, self.dtype)
        x = padded_conv(self.stem, 3, 2, self.dtype, name="conv1")(images.astype(self.dtype))
        x = nn.relu6(norm("conv1_norm")(x))  # (B, H/2, W/2, stem)
        for number, (features, stride) in enumerate(self.blocks, start=1):
            x = SeparableBlock(features, stride, self.dtype, name=f"block{number}")(x, train)
        x = x.mean(axis=(1, 2))  # (B, 1024), of 5x5 places for 160x160 images
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(self.embedding_dim, False, self.dtype, kernel_init=linear_init, name="fc")(x)
        return l2_normalise(_norm(train, jnp.float32, "embedding_norm", LAST_EPSILON)(x))


class SeparableBlock(nn.Module):
    """3x3 depthwise convolution of `stride`, then 1x1 to `features`; batch norm and min(max(x, 0), 6) after each."""

    features: int
    stride: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(B, H, W, C) to (B, H / stride, W / stride, features), sizes rounded up."""
        norm = partial(_norm, train, self.dtype)
        x = nn.relu6(norm("depthwise_norm")(Depthwise(self.stride, self.dtype, name="depthwise")(x)))
        return nn.relu6(norm("pointwise_norm")(padded_conv(self.features, 1, dtype=self.dtype, name="pointwise")(x)))


def _norm(train: bool, dtype: DTypeLike, name: str, epsilon: float = EPSILON) -> nn.BatchNorm:
    """Running statistics keep 0.9 of themselves, PyTorch's default, which the repository leaves as it is."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=epsilon, dtype=dtype, name=name)
