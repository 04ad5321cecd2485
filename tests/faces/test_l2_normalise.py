"""L2 normalisation: unit length in float32 for every dtype, and a gradient at the zero vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from faces.ops import l2_normalise


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
def test_unit_length(shape):
    x = np.random.default_rng(0).normal(2.0, 3.0, shape)
    expected = x / np.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_allclose(l2_normalise(jnp.asarray(x, jnp.float32)), expected, rtol=1e-5)
    check_grads(jax.jit(l2_normalise), (jnp.asarray(x, jnp.float32),), order=1, modes=["rev"], rtol=2e-2)


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1e9])
def test_length_of_the_argument_does_not_matter(scale):
    x = jnp.array([[3.0, -4.0, 12.0]])
    np.testing.assert_allclose(l2_normalise(scale * x), x / 13.0, rtol=1e-6)


def test_zero_vector_stays_zero_without_gradient():
    x = jnp.array([[0.0, 0.0], [1e-13, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(l2_normalise(x), [[0.0, 0.0], [0.0, 0.0], [0.6, 0.8]], rtol=1e-6)
    gradient = jax.grad(lambda x: l2_normalise(x)[:, 0].sum())(x)
    # d(x_0 / |x|) / dx = (1 - u_0^2, -u_0 u_1) / |x| at u = (0.6, 0.8), |x| = 5
    np.testing.assert_allclose(gradient, [[0.0, 0.0], [0.0, 0.0], [0.128, -0.096]], rtol=1e-5)


def test_bfloat16_is_normalised_in_float32():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 128)), jnp.bfloat16)
    y = l2_normalise(x)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(y, axis=-1), 1.0, rtol=1e-6)
    assert jnp.array_equal(y, l2_normalise(x.astype(jnp.float32)))
