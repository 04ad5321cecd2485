"""Layers of SCRFD's networks (arXiv 2105.04714, Sec. 4): convolutions that have taken up the norm that followed them.

The networks are for finding faces and not for training: a batch norm is a factor and a sum for each channel by then,
and `weights.py` multiplies them into the kernel, as the published ONNX files have it.

Not here: the networks (`bodies.py`, `network.py`).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from faces.initialisers import relu_init
from faces.layers import Depthwise, padded_conv

EPSILON = 1e-5  # of group norm, PyTorch's default

Inside = Callable[[jax.Array], jax.Array]
"""Sets to zero what lies outside each image in a map (B, h, w, C) of any stride."""


class Conv(nn.Module):
    """Convolution with bias, group norm of `groups` unless that is 0, and ReLU if `is_bent`."""

    features: int
    window: int
    stride: int = 1
    groups: int = 0
    is_bent: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> jax.Array:
        x = inside(x) if self.window > 1 else x
        x = padded_conv(self.features, self.window, self.stride, use_bias=True, init=relu_init, name="conv")(x)
        return _ended(x, self.groups, self.is_bent, inside)


class DepthwiseConv(nn.Module):
    """3x3 convolution of each channel by itself with bias, group norm of `groups` unless that is 0, and ReLU."""

    stride: int = 1
    groups: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> jax.Array:
        x = Depthwise(self.stride, name="conv")(inside(x))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return _ended(x + bias[None, None, None, :], self.groups, True, inside)


class Separable(nn.Module):
    """`DepthwiseConv` of `stride`, then 1x1 to `features`."""

    features: int
    stride: int = 1
    groups: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> jax.Array:
        x = DepthwiseConv(self.stride, self.groups, name="depthwise")(x, inside)
        return Conv(self.features, 1, groups=self.groups, name="pointwise")(x, inside)


class GroupNorm(nn.Module):
    """Mean 0 and variance 1 of each of `groups` groups of channels over each image, then a factor and a sum."""

    groups: int

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        own = inside(jnp.ones((*x.shape[:3], 1), x.dtype))  # (B, h, w, 1)
        own = own[..., None]  # (B, h, w, 1, 1)
        grouped = x.reshape(*x.shape[:3], self.groups, -1)  # (B, h, w, groups, channels of one)
        count = own.sum(axis=(1, 2, 4), keepdims=True) * grouped.shape[-1]  # (B, 1, 1, 1, 1)
        mean = (grouped * own).sum(axis=(1, 2, 4), keepdims=True) / jnp.maximum(count, 1)  # (B, 1, 1, groups, 1)
        variance = (jnp.square(grouped - mean) * own).sum(axis=(1, 2, 4), keepdims=True) / jnp.maximum(count, 1)
        normed = ((grouped - mean) * jax.lax.rsqrt(variance + EPSILON)).reshape(x.shape)
        return normed * scale[None, None, None, :] + bias[None, None, None, :]


def _ended(x: jax.Array, groups: int, is_bent: bool, inside: Inside) -> jax.Array:
    x = GroupNorm(groups, name="norm")(x, inside) if groups else x
    return nn.relu(x) if is_bent else x
