"""The convolution of every network here that needs no more: `faces.ops.conv2d` as a Flax module.

`flax.linen.Conv` would do the same arithmetic; on a CPU it takes half as long again for an Inception network, most of
whose kernels are 1x1 (see `faces.ops.conv2d`).

Not here: layers that belong to one paper's networks (`layers.py` in its `models`).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from faces import ops
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
