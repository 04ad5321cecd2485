"""The two ways in which triplet training is lost, seen as they happen and not before."""

import math

import pytest

from facenet_jax.monitor import COLLAPSE_SPREAD, COLLAPSE_STEPS, TripletMonitor
from faces.errors import TrainingStopped
from tests.faces.configs import tiny

CONFIG = tiny(loss__alpha=0.2, loss__mining="hardest", optimiser__learning_rate=0.7, optimiser__clip_norm=3.5)
SOUND = {"loss": 0.3, "gradient_norm": 1.0, "loss_per_pair": 0.1, "spread": 0.5}
COLLAPSED = {"loss": 0.2, "gradient_norm": 1e-6, "loss_per_pair": 0.2, "spread": 1e-7}


@pytest.mark.parametrize("metric", ["loss", "gradient_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_stops_at_once(metric, value):
    monitor = TripletMonitor(CONFIG)
    monitor.check(1, SOUND)
    with pytest.raises(TrainingStopped) as stopped:
        monitor.check(2, {**SOUND, metric: value})
    message = str(stopped.value)
    assert message.startswith("step 2: ") and "is not finite" in message and str(value) in message
    assert "optimiser.learning_rate (now 0.7)" in message
    assert "optimiser.clip_norm (now 3.5)" in message
    assert "float32 (now float32)" in message


def test_collapse_stops_after_so_many_steps_and_not_before():
    monitor = TripletMonitor(CONFIG)
    for step in range(1, COLLAPSE_STEPS):
        monitor.check(step, COLLAPSED)
    with pytest.raises(TrainingStopped) as stopped:
        monitor.check(COLLAPSE_STEPS, COLLAPSED)
    message = str(stopped.value)
    assert message.startswith(f"step {COLLAPSE_STEPS}: ") and "collapsed" in message
    assert "0.2000" in message and "1.0e-07" in message
    assert 'loss.mining "semi_hard" (now "hardest")' in message
    assert "optimiser.learning_rate (now 0.7)" in message
    assert f"optimiser.warmup_steps (now {CONFIG.optimiser.warmup_steps})" in message


def test_one_sound_step_starts_the_count_again():
    monitor = TripletMonitor(CONFIG)
    for _ in range(3):
        for step in range(1, COLLAPSE_STEPS):
            monitor.check(step, COLLAPSED)
        monitor.check(COLLAPSE_STEPS, SOUND)


@pytest.mark.parametrize(
    "changes",
    [
        {"spread": 0.8},  # hard triplets of a sound model have a loss near the margin too
        {"spread": 2 * COLLAPSE_SPREAD},
        {"loss_per_pair": 0.0},  # a model whose pairs are all solved
        {"loss_per_pair": 0.17},
        {"loss_per_pair": 0.23},
    ],
)
def test_what_is_no_collapse(changes):
    monitor = TripletMonitor(CONFIG)
    for step in range(1, 3 * COLLAPSE_STEPS):
        monitor.check(step, {**COLLAPSED, **changes})


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_collapse_is_measured_by_the_margin(alpha):
    monitor = TripletMonitor(tiny(loss__alpha=alpha))
    with pytest.raises(TrainingStopped, match=f"alpha is {alpha}"):
        for step in range(COLLAPSE_STEPS):
            monitor.check(step, {**COLLAPSED, "loss_per_pair": 0.99 * alpha})
