"""Layers that the parts of RetinaFace's network share: convolutions that see zeros outside each image, batch norm.

Not here: the network (`network.py`) and its bodies (`bodies.py`).
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from faces import ops
from faces.depthwise_fast import depthwise_conv2d
from faces.initialisers import linear_init, relu_init

EPSILON = 1e-5  # of batch norm, PyTorch's default

Inside = Callable[[jax.Array], jax.Array]
"""Sets to zero what lies outside each image in a map (B, h, w, C) of any stride."""


class ConvNorm(nn.Module):
    """Convolution, batch norm, and LeakyReLU of `slope` unless that is None."""

    features: int
    window: int
    stride: int = 1
    slope: float | None = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, inside: Inside) -> jax.Array:
        init = linear_init if self.slope is None else relu_init
        x = inside(x) if self.window > 1 else x
        x = batch_norm(train, "norm")(Conv(self.features, self.window, self.stride, init, name="conv")(x))
        return x if self.slope is None else nn.leaky_relu(x, self.slope)


class Conv(nn.Module):
    """Square convolution with window // 2 zeros on every side."""

    features: int
    window: int
    stride: int
    init: Callable[..., jax.Array] = relu_init
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.init, (self.window, self.window, x.shape[-1], self.features))
        if self.window == 1:
            x = x[:, :: self.stride, :: self.stride]
            x = (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:-1], self.features)
        else:
            side = self.window // 2
            x = ops.conv2d(x, kernel, self.stride, ((side, side), (side, side)))
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,))[None, None, None, :]
        return x


class Depthwise(nn.Module):
    """3x3 convolution of each channel by itself."""

    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", relu_init, (3, 3, 1, x.shape[-1]))
        return depthwise_conv2d(x, kernel[:, :, 0], self.stride, ((1, 1), (1, 1)))


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """Batch norm as in PyTorch: eps 1e-5, running statistics that keep 0.9 of themselves."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=EPSILON, name=name)
