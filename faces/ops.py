"""Small numerical building blocks that several papers share, with gradients that are finite everywhere.

Not here: losses and margins, which belong to the paper that defines them.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

SHORTEST = 1e-12  # Euclidean length below which a float32 vector is rounding noise and has no direction


def l2_normalise(x: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
    """Scale each vector to length 1: x / sqrt(sum_i x_i^2).

    A vector shorter than 1e-12 has no direction; it becomes the zero vector, and its gradient is zero.

    Args:
        x: vectors along the last axis, any floating dtype.

    Returns:
        Vectors of the same shape in float32 (float64 where `x` is float64): half precision cannot tell neighbouring
        faces apart, a cosine of 0.9995 being 1.0 in bfloat16.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    has_direction = squared > SHORTEST**2
    # The inner where keeps the infinite derivative of rsqrt at 0 out of the gradient: 0 x inf would be nan.
    return x * jnp.where(has_direction, lax.rsqrt(jnp.where(has_direction, squared, 1.0)), 0.0)


def squared_distances(x: Float[Array, "rows d"], y: Float[Array, "columns d"]) -> Float[Array, "rows columns"]:
    """All squared Euclidean distances between two sets of vectors: ||x_i||^2 + ||y_j||^2 - 2 x_i . y_j.

    One matrix product instead of rows x columns differences. What rounding leaves below zero is zero, and its gradient.

    Args:
        x: (rows, d), y: (columns, d), any floating dtype.

    Returns:
        float32 (rows, columns) (float64 where an input is), at full float32 precision on every platform.
    """
    dtype = jnp.promote_types(jnp.promote_types(x.dtype, y.dtype), jnp.float32)
    x, y = x.astype(dtype), y.astype(dtype)
    products = jnp.dot(x, y.T, precision=lax.Precision.HIGHEST)  # (rows, columns)
    squared = jnp.sum(jnp.square(x), axis=-1)[:, None] + jnp.sum(jnp.square(y), axis=-1)[None, :] - 2 * products
    return jnp.where(squared > 0, squared, 0.0)


def normalise(images: Array, mean: float, scale: float) -> Float[Array, "..."]:
    """Pixels to the network's range: (x - mean) / scale, uint8 or float of any shape -> float32."""
    return (images.astype(jnp.float32) - mean) / scale


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d(
    x: Float[Array, "batch height width channels"], kernel: Float[Array, "rows columns channels features"], stride: int
) -> Float[Array, "batch out_height out_width features"]:
    """Convolution with "SAME" padding whose kernel gradient is quick on CPUs too.

    XLA on CPUs computes the kernel's gradient as a convolution with a kernel as large as the map, several times slower
    than the forward pass. As one matrix product for each of the kernel's places it is quicker. Other platforms keep
    XLA's form. Reverse-mode differentiation only.

    Args:
        x: (batch, height, width, channels).
        kernel: (rows, columns, channels, features), in the dtype of `x`.
        stride: step in rows and columns.

    Returns:
        (batch, height / stride, width / stride, features), sizes rounded up.
    """
    return _xla_conv(x, kernel, stride)


def _xla_conv(x: Array, kernel: Array, stride: int) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout)


def _conv2d_forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return _xla_conv(x, kernel, stride), (x, kernel)


def _conv2d_backward(stride: int, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    (of_x,) = jax.vjp(lambda x: _xla_conv(x, kernel, stride), x)[1](gradient)
    by_xla = partial(_kernel_gradient_by_xla, kernel, stride)
    by_products = partial(kernel_gradient_by_products, (kernel.shape[0], kernel.shape[1]), stride)
    return of_x, lax.platform_dependent(x, gradient, cpu=by_products, default=by_xla)


conv2d.defvjp(_conv2d_forward, _conv2d_backward)


def _kernel_gradient_by_xla(kernel: Array, stride: int, x: Array, gradient: Array) -> Array:
    return jax.vjp(lambda kernel: _xla_conv(x, kernel, stride), kernel)[1](gradient)[0]


def kernel_gradient_by_products(
    window: tuple[int, int],
    stride: int,
    x: Float[Array, "batch height width channels"],
    gradient: Float[Array, "batch out_height out_width features"],
) -> Float[Array, "rows columns channels features"]:
    """Gradient of `conv2d` with respect to its kernel, place by place of the kernel.

    At (i, j) it is the sum over images and output pixels of x as seen from there, times the output's gradient.

    Args:
        window: rows and columns of the kernel.
        stride: of the convolution.
        x: its input.
        gradient: of its output.
    """
    channels, features = x.shape[-1], gradient.shape[-1]
    last = [(out - 1) * stride for out in gradient.shape[1:3]]
    total = [max(end + size - given, 0) for end, size, given in zip(last, window, x.shape[1:3], strict=True)]
    sides = [(pad // 2, pad - pad // 2) for pad in total]  # "SAME": the odd one goes to the end
    padded = jnp.pad(x, ((0, 0), *sides, (0, 0)))
    of_outputs = gradient.reshape(-1, features)  # (batch x pixels, features)

    def at(i: int, j: int) -> Array:
        seen = padded[:, i : i + last[0] + 1 : stride, j : j + last[1] + 1 : stride]
        over_pixels = (((0,), (0,)), ((), ()))  # sum over both sides' first axis, without a transposed copy
        return lax.dot_general(seen.reshape(-1, channels), of_outputs, over_pixels)  # (channels, features)

    return jnp.stack([jnp.stack([at(i, j) for j in range(window[1])]) for i in range(window[0])])
