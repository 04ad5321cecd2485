"""Small numerical building blocks that several papers share, with gradients that are finite everywhere.

Not here: losses and margins, which belong to the paper that defines them; the depthwise convolution that networks run
on a CPU (`depthwise_fast.py`).
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

SHORTEST = 1e-12  # Euclidean length below which a float32 vector is rounding noise and has no direction

Padding = str | tuple[tuple[int, int], tuple[int, int]]
"""Of a convolution, with zeros: "SAME", "VALID" or ((top, bottom), (left, right))."""

PerChannel = float | tuple[float, float, float]
"""A number for all channels, or one for each in the order in which a network takes them."""

_are_definitions: ContextVar[bool] = ContextVar("_are_definitions", default=False)


@contextlib.contextmanager
def by_definition() -> Iterator[None]:
    """What is traced while the block runs, in its thread, has definitions in it where networks have fast forms for XLA.

    It is for converters to other programs, which know convolutions, and neither platforms nor why XLA wants a product
    in place of one. The values are the same, up to rounding. What `jax.jit` traced before the block stays as it is.
    """
    before = _are_definitions.set(True)
    try:
        yield
    finally:
        _are_definitions.reset(before)


def are_definitions() -> bool:
    """Whether this is traced within `by_definition`."""
    return _are_definitions.get()


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


def normalise(images: Array, mean: PerChannel, scale: PerChannel) -> Float[Array, "..."]:
    """Pixels to the network's range: (x - mean) / scale, uint8 or float of any shape -> float32.

    Of three numbers each is of one channel, which the last axis counts.
    """

    def placed(value: PerChannel) -> float | Array:
        return jnp.array(value).reshape((1,) * (images.ndim - 1) + (3,)) if isinstance(value, tuple) else value

    return (images.astype(jnp.float32) - placed(mean)) / placed(scale)


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
    is_product = kernel.shape[:2] == (1, 1) and not any(map(any, sides(x, (1, 1), stride, padding)))
    if not is_product or are_definitions():
        return _convolve(x, kernel, stride, padding)
    x = x[:, ::stride, ::stride]
    # As matrices: of more than two dimensions XLA on CPUs writes a transposed copy for the kernel's gradient.
    pixels = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]  # (batch x pixels, features)
    return pixels.reshape(*x.shape[:-1], -1)


def depthwise_conv2d(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels"],
    stride: int,
    padding: Padding = "SAME",
) -> Float[Array, "batch out_height out_width channels"]:
    """Convolution of each channel with a kernel of its own; networks run `depthwise_fast.depthwise_conv2d`.

    Args:
        x: (batch, height, width, channels).
        kernel: (rows, columns, channels), in the dtype of `x`.
        stride, padding: as for `conv2d`.

    Returns:
        (batch, out_height, out_width, channels) in the dtype of `x`.
    """
    return _convolve(x, kernel[:, :, None, :], stride, padding, groups=x.shape[-1])


def _convolve(x: Array, kernel: Array, stride: int, padding: Padding, groups: int = 1) -> Array:
    layout, strides = ("NHWC", "HWIO", "NHWC"), (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout, feature_group_count=groups)


def sides(x: Array, window: tuple[int, int], stride: int, padding: Padding) -> Sequence[tuple[int, int]]:
    """How many zeros a convolution of `x` (batch, height, width, channels) sees: (top, bottom), (left, right)."""
    if isinstance(padding, str):
        return lax.padtype_to_pads(x.shape[1:3], window, (stride, stride), padding)
    return padding
