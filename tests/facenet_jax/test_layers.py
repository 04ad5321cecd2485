"""Layers of the networks against float64 loops, and their gradients where a naive formula has none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from facenet_jax.models.inception import InceptionModule, Row
from facenet_jax.models.layers import l2_pool, max_pool, response_norm
from facenet_jax.models.openface import DepthConcatInception


def same_padding(size: int, kernel: int, stride: int) -> int:
    """Zeros before the first row: of all that "SAME" needs, the smaller half."""
    outputs = -(-size // stride)
    return max((outputs - 1) * stride + kernel - size, 0) // 2


def windows(x: np.ndarray, kernel: int, stride: int):
    """(row, column, the window's pixels inside the image with their places in the kernel) under "SAME" padding."""
    rows, columns = x.shape[:2]
    top, left = same_padding(rows, kernel, stride), same_padding(columns, kernel, stride)
    for i in range(-(-rows // stride)):
        for j in range(-(-columns // stride)):
            inside = []
            for a in range(kernel):
                for b in range(kernel):
                    r, c = i * stride + a - top, j * stride + b - left
                    if 0 <= r < rows and 0 <= c < columns:
                        inside.append((a, b, x[r, c]))
            yield i, j, inside


def oracle_pool(x: np.ndarray, kind: str, stride: int) -> np.ndarray:
    y = np.zeros((-(-x.shape[0] // stride), -(-x.shape[1] // stride), x.shape[2]))
    for i, j, inside in windows(x, 3, stride):
        pixels = np.array([pixel for _, _, pixel in inside])
        y[i, j] = pixels.max(axis=0) if kind == "max" else np.sqrt((pixels**2).sum(axis=0))
    return y


def oracle_conv_relu(x: np.ndarray, weights: dict, stride: int = 1) -> np.ndarray:
    kernel, bias = np.asarray(weights["kernel"], np.float64), np.asarray(weights["bias"], np.float64)
    y = np.zeros((-(-x.shape[0] // stride), -(-x.shape[1] // stride), kernel.shape[3]))
    for i, j, inside in windows(x, kernel.shape[0], stride):
        total = bias.copy()
        for a, b, pixel in inside:
            total += pixel @ kernel[a, b]
        y[i, j] = np.maximum(total, 0.0)
    return y


def maps(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.0, shape)


@pytest.mark.parametrize(("shape", "alpha"), [((2, 3, 4, 11), 1.0), ((1, 2, 2, 3), 7.0), ((3, 6), 1e-4)])
def test_response_norm(shape, alpha):
    x = 5.0 * maps(0, *shape)
    expected = np.zeros(shape)
    for place in np.ndindex(shape):
        total = sum(x[place[:-1]][c] ** 2 for c in range(place[-1] - 2, place[-1] + 3) if 0 <= c < shape[-1])
        expected[place] = x[place] / (1.0 + alpha / 5 * total) ** 0.75
    np.testing.assert_allclose(response_norm(jnp.asarray(x, jnp.float32), alpha), expected, rtol=2e-6)
    check_grads(lambda x: response_norm(x, alpha), (jnp.asarray(x, jnp.float32),), order=1, modes=["rev"], rtol=2e-2)


def test_response_norm_in_bfloat16_rounds_once():
    x = jnp.asarray(100.0 * maps(1, 2, 2, 8), jnp.bfloat16)
    y = response_norm(x)
    assert y.dtype == jnp.bfloat16
    assert jnp.array_equal(y, response_norm(x.astype(jnp.float32)).astype(jnp.bfloat16))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kind", "pool"), [("max", max_pool), ("l2", l2_pool)])
@pytest.mark.parametrize("size", [(6, 7), (5, 4)])
def test_pooling(size, kind, pool, stride):
    x = maps(2, *size, 3) - 2.0  # mostly negative: a zero from the padding would be the maximum
    expected = oracle_pool(x, kind, stride)
    np.testing.assert_allclose(pool(jnp.asarray(x, jnp.float32)[None], stride)[0], expected, rtol=1e-6)


def test_l2_pool_gradient():
    x = jnp.asarray(maps(3, 1, 4, 5, 2), jnp.float32)
    check_grads(lambda x: l2_pool(x, 1), (x,), order=1, modes=["rev"], rtol=2e-2)
    holed = x.at[:, :, 2:].set(0.0)  # windows with and without a value
    assert jnp.isfinite(jax.grad(lambda x: l2_pool(x, 1).sum())(holed)).all()
    assert not jax.grad(lambda x: l2_pool(x, 1).sum())(jnp.zeros_like(x)).any()


@pytest.mark.parametrize(
    "row",
    [
        Row(2, (3, 4), (2, 5), "max", 3),
        Row(2, (3, 4), (2, 5), "l2", 3),
        Row(0, (3, 4), (2, 5), "max", 0, stride=2),
        Row(2, (3, 4), None, "l2", 1),
    ],
)
def test_inception_module(row):
    x = maps(4, 6, 6, 3)
    module, images = InceptionModule(row), jnp.asarray(x, jnp.float32)[None]
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda leaf: rng.normal(0.0, 0.5, leaf.shape).astype(np.float32), shapes)["params"]

    branches = [oracle_conv_relu(x, params["conv_1x1"])] if row.one else []
    for size in ("3x3", "5x5") if row.five else ("3x3",):
        reduced = oracle_conv_relu(x, params[f"reduce_{size}"])
        branches.append(oracle_conv_relu(reduced, params[f"conv_{size}"], row.stride))
    pooled = oracle_pool(x, row.pool, row.stride)
    branches.append(oracle_conv_relu(pooled, params["pool_projection"]) if row.projection else pooled)
    expected = np.concatenate(branches, axis=-1)

    np.testing.assert_allclose(module.apply({"params": params}, images)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "step", "side"), [("max", 2, 5), ("l2", 3, 4)])
def test_torch_pools_without_padding_and_centres_the_smaller_map(kind, step, side):
    x = np.abs(maps(6, 12, 12, 2))
    images = jnp.asarray(x, jnp.float32)[None]
    module = DepthConcatInception(Row(3, (1, 1), None, kind, 0))
    variables = module.init(jax.random.key(0), images, train=False)
    pooled = np.asarray(module.apply(variables, images, train=False))[0, :, :, 1:3]  # after 3x3, before 1x1

    expected = np.zeros((12, 12, 2))
    start = (12 - side) // 2
    for i in range(side):
        for j in range(side):
            window = x[i * step : i * step + 3, j * step : j * step + 3].reshape(9, 2)
            value = window.max(axis=0) if kind == "max" else np.sqrt((window**2).sum(axis=0))
            expected[start + i, start + j] = value
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)
