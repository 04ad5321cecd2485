"""The sharded head under networks and steps of others: an NNX model, its own optimiser, a mesh axis of another name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from arcface_jax import ARCFACE, class_loss

CLASSES, DIMENSION, BATCH = 13, 8, 24  # 8 devices can share neither the classes nor, at 3 each, a power of two


class Theirs(nnx.Module):
    """A network with the class centres as a parameter of its own."""

    def __init__(self, rngs: nnx.Rngs):
        self.inner = nnx.Linear(12, 16, rngs=rngs)
        self.outer = nnx.Linear(16, DIMENSION, rngs=rngs)
        self.centres = nnx.Param(jax.random.normal(rngs.params(), (CLASSES, DIMENSION)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.outer(nnx.relu(self.inner(x)))


def trained(devices: int, steps: int = 4) -> tuple[list[float], np.ndarray]:
    """Losses of a few steps, and the centres after them."""
    mesh = jax.make_mesh((devices,), ("people",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    model = Theirs(nnx.Rngs(0))
    optimiser = nnx.Optimizer(model, optax.sgd(0.1, 0.9), wrt=nnx.Param)
    rng = np.random.default_rng(0)
    x = jax.device_put(rng.normal(size=(BATCH, 12)).astype(np.float32), NamedSharding(mesh, PartitionSpec("people")))
    labels = jnp.asarray(rng.integers(0, CLASSES, BATCH))

    @nnx.jit
    def step(model: Theirs, optimiser: nnx.Optimizer) -> jax.Array:
        def loss(model: Theirs) -> jax.Array:
            return jnp.mean(class_loss(model(x), model.centres[...], labels, ARCFACE, mesh, s=16.0, axis="people"))

        value, gradient = nnx.value_and_grad(loss)(model)
        optimiser.update(model, gradient)
        return value

    return [float(step(model, optimiser)) for _ in range(steps)], np.asarray(model.centres[...])


@pytest.fixture(scope="module")
def on_one_device():
    return trained(1)


def test_an_nnx_model_learns(on_one_device):
    losses, _ = on_one_device
    assert losses[-1] < losses[0]


def test_eight_devices_agree_with_one(on_one_device):
    losses, centres = trained(8)
    np.testing.assert_allclose(losses, on_one_device[0], rtol=1e-5)
    np.testing.assert_allclose(centres, on_one_device[1], atol=1e-5)
