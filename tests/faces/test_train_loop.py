"""The two ways in which training is lost, seen as they happen and not before; and what an interruption leaves."""

import dataclasses
import io
import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from faces.checkpoint import Checkpoints
from faces.errors import TrainingStopped
from faces.mesh import make_mesh
from faces.run_record import read_log
from faces.train_loop import COLLAPSE_SPREAD, COLLAPSE_STEPS, Health, train
from faces.train_state import TrainState
from tests.faces.configs import tiny

CONFIG = tiny(loss__alpha=0.2, loss__mining="hardest", optimiser__learning_rate=0.7, optimiser__clip_norm=3.5)
SOUND = {"loss": 0.3, "gradient_norm": 1.0, "loss_per_pair": 0.1, "spread": 0.5}
COLLAPSED = {"loss": 0.2, "gradient_norm": 1e-6, "loss_per_pair": 0.2, "spread": 1e-7}


@pytest.mark.parametrize("metric", ["loss", "gradient_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_stops_at_once(metric, value):
    health = Health(CONFIG)
    health.check(1, SOUND)
    with pytest.raises(TrainingStopped) as stopped:
        health.check(2, {**SOUND, metric: value})
    message = str(stopped.value)
    assert message.startswith("step 2: ") and "is not finite" in message and str(value) in message
    assert "optimiser.learning_rate (now 0.7)" in message
    assert "optimiser.clip_norm (now 3.5)" in message
    assert "float32 (now float32)" in message


def test_collapse_stops_after_so_many_steps_and_not_before():
    health = Health(CONFIG)
    for step in range(1, COLLAPSE_STEPS):
        health.check(step, COLLAPSED)
    with pytest.raises(TrainingStopped) as stopped:
        health.check(COLLAPSE_STEPS, COLLAPSED)
    message = str(stopped.value)
    assert message.startswith(f"step {COLLAPSE_STEPS}: ") and "collapsed" in message
    assert "0.2000" in message and "1.0e-07" in message
    assert 'loss.mining "semi_hard" (now "hardest")' in message
    assert "optimiser.learning_rate (now 0.7)" in message
    assert f"optimiser.warmup_steps (now {CONFIG.optimiser.warmup_steps})" in message


def test_one_sound_step_starts_the_count_again():
    health = Health(CONFIG)
    for _ in range(3):
        for step in range(1, COLLAPSE_STEPS):
            health.check(step, COLLAPSED)
        health.check(COLLAPSE_STEPS, SOUND)


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
    health = Health(CONFIG)
    for step in range(1, 3 * COLLAPSE_STEPS):
        health.check(step, {**COLLAPSED, **changes})


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_collapse_is_measured_by_the_margin(alpha):
    health = Health(tiny(loss__alpha=alpha))
    with pytest.raises(TrainingStopped, match=f"alpha is {alpha}"):
        for step in range(COLLAPSE_STEPS):
            health.check(step, {**COLLAPSED, "loss_per_pair": 0.99 * alpha})


class Numbers:
    """A loader of batches that hold their own number."""

    def __init__(self):
        self.given = 0

    def __next__(self):
        self.given += 1
        return {"number": np.full(1, self.given, np.int32)}

    def get_state(self):
        return {"given": self.given}


def run(folder, disturb, **changes):
    """Train on a step that only counts; `disturb(step)` is called inside each. The newest checkpoint it leaves."""
    config = tiny(**{"train__steps": 8, "train__log_every": 1, "train__checkpoint_every": 0, **changes})
    state = TrainState(jnp.zeros((), jnp.int32), {"seen": jnp.zeros(1, jnp.int32)}, {}, (), jax.random.key(0))

    def step(state, batch):
        number = int(state.step) + 1
        disturb(number)
        state = dataclasses.replace(state, step=state.step + 1, params={"seen": batch["number"]})
        metrics = {**SOUND, "active": 1.0, "d_ap": 1.0, "d_an": 1.0}
        return state, {key: jnp.float32(value) for key, value in metrics.items()}

    with Checkpoints(folder / "checkpoints") as checkpoints:
        try:
            console = Console(file=io.StringIO())
            train(step, state, Numbers(), config, make_mesh(1), folder, checkpoints, lambda state: {}, console)
        finally:
            restored, loader = checkpoints.restore(state, config)
            left = int(restored.step), int(restored.params["seen"][0]), loader["given"]
            print("left", *left)
    return left


def test_an_undisturbed_run_ends_with_its_last_state(tmp_path):
    assert run(tmp_path, lambda number: None) == (8, 8, 8)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == list(range(1, 9))


@pytest.mark.parametrize("at", [1, 3, 7])
def test_ctrl_c_within_a_step_leaves_state_and_loader_in_the_same_place(tmp_path, capsys, at: int):
    def press(number):
        if number == at:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, press)
    assert capsys.readouterr().out.split() == ["left", str(at), str(at), str(at)]
    assert signal.getsignal(signal.SIGINT) is handler
