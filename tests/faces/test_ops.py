"""Distances and convolutions against plain forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces import ops


def test_squared_distances_equal_loops():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(7, 3)).astype(np.float32)
    expected = [[sum((a - b) ** 2 for a, b in zip(u, v, strict=True)) for v in y.tolist()] for u in x.tolist()]
    np.testing.assert_allclose(ops.squared_distances(jnp.asarray(x), jnp.asarray(y)), expected, rtol=1e-5, atol=1e-6)


def test_squared_distances_of_equal_vectors():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 40)).astype(np.float32).repeat(3, 0))
    assert (np.asarray(ops.squared_distances(x, x)) >= 0).all()
    assert np.isfinite(jax.grad(lambda x: ops.squared_distances(x, x).sum())(x)).all()


PADDINGS = ["SAME", ((1, 1), (1, 1)), ((2, 0), (0, 3))]


@pytest.mark.parametrize("height", [6, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (2, 5)])
def test_conv2d_equals_xla(height: int, stride: int, window: tuple[int, int]):
    check_conv2d((2, height, 5, 3), (*window, 3, 4), stride, "SAME")


@pytest.mark.parametrize("height", [6, 7])
@pytest.mark.parametrize("padding", [*PADDINGS[1:], "VALID"])
def test_conv2d_with_other_padding_equals_xla(height: int, padding: ops.Padding):
    check_conv2d((2, height, 5, 3), (3, 3, 3, 4), 2, padding)


def check_conv2d(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], stride: int, padding: ops.Padding) -> None:
    """With both gradients."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=x_shape).astype(np.float32))
    kernel = jnp.asarray(rng.normal(size=kernel_shape).astype(np.float32))

    def plain(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=layout)

    expected, expected_back = jax.vjp(plain, x, kernel)
    given, back = jax.vjp(lambda x, kernel: ops.conv2d(x, kernel, stride, padding), x, kernel)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)
    weights = jnp.asarray(rng.normal(size=given.shape).astype(np.float32))
    for ours, theirs in zip(back(weights), expected_back(weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("height", [6, 7])
@pytest.mark.parametrize(
    ("stride", "padding"), [(1, "SAME"), (1, "VALID"), *((2, p) for p in PADDINGS), (3, PADDINGS[1])]
)
def test_depthwise_conv2d_equals_xla(height: int, stride: int, padding: ops.Padding):
    """Result and both gradients by shifts, and whichever form this platform chooses, against XLA's."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(6, height, 5, 4)).astype(np.float32))
    kernel = jnp.asarray(rng.normal(size=(3, 3, 4)).astype(np.float32))

    @jax.jit
    def both(x, kernel):
        expected, expected_back = jax.vjp(lambda x, k: ops._depthwise_by_xla(x, k, stride, padding), x, kernel)
        weights = jax.random.normal(jax.random.key(0), expected.shape)
        of_x, of_kernel = expected_back(weights)
        chosen, back = jax.vjp(lambda x, kernel: ops.depthwise_conv2d(x, kernel, stride, padding), x, kernel)
        by_shifts = (
            ops.depthwise_by_shifts(x, kernel, stride, padding),
            ops.depthwise_input_gradient(x, kernel, stride, weights, padding),
            ops.depthwise_kernel_gradient((3, 3), stride, x, weights, padding),
        )
        return (expected, of_x, of_kernel), (chosen, *back(weights)), by_shifts

    expected, chosen, by_shifts = both(x, kernel)
    for ours in (chosen, by_shifts):
        for given, right in zip(ours, expected, strict=True):
            np.testing.assert_allclose(given, right, rtol=1e-4, atol=1e-5)


def test_depthwise_conv2d_equals_loops():
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(3, 2, 3))
    expected = np.zeros((2, 3, 3, 3))
    for image, row, column, channel in np.ndindex(expected.shape):
        for i, j in np.ndindex(3, 2):
            # 2 rows above, 1 row below, 1 column left and right; stride 2
            y, z = 2 * row + i - 2, 2 * column + j - 1
            if 0 <= y < 5 and 0 <= z < 4:
                expected[image, row, column, channel] += x[image, y, z, channel] * kernel[i, j, channel]
    given = ops.depthwise_conv2d(jnp.asarray(x, "f4"), jnp.asarray(kernel, "f4"), 2, ((2, 1), (1, 1)))
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-6)


def test_depthwise_conv2d_in_bfloat16():
    """Inputs and results are rounded, sums are not."""
    x = jax.random.normal(jax.random.key(0), (4, 6, 6, 8), jnp.bfloat16)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 8), jnp.bfloat16)
    given, back = jax.vjp(lambda x, kernel: ops.depthwise_conv2d(x, kernel, 1), x, kernel)
    wide, wide_back = jax.vjp(
        lambda x, kernel: ops.depthwise_conv2d(x, kernel, 1), x.astype(jnp.float32), kernel.astype(jnp.float32)
    )
    assert given.dtype == jnp.bfloat16
    np.testing.assert_array_equal(given, wide.astype(jnp.bfloat16))
    for ours, exact in zip(back(given), wide_back(given.astype(jnp.float32)), strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=0.01, atol=1e-3)
