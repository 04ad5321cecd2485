"""Eq. (2) to (4) against float64, numerical derivatives, each loss's own formula and torch's autograd."""

import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from arcface_jax import margins
from arcface_jax.margins import Margin
from faces.errors import ConfigError

SETTINGS = {
    "norm-softmax": margins.NORM_SOFTMAX,
    "SphereFace": margins.SPHEREFACE,
    "ArcFace": margins.ARCFACE,
    "CosFace": margins.COSFACE,
    "CM1": margins.CM1,
    "CM2": margins.CM2,
    "all three": Margin(1.2, 0.2, 0.1),
}
COSINES = np.concatenate(
    [
        np.cos(np.radians(np.linspace(0.5, 179.5, 180))),
        1 - 2.0 ** -np.arange(1, 24),
        2.0 ** -np.arange(1, 24) - 1,
        np.random.default_rng(0).uniform(-1, 1, 100),
    ]
).astype(np.float32)


def oracle(cosine: float, margin: Margin) -> float:
    return math.cos(margin.m1 * math.acos(cosine) + margin.m2) - margin.m3


def oracle_slope(cosine: float, margin: Margin) -> float:
    theta = math.acos(cosine)
    return margin.m1 * math.sin(margin.m1 * theta + margin.m2) / math.sin(theta)


@partial(jax.jit, static_argnums=1)
def compiled_value_and_slope(cosines: jax.Array, margin: Margin) -> tuple[jax.Array, jax.Array]:
    value, pullback = jax.vjp(lambda c: margins.target_cosine(c, margin), cosines)
    return value, pullback(jnp.ones_like(value))[0]


def value_and_slope(cosines: np.ndarray, margin: Margin) -> tuple[np.ndarray, np.ndarray]:
    """Both at each cosine, one compilation a setting: every call is padded to the same length."""
    padded = np.zeros(400, np.float32)
    padded[: len(cosines)] = cosines
    value, slope = compiled_value_and_slope(padded, margin)
    return np.asarray(value)[: len(cosines)], np.asarray(slope)[: len(cosines)]


@pytest.mark.parametrize("name", SETTINGS)
def test_value_and_gradient_equal_the_oracle(name: str):
    margin = SETTINGS[name]
    value, slope = value_and_slope(COSINES, margin)
    cosines = COSINES.tolist()
    np.testing.assert_allclose(value, [oracle(c, margin) for c in cosines], rtol=0, atol=1e-6)
    np.testing.assert_allclose(slope, [oracle_slope(c, margin) for c in cosines], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_gradient_equals_finite_differences(name: str):
    margin, step = SETTINGS[name], 1e-6
    cosines = np.cos(np.radians(np.linspace(3, 177, 59))).astype(np.float32)
    expected = [(oracle(c + step, margin) - oracle(c - step, margin)) / (2 * step) for c in cosines.tolist()]
    np.testing.assert_allclose(value_and_slope(cosines, margin)[1], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_straight_through_keeps_the_value_and_has_slope_one(name: str):
    ends = np.array([-1.0001, -1, 1, 1.0001], np.float32)
    cosines = np.concatenate([COSINES, ends])
    exact, _ = value_and_slope(cosines, SETTINGS[name])
    value, slope = value_and_slope(cosines, replace(SETTINGS[name], gradient="straight_through"))
    np.testing.assert_array_equal(value, exact)
    np.testing.assert_array_equal(slope, 1)


def test_no_margin_is_norm_softmax_to_the_bit():
    for gradient in ("exact", "straight_through"):
        value, slope = value_and_slope(COSINES, Margin(1.0, 0.0, 0.0, gradient))
        np.testing.assert_array_equal(value, COSINES)
        np.testing.assert_array_equal(slope, 1)


def test_each_setting_is_its_papers_formula():
    """In sines and cosines of the angle, or by double-angle identities, rather than by Eq. (4)."""
    theta = np.radians(np.linspace(1, 179, 90))
    cosines = np.cos(theta).astype(np.float32)
    formulas = {
        margins.NORM_SOFTMAX: np.cos(theta),
        margins.COSFACE: np.cos(theta) - 0.35,
        margins.ARCFACE: np.cos(theta) * np.cos(0.5) - np.sin(theta) * np.sin(0.5),
        margins.SPHEREFACE: np.real(np.exp(1.35j * theta)),
        margins.CM1: np.cos(theta) * np.cos(0.3) - np.sin(theta) * np.sin(0.3) - 0.2,
        margins.CM2: np.real(np.exp(0.9j * theta) * np.exp(0.4j)) - 0.15,
        Margin(2.0, 0.0, 0.0): 2 * np.cos(theta) ** 2 - 1,
        Margin(4.0, 0.0, 0.0): 8 * np.cos(theta) ** 4 - 8 * np.cos(theta) ** 2 + 1,
    }
    for margin, expected in formulas.items():
        np.testing.assert_allclose(value_and_slope(cosines, margin)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_finite_at_and_beyond_one(name: str):
    margin = SETTINGS[name]
    ends = np.array([-1.00001, -1, 1, 1.00001], np.float32)
    value, slope = value_and_slope(ends, margin)
    tolerance = 2e-5 if name in ("norm-softmax", "CosFace") else 1e-6  # these two are not clipped
    np.testing.assert_allclose(value, [oracle(c, margin) for c in (-1, -1, 1, 1)], rtol=0, atol=tolerance)
    nearest = float(np.nextafter(np.float32(1), np.float32(0)))
    inside = [oracle_slope(c, margin) for c in (-nearest, -nearest, nearest, nearest)]
    np.testing.assert_allclose(slope, inside, rtol=1e-3)  # infinite at 1: a rounding of theta shows here
    of_slope = jax.jit(jax.vmap(jax.grad(jax.grad(lambda c: margins.target_cosine(c, margin)))))
    assert np.isfinite(of_slope(ends)).all()


def test_past_pi_the_published_formula_stands():
    """theta + m > pi: the target logit rises with theta, and the exact gradient is negative."""
    turn = math.degrees(math.pi - 0.5)
    cosines = np.cos(np.radians([turn - 2, turn - 1, turn, turn + 1, turn + 2])).astype(np.float32)
    value, slope = value_and_slope(cosines, margins.ARCFACE)
    assert value.argmin() == 2
    assert (slope[:2] > 0).all() and (slope[3:] < 0).all()


def test_gradient_of_an_embedding_is_bounded():
    """The slope at cos = 1 is 1390; what reaches the embedding is at most m1, the sphere's own geometry."""

    def target(x, centre):
        return margins.target_cosine(jnp.sum(x * centre) / jnp.linalg.norm(x), margins.ARCFACE)

    centre = jax.random.normal(jax.random.key(0), (512,))
    centre /= jnp.linalg.norm(centre)
    away = jax.random.normal(jax.random.key(1), (512,)) / np.sqrt(512)
    gradient = jax.jit(jax.grad(target))
    for distance in (0.0, 1e-6, 1e-4, 1e-2, 1.0):
        assert jnp.linalg.norm(gradient(centre + distance * away, centre)) < 1.01


def test_any_shape_and_dtype_under_jit():
    cosines = jnp.linspace(-0.9, 0.9, 12).reshape(3, 4)
    compiled = jax.jit(margins.target_cosine, static_argnums=1)
    assert compiled(cosines, margins.CM2).shape == (3, 4)
    assert compiled(cosines[0, 0], margins.CM2).shape == ()
    near_one = jnp.array([0.9921875], jnp.bfloat16)
    value = compiled(near_one, margins.ARCFACE)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, oracle(0.9921875, margins.ARCFACE), atol=1e-6)
    gradient = jax.jit(jax.grad(lambda c: jnp.sum(margins.target_cosine(c, margins.ARCFACE))))(near_one)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(gradient.astype(np.float32), oracle_slope(0.9921875, margins.ARCFACE), rtol=1e-2)


def test_forward_and_reverse_agree():
    cosines = jnp.asarray(np.array([-0.7, 0.1, 0.8], np.float32))
    for margin in (margins.ARCFACE, margins.CM2):
        check_grads(jax.jit(lambda c, m=margin: margins.target_cosine(c, m)), (cosines,), order=1, rtol=1e-2, atol=1e-2)


def test_arccos():
    ends = [-1.5, -1, 1, 1.5]
    cosines = np.concatenate([COSINES, ends]).astype(np.float32)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(margins.arccos)))(cosines)
    clipped = np.clip(cosines.astype(np.float64), -1, 1)
    np.testing.assert_allclose(value, np.arccos(clipped), rtol=5e-7)
    inside = np.clip(clipped, 2.0**-24 - 1, 1 - 2.0**-24)
    np.testing.assert_allclose(slope, -1 / np.sqrt(1 - inside**2), rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        {"m1": 0.0},
        {"m1": -1.0},
        {"m1": math.inf},
        {"m1": math.nan},
        {"m2": -0.1},
        {"m2": 28.6},
        {"m2": math.nan},
        {"m3": -0.35},
        {"m3": 2.0},
    ],
)
def test_values_out_of_range_are_refused_by_name(values: dict):
    with pytest.raises(ConfigError, match=f"^margin {next(iter(values))} = .* expected.$"):
        Margin(**values)


def test_an_unknown_gradient_is_refused():
    margin = Margin()
    object.__setattr__(margin, "gradient", "none")  # the tests' own type checks would refuse it sooner
    with pytest.raises(ConfigError, match=r'^margin gradient = "none": "exact" or "straight_through" expected.$'):
        margin.__post_init__()


def test_equal_margins_compile_once():
    assert hash(Margin()) == hash(margins.ARCFACE) and Margin() == margins.ARCFACE
    assert len(set(SETTINGS.values())) == len(SETTINGS)


@pytest.mark.parametrize("gradient", ["exact", "straight_through"])
@pytest.mark.parametrize("name", SETTINGS)
def test_equals_torch(name: str, gradient: str):
    """Plain torch on the whole logit row, its margin under no_grad for straight-through, as the authors write it."""
    torch = pytest.importorskip("torch")
    margin = replace(SETTINGS[name], gradient=gradient)
    cosines = np.cos(np.radians(np.linspace(2, 178, 89))).astype(np.float32)
    leaf = torch.tensor(cosines, dtype=torch.float64, requires_grad=True)
    logits = leaf.clone()
    if gradient == "exact":
        logits = torch.cos(margin.m1 * torch.acos(logits) + margin.m2) - margin.m3
    else:
        with torch.no_grad():
            logits.acos_().mul_(margin.m1).add_(margin.m2).cos_().sub_(margin.m3)
    weights = np.linspace(-1, 2, len(cosines))
    (logits * torch.tensor(weights)).sum().backward()

    value, slope = value_and_slope(cosines, margin)
    np.testing.assert_allclose(value, logits.detach().numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(slope * weights, leaf.grad.numpy(), rtol=1e-5, atol=1e-5)
