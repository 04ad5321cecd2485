"""Muon against the singular value decomposition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.muon import orthogonalise, scale_by_muon

SHAPES = [(5, 5), (40, 8), (8, 40), (1, 6), (6, 1), (3, 3, 4, 10), (1, 1, 6, 30), (3, 3, 1, 20)]


def by_svd(update):
    """The polynomial, five times over, of each singular value."""
    matrix = update.reshape(-1, update.shape[-1]).astype(np.float64)
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(5):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    inputs, outputs = matrix.shape
    return (np.sqrt(max(1, outputs / inputs)) * (u * values) @ v).reshape(update.shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1e-5, 1.0, 1e5])
def test_a_step_has_the_polynomials_singular_values(shape, size):
    update = np.random.default_rng(len(shape)).normal(size=shape) * size
    given = jax.jit(orthogonalise)(jnp.asarray(update, jnp.float32))
    assert given.shape == shape and given.dtype == jnp.float32
    np.testing.assert_allclose(given, by_svd(update), rtol=1e-3, atol=2e-5 if size >= 1 else 1e-3)


def test_values_near_one_and_none_made_up():
    """Singular values over two decades come out between 0.65 and 1.25; a matrix of rank 2 stays of rank 2."""
    rng = np.random.default_rng(0)
    u, _ = np.linalg.qr(rng.normal(size=(30, 12)))
    v, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    values = np.geomspace(1, 0.01, 12)
    out = np.linalg.svd(np.asarray(orthogonalise(jnp.asarray((u * values) @ v, jnp.float32))), compute_uv=False)
    assert (out > 0.65).all() and (out < 1.25).all()
    values[2:] = 0
    out = np.linalg.svd(np.asarray(orthogonalise(jnp.asarray((u * values) @ v, jnp.float32))), compute_uv=False)
    assert (out[:2] > 0.65).all() and (out[2:] < 1e-3).all()


def test_no_gradient_no_step():
    np.testing.assert_array_equal(orthogonalise(jnp.zeros((4, 3))), np.zeros((4, 3)))


def test_products_are_in_float32_on_every_device():
    """TPUs would round each factor to bfloat16, GPUs to TF32."""
    traced = jax.make_jaxpr(orthogonalise)(jnp.ones((3, 3, 4, 10)))
    precisions = [equation.params["precision"] for equation in traced.eqns if equation.primitive.name == "dot_general"]
    assert precisions == [(jax.lax.Precision.HIGHEST,) * 2] * 22


def test_nesterovs_momentum_before_it_and_for_what_is_no_kernel():
    """Three steps by hand: speed = 0.8 speed + gradient; the step is 0.8 speed + gradient."""
    rng = np.random.default_rng(1)
    shapes = {"kernel": (3, 3, 2, 5), "bias": (5,), "slope": ()}
    rule = scale_by_muon(0.8)
    state = rule.init({name: jnp.zeros(shape) for name, shape in shapes.items()})
    speed = {name: np.zeros(shape) for name, shape in shapes.items()}
    for _ in range(3):
        gradient = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        given, state = rule.update({name: jnp.asarray(g, jnp.float32) for name, g in gradient.items()}, state)
        for name, g in gradient.items():
            speed[name] = 0.8 * speed[name] + g
            step = 0.8 * speed[name] + g
            expected = by_svd(step) if name == "kernel" else step
            np.testing.assert_allclose(given[name], expected, rtol=1e-3, atol=2e-5, err_msg=name)
