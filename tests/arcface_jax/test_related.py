"""The functions of each relative by themselves: worked cases, bounds, and the weights on top of a classifier."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax import classifiers, head
from arcface_jax.margins import cos_of_sum
from arcface_jax.related import (
    adaface,
    center_loss,
    circle,
    curricular_face,
    elastic_face,
    focal,
    l_softmax,
    magface,
    mv_softmax,
    norm_face,
    ohem,
)
from arcface_jax.related.configs import FocalConfig, OhemConfig
from arcface_jax.train_step import init_state, make_train_step
from faces.mesh import make_mesh, place_batch
from tests.arcface_jax import setting
from tests.arcface_jax.test_classifiers import KINDS, centres_of, graded, loss_state, problem, step_of

NUMBER = jnp.zeros(())


def f32(*values: float) -> jax.Array:
    return jnp.array(values, jnp.float32)


def test_the_cosine_of_a_sum_and_both_its_derivatives():
    theta, angle = np.radians(np.linspace(1, 179, 90)), np.linspace(-0.7, 0.9, 90)
    cosine = np.cos(theta).astype(np.float32)
    given, back = jax.vjp(cos_of_sum, jnp.asarray(cosine), jnp.asarray(angle, jnp.float32))
    of_cosine, of_angle = back(jnp.ones_like(given))
    exact = np.arccos(cosine.astype(np.float64))
    np.testing.assert_allclose(given, np.cos(exact + angle), atol=2e-6)
    np.testing.assert_allclose(of_cosine, np.sin(exact + angle) / np.sin(exact), rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(of_angle, -np.sin(exact + angle), atol=2e-6)
    ends = jax.grad(lambda c: jnp.sum(cos_of_sum(c, f32(0.5, 0.5, 0.5, 0.5))))(f32(-1, 1, -1.00001, 1.00001))
    assert np.isfinite(ends).all() and (np.abs(ends) < 3000).all()


def test_l_softmax_worked():
    """x = (2, 0), W = (1.5, 1.5 sqrt 3): 60 degrees, lengths 2 and 3; psi of m = 2 is cos(120) = -0.5."""
    x, w = f32(2, 0)[None], f32(1.5, 1.5 * math.sqrt(3))[None]
    score = jnp.sum(x * w, axis=1)
    np.testing.assert_allclose(l_softmax.target_logit(score, x, w, 2, 0.0), [-3], rtol=1e-5)
    np.testing.assert_allclose(l_softmax.target_logit(score, x, w, 2, 1.0), [(3 - 3) / 2], atol=1e-5)
    np.testing.assert_allclose(l_softmax.target_logit(score, x, w, 1, 0.0), score, rtol=1e-6)  # plain softmax
    of_zero = jax.grad(lambda x: l_softmax.target_logit(jnp.sum(x * w, axis=1), x, w, 2, 0.0)[0])(jnp.zeros((1, 2)))
    assert np.isfinite(of_zero).all()
    np.testing.assert_allclose(jax.grad(lambda x: l_softmax.length(x)[0])(f32(3, 4)[None]), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 85_742])
def test_the_bound_on_the_scale(classes: int):
    """A scale of P = 0.9 leaves a loss of -log(0.9), where centres are the corners of a simplex."""
    s = norm_face.least_scale(classes, 0.9)
    assert norm_face.least_loss(classes, s) == pytest.approx(-math.log(0.9), rel=1e-9)
    assert norm_face.least_loss(classes, 1.01 * s) < norm_face.least_loss(classes, s)
    if classes == 10:
        corners = jnp.eye(10) - 0.1
        made = head.Head("cosine", lambda cosine: cosine, s)
        losses = head.class_loss(corners, corners, jnp.arange(10), made, make_mesh(1))
        np.testing.assert_allclose(losses, norm_face.least_loss(10, s), rtol=1e-5)


def test_the_scale_has_a_floor():
    for s, expected, slope in ((5.0, 5.0, 1.0), (-3.0, 0.01, 0.0)):
        value, grad = jax.value_and_grad(norm_face.scale)(jnp.float32(s))
        assert (float(value), float(grad)) == (pytest.approx(expected), slope)


def test_centre_loss_worked():
    """Two images of person 0, none of 1, one of 2, all rates 0.5; images (2, 0) and (4, 0) and centre (0, 0): a sum of
    6 over 1 + 2 moves it by 0.5 x 2."""
    means = jnp.zeros((3, 2)).at[1].set(7.0)
    x, labels = jnp.array([[2.0, 0], [4, 0], [0, 6]]), jnp.array([0, 0, 2], jnp.int32)
    moved = center_loss.moved(means, x, labels, 0.5, make_mesh(1))
    np.testing.assert_allclose(moved, [[1, 0], [7, 7], [0, 1.5]])
    np.testing.assert_allclose(center_loss.pull(x, means[labels]), [2, 8, 18])
    of_x, of_mean = jax.grad(lambda x, c: jnp.sum(center_loss.pull(x, c)), (0, 1))(x, means[labels])
    np.testing.assert_array_equal(of_x, x)
    assert not of_mean.any()


def test_circle_worked():
    """m = 0.25: at s_p = 0.75 the own logit is 0, at 0.5 it is 0.75 x -0.25; others below -m have none."""
    np.testing.assert_allclose(circle.target(f32(0.75, 0.5, 1.25), 0.25), [0, -0.1875, 0], atol=1e-7)
    others = circle.of_others(f32(0.25, 0.5, -0.3), NUMBER, NUMBER, m=0.25)
    np.testing.assert_allclose(others, [0, 0.1875, 0], atol=1e-7)
    slope = jax.vmap(jax.grad(lambda own: circle.target(own, 0.25)))(f32(0.5, 0.9))
    np.testing.assert_allclose(slope, [0.75, 0.35], rtol=1e-5)  # the weight, which is held constant
    slope = jax.vmap(jax.grad(lambda o: circle.of_others(o, NUMBER, NUMBER, m=0.25)))(f32(0.5, -0.3))
    np.testing.assert_allclose(slope, [0.75, 0], rtol=1e-5)


def test_the_border_of_circle_is_a_circle():
    """With logits equal: s_n^2 + (s_p - 1)^2 = 2 m^2."""
    m, turn = 0.25, np.linspace(0.1, 1.4, 9)
    s_n, s_p = math.sqrt(2) * m * np.cos(turn), 1 - math.sqrt(2) * m * np.sin(turn)
    own = circle.target(jnp.asarray(s_p, jnp.float32), m)
    other = circle.of_others(jnp.asarray(s_n, jnp.float32), NUMBER, NUMBER, m=m)
    np.testing.assert_allclose(own, other, atol=1e-6)


def test_hard_classes_worked():
    """The own class's target is 0.3: 0.3 itself stays, 0.5 is hard."""
    others, target = f32(0.3, 0.5, -0.9)[None], f32(0.3)[:, None]
    adaptive = mv_softmax.of_others(others, target, NUMBER, t=1.2, emphasis="adaptive")
    fixed = mv_softmax.of_others(others, target, NUMBER, t=1.2, emphasis="fixed")
    np.testing.assert_allclose(adaptive, [[0.3, 0.8, -0.9]], rtol=1e-6)
    np.testing.assert_allclose(fixed, [[0.3, 0.7, -0.9]], rtol=1e-6)
    same = mv_softmax.of_others(others, target, NUMBER, t=1.0, emphasis="adaptive")
    np.testing.assert_allclose(same, others, rtol=1e-6)
    for t, expected in ((0.0, 0.25), (0.5, 0.5), (0.8, 0.65)):
        modulated = curricular_face.of_others(others, target, jnp.float32(t))
        np.testing.assert_allclose(modulated, [[0.3, expected, -0.9]], rtol=1e-6)
    slope = jax.grad(lambda o: curricular_face.of_others(o, target, jnp.float32(0.5))[0, 1])(others)
    np.testing.assert_allclose(slope, [[0, 0.5 + 2 * 0.5, 0]], rtol=1e-6)
    t = curricular_face.progress(f32(0.2, 0.4), jnp.float32(0.5), 0.01)
    np.testing.assert_allclose(t, 0.01 * 0.3 + 0.99 * 0.5, rtol=1e-6)


def test_adaface_worked():
    """Quality -1 is ArcFace, 0 is CosFace, 1 has the angle turned back and a margin of 2 m."""
    theta, m = np.radians([40.0, 40.0, 40.0]), 0.4
    target = adaface.target(jnp.asarray(np.cos(theta), jnp.float32), f32(-1, 0, 1), m)
    expected = [math.cos(theta[0] + m), math.cos(theta[0]) - m, math.cos(theta[0] - m) - 2 * m]
    np.testing.assert_allclose(target, expected, rtol=1e-5)
    z = adaface.quality(f32(10, 16, 1, 90), jnp.float32(10), jnp.float32(2), 1 / 3)
    np.testing.assert_allclose(z, [0, 1, -1, 1], atol=1e-3)
    lengths = adaface.lengths(jnp.array([[3.0, 4], [0, 0], [600, 800]]))
    np.testing.assert_allclose(lengths, [5, 0.001, 100], rtol=1e-6)
    start = {"norm_mean": jnp.float32(20), "norm_std": jnp.float32(100)}
    after = adaface.statistics(f32(1, 3), start, 0.5)
    np.testing.assert_allclose([after["norm_mean"], after["norm_std"]], [11, 50 + math.sqrt(2) / 2], rtol=1e-6)


def test_magface_worked():
    a = magface.magnitude(jnp.array([[3.0, 4], [30, 40], [600, 800]]), 10.0, 110.0)
    np.testing.assert_allclose(a, [10, 50, 110], rtol=1e-6)
    np.testing.assert_allclose(magface.margin(a, 10.0, 110.0, 0.45, 0.8), [0.45, 0.59, 0.8], rtol=1e-6)
    slope = jax.grad(lambda a: jnp.sum(magface.regulariser(a, 110.0)))(f32(10, 50, 110))
    assert slope[0] < slope[1] < 0
    np.testing.assert_allclose(slope[2], 0, atol=1e-9)
    target = magface.target(f32(math.cos(0.7)), f32(0.5))
    np.testing.assert_allclose(target, [math.cos(1.2)], rtol=1e-5)
    assert float(jax.grad(lambda m: magface.target(f32(math.cos(0.7)), m)[0])(f32(0.5))[0]) == pytest.approx(
        -math.sin(1.2), rel=1e-4
    )


def test_margins_are_drawn_and_dealt():
    draws = elastic_face.draw(jax.random.key(3), 20_000, 0.5, 0.05)
    assert float(jnp.mean(draws)) == pytest.approx(0.5, abs=0.002)
    assert float(jnp.std(draws)) == pytest.approx(0.05, rel=0.03)
    dealt = elastic_face.dealt(f32(0.3, 0.1, 0.2), f32(-0.5, 0.9, 0.2))
    np.testing.assert_allclose(dealt, [0.3, 0.1, 0.2])
    dealt = elastic_face.dealt(f32(0.3, 0.1, 0.2), f32(0.9, 0.2, -0.5))
    np.testing.assert_allclose(dealt, [0.1, 0.2, 0.3])
    cosine = f32(math.cos(0.7), 0.4)
    np.testing.assert_allclose(elastic_face.target(cosine, f32(0.5, 0.2), "cosine"), cosine - f32(0.5, 0.2))
    np.testing.assert_allclose(elastic_face.target(cosine, f32(0.5, 0.0), "angle"), [math.cos(1.2), 0.4], rtol=1e-5)


def test_elastic_margins_are_new_in_each_step():
    """From one state, with one batch, whose loss would else be the same."""
    config = setting.config(optimiser__learning_rate=1e-9, loss__classifier=KINDS["elastic_face"])
    mesh = make_mesh(1)
    state = init_state(config, mesh, setting.linear(), setting.CLASSES)
    step, found = make_train_step(config, mesh, setting.linear(), setting.CLASSES), []
    for _ in range(2):
        state, metrics = step(state, place_batch(mesh, setting.batch()))
        found.append(float(metrics["loss"]))
    assert abs(found[0] - found[1]) > 1e-3


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_equals_the_loop(gamma: float):
    losses = np.array([0, 1e-9, 0.01, 0.7, 3.0, 40.0], np.float32)
    given, slope = jax.vmap(jax.value_and_grad(lambda loss: focal.focal(loss[None], gamma)[0]))(jnp.asarray(losses))
    expected = [(1 - math.exp(-x)) ** gamma * x if x else 0.0 for x in losses.astype(np.float64).tolist()]
    np.testing.assert_allclose(given, expected, rtol=2e-5)
    assert np.isfinite(slope).all()
    assert np.isnan(focal.focal(f32(float("nan")), gamma)).all()  # a label that is no class still shows


def test_focal_worked():
    """p = 1/2: (1/2)^2 log 2."""
    np.testing.assert_allclose(focal.focal(f32(math.log(2)), 2.0), [0.25 * math.log(2)], rtol=1e-6)


@pytest.mark.parametrize(("kept", "count"), [(0.7, 7), (0.01, 1), (1.0, 10), (0.71, 8)])
def test_the_hardest_equal_the_loop(kept: float, count: int):
    losses = np.random.default_rng(1).exponential(size=10).astype(np.float32)
    chosen = ohem.hardest(jnp.asarray(losses), kept)
    assert set(np.flatnonzero(chosen)) == set(sorted(range(10), key=lambda i: -losses[i])[:count])
    mean = classifiers.mean_over_images(OhemConfig(kept), jnp.asarray(losses))
    np.testing.assert_allclose(mean, np.mean(sorted(losses)[-count:]), rtol=1e-6)


@pytest.mark.parametrize("weighting", [FocalConfig(2.0), OhemConfig(0.5)])
@pytest.mark.parametrize("name", ["curricular_face", "center_loss"])
def test_weights_go_on_top_of_any_classifier(name: str, weighting: Any):
    """On one device and on eight."""
    config = setting.config(loss__classifier=KINDS[name])
    plain = step_of(config, 1, 1)[1][0]["classification"]
    (one, rows), (eight, theirs) = (step_of(config.with_(loss__weighting=weighting), n, 1) for n in (1, 8))
    for key, value in rows[0].items():
        np.testing.assert_allclose(theirs[0][key], value, rtol=1e-4, err_msg=key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5), one.params, eight.params)
    weighted = rows[0]["classification"]
    assert weighted < plain if weighting.kind == "focal" else weighted > plain


def _torch_logits(torch: Any, name: str, x: Any, w: Any, y: Any, state: Any) -> Any:
    """The logits by the papers' equations, with what they hold constant detached."""
    classifier, index = KINDS[name], torch.arange(len(y))
    cosine = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(w).T
    own = cosine[index, y]
    m = classifier.m
    if name == "circle":
        others = (cosine.detach() + m).clamp(min=0) * (cosine - m)
        target, s = (1 + m - own.detach()).clamp(min=0) * (own - 1 + m), classifier.gamma
    elif name == "curricular_face":
        t = 0.3 * own.detach().mean() + 0.7 * state["t"]
        target, s = torch.cos(torch.acos(own) + m), classifier.s
        others = torch.where(cosine > target[:, None], cosine * (t + cosine), cosine)
    else:
        norms = x.detach().norm(dim=1).clamp(0.001, 100)
        mean = 0.2 * norms.mean() + 0.8 * state["norm_mean"]
        std = 0.2 * norms.std() + 0.8 * state["norm_std"]
        z = (0.7 * (norms - mean) / (std + 1e-3)).clamp(-1, 1)
        target, others, s = torch.cos(torch.acos(own) - m * z) - (m * z + m), cosine, classifier.s
    return s * others.index_put((index, y), target)


@pytest.mark.parametrize("name", ["circle", "curricular_face", "adaface"])
def test_gradients_of_what_holds_something_constant_equal_torch(name: str):
    torch = pytest.importorskip("torch")
    for seed in range(2):
        x, w, labels = problem(seed)
        w = centres_of(KINDS[name].kind, w)
        state = {key: float(value) for key, value in loss_state(KINDS[name]).items()}
        of_x, of_w = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w[: setting.CLASSES]))
        y = torch.tensor(labels, dtype=torch.int64)
        logits = _torch_logits(torch, name, of_x, of_w, y, state)
        torch.nn.functional.cross_entropy(logits, y, reduction="sum").backward()
        ours = graded(name, seed)[4]
        for given, wanted in ((ours[0], of_x.grad.numpy()), (ours[1][: setting.CLASSES], of_w.grad.numpy())):
            np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
