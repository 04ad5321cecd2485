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


@pytest.mark.parametrize("height", [6, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (2, 5)])
def test_conv2d_equals_xla(height: int, stride: int, window: tuple[int, int]):
    """Both forms of the kernel's gradient, whichever this platform would choose, and the input's."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, height, 5, 3)).astype(np.float32))
    kernel = jnp.asarray(rng.normal(size=(*window, 3, 4)).astype(np.float32))

    def plain(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout)

    expected, expected_back = jax.vjp(plain, x, kernel)
    given, back = jax.vjp(lambda x, kernel: ops.conv2d(x, kernel, stride), x, kernel)
    np.testing.assert_allclose(given, expected, rtol=1e-6)
    weights = jnp.asarray(rng.normal(size=given.shape).astype(np.float32))
    for ours, theirs in zip(back(weights), expected_back(weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    by_products = ops.kernel_gradient_by_products(window, stride, x, weights)
    np.testing.assert_allclose(by_products, expected_back(weights)[1], rtol=1e-4, atol=1e-5)
