"""Published tensors become parameters exactly, or are refused by name."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.backbone import Network, make_backbone
from faces.errors import WeightsError
from faces.initialisers import linear_init
from faces.preprocessing import WHOLE, Preprocessing
from faces.weights.layouts import (
    Norm,
    Published,
    Row,
    batch_norm,
    folded_norm,
    kernel,
    matrix,
    receive,
    same,
    scaleless_norm,
)
from tests import numpy_layers

PREPROCESSING = Preprocessing((2, 3), "rgb", 0.0, 1.0, "fixed_box", 0.0, 0, WHOLE, "none")
EPSILON = 2e-5  # ours; that of the tensors is 1e-3
NORM = Norm("bn.gamma", "bn.beta", "bn.mean", "bn.var", 1e-3)


class OneMatrix(nn.Module):
    """A matrix and a batch norm with or without scale."""

    embedding_dim: int
    dtype: jnp.dtype
    use_scale: bool

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        x = images.reshape(images.shape[0], -1)  # (B, H W 3)
        x = nn.Dense(self.embedding_dim, kernel_init=linear_init, name="fc")(x)
        norm = nn.BatchNorm(use_running_average=not train, epsilon=EPSILON, use_scale=self.use_scale, name="norm")
        return norm(x)


def backbone_of(use_scale: bool):
    def module(embedding_dim: int, dtype: jnp.dtype) -> OneMatrix:
        return OneMatrix(embedding_dim, dtype, use_scale)

    return make_backbone({"one": Network(module, (2, 3))}, "one", 4)


TENSORS = numpy_layers.random_tensors(
    {"w": (4, 18), "b.bias": (4,), "bn.gamma": (4,), "bn.beta": (4,), "bn.mean": (4,), "bn.var": (4,)}
)
TENSORS["bn.gamma"][1] = -0.7
TENSORS["bn.var"][2] = 3e-6  # less than the difference of the two eps
LINEAR = [Row("params/fc/kernel", ("w",), matrix), Row("params/fc/bias", ("b.bias",), same)]
IMAGES = np.random.default_rng(1).normal(size=(5, 2, 3, 3)).astype(np.float32)


def published(rows: list[Row]) -> Published:
    return Published("one", 4, rows, lambda name: name != "counter", PREPROCESSING)


def embed(rows: list[Row], tensors: dict[str, np.ndarray], use_scale: bool) -> np.ndarray:
    backbone = backbone_of(use_scale)
    params, batch_stats = receive(published(rows), tensors, backbone, "FILE")
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves((params, batch_stats)))
    return np.asarray(backbone.apply(params, batch_stats, jnp.asarray(IMAGES), False)[0])


def expected(gamma: np.ndarray) -> np.ndarray:
    x = IMAGES.reshape(5, -1).astype(np.float64) @ TENSORS["w"].T + TENSORS["b.bias"]
    return numpy_layers.norm(x, gamma, TENSORS["bn.beta"], TENSORS["bn.mean"], TENSORS["bn.var"], 1e-3)


@pytest.mark.parametrize("use_scale", [True, False])
@pytest.mark.parametrize("has_gamma", [True, False])
def test_a_batch_norm_of_another_eps_and_scale_is_the_same_function(use_scale: bool, has_gamma: bool):
    norm = NORM if has_gamma else NORM._replace(gamma=None)
    tensors = TENSORS if has_gamma else {name: TENSORS[name] for name in TENSORS if name != "bn.gamma"}
    scaled, absorbed = [*LINEAR, *batch_norm("norm", norm, EPSILON)], scaleless_norm("norm", norm, EPSILON, LINEAR)
    gamma = TENSORS["bn.gamma"] if has_gamma else np.ones(4)
    given = embed(scaled if use_scale else absorbed, tensors, use_scale)
    np.testing.assert_allclose(given, expected(gamma), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("use_scale", [True, False])
def test_a_folded_batch_norm_changes_nothing(use_scale: bool):
    tensors = {"w": TENSORS["w"], "offset": TENSORS["bn.beta"]}
    rows = [LINEAR[0], Row("params/fc/bias", ("offset",), np.zeros_like)]
    rows += folded_norm("norm", "offset", EPSILON, use_scale)
    given = embed(rows, tensors, use_scale)
    plain = IMAGES.reshape(5, -1).astype(np.float64) @ TENSORS["w"].T + TENSORS["bn.beta"]
    np.testing.assert_allclose(given, plain, rtol=1e-6, atol=1e-6)


def test_layouts():
    tensor = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert kernel(tensor).shape == (4, 5, 3, 2) and kernel(tensor)[1, 2, 0, 1] == tensor[1, 0, 1, 2]
    assert matrix(tensor[0, 0]).shape == (5, 4) and matrix(tensor[0, 0])[3, 1] == tensor[0, 0, 1, 3]


ROWS = [*LINEAR, *batch_norm("norm", NORM, EPSILON)]


def test_half_precision_is_taken():
    halves = {name: tensor.astype(np.float16) for name, tensor in TENSORS.items()}
    params, _ = receive(published(ROWS), halves, backbone_of(True), "FILE")
    np.testing.assert_array_equal(params["fc"]["kernel"], halves["w"].astype(np.float32).T)


def test_what_is_known_as_superfluous_is_left():
    params, _ = receive(published(ROWS), TENSORS | {"counter": np.int64(5)}, backbone_of(True), "FILE")
    assert set(params) == {"fc", "norm"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w": None}, r"^FILE: tensor 'w' is missing, which one needs for params/fc/kernel\.$"),
        (
            {"w": np.zeros((4, 17), np.float32)},
            r"^FILE: tensor 'w' is of shape \(4, 17\), which does not give the \(18, 4\) of params/fc/kernel in one\.$",
        ),
        ({"w": np.zeros((4, 18, 1), np.float32)}, r"tensor 'w' is of shape \(4, 18, 1\), which does not give"),
        ({"w": np.zeros((4, 18), np.int8)}, r"tensor 'w' is of int8; floating point is expected"),
        ({"bn.mean": np.array([0, 1, np.nan, 0], np.float32)}, r"tensor 'bn.mean' holds values that are not finite"),
        ({"bn.var": np.array([1, -2, 1, 1], np.float32)}, r"tensor 'bn.var' holds .* negative variances"),
        ({"bn.mean": np.float32(0)}, r"tensor 'bn.mean' is of shape \(\), which does not give the \(4,\)"),
        ({"more": np.zeros((2, 3), np.float32)}, r"tensor 'more', of shape \(2, 3\), has no place in one; is the file"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, np.ndarray | None], message: str):
    tensors = {name: tensor for name, tensor in (TENSORS | changes).items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        receive(published(ROWS), tensors, backbone_of(True), "FILE")
