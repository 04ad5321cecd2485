"""SphereFace's psi and its annealing against float64 by the definition, piece by piece."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.related import sphereface
from faces.errors import ConfigError

psi = jax.jit(sphereface.psi, static_argnums=1)
annealed_target = jax.jit(sphereface.annealed_target, static_argnums=1)


@partial(jax.jit, static_argnums=1)
def value_and_slope(cosines: jax.Array, m: int) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(jax.value_and_grad(lambda c: sphereface.psi(c, m)))(cosines)


DEGREES = np.concatenate([np.linspace(0, 180, 97), [44.999, 45.001, 89.999, 90.001, 134.999, 135.001]])


def oracle(cosine: float, m: int) -> float:
    theta = math.acos(cosine)
    k = min(int(theta / (math.pi / m)), m - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


def oracle_slope(cosine: float, m: int) -> float:
    theta = math.acos(cosine)
    k = min(int(theta / (math.pi / m)), m - 1)
    if abs(cosine) == 1:
        return m * m
    return (-1) ** k * m * math.sin(m * theta) / math.sin(theta)


@pytest.mark.parametrize("m", range(1, 6))
def test_psi_and_its_gradient(m: int):
    cosines = np.clip(np.cos(np.radians(DEGREES)), -1, 1).astype(np.float32)
    value, slope = value_and_slope(cosines, m)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, [oracle(c, m) for c in cosines.tolist()], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(slope, [oracle_slope(c, m) for c in cosines.tolist()], rtol=1e-5, atol=5e-5)


def test_psi_worked():
    """m = 4 at 0, 22.5, 45, 60, 90, 135 and 180 degrees; it falls all the way, where cos(4 theta) does not."""
    degrees = np.array([0, 22.5, 45, 60, 90, 135, 180])
    value = psi(jnp.asarray(np.cos(np.radians(degrees)).astype(np.float32)))
    np.testing.assert_allclose(value, [1, 0, -1, -1.5, -3, -5, -7], atol=2e-6)
    falling = psi(jnp.asarray(np.cos(np.linspace(0, np.pi, 500)).astype(np.float32)))
    assert (np.diff(falling) < 1e-6).all()


def test_one_is_the_plain_cosine():
    cosines = jnp.linspace(-1, 1, 21)
    np.testing.assert_array_equal(psi(cosines, 1), cosines)


def test_finite_beyond_one():
    ends = jnp.array([-1.00001, 1.00001])
    value, slope = value_and_slope(ends, 4)
    np.testing.assert_allclose(value, [-7, 1], atol=1e-3)
    np.testing.assert_allclose(slope, [16, 16], rtol=1e-3)


@pytest.mark.parametrize("m", [0, -1])
def test_m_is_above_zero(m: int):
    with pytest.raises(ConfigError, match="an integer above 0 expected"):
        sphereface.psi(jnp.ones(1), m)


@pytest.mark.parametrize("lam", [0.0, 5.0, 1000.0])
def test_annealed_target(lam: float):
    cosines = np.cos(np.radians(np.linspace(1, 179, 60))).astype(np.float32)
    expected = [(lam * c + oracle(c, 4)) / (1 + lam) for c in cosines.tolist()]
    np.testing.assert_allclose(annealed_target(cosines, 4, jnp.float32(lam)), expected, atol=1e-5)
    plain = sphereface.annealed_target(jnp.asarray(cosines), 4, lam)
    np.testing.assert_allclose(plain, expected, atol=1e-5)


def test_annealing():
    steps = [0, 1, 10, 1658, 1659, 28_000]
    expected = [1000, 1000 / 1.12, 1000 / 2.2, 1000 / (1 + 0.12 * 1658), 5, 5]
    np.testing.assert_allclose([sphereface.annealing(step, 1000.0, 0.12, 5.0) for step in steps], expected, rtol=1e-6)
    traced = jax.jit(lambda step: sphereface.annealing(step, base=1500.0, gamma=0.1, minimum=5.0))(jnp.int32(20))
    np.testing.assert_allclose(traced, 500, rtol=1e-6)
