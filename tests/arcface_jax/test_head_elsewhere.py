"""The sharded head under networks and steps of others: an NNX model, its own optimiser, a mesh axis of another name."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from arcface_jax import ARCFACE, class_loss
from arcface_jax.head import softmax_head
from faces.errors import ConfigError, DataError

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


def arguments(**changes: object) -> dict:
    rng = np.random.default_rng(3)
    x, w = (jnp.asarray(rng.normal(size=(n, DIMENSION)), jnp.float32) for n in (10, CLASSES))
    mesh = jax.make_mesh((4,), ("people",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    labels = jnp.asarray(rng.integers(0, CLASSES, 10))
    return {"embeddings": x, "centres": w, "labels": labels, "head": ARCFACE, "mesh": mesh, "axis": "people"} | changes


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"labels": jnp.arange(9)}, DataError, r"labels of the shape \(9,\) for 10 embeddings"),
        ({"labels": jnp.arange(12)}, DataError, r"labels of the shape \(12,\) for 10"),
        ({"labels": jnp.zeros(1, int)}, DataError, r"labels of the shape \(1,\) for 10"),
        ({"labels": jnp.full(10, 20), "valid": 50}, DataError, "valid = 50: the centres have 13 rows"),
        ({"labels": jnp.full(10, 2), "valid": jnp.arange(13) != 2}, DataError, "label 2: `valid` says"),
        ({"valid": jnp.ones(5, bool)}, DataError, r"valid of the shape \(5,\) for 13 rows"),
        ({"centres": jnp.ones((13, 9))}, DataError, "centres of 9 values for embeddings of 8; 8 are expected"),
        ({"head": softmax_head()}, DataError, "centres of 8 values for embeddings of 8; 9 are expected"),
        ({"block": -1}, ConfigError, "block = -1"),
        ({"axis": "data"}, ConfigError, "axis = 'data': the mesh has 'people'"),
    ],
)
def test_what_does_not_belong_together_is_refused_on_any_number_of_devices(devices, changes, error, sentence):
    mesh = jax.make_mesh((devices,), ("people",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    unchecked = inspect.unwrap(class_loss)  # as programs call it: jaxtyping checks shapes in these tests alone
    with pytest.raises(error, match=sentence):
        unchecked(**arguments(mesh=mesh) | changes)


def test_axes_that_are_typed_are_refused_with_the_way_to_make_others():
    typed = jax.make_mesh((4,), ("people",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:4])
    with pytest.raises(ConfigError, match=r"axis_types=\(jax\.sharding\.AxisType\.Auto,\) \* 1"):
        class_loss(**arguments(mesh=typed))


def test_a_row_that_is_no_class_has_no_loss_in_a_compiled_step():
    given = arguments(labels=jnp.arange(10))
    valid = jnp.arange(CLASSES) != 2
    losses = jax.jit(lambda labels, valid: class_loss(**given | {"labels": labels, "valid": valid}))(
        given["labels"], valid
    )
    np.testing.assert_array_equal(np.isnan(losses), np.arange(10) == 2)
    assert class_loss(**arguments(embeddings=jnp.zeros((0, DIMENSION)), labels=jnp.zeros(0, int))).shape == (0,)
