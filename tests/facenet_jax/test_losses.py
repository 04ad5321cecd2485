"""The triplet loss against worked triplets, a float64 oracle and numerical gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from facenet_jax import losses, mining
from tests.facenet_jax import oracle


def test_worked_triplets():
    """On a line: d_ap = 1, d_an = 4 leaves no loss; d_an = 1 leaves alpha; d_an = 0.25 leaves 0.75 + alpha."""
    x_a, x_p = jnp.zeros((3, 1)), jnp.ones((3, 1))
    x_n = jnp.array([[2.0], [-1.0], [0.5]])
    np.testing.assert_allclose(losses.triplet_loss(x_a, x_p, x_n, 0.2), [0.0, 0.2, 0.95], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradient_equal_the_oracle(seed: int):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(18, 6)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    identities = rng.integers(0, 5, size=18)
    negative, is_pair = oracle.semi_hard(embeddings, identities)
    expected, expected_gradient = oracle.mean_triplet_loss(embeddings, negative, is_pair, 0.2)

    def of_embeddings(x):
        mined = mining.semi_hard(x, jnp.asarray(identities))
        per_pair = losses.triplet_loss_of_pairs(x, mined.negative, 0.2)
        return jnp.sum(jnp.where(mined.is_pair, per_pair, 0.0)) / jnp.sum(mined.is_pair)

    value, gradient = jax.jit(jax.value_and_grad(of_embeddings))(jnp.asarray(embeddings))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def test_pairs_equal_triplets():
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(7, 4)).astype(np.float32))
    negative = jnp.asarray(rng.integers(0, 7, size=(7, 7)).astype(np.int32))
    of_pairs = losses.triplet_loss_of_pairs(x, negative, 0.3)
    a, p = np.indices((7, 7)).reshape(2, -1)
    one_by_one = losses.triplet_loss(x[a], x[p], x[negative[a, p]], 0.3)
    np.testing.assert_allclose(of_pairs.reshape(-1), one_by_one, rtol=1e-5, atol=1e-5)


def test_numerical_gradient():
    rng = np.random.default_rng(4)
    triplet = tuple(jnp.asarray(rng.normal(size=(5, 3)).astype(np.float32)) for _ in range(3))

    def loss(*x):
        return losses.triplet_loss(*map(jnp.asarray, x), alpha=5.0)

    check_grads(loss, triplet, order=1, modes=["rev"], rtol=2e-2)


def test_finite_where_embeddings_coincide():
    same = jnp.ones((4, 3))
    negative = jnp.zeros((4, 4), jnp.int32)
    gradient = jax.grad(lambda x: jnp.sum(losses.triplet_loss_of_pairs(x, negative, 0.2)))(same)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(losses.triplet_loss(same, same, same, 0.2), 0.2, rtol=1e-6)


def test_half_precision_is_not_used_for_distances():
    """Two bfloat16 embeddings whose distance bfloat16 arithmetic would round to another value."""
    x = jnp.array([[1.0, 0.0078125]], jnp.bfloat16)
    y = jnp.array([[1.0, 0.0]], jnp.bfloat16)
    loss = losses.triplet_loss(x, y, x, 1.0)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, 1 + 0.0078125**2, rtol=1e-7)
