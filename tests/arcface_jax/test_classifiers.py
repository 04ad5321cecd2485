"""The relatives as a step has them: against float64 loops, on any devices, in blocks and on a sample of the classes."""

import math
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax import classifiers, head
from arcface_jax.config import Config
from arcface_jax.related import configs
from arcface_jax.train_step import init_state, make_train_step
from faces.errors import ConfigError
from faces.mesh import make_mesh, place_batch
from faces.toml_config import load_config, paper_of, shipped_configs
from tests.arcface_jax import related_oracle, setting

KINDS: dict[str, Any] = {
    "l_softmax": configs.LSoftmaxConfig(3, 10.0, 0.5, 2.0, 0.5),
    "norm_face": configs.NormFaceConfig(7.0, 0.01),
    "center_loss": configs.CenterLossConfig(0.3, 0.6),
    "circle": configs.CircleConfig(0.25, 20.0),
    "mv_fixed": configs.MvSoftmaxConfig(0.35, 12.0, 0, added_to="cosine", t=1.3, emphasis="fixed"),
    "mv_softmax": configs.MvSoftmaxConfig(0.5, 12.0, 0, added_to="angle", t=1.3, emphasis="adaptive"),
    "curricular_face": configs.CurricularFaceConfig(0.4, 12.0, 0, momentum=0.3),
    "adaface": configs.AdaFaceConfig(0.4, 12.0, 0, h=0.7, momentum=0.2, norm_mean=2.0, norm_std=1.5),
    "magface": configs.MagFaceConfig(12.0, 1.0, 3.0, 0.2, 0.7, 0.5, 0),
    "elastic_face": configs.ElasticFaceConfig(0.4, 12.0, 0, added_to="angle", sigma=0.1, by_rank=False),
    "elastic_plus": configs.ElasticFaceConfig(0.3, 12.0, 0, added_to="cosine", sigma=0.1, by_rank=True),
}
HARD = ("circle", "mv_fixed", "mv_softmax", "curricular_face")
"""Those that put something else in the place of other classes' scores."""
CLASSES, D = setting.CLASSES, 6


def problem(seed: int, images: int = 16, rows: int = 16) -> tuple[np.ndarray, ...]:
    """Embeddings and centres of unequal lengths, unequal numbers of images a class; the last rows are padding."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(images, D)) * rng.uniform(0.2, 3.0, size=(images, 1))).astype(np.float32)
    w = rng.normal(size=(rows, D)).astype(np.float32)
    return x, w, rng.integers(0, CLASSES, size=(2, images)).min(axis=0).astype(np.int32)


def loss_state(classifier: Any, rows: int = 16) -> dict[str, Any]:
    """Not that of the first step."""
    rng = np.random.default_rng(9)
    state = classifiers.init_loss_state(classifier, rows, D)
    if classifier.kind == "center_loss":
        return {"centres": jnp.asarray(rng.normal(size=(rows, D)), jnp.float32)}
    return {name: value + (0.25 if name == "t" else 0.5) for name, value in state.items()}


def centres_of(kind: str, w: np.ndarray) -> np.ndarray:
    return np.concatenate([w, w[:, :1]], axis=1) if kind == "center_loss" else w


@cache
def grade(name: str, devices: int, block: int = 0) -> Any:
    """(x, w, labels, state, key) -> total, (per image, terms, next state); and the gradients by x, w and state."""
    classifier, mesh = KINDS[name], make_mesh(devices)

    def total(x: jax.Array, w: jax.Array, state: Any, labels: jax.Array, key: jax.Array) -> Any:
        given = classifiers.Given(x, w, labels, labels, mesh, jnp.int32(3), key, state)
        made = classifiers.head_of(classifier, given)
        per_image, score = head.class_loss_and_score(x, w, labels, made, mesh, CLASSES, block)
        terms = classifiers.added_terms(classifier, given, score, CLASSES)
        kept = classifiers.next_loss_state(classifier, given, score)
        return jnp.sum(per_image) + sum(weight * mean for weight, mean in terms.values()), (per_image, terms, kept)

    return jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))


def graded(name: str, seed: int, devices: int = 1, block: int = 0) -> Any:
    x, w, labels = problem(seed)
    w, state = centres_of(KINDS[name].kind, w), loss_state(KINDS[name])
    given = (x, w, state, labels, jax.random.key(seed))
    (total, (per_image, terms, kept)), gradients = grade(name, devices, block)(*given)
    return jax.device_get((total, per_image, terms, kept, gradients))


def oracle(name: str, seed: int) -> tuple[list[float], dict[str, float], dict[str, Any]]:
    """Losses of the images, terms beside them, and the next state, with plain loops in float64."""
    classifier = KINDS[name]
    kind, values = classifier.kind, {key: getattr(classifier, key) for key in classifier.__dataclass_fields__}
    x, w, labels = problem(seed)
    x, w = x.astype(np.float64), centres_of(kind, w).astype(np.float64)[:CLASSES]
    before = {key: np.asarray(value, np.float64) for key, value in loss_state(classifier).items()}
    of_image = [dict(values) for _ in x]
    own = [related_oracle.cosine(a, w[y]) for a, y in zip(x, labels, strict=True)] if kind != "center_loss" else []
    norms = [related_oracle.length(a) for a in x]
    terms: dict[str, float] = {}
    after: dict[str, Any] = {}
    match kind:
        case "l_softmax":
            of_image = [value | {"lam": max(0.5, 10.0 / (1 + 0.5 * 3) ** 2)} for value in of_image]
        case "norm_face":
            of_image = [value | {"s": float(before["s"])} for value in of_image]
        case "curricular_face":
            after["t"] = 0.3 * sum(own) / len(own) + 0.7 * float(before["t"])
            of_image = [value | {"t": after["t"]} for value in of_image]
        case "adaface":
            mean = sum(norms) / len(norms)
            spread = math.sqrt(sum((n - mean) ** 2 for n in norms) / (len(norms) - 1))
            after = {"norm_mean": 0.2 * mean + 0.8 * float(before["norm_mean"])}
            after["norm_std"] = 0.2 * spread + 0.8 * float(before["norm_std"])
            z = [0.7 * (n - after["norm_mean"]) / (after["norm_std"] + 1e-3) for n in norms]
            of_image = [value | {"z": min(max(one, -1), 1)} for value, one in zip(of_image, z, strict=True)]
        case "magface":
            a = [min(max(n, 1.0), 3.0) for n in norms]
            of_image = [value | {"margin": 0.2 + 0.5 * (n - 1) / 2} for value, n in zip(of_image, a, strict=True)]
            terms["magnitude"] = sum(1 / n + n / 9 for n in a) / len(a)
        case "elastic_face":
            draws = np.asarray(jax.random.normal(jax.random.key(seed), (len(x),)), np.float64) * 0.1 + classifier.m
            if classifier.by_rank:
                nearest_first = sorted(range(len(x)), key=lambda i: -own[i])
                ranked = dict(zip(nearest_first, sorted(draws), strict=True))
                draws = [ranked[i] for i in range(len(x))]
            of_image = [value | {"margin": one} for value, one in zip(of_image, draws, strict=True)]
        case "center_loss":
            c = before["centres"]
            terms["pull"] = sum(sum((a - c[y]) ** 2) / 2 for a, y in zip(x, labels, strict=True)) / len(x)
            after["centres"] = c.copy()
            for j in range(len(c)):
                mine = [a for a, y in zip(x, labels, strict=True) if y == j]
                after["centres"][j] -= 0.6 * sum((c[j] - a for a in mine), np.zeros(D)) / (1 + len(mine))
    both = zip(x, labels, of_image, strict=True)
    losses = [
        related_oracle.cross_entropy(related_oracle.logits_of(kind, a, w, y, value), y) for a, y, value in both
    ]
    return losses, terms, after


@pytest.mark.parametrize("name", KINDS)
def test_each_equals_the_loops(name: str):
    for seed in range(2):
        _, per_image, terms, kept, _ = graded(name, seed)
        losses, expected, after = oracle(name, seed)
        np.testing.assert_allclose(per_image, losses, rtol=2e-5, atol=2e-5)
        assert set(terms) == set(expected) and set(kept) == set(after)
        for key, value in expected.items():
            np.testing.assert_allclose(terms[key][1], value, rtol=1e-5)
        for key, value in after.items():
            np.testing.assert_allclose(kept[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "devices", "block"), [*((name, 8, 0) for name in KINDS), *((name, 2, 3) for name in ("adaface", *HARD))]
)
def test_devices_and_blocks_agree(name: str, devices: int, block: int):
    """Eleven classes, on eight devices three to a device at most, or in blocks that do not divide them."""
    ours, theirs = graded(name, 5), graded(name, 5, devices, block)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5), ours, theirs)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_those_of_differences(name: str):
    """By the embeddings, but for what a loss holds constant, which differences cannot: the weights of circle loss, and
    t, and what AdaFace reads of the lengths."""
    if KINDS[name].kind in ("circle", "curricular_face", "adaface"):
        x, _, labels = problem(2)
        of_x = graded(name, 2)[4][0]
        if KINDS[name].kind == "adaface":  # along an embedding only its length changes, which is read and not trained
            np.testing.assert_allclose(np.sum(of_x * x, axis=1), 0, atol=1e-4)
        assert of_x.shape == x.shape and (np.abs(of_x).sum(axis=1) > 0).any() and len(labels) == len(x)
        return
    x, w, labels = problem(2)
    w, state = centres_of(KINDS[name].kind, w), loss_state(KINDS[name])
    of_x, of_w, _ = graded(name, 2)[4]
    rng = np.random.default_rng(0)
    for array, gradient in ((0, of_x), (1, of_w)):
        along = rng.normal(size=gradient.shape).astype(np.float32)
        ends = []
        for sign in (1, -1):
            moved = [x, w]
            moved[array] = moved[array] + sign * 3e-4 * along
            ends.append(float(grade(name, 1)(*moved, state, labels, jax.random.key(2))[0][0]))
        np.testing.assert_allclose((ends[0] - ends[1]) / 6e-4, np.sum(gradient * along), rtol=0.03, atol=0.05)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_finite_at_the_poles_and_at_zero_vectors(name: str):
    x, w, labels = problem(3)
    w, state = centres_of(KINDS[name].kind, w), loss_state(KINDS[name])
    x[0], x[1], x[2], w[5] = 0, 2 * w[labels[1], :D], -w[labels[2], :D], 0
    labels[3] = 5
    (total, (per_image, _, kept)), gradients = grade(name, 1)(x, w, state, labels, jax.random.key(0))
    for array in jax.tree.leaves((total, per_image, kept, gradients)):
        assert np.isfinite(array).all()


@pytest.mark.parametrize("name", KINDS)
def test_the_order_of_images_and_of_classes_does_not_matter(name: str):
    """But for the margins that ElasticFace draws: image by image, in the order of the batch."""
    rng = np.random.default_rng(4)
    x, w, labels = problem(4)
    w, state = centres_of(KINDS[name].kind, w), loss_state(KINDS[name])
    images, order = rng.permutation(len(x)), np.concatenate([rng.permutation(CLASSES), np.arange(CLASSES, len(w))])
    if KINDS[name].kind == "elastic_face":
        images = np.arange(len(x))
    total, (per_image, _, kept) = grade(name, 1)(x, w, state, labels, jax.random.key(4))[0]
    moved_state = {key: value[order] if value.ndim else value for key, value in state.items()}
    moved = (x[images], w[order], moved_state, np.argsort(order)[labels][images].astype(np.int32), jax.random.key(4))
    their_total, (their_images, _, their_kept) = grade(name, 1)(*moved)[0]
    np.testing.assert_allclose(their_total, total, rtol=1e-5)
    np.testing.assert_allclose(their_images, per_image[images], rtol=1e-4, atol=1e-5)
    for key, value in kept.items():
        np.testing.assert_allclose(their_kept[key], value[order] if value.ndim else value, rtol=1e-4, atol=1e-5)


# In a step of training.


def step_of(config: Config, devices: int, steps: int = 2) -> Any:
    mesh = make_mesh(devices)
    state = init_state(config, mesh, setting.linear(), CLASSES)
    step, rows = make_train_step(config, mesh, setting.linear(), CLASSES), []
    for number in range(steps):
        state, metrics = step(state, place_batch(mesh, setting.batch(number)))
        rows.append(metrics)
    return jax.device_get((state, rows))


@pytest.mark.parametrize("name", ["norm_face", "center_loss", "curricular_face", "adaface", "elastic_plus"])
def test_a_step_on_one_device_and_on_eight(name: str):
    """Loss, next parameters and centres, and what the loss keeps, with momentum."""
    config = setting.config(optimiser__momentum=0.9, loss__classifier=KINDS[name])
    (one, rows), (eight, their_rows) = (step_of(config, devices) for devices in (1, 8))
    for row, theirs in zip(rows, their_rows, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-4), row, theirs)
    parts = ((s.params, s.centres[:CLASSES], s.loss_state, s.opt_state) for s in (one, eight))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5), *parts)
    assert set(one.loss_state) == set(classifiers.init_loss_state(KINDS[name], 64, D))


def test_normface_learns_its_scale():
    config = setting.config(optimiser__momentum=0.9, loss__classifier=KINDS["norm_face"])
    state, rows = step_of(config, 1, 4)
    scales = [7.0, *(float(row["s"]) for row in rows)]
    assert scales[-1] == float(state.loss_state["s"]) and len(set(scales)) == 5
    floor = setting.config(loss__classifier=configs.NormFaceConfig(1e-3, 0.5))
    state, rows = step_of(floor, 1, 1)
    assert float(state.loss_state["s"]) == pytest.approx(1e-3)  # below the floor nothing moves it


def test_a_batch_that_is_not_finite_leaves_what_a_loss_keeps():
    for name in ("adaface", "center_loss"):
        config = setting.config(data__scale=1e-38, loss__classifier=KINDS[name])  # pixels overflow
        state, _ = step_of(config, 2, 1)
        before = classifiers.init_loss_state(KINDS[name], 64, D)
        jax.tree.map(np.testing.assert_array_equal, state.loss_state, jax.device_get(before))


@pytest.mark.parametrize("name", ["curricular_face", "adaface", "elastic_plus"])
def test_a_sample_of_all_classes_is_all_of_them(name: str):
    """Partial FC at a rate just under 1."""
    whole = step_of(setting.config(loss__classifier=KINDS[name]), 2, 1)
    sampled = step_of(setting.config(loss__classifier=KINDS[name], head__sampling_rate=0.9999), 2, 1)
    np.testing.assert_allclose(sampled[1][0]["loss"], whole[1][0]["loss"], rtol=1e-5)
    params = whole[0].params, sampled[0].params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6), *params)


@pytest.mark.parametrize("name", ["l_softmax", "center_loss"])
def test_what_takes_no_sample_is_refused(name: str):
    with pytest.raises(ConfigError, match=r"^head\.sampling_rate: below 1 goes with loss\.classifier\.kind margin, "):
        setting.config(loss__classifier=KINDS[name], head__sampling_rate=0.5)


@pytest.mark.parametrize("name", KINDS)
def test_several_centres_a_class_go_with_margins_alone(name: str):
    with pytest.raises(ConfigError, match=r"^head\.sub_centres: "):
        setting.config(loss__classifier=KINDS[name], head__sub_centres=2)


def test_magface_in_the_wrong_order_is_refused():
    for values in ((12.0, 3.0, 1.0, 0.2, 0.7), (12.0, 1.0, 3.0, 0.7, 0.2)):
        with pytest.raises(ConfigError, match=r"^loss\.classifier: lower_norm must be below upper_norm"):
            setting.config(loss__classifier=configs.MagFaceConfig(*values, 0.5, 0))


OF_RELATIVES = [name for name in shipped_configs() if name.startswith("related/") and paper_of(name) == "arcface"]


@pytest.mark.parametrize("name", OF_RELATIVES)
def test_every_config_has_a_step(name: str):
    loss = load_config(name, Config)[0].loss
    config, mesh = setting.config().with_(loss=loss), make_mesh(2)
    state = jax.eval_shape(lambda: init_state(config, mesh, setting.linear(), CLASSES))
    step = make_train_step(config, mesh, setting.linear(), CLASSES)
    after, metrics = jax.eval_shape(step, state, setting.batch())
    assert jax.tree.structure(after) == jax.tree.structure(state) and metrics["loss"].shape == ()


def test_no_two_losses_are_alike():
    """On one batch, from one state, all differ."""
    losses = {name: float(graded(name, 1)[0]) for name in KINDS}
    assert len({round(value, 4) for value in losses.values()}) == len(KINDS)
