"""Weights that are blown up while every number is finite: what is measured, when a run is stopped, and when not."""

import contextlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import arcface_jax
import facenet_jax
import tests.arcface_jax.setting
import tests.facenet_jax.setting
from arcface_jax.monitor import AngleMonitor
from facenet_jax.monitor import TripletMonitor
from faces.blown_up import GROWN, MOVED, STEPS, UPDATE_RATIO, WEIGHT_SIZE, BlownUp, movement
from faces.detect.monitor import DetectionMonitor
from faces.errors import TrainingStopped
from faces.mesh import make_mesh
from tests.faces.configs import tiny

OPTIMISER = tiny(optimiser__learning_rate=0.7, optimiser__clip_norm=3.5).optimiser
SOUND = {"loss": 0.3, "gradient_norm": 1.0, "loss_per_pair": 0.1, "spread": 0.5}
PAPERS = ("facenet", "arcface")
PACKAGES: dict[str, Any] = {"facenet": facenet_jax, "arcface": arcface_jax}
SETTINGS: dict[str, Any] = {"facenet": tests.facenet_jax.setting, "arcface": tests.arcface_jax.setting}


def test_what_is_measured_are_root_mean_squares():
    rng = np.random.default_rng(0)
    old = {"a": rng.normal(size=(5, 7)), "b": {"c": rng.normal(size=3)}}
    new = {"a": old["a"] + rng.normal(size=(5, 7)), "b": {"c": old["b"]["c"] * 2}}
    flat_old, flat_new = (np.concatenate([tree["a"].ravel(), tree["b"]["c"]]) for tree in (old, new))
    size, change = np.sqrt(np.mean(flat_old**2)), np.sqrt(np.mean((flat_new - flat_old) ** 2))
    measured = movement(new, old)
    np.testing.assert_allclose(measured[UPDATE_RATIO], change / size, rtol=1e-5)
    np.testing.assert_allclose(measured[WEIGHT_SIZE], size, rtol=1e-5)
    assert float(movement(old, old)[UPDATE_RATIO]) == 0
    nothing = {"a": jnp.zeros((5, 7))}
    np.testing.assert_allclose(movement({"a": jnp.full((5, 7), 0.02)}, nothing)[UPDATE_RATIO], 2, rtol=1e-6)
    assert np.isnan(movement({"a": jnp.full((5, 7), jnp.nan)}, nothing)[UPDATE_RATIO])


def measured(ratio: float, size: float) -> dict[str, float]:
    return {**SOUND, UPDATE_RATIO: ratio, WEIGHT_SIZE: size}


def test_one_step_is_seen_in_the_next():
    guard = BlownUp(OPTIMISER)
    guard.check(1, measured(23.2, 0.074))
    with pytest.raises(TrainingStopped) as stopped:
        guard.check(2, measured(0.5, 1.85))
    message = str(stopped.value)
    assert message.startswith("step 2: the network is blown up: within 2 steps its weights have become 25 times as")
    assert "moved by 23.7 times" in message
    assert "optimiser.learning_rate (now 0.7)" in message and "optimiser.clip_norm (now 3.5)" in message


@pytest.mark.parametrize(("ratio", "growth", "is_lost"), [
    (0.9 * MOVED / STEPS, 1.5, False),  # as by a rate that is high, from small weights
    (2 * MOVED / STEPS, 1.0, False),  # to and fro
    (2 * MOVED / STEPS, 1.02, False),
    (1.1 * MOVED / STEPS, 1.05, False),
    (1.1 * MOVED / STEPS, 1.07, True),
    (0.0, 1.0, False),
])  # fmt: skip
def test_many_steps_must_move_and_grow(ratio: float, growth: float, is_lost: bool):
    guard = BlownUp(OPTIMISER)
    with pytest.raises(TrainingStopped) if is_lost else contextlib.nullcontext():
        for step in range(1, 60):
            guard.check(step, measured(ratio, 0.1 * growth ** min(step, 40)))


def test_weights_that_begin_at_nothing_may_double_with_each_step():
    guard = BlownUp(OPTIMISER)
    for step in range(1, 60):
        guard.check(step, measured(min(0.4, 1 / step), 0.0004 * step))


@pytest.mark.parametrize("monitor", [
    TripletMonitor(tiny()),
    AngleMonitor(tests.arcface_jax.setting.config()),
    DetectionMonitor(OPTIMISER),
])  # fmt: skip
def test_each_training_has_the_guard(monitor: Any):
    monitor.check(1, measured(50.0, 0.1))
    with pytest.raises(TrainingStopped, match="step 2: the network is blown up"):
        monitor.check(2, measured(0.0, 5.0))


def faces(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (48, *size, 3)).astype(np.uint8)
    return images, np.repeat(np.arange(8), 6)


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("rate", [1000.0, 100.0])
def test_a_learning_rate_far_too_high_is_stopped(paper: str, rate: float):
    config = SETTINGS[paper].config(batch__images=16, optimiser__learning_rate=rate, train__steps=40)
    backbone = SETTINGS[paper].linear() if paper == "arcface" else SETTINGS[paper].without_batch_norm()
    with pytest.raises(TrainingStopped, match="blown up"):
        PACKAGES[paper].fit(faces(config.model.input_size), config, make_mesh(1), backbone=backbone, quiet=True)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_sound_run_is_far_from_it(paper: str):
    config = SETTINGS[paper].config(batch__images=16, train__steps=40, train__log_every=1)
    backbone = SETTINGS[paper].linear() if paper == "arcface" else SETTINGS[paper].without_batch_norm()
    fitted = PACKAGES[paper].fit(faces(config.model.input_size), config, make_mesh(1), backbone=backbone, quiet=True)
    moved, size = (np.array([row[name] for row in fitted.history]) for name in (UPDATE_RATIO, WEIGHT_SIZE))
    assert (moved > 0).all() and max(size[STEPS:] / size[:-STEPS]) < 0.9 * GROWN
