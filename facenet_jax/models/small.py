"""A family of small residual networks of ours, for a CPU; FaceNet has none.

Space-to-depth by 2, so that the first convolution works on a quarter of the pixels; a convolution of stride 2; stages
of basic residual units (two 3x3 convolutions, batch norm, ReLU); and one matrix from the last map, place by place, to
the embedding: faces in a fixed frame have their eyes and mouths in fixed places, which an average would throw away.

Not here: the paper's networks (`nn1.py`, `inception.py`).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from faces import ops
from faces.initialisers import linear_init
from faces.layers import Conv

Stage = tuple[int, int, int]
"""Channels, number of units, stride of the first unit."""

SMALL_STAGES: Sequence[Stage] = ((64, 1, 1), (128, 2, 2), (256, 2, 2))
TINY_STAGES: Sequence[Stage] = ((48, 1, 2), (96, 1, 2))


class SmallNet(nn.Module):
    """Images (B, H, W, 3) with even H and W -> embeddings (B, embedding_dim), float32, of length 1."""

    embedding_dim: int
    dtype: DTypeLike
    stages: Sequence[Stage]
    stem: int

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        x = space_to_depth(images.astype(self.dtype))  # (B, H/2, W/2, 12)
        x = self._conv(x, self.stem, 2, "conv1")
        x = nn.relu(self._norm(train, "norm1")(x))  # (B, H/4, W/4, stem)
        for number, (channels, units, stride) in enumerate(self.stages, start=1):
            for unit in range(units):
                x = self._unit(x, channels, stride if unit == 0 else 1, train, f"unit{number}{'abcdefgh'[unit]}")
        x = x.reshape(x.shape[0], -1)  # (B, h w c)
        x = nn.Dense(self.embedding_dim, dtype=self.dtype, kernel_init=linear_init, name="fc")(x)
        x = self._norm(train, "norm2")(x)
        return ops.l2_normalise(x)

    def _conv(self, x: jax.Array, channels: int, stride: int, name: str) -> jax.Array:
        return Conv(channels, (3, 3), stride, use_bias=False, dtype=self.dtype, name=name)(x)

    def _norm(self, train: bool, name: str) -> nn.BatchNorm:
        return nn.BatchNorm(use_running_average=not train, momentum=0.95, dtype=self.dtype, name=name)

    def _unit(self, x: jax.Array, channels: int, stride: int, train: bool, name: str) -> jax.Array:
        inner = nn.relu(self._norm(train, f"{name}_norm1")(self._conv(x, channels, stride, f"{name}_conv1")))
        inner = self._norm(train, f"{name}_norm2")(self._conv(inner, channels, 1, f"{name}_conv2"))
        if stride != 1:
            x = nn.avg_pool(x, (stride, stride), strides=(stride, stride), padding="SAME")
        if x.shape[-1] != channels:
            name = f"{name}_project"
            x = nn.Dense(channels, use_bias=False, dtype=self.dtype, kernel_init=linear_init, name=name)(x)
        return nn.relu(x + inner)


def space_to_depth(x: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, H/2, W/2, 4C): each 2x2 block of pixels becomes one with four times the channels."""
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.swapaxes(blocks, 2, 3).reshape(batch, height // 2, width // 2, 4 * channels)
