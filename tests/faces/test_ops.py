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
