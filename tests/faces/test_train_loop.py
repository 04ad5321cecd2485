"""The loop around a step, and what an interruption of it leaves."""

import contextlib
import dataclasses
import io
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from facenet_jax.monitor import TripletMonitor
from faces.checkpoint import Checkpoints
from faces.errors import DataStalled
from faces.mesh import make_mesh
from faces.run_record import read_log
from faces.stopping import ASKING, Preempted, install
from faces.train_loop import train
from faces.train_state import TrainState
from tests.faces.configs import tiny
from tests.faces.test_event_file import numbers_of, records

SOUND = {"loss": 0.3, "gradient_norm": 1.0, "loss_per_pair": 0.1, "spread": 0.5}


class Numbers:
    """A loader of batches that hold their own number."""

    def __init__(self):
        self.given = 0

    def __next__(self):
        self.given += 1
        return {"number": np.full(1, self.given, np.int32)}

    def get_state(self):
        return {"given": self.given}


def run(folder, disturb, evaluate=lambda state: {}, loader=None, tensorboard=False, **changes):
    """Train on a step that only counts; `disturb(step)` is called inside each. The newest checkpoint it leaves."""
    config = tiny(**{"train__steps": 8, "train__log_every": 1, "train__checkpoint_every": 0, **changes})
    state = TrainState(jnp.zeros((), jnp.int32), {"seen": jnp.zeros(1, jnp.int32)}, {}, {}, (), jax.random.key(0))

    def step(state, batch):
        number = int(state.step) + 1
        disturb(number)
        state = dataclasses.replace(state, step=state.step + 1, params={"seen": batch["number"]})
        metrics = {**SOUND, "active": 1.0, "d_ap": 1.0, "d_an": 1.0}
        return state, {key: jnp.float32(value) for key, value in metrics.items()}

    with Checkpoints(folder / "checkpoints") as checkpoints:
        try:
            console = Console(file=io.StringIO())
            monitor, mesh = TripletMonitor(config), make_mesh(1)
            given = loader or Numbers()
            train(step, state, given, config, mesh, folder, checkpoints, evaluate, monitor, console,
                  tensorboard=tensorboard)  # fmt: skip
        finally:
            restored, place = checkpoints.restore(state, config)
            left = int(restored.step), int(restored.params["seen"][0]), place["given"]
            print("left", *left)
    return left


def test_an_undisturbed_run_ends_with_its_last_state(tmp_path):
    assert run(tmp_path, lambda number: None) == (8, 8, 8)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == list(range(1, 9))


def test_without_a_folder_the_same_history_is_given_and_nothing_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny(train__steps=5, train__log_every=2, train__evaluate_every=2, train__checkpoint_every=2)
    state = TrainState(jnp.zeros((), jnp.int32), {}, {}, {}, (), jax.random.key(0))
    metrics = {**SOUND, "active": 1.0, "d_ap": 1.0, "d_an": 1.0}

    def step(state, batch):
        return dataclasses.replace(state, step=state.step + 1), jax.tree.map(jnp.float32, metrics)

    console = Console(file=io.StringIO())
    ended = train(
        step, state, Numbers(), config, make_mesh(1), None, None, lambda state: {}, TripletMonitor(config), console
    )
    assert [row["step"] for row in ended.history] == [1, 2, 4, 5] and ended.history[0]["loss"] == np.float32(0.3)
    assert not list(tmp_path.iterdir())


def test_both_logs_are_written_as_events_where_that_is_asked(tmp_path):
    run(tmp_path, lambda number: None, lambda state: {"accuracy": 0.5}, tensorboard=True, train__evaluate_every=4)
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = [numbers_of(event) for event in records(file.read_bytes())][2:]
    log = {row["step"]: row for row in read_log(tmp_path / "log.jsonl")}
    of_log = {step: numbers for step, numbers in events if "loss" in numbers}
    assert of_log.keys() == log.keys() and all(of_log[step]["loss"] == np.float32(log[step]["loss"]) for step in log)
    assert [event for event in events if "loss" not in event[1]] == [(4, {"evaluation/accuracy": 0.5})]


def test_without_that_no_events_are_written(tmp_path):
    run(tmp_path, lambda number: None)
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("at", [1, 3, 7])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_within_a_step_leaves_state_and_loader_in_the_same_place(tmp_path, capsys, at: int, name: str):
    number = getattr(signal, name)

    def press(step):
        if step == at:
            os.kill(os.getpid(), number)

    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, *ASKING)}
    with heard(), pytest.raises(KeyboardInterrupt) as ended:
        run(tmp_path, press)
    assert isinstance(ended.value, Preempted) is (name != "SIGINT")
    assert name == "SIGINT" or ended.value.by == number
    assert capsys.readouterr().out.split() == ["left", str(at), str(at), str(at)]
    assert {one: signal.getsignal(one) for one in handlers} == handlers


@contextlib.contextmanager
def heard():
    """Signals as a command hears them."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, *ASKING)}
    for one in ASKING:  # these tests may themselves have been started to ignore one
        signal.signal(one, signal.SIG_DFL)
    install()
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As `nohup` starts a command."""
    with heard():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert run(tmp_path, lambda step: os.kill(os.getpid(), signal.SIGHUP)) == (8, 8, 8)


class Stalled(Numbers):
    """A loader whose fourth batch does not come before `answer` is set, and that calls `then` meanwhile."""

    def __init__(self, then=lambda: None):
        super().__init__()
        self.then, self.answer = then, threading.Event()

    def __next__(self):
        if self.given == 3:
            self.then()
            assert self.answer.wait(20)
        return super().__next__()


def test_a_signal_is_heard_while_no_batch_comes_and_the_step_before_is_kept(tmp_path, capsys):
    loader = Stalled(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        with heard(), pytest.raises(Preempted):
            run(tmp_path, lambda number: None, loader=loader)
    finally:
        loader.answer.set()
    assert capsys.readouterr().out.split() == ["left", "3", "3", "3"]


def test_batches_that_never_come_end_the_run_with_the_step_before_kept(tmp_path, capsys):
    loader = Stalled()
    try:
        with pytest.raises(DataStalled, match="no batch has come"):
            run(tmp_path, lambda number: None, loader=loader, train__patience=0.05)
    finally:
        loader.answer.set()
    told = capsys.readouterr()
    assert told.out.split() == ["left", "3", "3", "3"] and "warning: no batch has come" in told.err


def test_an_evaluation_is_left_at_once(tmp_path, capsys):
    """It may take longer than a scheduler waits, and the state was kept before it."""
    left = []

    def evaluate(state):
        os.kill(os.getpid(), signal.SIGTERM)
        left.append("the evaluation went on")
        return {}

    with heard(), pytest.raises(Preempted):
        run(tmp_path, lambda step: None, evaluate, train__evaluate_every=3)
    assert not left and capsys.readouterr().out.split() == ["left", "3", "3", "3"]
