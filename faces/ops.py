"""Small numerical building blocks that several papers share, with gradients that are finite everywhere.

Not here: losses and margins, which belong to the paper that defines them.
"""

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

    One matrix product instead of rows x columns differences. What rounding leaves below zero is zero, with zero gradient.

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
