"""The loop around a train step: progress, log, evaluations on the way, checkpoints, and stopping when training is lost.

Metrics are read one step late, so that a device works on step t + 1 while the host looks at step t.

Not here: the step, and what an evaluation is (both are given).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import TextColumn, TimeElapsedColumn
from rich.table import Column

from faces import memory
from faces.checkpoint import Checkpoints
from faces.config import BatchConfig, RunConfig, TrainConfig
from faces.errors import TrainingStopped
from faces.mesh import place_batch
from faces.run_record import LOGS, OF_LOGS, Log, read_log
from faces.schema import Checked
from faces.stopping import late
from faces.terminal import make_progress
from faces.train_state import TrainState

NUMBERS = TextColumn("{task.fields[numbers]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=12))
"""Of the bar: what `Monitor.show` says, as far as the line is long enough."""


@dataclass(frozen=True)
class Trained:
    """How training ended.

    Args:
        state: the last state.
        images_per_second: of the steps of this process's run, without the first, which compiles, and evaluations.
        minutes: training time, over all resumed parts, without evaluations.
        history: the lines of the log, where no folder holds it; a week of them would fill memory.
    """

    state: TrainState
    images_per_second: float
    minutes: float
    history: list[dict[str, float]]


class Course(Checked, Protocol):
    """What the loop and its checkpoints need of a config."""

    @property
    def batch(self) -> BatchConfig:
        """Its size, for the rate."""
        ...

    @property
    def train(self) -> TrainConfig:
        """Length and intervals."""
        ...


class Monitor(Protocol):
    """What a paper's package tells the loop about its metrics."""

    def check(self, step: int, metrics: dict[str, float]) -> None:
        """Look at one step's metrics.

        Raises:
            TrainingStopped: training is lost; the message says how, and what to change.
        """
        ...

    def show(self, metrics: dict[str, float]) -> str:
        """The numbers that stand in the progress line."""
        ...


def check_finite(config: RunConfig, step: int, metrics: dict[str, float]) -> None:
    """Refuse to go on with a loss or gradient that is NaN or infinite.

    Raises:
        TrainingStopped: with what to change.
    """
    optimiser = config.optimiser
    if not np.isfinite([metrics["loss"], metrics["gradient_norm"]]).all():
        raise TrainingStopped(
            f"step {step}: loss {metrics['loss']} with gradient norm {metrics['gradient_norm']} is not finite; the "
            f"weights of the step before are kept. Lower optimiser.learning_rate (now {optimiser.learning_rate}), "
            f"set optimiser.clip_norm (now {optimiser.clip_norm}), or use float32 (now {config.model.dtype})."
        )


def train(
    step: Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]],
    state: TrainState,
    loader: Any,
    config: Course,
    mesh: Mesh,
    folder: Path | None,
    checkpoints: Checkpoints | None,
    evaluate: Callable[[TrainState], dict[str, float]],
    monitor: Monitor,
    console: Console,
) -> Trained:
    """Run from `state.step` to `config.train.steps`.

    Writes `log.jsonl` (metrics every `log_every` steps), `evaluations.jsonl` and checkpoints under `folder`. Whatever
    ends the loop, a signal (`faces.stopping`) and lost training as well, a checkpoint of the last sound state is taken
    first.

    Args:
        step: as `make_train_step` gives it.
        state: donated to the first step.
        loader: a grain iterator at the batch of `state.step`.
        config: length and intervals.
        mesh: where batches are placed.
        folder: the run's folder; None: no logs are written.
        checkpoints: where states are stored; None: nowhere.
        evaluate: state -> numbers for `evaluations.jsonl`, called every `evaluate_every` steps; {} where there is
            nothing to evaluate on, and nothing is said then.
        monitor: looks at each step's metrics.
        console: where progress is shown.
    Raises:
        TrainingStopped: `monitor` says that training is lost.
    """
    start, total = int(state.step), config.train.steps
    is_writer = jax.process_index() == 0
    log, evaluations = (Log(folder, name, start, is_writer) for name in LOGS)
    earlier = [] if folder is None else read_log(folder / LOGS[0], OF_LOGS)
    clock = _Clock(earlier[-1]["minutes"] if earlier else 0.0, config.batch.images)
    pending, history = None, list[dict[str, float]]()

    def keep() -> None:
        if checkpoints is not None:
            checkpoints.save(state, loader.get_state(), config)

    def finish(pending: tuple[int, dict[str, jax.Array]] | None) -> dict[str, float] | None:
        """Wait for a step's metrics, look at them, log them."""
        if pending is None:
            return None
        number, metrics = pending[0], {key: float(value) for key, value in jax.device_get(pending[1]).items()}
        clock.step_done()
        if number % config.train.log_every == 0 or number in (1, total):
            rate = {"images_per_second": round(clock.images_per_second, 2), "minutes": round(clock.minutes, 4)}
            log.add(line := {"step": number, **metrics, **rate})
            if folder is None:
                history.append(line)
        monitor.check(number, metrics)
        return metrics

    def evaluate_now(state: TrainState) -> dict[str, float]:
        with stop.at_once():
            return evaluate(state)

    def numbers(metrics: dict[str, float] | None) -> str:
        return f"{monitor.show(metrics)}  {clock.images_per_second:.0f} images/s" if metrics else "compiling"

    with make_progress(console, NUMBERS, TimeElapsedColumn()) as progress, late() as stop:
        bar = progress.add_task("training", total=total, completed=start, numbers="")
        try:
            for number in range(start + 1, total + 1):
                stop.check(number)
                if checkpoints is not None:
                    checkpoints.check()
                batch = place_batch(mesh, next(loader))
                state, metrics = step(state, batch)
                shown = finish(pending)
                pending = (number, metrics)
                progress.update(bar, completed=number, numbers=numbers(shown))
                is_last = number == total
                wants_evaluation = _due(number, config.train.evaluate_every) and not is_last
                if wants_evaluation or is_last or _due(number, config.train.checkpoint_every):
                    finish(pending)
                    pending = None
                    keep()
                if wants_evaluation and (result := evaluate_now(state)):
                    evaluations.add({"step": number, "minutes": round(clock.minutes, 4), **result})
                    progress.console.print(f"step {number}: " + ", ".join(f"{k} {v:.4f}" for k, v in result.items()))
                if pending is None:
                    memory.give_back()
                    clock.restart()
        except (TrainingStopped, KeyboardInterrupt):
            keep()
            raise
    return Trained(state, clock.images_per_second, clock.minutes, history)


def _due(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


class _Clock:
    """Training time: the intervals between steps, without the first step and without what comes between."""

    def __init__(self, minutes: float, images: int):
        self.minutes, self._images = minutes, images
        self._last, self._is_first = time.perf_counter(), True
        self._steps, self._seconds = 0, 0.0

    def step_done(self) -> None:
        now = time.perf_counter()
        self.minutes += (now - self._last) / 60
        if not self._is_first:
            self._steps += 1
            self._seconds += now - self._last
        self._last, self._is_first = now, False

    def restart(self) -> None:
        self._last = time.perf_counter()

    @property
    def images_per_second(self) -> float:
        return self._images * self._steps / self._seconds if self._steps else 0.0
