"""Layers that the networks of ArcFace (arXiv 1801.07698, Sec. 3.1) and of its relatives share.

Convolutions with the padding of the published weights, PReLU, and batch norm as those networks set it up.

Not here: the networks themselves (`iresnet.py`, `mobilefacenet.py`, `sphereface.py`).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from faces import ops
from faces.depthwise_fast import depthwise_conv2d
from faces.initialisers import linear_init, relu_init

LAST_LAYER = "fc"
"""Name of the matrix that makes the embedding, in every network here."""


class Conv(nn.Module):
    """Square convolution with as many zeros on every side as keep a map of stride 1 its size.

    Of an even size "SAME" would pad strides of 2 at the end only, and published weights would see every pixel one step
    to the side of where they were trained.
    """

    features: int
    window: int
    stride: int
    dtype: DTypeLike
    use_bias: bool = False
    init: Callable[..., jax.Array] = relu_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.init, (self.window, self.window, x.shape[-1], self.features))
        side = self.window // 2
        x = ops.conv2d(x, kernel.astype(self.dtype), self.stride, ((side, side), (side, side)))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.astype(self.dtype)[None, None, None, :]
        return x


class Pointwise(nn.Module):
    """1x1 convolution without bias, as one matrix product over all pixels."""

    features: int
    dtype: DTypeLike
    stride: int = 1
    init: Callable[..., jax.Array] = linear_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.init, (1, 1, x.shape[-1], self.features))
        x = x[:, :: self.stride, :: self.stride]
        # As a matrix: of more than two dimensions XLA on CPUs writes a transposed copy for the kernel's gradient.
        pixels = x.reshape(-1, x.shape[-1])  # (B h w, channels)
        return (pixels @ kernel[0, 0].astype(self.dtype)).reshape(*x.shape[:-1], self.features)


class Depthwise(nn.Module):
    """3x3 convolution of each channel by itself, or of each group of `channels_per_group` neighbouring channels."""

    stride: int
    dtype: DTypeLike
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
        return jnp.where(wide > 0.0, wide, slope * wide).astype(x.dtype)


def batch_norm(train: bool, dtype: DTypeLike, name: str, epsilon: float = 2e-5, use_scale: bool = True) -> nn.BatchNorm:
    """Batch norm as the published IResNets set it: eps 2e-5, running statistics that keep 0.9 of themselves.

    CHOICE: Sec. 3.1 names the framework, MXNet, and not these values, which are its code's.
    """
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=epsilon, use_scale=use_scale, dtype=dtype, name=name
    )
