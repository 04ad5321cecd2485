"""The depthwise convolution and its derivative, written for a CPU: the fast form of `ops.depthwise_conv2d`.

It equals `ops.depthwise_conv2d`, value and both gradients, up to the rounding of sums; a test holds it to that. On a
CPU it is a sum of shifted products, there 50 to 110 times as quick as XLA's grouped convolution, and 14 to 50 times
with both gradients; these are written by hand, 1.1 times as quick as what JAX derives from the sum, at a stride of 2
four times (`python -m benchmarks.depthwise`; RESULTS.md, "Benchmarks"). Other platforms run the definition, and so does
every platform within `ops.by_definition`.

Not here: what a depthwise convolution is (`ops.py`).
"""

import math
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from faces import ops


def depthwise_conv2d(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels"],
    stride: int,
    padding: ops.Padding = "SAME",
) -> Float[Array, "batch out_height out_width channels"]:
    """As `ops.depthwise_conv2d`; summed in float32 on CPUs. Reverse-mode differentiation only."""
    form = ops.depthwise_conv2d if ops.are_definitions() else _by_platform
    return form(x, kernel, stride, padding)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_platform(x: Array, kernel: Array, stride: int, padding: ops.Padding) -> Array:
    by_shifts = partial(sum_of_shifts, stride=stride, padding=padding)
    by_xla = partial(ops.depthwise_conv2d, stride=stride, padding=padding)
    return lax.platform_dependent(x, kernel, cpu=by_shifts, default=by_xla)


def _forward(x: Array, kernel: Array, stride: int, padding: ops.Padding) -> tuple[Array, tuple[Array, Array]]:
    return _by_platform(x, kernel, stride, padding), (x, kernel)


def _backward(stride: int, padding: ops.Padding, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    def by_shifts(x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        window = (kernel.shape[0], kernel.shape[1])
        for_kernel = kernel_gradient(window, stride, x, gradient, padding)
        return input_gradient(x, kernel, stride, gradient, padding), for_kernel

    def by_xla(x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        return jax.vjp(partial(ops.depthwise_conv2d, stride=stride, padding=padding), x, kernel)[1](gradient)

    return lax.platform_dependent(*saved, gradient, cpu=by_shifts, default=by_xla)


_by_platform.defvjp(_forward, _backward)


def _views(x: Array, window: tuple[int, int], stride: int, padding: ops.Padding) -> Iterator[Array]:
    """What each place of a kernel, row by row, meets: (batch, out height, out width, channels) each."""
    padded = jnp.pad(x, ((0, 0), *ops.sides(x, window, stride, padding), (0, 0)))
    last = [(size - places) // stride * stride for size, places in zip(padded.shape[1:3], window, strict=True)]
    for i in range(window[0]):
        for j in range(window[1]):
            yield padded[:, i : i + last[0] + 1 : stride, j : j + last[1] + 1 : stride]


def sum_of_shifts(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels"],
    stride: int,
    padding: ops.Padding = "SAME",
) -> Float[Array, "batch out_height out_width channels"]:
    """`depthwise_conv2d` as the sum over the kernel's places of x as seen from there, times the kernel there."""
    window = (kernel.shape[0], kernel.shape[1])
    places = kernel.astype(jnp.float32).reshape(-1, 1, 1, 1, x.shape[-1])  # (places, 1, 1, 1, channels)
    views = _views(x.astype(jnp.float32), window, stride, padding)
    total = sum(seen * place for seen, place in zip(views, places, strict=True))
    return jnp.asarray(total, x.dtype)


def input_gradient(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels"],
    stride: int,
    gradient: Float[Array, "batch out_height out_width channels"],
    padding: ops.Padding = "SAME",
) -> Float[Array, "batch height width channels"]:
    """Gradient of `depthwise_conv2d` with respect to its input, for a CPU: the same operation with the kernel turned.

    The output's gradient is spread out by the stride, with zeros between and around. The derivative that JAX finds by
    itself is nine padded maps, each written to memory.
    """
    window = (kernel.shape[0], kernel.shape[1])
    sides = ops.sides(x, window, stride, padding)
    edges = []
    for size, out, places, (low, _) in zip(x.shape[1:3], gradient.shape[1:3], window, sides, strict=True):
        before, spread = places - 1 - low, (out - 1) * stride + 1
        edges.append((before, size + places - 1 - before - spread, stride - 1))
    spread_out = lax.pad(gradient, jnp.zeros((), gradient.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    return sum_of_shifts(spread_out, kernel[::-1, ::-1], 1, "VALID")


def kernel_gradient(
    window: tuple[int, int],
    stride: int,
    x: Float[Array, "batch height width channels"],
    gradient: Float[Array, "batch out_height out_width channels"],
    padding: ops.Padding = "SAME",
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
        views = _views(x.astype(jnp.float32), window, stride, padding)
        sums = [jnp.sum(seen * gradient, axis=(0, 1, 2)) for seen in views]  # (channels,) each
        return total + jnp.stack(sums).reshape(total.shape), None

    of_x = x.reshape(-1, group, *x.shape[1:])  # (groups, group, height, width, channels)
    of_gradient = gradient.reshape(-1, group, *gradient.shape[1:])  # (groups, group, out_height, out_width, channels)
    # Within a shard_map the sum differs from device to device, as `x` does, and so must what it begins with.
    zero = jnp.where((x[0, 0, 0] == 0) | (gradient[0, 0, 0] == 0), 0.0, 0.0)  # (channels,)
    total, _ = lax.scan(add_group, jnp.zeros((*window, x.shape[-1])) + zero[None, None, :], (of_x, of_gradient))
    return total.astype(x.dtype)
