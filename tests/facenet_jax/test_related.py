"""Relatives of the triplet loss: against loops in float64, by hand, where gradients are at risk, over devices."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import hlo
from facenet_jax import fit
from facenet_jax.related import (
    batch_all,
    batch_all_fast,
    batch_hard,
    circle,
    contrastive,
    coupled_clusters,
    lifted_structure,
    margin_loss,
    n_pair,
)
from facenet_jax.related import config as kinds
from facenet_jax.related import objective as related
from facenet_jax.related.pairs import Pairs, euclidean, pairs_of, similarities
from facenet_jax.related.triplet_variant import triplet_loss_of_distances
from facenet_jax.train_step import init_state, make_train_step
from faces.errors import ConfigError
from faces.mesh import make_mesh, place_batch
from faces.ops import squared_distances
from tests.facenet_jax import related_oracle as oracle
from tests.facenet_jax import setting
from tests.facenet_jax.test_mining import walk

B, D, PEOPLE = 16, 5, 5
IDENTITIES = np.array([3, 0, 0, 1, 3, 2, 0, 4, 4, 3, 1, 0, 4, 3, 0, 4])  # of one person there is one image alone
KEY = jax.random.key(7)
BATCH_ALL = (batch_all_fast.batch_all, batch_all.batch_all)

CASES = {
    "contrastive": kinds.ContrastiveConfig(reduction="mean_of_active", margin=1.1),
    "deepid2": kinds.DeepID2Config(reduction="mean", margin=1.3, verification_weight=0.4),
    "triplet_euclidean": kinds.TripletVariantConfig("mean_of_active", 0.2, "euclidean", "hinge"),
    "triplet_soft": kinds.TripletVariantConfig("mean", 0.0, "squared", "soft_margin"),
    "batch_hard": kinds.BatchHardConfig("mean", 0.1, "euclidean", "hinge"),
    "batch_hard_soft": kinds.BatchHardConfig("sum", 0.0, "squared", "soft_margin"),
    "batch_all": kinds.BatchAllConfig("mean_of_active", 0.2, "squared"),
    "batch_all_euclidean": kinds.BatchAllConfig("mean", 0.3, "euclidean"),
    "margin_loss": kinds.MarginLossConfig("mean_of_active", 0.2, 1.0, "person", 0.1, 0.0, 0.5, 1.4),
    "margin_loss_of_all": kinds.MarginLossConfig("sum", 0.2, 1.0, "all", 0.1, 0.0, 0.5, 1.4),
    "coupled_clusters": kinds.CoupledClustersConfig("mean", 0.6),
    "lifted_structure": kinds.LiftedStructureConfig("mean", 1.0),
    "n_pair": kinds.NPairConfig("mean", 4.0),
    "circle": kinds.CircleConfig("mean", 0.25, 16.0),
}


def batch(seed: int) -> np.ndarray:
    """Unit embeddings, each person's near each other or not."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(PEOPLE, D))[IDENTITIES] + rng.normal(size=(B, D)) * (0.3 + seed)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def learned_of(config: kinds.AnyRelated) -> Any:
    if config.kind == "deepid2":
        return np.random.default_rng(5).normal(size=(PEOPLE, D)).astype(np.float32)
    if config.kind == "margin_loss":
        return np.linspace(0.8, 1.2, PEOPLE if config.beta_of == "person" else 1, dtype=np.float32)
    return {}


@cache
def compiled(name: str, devices: int = 1):
    config, mesh = CASES[name], make_mesh(devices)

    def of_batch(x: jax.Array, learned: Any, identities: jax.Array):
        return related.objective(x, identities, learned, config, KEY, mesh)

    return jax.jit(jax.value_and_grad(of_batch, (0, 1), has_aux=True))


def run(name: str, x: np.ndarray, devices: int = 1, identities: np.ndarray = IDENTITIES):
    """((loss, metrics), (gradient by x, gradient by what is learned))."""
    return jax.device_get(compiled(name, devices)(jnp.asarray(x), learned_of(CASES[name]), jnp.asarray(identities)))


def drawn(x: np.ndarray, config: kinds.MarginLossConfig) -> np.ndarray:
    """The negatives that the run draws, -1 for none."""
    pairs = pairs_of(jnp.asarray(IDENTITIES))
    distance = euclidean(squared_distances(jnp.asarray(x), jnp.asarray(x)))
    weight = margin_loss.weights(distance, pairs.is_negative, D, config.shortest, config.longest)
    negative, is_drawn = margin_loss.draw(weight, pairs, KEY)
    return np.where(is_drawn, negative, -1)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_equal_the_oracle(name: str, seed: int):
    config, x = CASES[name], batch(seed)
    more = {"fixed": x.astype(np.float64), "learned": jax.tree.map(np.float64, learned_of(config))}
    if config.kind == "margin_loss":
        more["drawn"] = drawn(x, config)
    expected, counted, active = oracle.loss(x.astype(np.float64), IDENTITIES, config, **more)
    (loss, metrics), (gradient, _) = run(name, x)
    np.testing.assert_allclose(loss, expected, rtol=2e-5)
    assert (metrics["pairs"], metrics["active_triplets"]) == (counted, active)
    numerical = oracle.gradient(x.astype(np.float64), IDENTITIES, config, **more)
    np.testing.assert_allclose(gradient, numerical, rtol=1e-3, atol=2e-5 * np.abs(numerical).max() + 2e-6)


@pytest.mark.parametrize("name", ["deepid2", "margin_loss", "margin_loss_of_all"])
def test_what_is_learned_has_its_gradient(name: str):
    config, x = CASES[name], batch(1).astype(np.float64)
    learned = learned_of(config).astype(np.float64)
    more = {"drawn": drawn(batch(1), config)} if config.kind == "margin_loss" else {}
    numerical = np.zeros_like(learned)
    for index in np.ndindex(*learned.shape):
        ends = []
        for sign in (1, -1):
            moved = learned.copy()
            moved[index] += sign * 1e-6
            ends.append(oracle.loss(x, IDENTITIES, config, learned=moved, **more)[0])
        numerical[index] = (ends[0] - ends[1]) / 2e-6
    assert np.abs(numerical).max() > 0.01
    np.testing.assert_allclose(run(name, batch(1))[1][1], numerical, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("triplet_soft", "margin_loss_of_all")])
def test_1_and_8_devices_agree(name: str):
    x = batch(1)
    (loss, metrics), gradients = run(name, x)
    (theirs, their_metrics), their_gradients = run(name, x, devices=8)
    np.testing.assert_allclose(loss, theirs, rtol=1e-5)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6), gradients,
                 their_gradients)  # fmt: skip
    for key, value in metrics.items():
        np.testing.assert_allclose(value, their_metrics[key], rtol=1e-5, err_msg=key)


def test_no_device_compares_all_images_with_all():
    """Each of 8 has its anchors' rows alone: nothing of (B, B), and nothing cubic."""
    for name in ("batch_all", "margin_loss", "n_pair"):
        call = compiled(name, 8)
        arguments = (jnp.asarray(batch(0)), learned_of(CASES[name]), jnp.asarray(IDENTITIES))
        shapes = hlo.shapes(call.lower(*arguments).compile().as_text() or "")
        assert (B // 8, B) in shapes and not [s for s in shapes if s.count(B) > 1 or B * B in s], name


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("margin_loss")])
def test_invariant_to_the_batch_order(name: str):
    """Of the margin-based loss chance draws the negatives, so that another order is another draw."""
    x, order = batch(2), np.random.default_rng(3).permutation(B)
    (loss, _), (gradient, _) = run(name, x)
    (shuffled, _), (of_shuffled, _) = run(name, x[order], identities=IDENTITIES[order])
    np.testing.assert_allclose(loss, shuffled, rtol=1e-5)
    np.testing.assert_allclose(of_shuffled, gradient[order], rtol=1e-4, atol=1e-5 * np.abs(gradient).max())


def hard_cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    same = np.tile(batch(0)[:1], (B, 1))
    axis = np.eye(D, dtype=np.float32)[:1]
    opposite = np.where(np.arange(B)[:, None] % 2, axis, -axis)
    return {
        "one point": (same, IDENTITIES),
        "positives on one point": (batch(0)[IDENTITIES], IDENTITIES),
        "opposite": (opposite, IDENTITIES),
        "zero vectors": (np.zeros((B, D), np.float32), IDENTITIES),
        "some zero": (np.where(np.arange(B)[:, None] < 5, 0, batch(0)).astype(np.float32), IDENTITIES),
        "nearly zero": (1e-20 * batch(0), IDENTITIES),
        "one person": (batch(0), np.zeros_like(IDENTITIES)),
        "all different": (batch(0), np.arange(B)),
    }


@pytest.mark.parametrize("case", hard_cases())
@pytest.mark.parametrize("name", CASES)
def test_finite_where_a_gradient_is_at_risk(name: str, case: str):
    x, identities = hard_cases()[case]
    if CASES[name].kind in ("deepid2", "margin_loss"):
        identities = identities % PEOPLE  # who have rows
    (loss, metrics), gradients = run(name, x, identities=identities)
    assert np.isfinite(loss) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((metrics, gradients)))
    assert all(np.abs(leaf).max() < 1e5 for leaf in jax.tree.leaves(gradients))
    if case in ("one person", "all different") and CASES[name].kind not in ("contrastive", "deepid2", "margin_loss"):
        assert loss == 0 and metrics["pairs"] == 0


# By hand.

LINE = jnp.array([[0.0], [0.6], [1.0], [1.8]])  # two images of one person, two of another
PAIRS = pairs_of(jnp.array([0, 0, 1, 1]))
DISTANCE = euclidean(squared_distances(LINE, LINE))


def test_contrastive_by_hand():
    """A positive at 0.6 costs 0.18; negatives at 1.0 and 0.4, pushed out to 1.2, cost 0.02 and 0.32; at 1.8 nothing."""
    values = contrastive.contrastive_loss(DISTANCE, PAIRS.is_positive, 1.2)
    np.testing.assert_allclose(values[0, 1:], [0.18, 0.02, 0.0], atol=1e-6)
    np.testing.assert_allclose(values[1, 2], 0.32, rtol=1e-5)


def test_batch_hard_takes_the_farthest_positive_and_the_nearest_negative():
    identities = jnp.array([0, 0, 0, 1, 1])
    x = jnp.array([[0.0], [1.0], [3.0], [2.0], [5.0]])
    d_ap, d_an = batch_hard.hardest(euclidean(squared_distances(x, x)), pairs_of(identities))
    np.testing.assert_allclose(d_ap, [3, 2, 3, 3, 3], rtol=1e-6)
    np.testing.assert_allclose(d_an, [2, 1, 1, 1, 2], rtol=1e-6)


def test_slack_by_hand():
    d_ap, d_an = jnp.array([1.0, 1.0]), jnp.array([0.5, 2.0])
    np.testing.assert_allclose(triplet_loss_of_distances(d_ap, d_an, 0.2, "hinge"), [0.7, 0.0], rtol=1e-6)
    soft = triplet_loss_of_distances(d_ap, d_an, 0.0, "soft_margin")
    np.testing.assert_allclose(soft, np.log1p(np.exp([0.5, -1.0])), rtol=1e-6)


def test_margin_loss_by_hand():
    """beta 1, alpha 0.2: a positive may lie within 0.8, a negative must be beyond 1.2."""
    distance, beta = jnp.array([[0.7, 0.9, 1.3]]), jnp.array([1.0])
    np.testing.assert_allclose(margin_loss.margin_loss(distance, beta, +1, 0.2), [[0, 0.1, 0.5]], atol=1e-6)
    np.testing.assert_allclose(margin_loss.margin_loss(distance, beta, -1, 0.2), [[0.5, 0.3, 0]], atol=1e-6)


def test_coupled_clusters_by_hand():
    """Means 0.3 and 1.4; the nearest strangers lie 0.7 and 0.8 from them, x_i 0.3 and 0.4."""
    values = coupled_clusters.coupled_clusters_loss(LINE, PAIRS, 0.5)
    first, second = 0.5 * (0.09 + 0.5 - 0.49), 0.5 * (0.16 + 0.5 - 0.64)
    np.testing.assert_allclose(values, [first, first, second, second], rtol=1e-5)


def test_lifted_structure_by_hand():
    values = lifted_structure.lifted_structure_loss(DISTANCE, PAIRS, 1.0)
    j = np.log(sum(np.exp(1 - d) for d in (1.0, 1.8, 0.4, 1.2))) + 0.6
    np.testing.assert_allclose([values[0, 1], values[1, 0]], 0.5 * j**2, rtol=1e-5)


def test_n_pair_is_the_papers_where_a_persons_images_coincide():
    """Three people, two equal images of each: -log softmax of the own person among the three."""
    f = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    x, pairs = jnp.asarray(np.repeat(f, 2, axis=0)), pairs_of(jnp.repeat(jnp.arange(3), 2))
    values = n_pair.n_pair_loss(similarities(x, x), pairs, 1.0)
    logits = f.astype(np.float64) @ f.T
    expected = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    np.testing.assert_allclose([values[2 * i, 2 * i + 1] for i in range(3)], expected, rtol=1e-5)


def test_circle_by_hand_and_its_border():
    """m 0.25, gamma 2, one positive and one negative: s_p 0.6, s_n 0.4. On s_n^2 + (1 - s_p)^2 = 2 m^2 the exponents
    cancel, and the loss is log 2."""
    pairs = Pairs(jnp.array([[False, True, False]]), jnp.array([[False, False, True]]))
    value = circle.circle_loss(jnp.array([[1.0, 0.6, 0.4]]), pairs, 0.25, 2.0)
    expected = np.log1p(np.exp(2 * 0.65 * (0.4 - 0.25) - 2 * 0.65 * (0.6 - 0.75)))
    np.testing.assert_allclose(value, [expected], rtol=1e-5)
    for angle in (0.3, 1.0, 1.3):
        s_n, s_p = np.sqrt(2) * 0.25 * np.sin(angle), 1 - np.sqrt(2) * 0.25 * np.cos(angle)
        value = circle.circle_loss(jnp.array([[1.0, s_p, s_n]]), pairs, 0.25, 64.0)
        np.testing.assert_allclose(value, [np.log(2)], rtol=1e-4)


# Every triplet, without looking at each.


@pytest.mark.parametrize("most_looks", [0, 64])
@pytest.mark.parametrize("seed", range(2))
def test_batch_all_equals_its_definition_ties_and_coincident_points_included(
    seed: int, most_looks: int, monkeypatch: pytest.MonkeyPatch
):
    """Whole numbers as distances are tied, thresholds fall on negatives exactly, and each pair has its own weight."""
    monkeypatch.setattr(batch_all_fast, "MOST_LOOKS", most_looks)  # by sorting, and by looks
    rng = np.random.default_rng(seed)
    identities = jnp.asarray(rng.integers(0, 5, size=23))
    distance = jnp.asarray(rng.integers(0, 4, size=(23, 23)).astype(np.float32))
    weight = jnp.asarray(rng.normal(size=(23, 23)).astype(np.float32))

    def weighted(form, distance):
        found = form(distance, pairs_of(identities), 1.0)
        return jnp.sum(weight * found.loss), found

    forms = [jax.jit(jax.value_and_grad(partial(weighted, form), has_aux=True))(distance) for form in BATCH_ALL]
    ((_, fast), gradient), ((_, defined), expected) = forms
    np.testing.assert_array_equal(fast.active, defined.active)
    np.testing.assert_allclose(fast.loss, defined.loss, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


def test_batch_all_holds_no_array_of_triplets():
    """Forward and backward: twice the batch has arrays of four times the size, not eight."""

    def largest(images: int) -> int:
        pairs = pairs_of(jnp.arange(images) // 3)
        loss = jax.grad(lambda d: jnp.sum(batch_all_fast.batch_all(d, pairs, 0.2).loss))
        return max(
            v.aval.size for eqn in walk(jax.make_jaxpr(loss)(jnp.ones((images, images))).jaxpr) for v in eqn.outvars
        )

    assert largest(96) <= 4 * largest(48) < 8 * 48**2 * 4


# Distance-weighted sampling.


def test_negatives_are_drawn_by_the_law():
    """Chi-squared of 60,000 draws of one anchor over 40 negatives, by min(lambda, 1/q(d)) in float64."""
    rng, dimensions, shortest, longest = np.random.default_rng(0), 16, 0.5, 1.4
    d = np.concatenate([[0.0], rng.uniform(0.2, 1.6, size=40)])
    q = d ** (dimensions - 2) * (1 - d**2 / 4) ** ((dimensions - 3) / 2)
    least = shortest ** (dimensions - 2) * (1 - shortest**2 / 4) ** ((dimensions - 3) / 2)
    expected = np.where(d < longest, np.minimum(1 / least, 1 / np.maximum(q, 1e-300)), 0)
    expected[0] = 0  # the anchor itself
    columns = 60_000
    is_negative = jnp.asarray(np.arange(41) > 0)[None, :]
    weight = margin_loss.weights(jnp.asarray(d[None], jnp.float32), is_negative, dimensions, shortest, longest)
    np.testing.assert_allclose(weight[0], expected / expected.max(), rtol=1e-4)
    # One row of weights for many draws: as many anchors, each with one positive.
    many = jnp.broadcast_to(weight, (columns // 40, 41))
    pairs = Pairs(jnp.ones((columns // 40, 41), bool), jnp.ones((columns // 40, 41), bool))
    negative, is_drawn = margin_loss.draw(many, pairs, jax.random.key(3))
    assert bool(is_drawn.all())
    counts = np.bincount(np.asarray(negative).reshape(-1), minlength=41)
    share = expected / expected.sum() * counts.sum()
    assert (counts[share == 0] == 0).all()
    likely = share >= 5
    seen, meant = (np.append(of[likely], of[~likely].sum()) for of in (counts, share))
    kept = meant > 0
    chi_squared = ((seen[kept] - meant[kept]) ** 2 / meant[kept]).sum()
    freedom = kept.sum() - 1
    assert chi_squared < freedom + 4 * np.sqrt(2 * freedom), chi_squared


def test_random_points_are_drawn_at_every_distance_alike():
    """Of points all over the sphere, whose distances have the density q, those drawn are uniform over distance:
    Kolmogorov's statistic. Drawn uniformly, they lie around sqrt(2)."""
    rng, dimensions, images = np.random.default_rng(1), 4, 1500
    x = rng.normal(size=(images, dimensions))
    x = jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), jnp.float32)
    distance = euclidean(squared_distances(x[:60], x))
    is_negative = jnp.arange(images)[None, :] >= 60
    everything = jnp.broadcast_to(is_negative, distance.shape)
    weight = margin_loss.weights(distance, everything, dimensions, 0.3, 1.4)
    negative, _ = margin_loss.draw(weight, Pairs(everything, everything), jax.random.key(0))
    drawn = np.take_along_axis(np.asarray(distance), np.asarray(negative), axis=1)[:, 60:90].reshape(-1)
    inside = np.sort(drawn[drawn > 0.35])
    off = np.abs((inside - 0.35) / 1.05 - np.arange(len(inside)) / len(inside)).max()
    assert len(inside) > 1000 and off < 0.06
    uniform = np.sort(np.asarray(distance)[:, 60:].reshape(-1))
    assert np.mean(uniform > 1.1) > 0.6


def test_an_anchor_without_a_near_negative_draws_none():
    pairs = pairs_of(jnp.array([0, 0, 1]))
    distance = jnp.array([[0.0, 0.3, 1.5], [0.3, 0.0, 1.2], [1.5, 1.2, 0.0]])
    weight = margin_loss.weights(distance, pairs.is_negative, 8, 0.5, 1.4)
    negative, is_drawn = margin_loss.draw(weight, pairs, KEY)
    np.testing.assert_array_equal(is_drawn, [[False, False, False], [True, False, False], [False, False, False]])
    assert int(negative[1, 0]) == 2


# In a step.


@pytest.mark.parametrize("name", ["batch_all", "deepid2", "margin_loss"])
def test_the_gradient_cache_gives_the_same_step(name: str):
    mesh, backbone, found = make_mesh(2), setting.without_batch_norm(), []
    for micro_batch in (0, 8):
        config = setting.config(loss=CASES[name], model__batch_norm="none", batch__micro_batch=micro_batch)
        state = init_state(config, mesh, backbone, classes=8)
        before = jax.device_get(state.centres)
        state, metrics = make_train_step(config, mesh, backbone)(state, place_batch(mesh, setting.batch()))
        found.append(jax.device_get((state.params, state.centres, metrics)))
        if name == "margin_loss":  # plain descent at a rate of its own
            assert before.shape == (8,) and 0 < np.abs(found[-1][1] - before).max() < 0.1 * 1.0
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6), *found)


def test_borders_of_no_people_are_refused():
    with pytest.raises(ConfigError, match="classes = 0"):
        init_state(setting.config(loss=CASES["margin_loss"]), make_mesh(1), setting.without_batch_norm())


def test_against_pytorch_metric_learning():
    """Losses that it has, on the same unit vectors, and the gradient."""
    torch = pytest.importorskip("torch")
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    plain = distances.LpDistance(normalize_embeddings=False)
    theirs = {
        "batch_all_euclidean": losses.TripletMarginLoss(margin=0.3, distance=plain),
        "circle": losses.CircleLoss(m=0.25, gamma=16),
    }
    for name, loss in theirs.items():
        x = batch(1)
        given = torch.tensor(x, requires_grad=True)
        value = loss(given, torch.tensor(IDENTITIES))
        value.backward()
        (ours, metrics), (gradient, _) = run(name, x)
        if name == "batch_all_euclidean":  # theirs is over the active ones
            scale = float(metrics["pairs"] / metrics["active_triplets"])
            ours, gradient = ours * scale, gradient * scale
        np.testing.assert_allclose(ours, value.item(), rtol=1e-4)
        if name == "batch_all_euclidean":
            np.testing.assert_allclose(gradient, given.grad.numpy(), rtol=1e-3, atol=1e-5)


def test_fit_takes_them_too():
    rng = np.random.default_rng(0)
    images, people = rng.integers(0, 256, (24, 16, 16, 3), np.uint8), np.repeat(np.arange(6), 4)
    config = setting.config(loss=CASES["margin_loss"], train__steps=2, batch__images=16, batch__images_per_identity=4)
    trained = fit((images, people), config, make_mesh(1), backbone=setting.without_batch_norm(), quiet=True)
    assert trained.centres.shape == (6,) and np.isfinite(trained.history[-1]["loss"])
