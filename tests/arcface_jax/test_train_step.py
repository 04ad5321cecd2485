"""A step of ArcFace training: its losses against float64 loops, and the same on every number of devices."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import arcface_jax.models
from arcface_jax.config import Config
from arcface_jax.models.iresnet import IResNet
from arcface_jax.related.configs import SphereFaceConfig
from arcface_jax.train_step import _optimisers, init_state, make_train_step
from faces import schedules
from faces.backbone import Backbone, Network, make_backbone
from faces.errors import ConfigError
from faces.mesh import make_mesh, place_batch
from faces.toml_config import load_config
from faces.train_state import TrainState
from tests.arcface_jax import setting

SETTINGS: dict[str, dict[str, Any]] = {
    "softmax": {"loss__classifier__kind": "softmax"},
    "arcface": {},
    "straight_through": {"loss__classifier__gradient": "straight_through"},
    "sphereface": {"loss__classifier": SphereFaceConfig(4, 900.0, 0.12, 5.0)},
    "all_terms": {
        "loss__classifier__intra": 0.5,
        "loss__classifier__inter": 2.0,
        "loss__triplet": 0.7,
        "loss__triplet_margin": 0.35,
        "batch__images_per_identity": 5,
    },
    "triplets_alone": {
        "loss__classifier__kind": "none",
        "loss__triplet": 1.0,
        "loss__triplet_margin": 0.35,
        "batch__images_per_identity": 5,
    },
    "sub_centres": {"head__sub_centres": 3},
    "in_blocks": {"head__block": 3},
    "ramp": {"loss__classifier__margin_ramp_steps": 4},
    "decay": {"optimiser__momentum": 0.9, "optimiser__weight_decay": 0.01, "optimiser__head_weight_decay": 0.1},
    "clipped": {"optimiser__clip_norm": 0.5},
    "muon": {"optimiser__name": "muon", "optimiser__momentum": 0.9},
}


def after_steps(
    config: Config, devices: int, steps: int = 2, backbone: Backbone | None = None
) -> tuple[TrainState, list[dict[str, float]]]:
    mesh = make_mesh(devices)
    backbone = backbone or setting.linear()
    state = init_state(config, mesh, backbone, setting.CLASSES)
    step = make_train_step(config, mesh, backbone, setting.CLASSES)
    rows = []
    for number in range(steps):
        state, metrics = step(state, place_batch(mesh, setting.batch(number)))
        rows.append({key: float(value) for key, value in jax.device_get(metrics).items()})
    return jax.device_get(state), rows


@cache
def on_one_device(name: str) -> tuple[TrainState, list[dict[str, float]]]:
    return after_steps(setting.config(**SETTINGS[name]), 1)


def start(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of the first batch and the centres before the first step, in float64."""
    state = jax.device_get(init_state(config, make_mesh(1), setting.linear(), setting.CLASSES))
    pixels = (setting.batch()["images"].astype(np.float64) - config.data.mean) / config.data.scale
    x = pixels.reshape(len(pixels), -1) @ state.params["fc"]["kernel"].astype(np.float64)
    return x, np.asarray(state.centres, np.float64)[: setting.CLASSES] if len(state.centres) else np.zeros((0, 6))


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.arccos(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b))))


def cross_entropy(logits: list[float], label: int) -> float:
    return float(np.log(np.sum(np.exp(np.array(logits) - max(logits)))) + max(logits) - logits[label])


def oracle(name: str) -> dict[str, float]:
    """The terms of the first step, with plain loops."""
    config = setting.config(**SETTINGS[name])
    x, centres = start(config)
    labels, loss, classifier = setting.batch()["identities"], config.loss, config.loss.classifier
    added = {name: getattr(classifier, name, 0) for name in ("intra", "inter")}  # terms of angles, of margins alone
    per_image, thetas, intra, inter = [], [], [], []
    for embedding, y in zip(x, labels, strict=True) if classifier.kind != "none" else ():
        length = np.sqrt(embedding @ embedding)
        if classifier.kind == "softmax":
            logits = [float(w[:-1] @ embedding + w[-1]) for w in centres]
            thetas.append(angle(embedding, centres[y, :-1]))
        else:
            near = [min(angle(embedding, w) for w in np.atleast_2d(of_class)) for of_class in centres]
            thetas.append(near[y])
            scale = classifier.s if classifier.kind == "margin" else length
            logits = [scale * np.cos(theta) for theta in near]
            if classifier.kind == "sphereface":
                k = int(near[y] * 4 / np.pi)
                psi, lam = (-1) ** k * np.cos(4 * near[y]) - 2 * k, 900.0
                logits[y] = length * (lam * np.cos(near[y]) + psi) / (1 + lam)
            elif classifier.margin_ramp_steps == 0:  # else no margin yet
                logits[y] = scale * np.cos(near[y] + classifier.m2)
        per_image.append(cross_entropy(logits, y))
        if added["inter"]:
            others = [angle(centres[y], w) for j, w in enumerate(centres) if j != y]
            inter.append(-np.sum(others) / (np.pi * len(others)))
        intra.append(thetas[-1] / np.pi)
    terms = {"classification": (1.0, per_image), "intra": (added["intra"], intra), "inter": (added["inter"], inter)}
    means = {key: np.mean(values) for key, (weight, values) in terms.items() if weight and values}
    total = sum(terms[key][0] * mean for key, mean in means.items())
    if thetas:
        means["theta"] = np.degrees(np.mean(thetas))
    if loss.triplet:
        means["triplet"] = triplets(x, labels, loss.triplet_margin)
        total += loss.triplet * means["triplet"]
    return {**means, "loss": total}


def triplets(x: np.ndarray, labels: np.ndarray, margin: float) -> float:
    """Nearest negative farther than the positive, else the farthest one; mean over all pairs."""
    hinges = []
    for a in range(len(x)):
        negatives = [angle(x[a], x[n]) for n in range(len(x)) if labels[n] != labels[a]]
        for p in range(len(x)):
            if p != a and labels[p] == labels[a] and negatives:
                farther = [theta for theta in negatives if theta > angle(x[a], x[p])]
                chosen = min(farther) if farther else max(negatives)
                hinges.append(max(0.0, angle(x[a], x[p]) + margin - chosen))
    return float(np.mean(hinges))


@pytest.mark.parametrize("name", SETTINGS)
def test_terms_equal_the_oracle(name: str):
    given = on_one_device(name)[1][0]
    expected = oracle(name)
    assert set(given) == {*expected, "gradient_norm", "learning_rate", "update_ratio", "weight_size"}
    for key, value in expected.items():
        np.testing.assert_allclose(given[key], value, rtol=2e-5, err_msg=key)
    assert given["learning_rate"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "devices"),
    [("softmax", 8), ("all_terms", 2), ("all_terms", 4), ("all_terms", 8), ("sub_centres", 8), ("in_blocks", 8),
     ("decay", 8), ("muon", 8)],
)  # fmt: skip
def test_devices_agree(name: str, devices: int):
    """Eleven classes on one device or many: loss, and with plain SGD by the parameters the gradient, too."""
    state, rows = on_one_device(name)
    other, their_rows = after_steps(setting.config(**SETTINGS[name]), devices)
    for row, theirs in zip(rows, their_rows, strict=True):
        for key in row:
            np.testing.assert_allclose(theirs[key], row[key], rtol=5e-5, err_msg=key)
    classes = setting.CLASSES
    for part in ("params", "centres"):
        mine, their = (jax.tree.map(lambda x: x, getattr(s, part)) for s in (state, other))
        if part == "centres":
            mine, their = mine[:classes], their[:classes]
        jax.tree.map(lambda x, y: np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-6), mine, their)


def test_an_update_is_the_gradient_of_the_plain_formula():
    """Against a dense form with a one-hot and an arccos of the whole matrix, with momentum and decay, two steps."""
    config = setting.config(**SETTINGS["decay"])
    state = jax.device_get(init_state(config, make_mesh(1), setting.linear(), setting.CLASSES))
    weights = (state.params["fc"], state.centres[: setting.CLASSES])

    def plain(weights: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        fc, w = weights
        x = (images.reshape(len(images), -1) - config.data.mean) / config.data.scale @ fc["kernel"] + fc["bias"][None]
        x, w = (v / jnp.linalg.norm(v, axis=1, keepdims=True) for v in (x, w))
        theta = jnp.arccos(jnp.clip(x @ w.T, -1 + 1e-7, 1 - 1e-7))
        logits = 16.0 * jnp.cos(theta + 0.5 * jax.nn.one_hot(labels, setting.CLASSES))
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))

    speed = jax.tree.map(np.zeros_like, weights)
    for number in range(2):
        batch = setting.batch(number)
        gradient = jax.grad(plain)(weights, batch["images"].astype(np.float32), batch["identities"])
        # All of it belongs to the head: the network's one matrix is its last, and biases do not decay.
        decayed = jax.tree.map(lambda g, w: g + (0.1 * w if w.ndim > 1 else 0), gradient, weights)
        speed = jax.tree.map(lambda v, g: 0.9 * v + g, speed, decayed)
        weights = jax.tree.map(lambda w, v: w - 0.1 * v, weights, speed)
    given, _ = on_one_device("decay")
    ours = (given.params["fc"], given.centres[: setting.CLASSES])
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5), ours, weights)


@pytest.mark.parametrize("name", ["sgd", "muon", "adam"])
def test_the_bias_of_eq_1_does_not_decay(name: str):
    """Without a gradient a centre shrinks by rate times decay, and its bias, here 3, stays as it is."""
    config, _ = load_config("arcface/table2_softmax", Config)
    config = config.with_(optimiser__name=name)
    centres = jnp.full((8, 5), 3.0)
    rule = _optimisers(config)[1]
    moved, _ = rule.update(jnp.zeros_like(centres), rule.init(centres), centres)
    assert not np.asarray(moved[:, -1]).any()
    if name != "adam":
        np.testing.assert_allclose(moved[:, :-1], -0.1 * 5e-4 * 3, rtol=1e-6)
    assert (np.asarray(moved[:, :-1]) < 0).all()


def test_only_kernels_decay():
    """Of networks that between them have every kind of parameter, by its name."""
    for name in ("iresnet_tiny", "sphereface20"):
        params, _ = jax.eval_shape(arcface_jax.models.make_backbone(name, 128).init, jax.random.key(0))
        for path, rate in jax.tree_util.tree_leaves_with_path(schedules.decay_kernels(5e-4, params)):
            assert rate == (5e-4 if path[-1].key == "kernel" else 0), jax.tree_util.keystr(path)


def test_the_number_of_people_must_be_given():
    for make in (init_state, make_train_step):
        with pytest.raises(ConfigError, match=r"classes = 0: .* give their number"):
            make(setting.config(), make_mesh(1), setting.linear())


def test_the_margin_grows_to_the_whole():
    margins = {"loss__classifier__margin_ramp_steps": 2}, {}, {"loss__classifier__m2": 0.0}
    runs = [after_steps(setting.config(**of, optimiser__learning_rate=1e-9), 1, steps=4)[1] for of in margins]
    ramp, whole, none = ([row["loss"] for row in run] for run in runs)
    np.testing.assert_allclose([ramp[0], *ramp[2:]], [none[0], *whole[2:]], rtol=1e-5)
    assert none[1] < ramp[1] < whole[1]


def test_under_muon_centres_go_by_sgd():
    """After one step the centres are SGD's and the network's matrix has moved by singular values around the rate."""
    by_muon, by_sgd = (
        after_steps(setting.config(optimiser__name=name, optimiser__momentum=0.9), 1, steps=1)[0]
        for name in ("muon", "sgd")
    )
    np.testing.assert_allclose(by_muon.centres, by_sgd.centres, rtol=1e-6, atol=1e-6)  # two programs
    begin = jax.device_get(init_state(setting.config(), make_mesh(1), setting.linear(), setting.CLASSES))
    moved = np.linalg.svd(by_muon.params["fc"]["kernel"] - begin.params["fc"]["kernel"], compute_uv=False)
    assert (moved > 0.065).all() and (moved < 0.125).all()


@pytest.mark.parametrize(("devices", "momentum", "rule"), [(1, 0.0, "sgd"), (4, 0.9, "sgd"), (4, 0.9, "muon")])
def test_partial_fc_moves_the_sampled_centres_alone(devices: int, momentum: float, rule: str):
    settings = {"head__sampling_rate": 0.3, "batch__images": 4, "optimiser__momentum": momentum,
                "optimiser__name": rule, "optimiser__head_weight_decay": 0.01}  # fmt: skip
    config, mesh, classes = setting.config(**settings), make_mesh(devices), 200
    state = init_state(config, mesh, setting.linear(), classes)
    before = jax.device_get(state.centres)
    batch = setting.batch(images=4)
    state, metrics = make_train_step(config, mesh, setting.linear(), classes)(state, place_batch(mesh, batch))
    moved = (jax.device_get(state.centres) != before).any(axis=1)
    assert moved[batch["identities"]].all()
    assert 0.2 * classes < moved.sum() < 0.45 * classes
    assert np.isfinite(jax.device_get(metrics)["loss"])


def test_partial_fc_at_rate_1_is_the_whole_head():
    """The rule that takes a sample, given a rate just under 1, samples every class."""
    _, rows = after_steps(setting.config(head__sampling_rate=0.9999), 1)
    for row, theirs in zip(on_one_device("arcface")[1], rows, strict=True):
        np.testing.assert_allclose(theirs["loss"], row["loss"], rtol=1e-5)


def test_batch_norm_global_and_per_device():
    backbone = setting.with_batch_norm()
    everywhere = [
        after_steps(setting.config(model__batch_norm="global"), n, 1, backbone)[1][0]["loss"] for n in (1, 4)
    ]
    assert everywhere[1] == pytest.approx(everywhere[0], rel=1e-5)
    alone = after_steps(setting.config(model__batch_norm="per_device"), 4, 1, backbone)[1][0]["loss"]
    assert abs(alone - everywhere[0]) > 1e-4


def test_per_device_batch_norm_of_convolutions_is_the_mean_over_the_devices_parts():
    """Two devices with statistics of their own, against each half of the batch by itself; one step of plain SGD."""
    network = Network(partial(IResNet, units=(1,), widths=(4,), strides=(2,), dropout=0.0), setting.SIZE)
    backbone = make_backbone({"short": network}, "short", 6)
    batch = setting.batch()
    halves = [{key: values[part] for key, values in batch.items()} for part in (slice(0, 8), slice(8, 16))]

    def after(devices: int, batch: dict[str, np.ndarray]) -> tuple[Any, Any]:
        config, mesh = setting.config(model__batch_norm="per_device"), make_mesh(devices)
        state = init_state(config, mesh, backbone, setting.CLASSES)
        step = make_train_step(config, mesh, backbone, setting.CLASSES)
        state, _ = step(state, place_batch(mesh, batch))
        return jax.device_get((state.params, state.batch_stats))

    together, apart = after(2, batch), [after(1, half) for half in halves]
    mean = jax.tree.map(lambda x, y: (x + y) / 2, *apart)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5), together, mean)


def test_dropout_is_the_same_on_any_number_of_devices_and_new_in_each_step():
    config = setting.config(optimiser__learning_rate=1e-9)
    (_, one), (_, four) = (after_steps(config, n, 2, setting.linear(dropout=0.5)) for n in (1, 4))
    for row, theirs in zip(one, four, strict=True):
        assert row["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    mesh, backbone = make_mesh(1), setting.linear(dropout=0.5)
    state, step = init_state(config, mesh, backbone, 11), make_train_step(config, mesh, backbone, 11)
    losses = []
    for _ in range(2):
        state, metrics = step(state, place_batch(mesh, setting.batch()))
        losses.append(float(metrics["loss"]))
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_numbers_that_are_not_finite_keep_the_old_weights():
    config, mesh = setting.config(data__scale=1e-38), make_mesh(2)  # pixels overflow
    state = init_state(config, mesh, setting.linear(), setting.CLASSES)
    before = jax.device_get((state.params, state.centres))
    state, metrics = make_train_step(config, mesh, setting.linear(), setting.CLASSES)(
        state, place_batch(mesh, setting.batch())
    )
    assert not np.isfinite(float(metrics["gradient_norm"])) and int(state.step) == 1
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get((state.params, state.centres)))


def test_the_learning_rate_logged_is_the_optimisers():
    settings = {"optimiser__schedule": "steps", "optimiser__decay_steps": (2, 3), "optimiser__decay": 10.0}
    _, rows = after_steps(setting.config(**settings), 1, steps=4)
    np.testing.assert_allclose([row["learning_rate"] for row in rows], [0.1, 0.1, 0.01, 0.001], rtol=1e-6)
