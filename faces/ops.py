"""Small numerical building blocks that several papers share, with gradients that are finite everywhere.

Not here: losses and margins, which belong to the paper that defines them.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

SHORTEST = 1e-12  # Euclidean length below which a float32 vector is rounding noise and has no direction

Padding = str | tuple[tuple[int, int], tuple[int, int]]
"""Of a convolution, with zeros: "SAME", "VALID" or ((top, bottom), (left, right))."""


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


def masked_mean(values: Float[Array, "*shape"], mask: Bool[Array, "*shape"]) -> Float[Array, ""]:
    """Mean of the values where the mask holds, 0 where it holds nowhere: what a mined loss becomes.

    Args:
        values: such as the losses of all (anchor, positive) entries; where the mask is false they may be nan.
        mask: which of them count, such as `is_pair`.
    Returns:
        float32. Its gradient is 0 where the mask is false.
    """
    counted = jnp.where(mask, values.astype(jnp.float32), 0.0)
    return jnp.sum(counted) / jnp.maximum(jnp.sum(mask), 1)


def normalise(images: Array, mean: float, scale: float) -> Float[Array, "..."]:
    """Pixels to the network's range: (x - mean) / scale, uint8 or float of any shape -> float32."""
    return (images.astype(jnp.float32) - mean) / scale


def conv2d(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels features"],
    stride: int,
    padding: Padding = "SAME",
) -> Float[Array, "batch out_height out_width features"]:
    """Convolution; with a 1x1 kernel one matrix product over all pixels.

    For products XLA on CPUs has a better routine, twice as quick. Larger kernels, and their gradients most of all, want
    `faces.start.choose_routines` on a CPU.

    Args:
        x: (batch, height, width, channels).
        kernel: (rows, columns, channels, features), in the dtype of `x`.
        stride: step in rows and columns.
        padding: zeros around `x`. Of an even size "SAME" pads a stride of 2 at the end only; networks of frameworks
            that pad by 1 on both sides want ((1, 1), (1, 1)).

    Returns:
        (batch, out_height, out_width, features); with "SAME" the sizes are height / stride and width / stride, rounded
        up.
    """
    if kernel.shape[:2] != (1, 1) or any(map(any, _sides(x, (1, 1), stride, padding))):
        return _xla_conv(x, kernel, stride, padding)
    x = x[:, ::stride, ::stride]
    # As matrices: of more than two dimensions XLA on CPUs writes a transposed copy for the kernel's gradient.
    pixels = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]  # (batch x pixels, features)
    return pixels.reshape(*x.shape[:-1], -1)


def _xla_conv(x: Array, kernel: Array, stride: int, padding: Padding, groups: int = 1) -> Array:
    layout, strides = ("NHWC", "HWIO", "NHWC"), (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout, feature_group_count=groups)


def _sides(x: Array, window: tuple[int, int], stride: int, padding: Padding) -> Sequence[tuple[int, int]]:
    if isinstance(padding, str):
        return lax.padtype_to_pads(x.shape[1:3], window, (stride, stride), padding)
    return padding


def _seen_from_each_place(x: Array, window: tuple[int, int], stride: int, padding: Padding) -> Iterator[Array]:
    """What each place of a kernel, row by row, meets: (batch, out height, out width, channels) each."""
    padded = jnp.pad(x, ((0, 0), *_sides(x, window, stride, padding), (0, 0)))
    last = [(size - places) // stride * stride for size, places in zip(padded.shape[1:3], window, strict=True)]
    for i in range(window[0]):
        for j in range(window[1]):
            yield padded[:, i : i + last[0] + 1 : stride, j : j + last[1] + 1 : stride]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_conv2d(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels"],
    stride: int,
    padding: Padding = "SAME",
) -> Float[Array, "batch out_height out_width channels"]:
    """Convolution of each channel with a kernel of its own.

    XLA's grouped convolution is tens of times slower on CPUs than a sum of shifted products, which is what runs there;
    other platforms use XLA's form. Reverse-mode differentiation only.

    Args:
        x: (batch, height, width, channels).
        kernel: (rows, columns, channels), in the dtype of `x`.
        stride: step in rows and columns.
        padding: zeros around `x`, as for `conv2d`.

    Returns:
        (batch, out_height, out_width, channels) in the dtype of `x`, summed in float32 on CPUs.
    """
    by_shifts = partial(depthwise_by_shifts, stride=stride, padding=padding)
    by_xla = partial(_depthwise_by_xla, stride=stride, padding=padding)
    return lax.platform_dependent(x, kernel, cpu=by_shifts, default=by_xla)


def _depthwise_forward(x: Array, kernel: Array, stride: int, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return depthwise_conv2d(x, kernel, stride, padding), (x, kernel)


def _depthwise_backward(
    stride: int, padding: Padding, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    def by_shifts(x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        window = (kernel.shape[0], kernel.shape[1])
        of_kernel = depthwise_kernel_gradient(window, stride, x, gradient, padding)
        return depthwise_input_gradient(x, kernel, stride, gradient, padding), of_kernel

    def by_xla(x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        return jax.vjp(lambda x, kernel: _depthwise_by_xla(x, kernel, stride, padding), x, kernel)[1](gradient)

    return lax.platform_dependent(*saved, gradient, cpu=by_shifts, default=by_xla)


depthwise_conv2d.defvjp(_depthwise_forward, _depthwise_backward)


def _depthwise_by_xla(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    return _xla_conv(x, kernel[:, :, None, :], stride, padding, groups=x.shape[-1])


def depthwise_by_shifts(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels"],
    stride: int,
    padding: Padding = "SAME",
) -> Float[Array, "batch out_height out_width channels"]:
    """`depthwise_conv2d` as the sum over the kernel's places of x as seen from there, times the kernel there."""
    window = (kernel.shape[0], kernel.shape[1])
    places = kernel.astype(jnp.float32).reshape(-1, 1, 1, 1, x.shape[-1])  # (places, 1, 1, 1, channels)
    views = _seen_from_each_place(x.astype(jnp.float32), window, stride, padding)
    total = sum(seen * place for seen, place in zip(views, places, strict=True))
    return jnp.asarray(total, x.dtype)


def depthwise_input_gradient(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels"],
    stride: int,
    gradient: Float[Array, "batch out_height out_width channels"],
    padding: Padding = "SAME",
) -> Float[Array, "batch height width channels"]:
    """Gradient of `depthwise_conv2d` with respect to its input, for a CPU: the same operation with the kernel turned.

    The output's gradient is spread out by the stride, with zeros between and around. The derivative that JAX finds by
    itself is nine padded maps, each written to memory.
    """
    window = (kernel.shape[0], kernel.shape[1])
    sides = _sides(x, window, stride, padding)
    edges = []
    for size, out, places, (low, _) in zip(x.shape[1:3], gradient.shape[1:3], window, sides, strict=True):
        before, spread = places - 1 - low, (out - 1) * stride + 1
        edges.append((before, size + places - 1 - before - spread, stride - 1))
    spread_out = lax.pad(gradient, jnp.zeros((), gradient.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    return depthwise_by_shifts(spread_out, kernel[::-1, ::-1], 1, "VALID")


def depthwise_kernel_gradient(
    window: tuple[int, int],
    stride: int,
    x: Float[Array, "batch height width channels"],
    gradient: Float[Array, "batch out_height out_width channels"],
    padding: Padding = "SAME",
) -> Float[Array, "rows columns channels"]:
    """Gradient of `depthwise_conv2d` with respect to its kernel, for a CPU.

    Each place needs a sweep over all of `x` and `gradient`. In groups of four images, which stay in a core's cache for
    all nine sweeps, this takes a third to a half of the time of nine sweeps over the batch. Neither partial sums per
    image, products with a vector of ones, nor shifts of a flattened map come near it.

    Args:
        window: rows and columns of the kernel.
        stride: of the convolution.
        x: its input.
        gradient: of its output.
        padding: of the convolution.
    """
    group = math.gcd(x.shape[0], 4)

    def add_group(total: Array, images: tuple[Array, Array]) -> tuple[Array, None]:
        x, gradient = images
        views = _seen_from_each_place(x.astype(jnp.float32), window, stride, padding)
        sums = [jnp.sum(seen * gradient, axis=(0, 1, 2)) for seen in views]  # (channels,) each
        return total + jnp.stack(sums).reshape(total.shape), None

    of_x = x.reshape(-1, group, *x.shape[1:])  # (groups, group, height, width, channels)
    of_gradient = gradient.reshape(-1, group, *gradient.shape[1:])  # (groups, group, out_height, out_width, channels)
    total, _ = lax.scan(add_group, jnp.zeros((*window, x.shape[-1])), (of_x, of_gradient))
    return total.astype(x.dtype)
