"""The train step: the same on any number of devices, exact with the gradient cache, sound after a broken step."""

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from facenet_jax.config import Config
from facenet_jax.train_step import init_state, make_train_step
from faces.mesh import make_mesh, place_batch
from faces.train_state import TrainState
from tests.facenet_jax import oracle, setting

NETWORKS = {
    "without_batch_norm": setting.without_batch_norm(),
    "with_batch_norm": setting.with_batch_norm(),
    "the config's": None,
}


@cache
def start(config: Config, devices: int, network: str) -> TrainState:
    return jax.device_get(init_state(config, make_mesh(devices), NETWORKS[network]))


@cache
def run(config: Config, devices: int, network: str, steps: int = 1) -> tuple[Any, list[dict[str, float]]]:
    """Parameters and batch statistics after some steps, and the metrics of each; tests share equal runs."""
    mesh, backbone = make_mesh(devices), NETWORKS[network]
    step, state = make_train_step(config, mesh, backbone), init_state(config, mesh, backbone)
    metrics = []
    for number in range(steps):
        state, values = step(state, place_batch(mesh, setting.batch(number)))
        metrics.append({key: float(value) for key, value in values.items()})
    return jax.device_get((state.params, state.batch_stats)), metrics


def assert_close(tree, other, rtol=2e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), tree, other)


@pytest.mark.parametrize(
    ("network", "mining"), [("without_batch_norm", "random_violator"), ("with_batch_norm", "semi_hard")]
)
def test_1_4_and_8_devices_agree(network: str, mining: str):
    """SGD without momentum: next parameters are equal exactly where gradients are."""
    config = setting.config(loss__mining=mining)
    one, metrics = run(config, 1, network)
    for devices in (4, 8):
        several, theirs = run(config, devices, network)
        assert_close(one, several)
        for key in ("loss", "gradient_norm", "pairs", "active_triplets", "d_ap", "d_an", "spread"):
            np.testing.assert_allclose(metrics[0][key], theirs[0][key], rtol=2e-5, err_msg=key)


def test_the_real_network_on_1_and_4_devices():
    config = setting.config()
    (one, stats), metrics = run(config, 1, "the config's")
    (several, their_stats), theirs = run(config, 4, "the config's")
    assert_close(one, several, atol=2e-5)
    assert_close(stats, their_stats, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics[0]["loss"], theirs[0]["loss"], rtol=1e-5)


def test_loss_and_gradient_equal_the_oracle():
    config, network = setting.config(loss__reduction="mean_of_pairs"), "without_batch_norm"
    batch, backbone = setting.batch(), setting.without_batch_norm()
    before = start(config, 4, network).params

    def embed(params):
        return backbone.apply(params, {}, (jnp.asarray(batch["images"]) - 127.5) / 128, True)[0]

    embeddings, pull_back = jax.vjp(embed, before)
    negative, is_pair = oracle.semi_hard(np.asarray(embeddings), batch["identities"])
    loss, of_embeddings = oracle.mean_triplet_loss(np.asarray(embeddings), negative, is_pair, 0.2)
    (gradient,) = pull_back(jnp.asarray(of_embeddings, jnp.float32))

    (after, _), (metrics,) = run(config, 4, network)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    assert_close(after, jax.tree.map(lambda p, g: p - 0.1 * g, before, gradient))
    assert metrics["pairs"] == is_pair.sum()


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize(("mining", "micro_batch"), [("semi_hard", 4), ("semi_hard", 16), ("hardest", 8)])
def test_gradient_cache_equals_the_full_batch(devices: int, mining: str, micro_batch: int):
    config = setting.config(loss__mining=mining, model__batch_norm="none")
    whole, metrics = run(config, devices, "without_batch_norm")
    cached = setting.config(loss__mining=mining, model__batch_norm="none", batch__micro_batch=micro_batch)
    parts, theirs = run(cached, devices, "without_batch_norm")
    assert_close(whole, parts, rtol=1e-5)
    np.testing.assert_allclose(metrics[0]["loss"], theirs[0]["loss"], rtol=1e-6)
    np.testing.assert_allclose(metrics[0]["gradient_norm"], theirs[0]["gradient_norm"], rtol=1e-5)


@pytest.mark.parametrize("devices", [1, 4])
def test_gradient_cache_with_a_classifier_equals_the_full_batch(devices: int):
    """Loss, next parameters and next rows of the classifier."""
    mesh, backbone, found = make_mesh(devices), setting.without_batch_norm(), []
    for micro_batch in (0, 8):
        config = setting.config(loss__classifier_weight=0.5, model__batch_norm="none", batch__micro_batch=micro_batch)
        state = init_state(config, mesh, backbone, classes=8)
        state, metrics = make_train_step(config, mesh, backbone)(state, place_batch(mesh, setting.batch()))
        found.append(jax.device_get((state.params, state.centres, metrics)))
    assert_close(*found, rtol=1e-5)


def test_rows_that_no_loss_sees_stay_where_they_are():
    """With the gradient cache as without: centres are not their own gradient."""
    mesh, backbone = make_mesh(2), setting.without_batch_norm()
    for micro_batch in (0, 8):
        config = setting.config(model__batch_norm="none", batch__micro_batch=micro_batch)
        state = init_state(config.with_(loss__classifier_weight=0.5), mesh, backbone, classes=8)
        before = jax.device_get(state.centres)
        state, _ = make_train_step(config, mesh, backbone)(state, place_batch(mesh, setting.batch()))
        np.testing.assert_array_equal(state.centres, before)


def test_per_device_batch_norm():
    """On one device it is global batch norm; on four, each quarter of the batch has its own statistics."""
    per_device, network = setting.config(model__batch_norm="per_device"), "with_batch_norm"
    assert_close(run(per_device, 1, network)[0], run(setting.config(), 1, network)[0])

    _, metrics = run(per_device, 4, network)
    batch, backbone = setting.batch(), setting.with_batch_norm()
    state = start(per_device, 1, network)
    params, stats = state.params, state.batch_stats
    pixels = (batch["images"].astype(np.float32) - 127.5) / 128
    quarters = [backbone.apply(params, stats, jnp.asarray(part), True)[0] for part in np.split(pixels, 4)]
    embeddings = np.concatenate(quarters)
    negative, is_pair = oracle.semi_hard(embeddings, batch["identities"])
    d = oracle.distances(embeddings)
    np.testing.assert_allclose(metrics[0]["d_ap"], d[is_pair].mean(), rtol=1e-5)
    a, p = np.nonzero(is_pair)
    np.testing.assert_allclose(metrics[0]["d_an"], d[a, negative[a, p]].mean(), rtol=1e-5)


def test_per_device_gradient_is_not_multiplied():
    """A gradient summed once too often over the devices would be four times as large."""
    same_quarters = {key: np.concatenate([value] * 4) for key, value in setting.batch(images=8).items()}
    config = setting.config(model__batch_norm="per_device")
    norms = []
    for devices, kind in ((4, "per_device"), (1, "global")):
        config = config.with_(model__batch_norm=kind)
        mesh, backbone = make_mesh(devices), setting.with_batch_norm()
        state = init_state(config, mesh, backbone)
        _, metrics = make_train_step(config, mesh, backbone)(state, place_batch(mesh, same_quarters))
        norms.append(float(metrics["gradient_norm"]))
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-3)


def test_bfloat16_trains_and_keeps_float32_weights():
    config = setting.config(model__dtype="bfloat16", optimiser__name="adam")
    params, metrics = run(config, 1, "the config's", steps=2)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    assert np.isfinite([m["loss"] for m in metrics]).all()


def test_state_is_donated_and_weights_survive_a_non_finite_step():
    config = setting.config(optimiser__learning_rate=1000.0)
    mesh, backbone = make_mesh(2), setting.without_batch_norm()
    step, state = make_train_step(config, mesh, backbone), init_state(config, mesh, backbone)
    broken = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(jnp.nan), state.params)
    before = jax.device_get(broken)
    state = dataclasses.replace(state, params=broken)
    new, metrics = step(state, place_batch(mesh, setting.batch()))
    assert not np.isfinite(float(metrics["gradient_norm"]))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(new.params), before)
    assert int(new.step) == 1
    previous, (new, _) = new, step(new, place_batch(mesh, setting.batch()))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(previous))


def test_sum_and_means_differ_by_their_divisors():
    losses = {}
    for reduction in ("sum", "mean_of_pairs", "mean_of_active"):
        _, (metrics,) = run(setting.config(loss__reduction=reduction), 4, "without_batch_norm")
        losses[reduction] = metrics["loss"]
    np.testing.assert_allclose(losses["sum"] / metrics["pairs"], losses["mean_of_pairs"], rtol=1e-5)
    np.testing.assert_allclose(losses["sum"] / metrics["active_triplets"], losses["mean_of_active"], rtol=1e-5)
