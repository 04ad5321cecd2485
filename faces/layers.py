"""Layers of several papers' networks: convolutions, by `faces.ops` and as published weights pad them, and PReLU.

`flax.linen.Conv` would do the same arithmetic; on a CPU it takes half as long again for an Inception network, most of
whose kernels are 1x1 (see `faces.ops.conv2d`).

Not here: layers that belong to one paper's networks (`layers.py` in its package).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from faces import ops
from faces.depthwise_fast import depthwise_conv2d
from faces.initialisers import relu_init


class Conv(nn.Module):
    """(B, H, W, C) -> (B, H', W', features) in `dtype`; parameters `kernel` (rows, columns, C, features) and `bias`."""

    features: int
    window: tuple[int, int]
    stride: int = 1
    padding: ops.Padding = "SAME"
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32
    init: Callable[..., jax.Array] = relu_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.init, (*self.window, x.shape[-1], self.features))
        x = ops.conv2d(jnp.asarray(x, self.dtype), jnp.asarray(kernel, self.dtype), self.stride, self.padding)
        if not self.use_bias:
            return x
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return x + jnp.asarray(bias, self.dtype)[None, None, None, :]


def padded_conv(
    features: int,
    window: int,
    stride: int = 1,
    dtype: DTypeLike = jnp.float32,
    *,
    name: str,
    use_bias: bool = False,
    init: Callable[..., jax.Array] = relu_init,
) -> Conv:
    """Square `Conv` with window // 2 zeros on every side, which keep a map of stride 1 its size.

    Of an even size "SAME" would pad strides of 2 at the end only, and weights that MXNet or PyTorch trained would see
    every pixel one step to the side of where they were trained.
    """
    side = window // 2
    return Conv(features, (window, window), stride, ((side, side), (side, side)), use_bias, dtype, init, name=name)


class Depthwise(nn.Module):
    """3x3 convolution of each channel by itself, or of each group of `channels_per_group` neighbouring channels."""

    stride: int
    dtype: DTypeLike = jnp.float32
    channels_per_group: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # The third dimension is what one output sees of the channels, so that the fan-in is right.
        kernel = self.param("kernel", relu_init, (3, 3, self.channels_per_group, x.shape[-1])).astype(self.dtype)
        # A grouped convolution is a sum of depthwise ones, over the members of the groups.
        size, padding = self.channels_per_group, ((1, 1), (1, 1))
        members = [x] if size == 1 else [jnp.repeat(x[..., m::size], size, axis=-1) for m in range(size)]
        parts = [depthwise_conv2d(x, kernel[:, :, m], self.stride, padding) for m, x in enumerate(members)]
        return functools.reduce(jnp.add, map(jnp.asarray, parts))


class PReLU(nn.Module):
    """Learned slope below zero, one for each channel: max(x, 0) + slope * min(x, 0)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # CHOICE: the papers are silent; 0.25 is where MXNet, PyTorch and Caffe start, and PReLU's own paper.
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],))
        wide = x.astype(jnp.float32)
        slope = slope.reshape((1,) * (x.ndim - 1) + (-1,))
        if ops.are_definitions():  # XLA makes one loop of either; where every operation is a loop, a choice is slow
            return (jnp.maximum(wide, 0.0) + slope * jnp.minimum(wide, 0.0)).astype(x.dtype)
        return jnp.where(wide > 0.0, wide, slope * wide).astype(x.dtype)
