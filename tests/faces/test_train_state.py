"""The guard of every train step: a state changes as a whole, or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.train_state import keep_if_finite


@pytest.mark.parametrize("loss", [1.5, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("gradient_norm", [0.0, np.nan, np.inf])
def test_a_state_changes_as_a_whole_or_not_at_all(loss: float, gradient_norm: float):
    old = {"weights": jnp.arange(3.0), "count": jnp.asarray(4), "none": {}}
    new = {"weights": jnp.asarray([7.0, np.nan, 9.0]), "count": jnp.asarray(5), "none": {}}
    kept = jax.jit(keep_if_finite)(jnp.asarray(loss), jnp.asarray(gradient_norm), new, old)
    jax.tree.map(np.testing.assert_array_equal, kept, new if np.isfinite([loss, gradient_norm]).all() else old)
