"""Intra, inter and angular triplet against float64 with plain loops, and their gradients."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax import losses
from facenet_jax import mining

intra_loss = jax.jit(losses.intra_loss)
inter_loss = jax.jit(losses.inter_loss, static_argnums=3)
semi_hard = jax.jit(losses.semi_hard)
angular_triplet_loss = jax.jit(losses.angular_triplet_loss, static_argnums=2, static_argnames="rule")


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return max(-1.0, min(1.0, float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))))


def differences(function, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """The gradient of a float64 function by central differences."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[index] += step
        back[index] -= step
        gradient[index] = (function(there) - function(back)) / (2 * step)
    return gradient


# Intra, Eq. (5).


def test_intra_is_the_angle_over_pi():
    degrees = np.array([0.0, 30, 45, 90, 123, 180])
    value = intra_loss(jnp.asarray(np.cos(np.radians(degrees)).astype(np.float32)))
    np.testing.assert_allclose(value, degrees / 180, atol=1e-6)
    slope = jax.jit(jax.grad(lambda c: jnp.sum(intra_loss(c))))(jnp.cos(jnp.radians(degrees[1:-1])))
    np.testing.assert_allclose(slope, -1 / (np.pi * np.sin(np.radians(degrees[1:-1]))), rtol=1e-5)


def test_intra_is_finite_at_the_centre():
    ends = jnp.array([-1.0001, -1, 1, 1.0001])
    assert np.isfinite(jax.jit(jax.grad(lambda c: jnp.sum(intra_loss(c))))(ends)).all()


# Inter, Eq. (6).


def inter_oracle(centres: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    loss = np.zeros(len(labels))
    for i, y in enumerate(labels):
        for j in range(classes):
            if j != y:
                loss[i] -= math.acos(cosine(centres[y], centres[j])) / (math.pi * (classes - 1))
    return loss


def test_inter_worked():
    """Three centres at 0, 90 and 180 degrees: mean angles to the others are 135, 90 and 135 degrees."""
    centres = jnp.array([[1.0, 0], [0, 5], [-2, 0]])
    labels = jnp.array([0, 1, 2, 0])
    value = inter_loss(centres[labels], centres, labels)
    np.testing.assert_allclose(value, [-0.75, -0.5, -0.75, -0.75], rtol=1e-6)


@jax.jit
def weighted_inter(centres: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.sum(losses.inter_loss(centres[labels], centres, labels, 5) * weights)


@pytest.mark.parametrize("seed", range(3))
def test_inter_and_its_gradient_equal_the_oracle(seed: int):
    """With two rows of padding, which count for nothing and get no gradient."""
    rng = np.random.default_rng(seed)
    centres, labels = rng.normal(size=(7, 4)), rng.integers(0, 5, size=9)
    weights = rng.normal(size=9)
    as_float32 = jnp.asarray(centres, jnp.float32)
    value = inter_loss(as_float32[labels], as_float32, jnp.asarray(labels), 5)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, inter_oracle(centres, labels, 5), rtol=1e-5)
    expected = differences(lambda w: float(inter_oracle(w, labels, 5) @ weights), centres)
    gradient = jax.grad(weighted_inter)(as_float32, jnp.asarray(labels), jnp.asarray(weights, jnp.float32))
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gradient[5:], 0)


def test_inter_is_finite_for_equal_opposite_and_zero_centres():
    centres = jnp.array([[1.0, 0, 0], [1, 0, 0], [-3, 0, 0], [0, 0, 0], [0, 0, 0]])
    labels = jnp.array([0, 1, 2, 3])
    gradient = jax.jit(jax.grad(lambda w: jnp.sum(inter_loss(w[labels], w, labels, 4))))(centres)
    assert np.isfinite(gradient).all()


def test_all_rows_are_classes_if_not_told():
    rng = np.random.default_rng(3)
    centres, labels = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32), jnp.array([5, 0])
    told, untold = (inter_loss(centres[labels], centres, labels, n) for n in (6, None))
    np.testing.assert_array_equal(told, untold)


# The angular triplet.


def semi_hard_oracle(cosines: np.ndarray, identities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = len(identities)
    negative, is_pair = np.zeros((size, size), np.int32), np.zeros((size, size), bool)
    for a in range(size):
        negatives = [n for n in range(size) if identities[n] != identities[a]]
        for p in range(size):
            if p == a or identities[p] != identities[a] or not negatives:
                continue
            is_pair[a, p] = True
            farther = [n for n in negatives if cosines[a, n] < cosines[a, p]]
            if farther:
                negative[a, p] = max(farther, key=lambda n: (cosines[a, n], -n))
            else:
                negative[a, p] = min(negatives, key=lambda n: (cosines[a, n], -n))
    return negative, is_pair


def batch(seed: int, size: int = 15, people: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of no particular length, in loose groups of unequal size."""
    rng = np.random.default_rng(seed)
    identities = rng.integers(0, people, size=size)
    return rng.normal(size=(people, 5))[identities] + rng.normal(size=(size, 5)), identities


@pytest.mark.parametrize("seed", range(4))
def test_semi_hard(seed: int):
    x, identities = batch(seed)
    unit = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    negative, is_pair = semi_hard(jnp.asarray(unit), jnp.asarray(identities))
    cosines = unit.astype(np.float64) @ unit.T.astype(np.float64)
    expected, expected_pair = semi_hard_oracle(cosines, identities)
    np.testing.assert_array_equal(is_pair, expected_pair)
    np.testing.assert_array_equal(negative, expected)


def test_semi_hard_worked():
    """On a circle, anchor at 0 degrees: the positive at 20 skips negatives at 10 and 20, that at 80 has none left."""
    degrees = np.array([0, 20, 80, 10, -20, 40, 60])
    identities = jnp.array([0, 0, 0, 1, 1, 1, 2])
    on_circle = np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1).astype(np.float32)
    on_circle[4, 0] = on_circle[1, 0]  # as near as the positive, to the bit
    negative, is_pair = semi_hard(jnp.asarray(on_circle), identities)
    assert is_pair[0].tolist() == [False, True, True, False, False, False, False]
    assert negative[0].tolist() == [0, 5, 6, 0, 0, 0, 0]
    assert not is_pair[6].any()


def test_semi_hard_on_ties():
    """Equal negatives: the lowest index where they are farther than the positive, the highest where none is."""
    same, near, far = [1.0, 0], [0.8, 0.6], [0, 1.0]
    identities = jnp.array([0, 0, 1, 2])
    negative, _ = semi_hard(jnp.array([same, near, far, far]), identities)
    assert negative[0, 1] == 2
    negative, _ = semi_hard(jnp.array([same, far, near, near]), identities)
    assert negative[0, 1] == 3


def test_no_negatives_is_no_pair():
    negative, is_pair = semi_hard(jnp.eye(4, 2), jnp.zeros(4, jnp.int32))
    assert not is_pair.any() and not negative.any()


def triplet_oracle(x: np.ndarray, negative: np.ndarray, is_pair: np.ndarray, margin: float) -> np.ndarray:
    loss = np.zeros(is_pair.shape)
    for a, p in np.argwhere(is_pair):
        to_positive, to_negative = (math.acos(cosine(x[a], x[k])) for k in (p, negative[a, p]))
        loss[a, p] = max(0.0, to_positive + margin - to_negative)
    return loss


@partial(jax.jit, static_argnums=3)
@partial(jax.value_and_grad, has_aux=True)
def weighted_triplet(x: jax.Array, identities: jax.Array, weights: jax.Array, margin: float):
    loss, is_pair = losses.angular_triplet_loss(x, identities, margin)
    loss = jnp.where(is_pair, loss, 0.0)
    return jnp.sum(loss * weights), (loss, is_pair)


@pytest.mark.parametrize("seed", range(3))
def test_angular_triplet_and_its_gradient_equal_the_oracle(seed: int):
    x, identities = batch(seed)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    negative, is_pair = semi_hard_oracle(unit @ unit.T, identities)
    weights = np.random.default_rng(9).normal(size=is_pair.shape)

    arguments = jnp.asarray(x, jnp.float32), jnp.asarray(identities), jnp.asarray(weights, jnp.float32)
    (_, (loss, pairs)), gradient = weighted_triplet(*arguments, 0.35)
    expected = triplet_oracle(x, negative, is_pair, 0.35)
    assert 0 < (expected[is_pair] == 0).mean() < 1, "some pairs shall be active and some not"
    np.testing.assert_array_equal(pairs, is_pair)
    np.testing.assert_allclose(loss, expected, atol=1e-5)
    expected_gradient = differences(lambda x: float(np.sum(triplet_oracle(x, negative, is_pair, 0.35) * weights)), x)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_facenets_rules_serve_as_well():
    """Angles of unit vectors order as distances do: FaceNet's semi-hard rule picks the same triplets."""
    x, identities = batch(5)
    arguments = jnp.asarray(x, jnp.float32), jnp.asarray(identities), 0.35
    ours, is_pair = angular_triplet_loss(*arguments)
    theirs, their_pairs = angular_triplet_loss(*arguments, rule=mining.semi_hard)
    np.testing.assert_array_equal(is_pair, their_pairs)
    np.testing.assert_array_equal(jnp.where(is_pair, ours, 0), jnp.where(is_pair, theirs, 0))
    hardest, _ = angular_triplet_loss(*arguments, rule=mining.hardest)
    assert jnp.any(jnp.where(is_pair, hardest - ours, 0) > 0.1)


def test_batch_order_does_not_matter():
    x, identities = batch(6)
    order = np.random.default_rng(0).permutation(len(x))
    loss, is_pair = angular_triplet_loss(jnp.asarray(x), jnp.asarray(identities), 0.35)
    shuffled, _ = angular_triplet_loss(jnp.asarray(x[order]), jnp.asarray(identities[order]), 0.35)
    loss, shuffled = np.where(is_pair, loss, 0), np.where(is_pair[order][:, order], shuffled, 0)
    np.testing.assert_allclose(shuffled, loss[order][:, order], atol=1e-6)


def test_gradient_is_finite_where_embeddings_coincide():
    opposite = [[1.0, 0, 0], [-1, 0, 0], [1, 0, 0], [-1, 0, 0]]
    identities, weights = jnp.array([0, 0, 1, 1]), jnp.ones((4, 4))
    for x in (jnp.ones((4, 3)), jnp.zeros((4, 3)), jnp.array(opposite)):
        (value, _), gradient = weighted_triplet(x, identities, weights, 0.35)
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_half_precision_is_not_used_for_angles():
    x = jnp.array([[1.0, 0.0078125], [1.0, 0.0], [0.0, 1.0]], jnp.bfloat16)
    loss, _ = angular_triplet_loss(x, jnp.array([0, 0, 1]), 2.0)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss[1, 0], 2.0 + math.atan(0.0078125) - math.pi / 2, atol=2e-4)


def test_equals_torch():
    """Intra, inter and the triplet of given negatives, with torch's arccos and autograd in float64."""
    torch = pytest.importorskip("torch")
    x, identities = batch(7)
    centres = np.random.default_rng(8).normal(size=(4, 5))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    negative, is_pair = semi_hard_oracle(unit @ unit.T, identities)

    def ours(x, centres):
        labels = jnp.asarray(identities)
        loss, pairs = angular_triplet_loss(x, labels, 0.35)
        cosines = jnp.sum(x * centres[labels], axis=1) / jnp.linalg.norm(x, axis=1)
        intra = intra_loss(cosines / jnp.linalg.norm(centres[labels], axis=1))
        inter = inter_loss(centres[labels], centres, labels)
        return jnp.sum(jnp.where(pairs, loss, 0.0)) + jnp.sum(intra) + jnp.sum(inter)

    value, gradients = jax.jit(jax.value_and_grad(ours, (0, 1)))(
        jnp.asarray(x, jnp.float32), jnp.asarray(centres, jnp.float32)
    )

    leaves = [torch.tensor(array, requires_grad=True) for array in (x, centres)]
    faces, targets = (torch.nn.functional.normalize(leaf) for leaf in leaves)
    rows = torch.arange(len(x))
    total = torch.acos((faces * targets[identities]).sum(1)).sum() / torch.pi
    between = torch.acos((targets[identities] @ targets.T).clamp(-0.999999, 0.999999))
    others = torch.arange(4)[None] != torch.tensor(identities)[:, None]
    total = total - between[others].sum() / (torch.pi * 3)
    theta = torch.acos((faces @ faces.T).clamp(-0.999999, 0.999999))
    hinge = (theta + 0.35 - theta[rows[:, None], torch.tensor(negative, dtype=torch.int64)]).clamp(min=0)
    total = total + hinge[torch.tensor(is_pair)].sum()
    total.backward()
    np.testing.assert_allclose(value, total.item(), rtol=1e-5)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-4, atol=1e-5)
