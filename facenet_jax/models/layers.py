"""Layers that the networks of FaceNet (arXiv 1503.03832, Tables 1 and 2) share.

Convolution with ReLU, response normalisation, and the two poolings. Table 2 mixes max pooling with L2 pooling, which
replaces the maximum of a window by the Euclidean length of its values.

Not here: the networks themselves (`nn1.py`, `inception.py`, `mini_inception.py`, `openface.py`).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from faces.layers import Conv

Padding = str | Sequence[tuple[int, int]]


def conv_relu(
    x: jax.Array,
    features: int,
    kernel: int,
    *,
    name: str,
    dtype: DTypeLike,
    strides: int = 1,
) -> jax.Array:
    """Convolution with "SAME" padding and bias, then ReLU.

    To be called inside a Flax module's compact method; the convolution becomes that module's child.

    Args:
        x: (B, H, W, C).
        features: output channels.
        kernel: rows and columns of the kernel.
        name: name of the parameters in the calling module.
        dtype: of the arithmetic; parameters are float32.
        strides: step in rows and columns.

    Returns:
        (B, H / strides, W / strides, features) in `dtype`, sizes rounded up.
    """
    return nn.relu(Conv(features, (kernel, kernel), strides, dtype=dtype, name=name)(x))


def max_pool(x: jax.Array, stride: int, padding: Padding = "SAME") -> jax.Array:
    """Largest value of each 3x3 window: (B, H, W, C) -> (B, H', W', C)."""
    return nn.pool(x, -jnp.inf, lax.max, (3, 3), (stride, stride), padding)


def l2_pool(x: jax.Array, stride: int, padding: Padding = "SAME") -> jax.Array:
    """Euclidean length of each 3x3 window: y = sqrt(sum of x^2 over the window), channel by channel.

    PAPER: Table 2's "L2": the root of the sum of squares, not of their mean. Sums are float32 whatever the dtype of
    `x`; where a whole window is zero, which ReLU makes common, the gradient is zero.

    Args:
        x: (B, H, W, C).
        stride: step in rows and columns.
        padding: "SAME", "VALID" or ((top, bottom), (left, right)); with zeros.

    Returns:
        (B, H', W', C) in the dtype of `x`.
    """
    squares = jnp.square(x.astype(jnp.float32))
    sums = nn.pool(squares, 0.0, lax.add, (3, 3), (stride, stride), padding)  # (B, H', W', C)
    positive = sums > 0.0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, sums, 1.0)), 0.0)
    return root.astype(x.dtype)


def response_norm(x: jax.Array, alpha: float = 1e-4) -> jax.Array:
    """Local response normalisation across channels.

        y_c = x_c / (1 + alpha / 5 * sum of x_j^2)^0.75,   j over the 5 channels centred on c.

    CHOICE: the paper says "rnorm" and "norm" without formula or constants. These are the ones of the GoogLeNet that its
    Inception networks start from, and the ones OpenFace reads into the same words.

    Args:
        x: (..., C); beyond the first and the last channel there are zeros.
        alpha: strength.

    Returns:
        Like `x`; the arithmetic is float32.
    """
    wide = x.astype(jnp.float32)
    window, stride = (1,) * (x.ndim - 1) + (5,), (1,) * x.ndim
    scale = 1.0 + alpha / 5 * lax.reduce_window(jnp.square(wide), 0.0, lax.add, window, stride, "SAME")  # like x
    # scale^-0.75 by two square roots: a general power takes more than twice the time of the whole layer.
    return (wide * lax.rsqrt(scale * jnp.sqrt(scale))).astype(x.dtype)
