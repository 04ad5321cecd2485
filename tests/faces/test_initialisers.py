"""Initial kernels: random under Flax's own `init` too, of the variance that is asked, drawn at once to the same law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.models import NETWORKS as OF_ARCFACE
from facenet_jax.models import NETWORKS as OF_FACENET
from faces import initialisers


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        (initialisers.relu_init, 2 / (3 * 3 * 40)),
        (initialisers.linear_init, 1 / (3 * 3 * 40)),
        (initialisers.xavier_init, 2 / (3 * 3 * (40 + 60))),
    ],
)
def test_an_initialiser_draws_from_its_key(init, variance):
    kernel = init(jax.random.key(0), (3, 3, 40, 60))
    assert abs(np.var(kernel) / variance - 1) < 0.03 and abs(np.mean(kernel)) < 0.02 * np.sqrt(variance)
    assert not np.array_equal(kernel, init(jax.random.key(1), (3, 3, 40, 60)))


@pytest.mark.parametrize(("networks", "name"), [(OF_FACENET, "tiny"), (OF_ARCFACE, "iresnet_tiny")])
def test_flax_init_and_the_quick_one_follow_one_law(networks, name):
    """No constant kernel, none that all units share; and kernel by kernel the same standard deviation."""
    module = networks[name].module(embedding_dim=16, dtype=jnp.float32)
    images, key = jnp.zeros((1, 32, 32, 3)), jax.random.key(3)
    plain = jax.jit(lambda: module.init(key, images, train=False))()["params"]
    quick = jax.jit(lambda: initialisers.init_variables(module, key, images, train=False))()["params"]
    kernels = 0
    for (path, ours), theirs in zip(jax.tree_util.tree_leaves_with_path(quick), jax.tree.leaves(plain), strict=True):
        if path[-1].key != "kernel":
            np.testing.assert_array_equal(ours, theirs)
            continue
        kernels += 1
        assert len(np.unique(theirs)) > 0.99 * theirs.size
        assert abs(np.std(ours) / np.std(theirs) - 1) < 6 / np.sqrt(theirs.size) + 0.01
    assert kernels > 3
