"""Layers that the parts of RetinaFace's network (arXiv 1905.00641, Sec. 4.2) share: they see zeros outside each image.

Not here: the network (`network.py`) and its bodies (`bodies.py`).
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from faces.initialisers import linear_init, relu_init
from faces.layers import padded_conv

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
        x = batch_norm(train, "norm")(padded_conv(self.features, self.window, self.stride, init=init, name="conv")(x))
        return x if self.slope is None else nn.leaky_relu(x, self.slope)


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """Batch norm as in PyTorch: eps 1e-5, running statistics that keep 0.9 of themselves."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=EPSILON, name=name)
