"""The loop around a train step: progress, log, evaluations on the way, checkpoints, and stopping when training is lost.

Metrics are read one step late, so that a device works on step t + 1 while the host looks at step t. A step that is not
finite has changed nothing, is counted, and training goes on; where one more such step would end the run, each is looked
at before the next begins, so that the weights and the batch of the last one are those that it had.

Not here: the step, and what an evaluation is (both are given).
"""

import contextlib
import dataclasses
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

from faces import lost_report, memory
from faces.checkpoint import Checkpoints
from faces.config import BatchConfig, RunConfig, TrainConfig
from faces.errors import DataStalled, OutputError, TrainingStopped
from faces.event_file import FOLDER as EVENTS
from faces.event_file import Events
from faces.mesh import agreed, place_batch
from faces.not_finite import MOST_IN_A_ROW, NotFinite
from faces.run_record import LOGS, NOT_FINITE, OF_LOGS, Log, read_log
from faces.schema import Checked
from faces.stopping import late
from faces.terminal import make_progress, warn
from faces.train_state import TrainState
from faces.waiting import Waiting

NUMBERS = TextColumn("{task.fields[numbers]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=12))
"""Of the bar: what `Monitor.show` says, as far as the line is long enough."""

Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]
"""As `make_train_step` of each paper gives it."""


@dataclass(frozen=True)
class Trained:
    """How training ended.

    Args:
        state: the last state.
        images_per_second: of the steps of this process's run, without the first, which compiles, and evaluations.
        minutes: training time, over all resumed parts, without evaluations.
        history: the lines of the log, where no folder holds it; a week of them would fill memory.
        not_finite: steps that changed nothing, over all resumed parts.
    """

    state: TrainState
    images_per_second: float
    minutes: float
    history: list[dict[str, float]]
    not_finite: int = 0


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
        """Look at one step's metrics; of steps that are not finite at the last of too many in a row alone.

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
    step: Step,
    state: TrainState,
    loader: Any,
    config: Course,
    mesh: Mesh,
    folder: Path | None,
    checkpoints: Checkpoints | None,
    evaluate: Callable[[TrainState], dict[str, float]],
    monitor: Monitor,
    console: Console,
    by_layer: Callable[[], Step] | None = None,
    reports: bool = True,
    tensorboard: bool = False,
) -> Trained:
    """Run from `state.step` to `config.train.steps`.

    Writes `log.jsonl` (metrics every `log_every` steps), `evaluations.jsonl`, the steps that were not finite, a report
    where too many of them came in a row, and checkpoints under `folder`. Whatever ends the loop, a signal
    (`faces.stopping`) and lost training as well, a checkpoint of the last sound state is taken first.

    Args:
        step: as `make_train_step` gives it.
        state: donated to the first step.
        loader: an iterator at the batch of `state.step`, with `get_state`; of one that is a `faces.not_finite.Shown` it
            is told which images a step that was not finite saw.
        config: length and intervals.
        mesh: where batches are placed.
        folder: the run's folder; None: no logs are written.
        checkpoints: where states are stored; None: nowhere.
        evaluate: state -> numbers for `evaluations.jsonl`, called every `evaluate_every` steps; {} where there is
            nothing to evaluate on, and nothing is said then.
        monitor: looks at each step's metrics.
        console: where progress is shown.
        by_layer: makes a step whose metrics have the gradient's norm by layer too, for the report; None: it says
            nothing of layers.
        reports: whether `folder` stays when training is lost, and the report is written.
        tensorboard: whether the numbers of both logs are written as TensorBoard's events too, under `folder`.
    Raises:
        TrainingStopped: `monitor` says that training is lost, or too many steps in a row were not finite.
        DataStalled: no batch has come for far longer than `config.train.patience`.
    """
    start, total = int(state.step), config.train.steps
    is_writer = jax.process_index() == 0
    log, evaluations = (Log(folder, name, start, is_writer) for name in LOGS)
    events = Events(folder / EVENTS if folder is not None and tensorboard and is_writer else None, start)
    earlier = [] if folder is None else read_log(folder / LOGS[0], OF_LOGS)
    clock = _Clock(earlier[-1]["minutes"] if earlier else 0.0, config.batch.images)
    most = config.train.most_not_finite or MOST_IN_A_ROW
    not_finite = NotFinite(folder, start, most, loader, is_writer)
    pending, history = None, list[dict[str, float]]()

    def keep() -> None:
        if checkpoints is not None:
            checkpoints.save(state, batches.get_state(), config)

    def finish(pending: tuple[int, dict[str, jax.Array]] | None) -> dict[str, float] | None:
        """Wait for a step's metrics, look at them, log them."""
        if pending is None:
            return None
        number, metrics = pending[0], _floats(pending[1])
        clock.step_done()
        if number % config.train.log_every == 0 or number in (1, total):
            rate = {"images_per_second": round(clock.images_per_second, 2), "minutes": round(clock.minutes, 4)}
            log.add(line := {"step": number, **metrics, **rate})
            events.add(number, line)
            if folder is None:
                history.append(line)
        if not_finite.see(number, metrics):
            monitor.check(number, metrics)
        elif not_finite.in_a_row == 1:
            console.print(f"step {number}: loss {metrics['loss']} with gradient norm {metrics['gradient_norm']} is not "
                          "finite; it changes nothing")  # fmt: skip
        return metrics

    def lost(number: int, metrics: dict[str, float], batch: Any) -> TrainingStopped:
        """What ends the run after the last of too many steps, whose batch is given."""
        nonlocal state
        try:
            monitor.check(number, metrics)
            sentence = f"step {number}: the loss or the gradient is not finite."
        except TrainingStopped as stopped:
            sentence = str(stopped)
        if by_layer is not None:  # the weights are those of before; it is the same step once more
            state, again = by_layer()(dataclasses.replace(state, step=state.step - 1), batch)
            metrics = _floats(again) | metrics
        sentence += f" It is number {not_finite.in_a_row} of such steps in a row (most_not_finite = {most})."
        sentence += lost_report.said_of_layers(metrics)
        if folder is not None and reports and is_writer:
            try:
                lost_report.write(folder, sentence, number, metrics, loader)
                sentence += f" See {folder / lost_report.FOLDER}: a report, and what the batch showed."
            except OutputError as error:
                sentence += f" No report could be written: {error}"
        return TrainingStopped(agreed(sentence))

    def evaluate_now(state: TrainState) -> dict[str, float]:
        with stop.at_once():
            return evaluate(state)

    def tell(told: str) -> None:  # also where the console of a process is quiet
        warn(f"process {jax.process_index()}: {told}" if jax.process_count() > 1 else told)

    def numbers(metrics: dict[str, float] | None) -> str:
        if not metrics:
            return "compiling"
        skipped = f"  {not_finite.count} not finite" if not_finite.count else ""
        return f"{monitor.show(metrics)}{skipped}  {clock.images_per_second:.0f} images/s"

    with (
        make_progress(console, NUMBERS, TimeElapsedColumn()) as progress,
        late() as stop,
        contextlib.closing(Waiting(loader, config.train.patience, tell, stop.check_waiting)) as batches,
    ):
        bar = progress.add_task("training", total=total, completed=start, numbers="")
        try:
            for number in range(start + 1, total + 1):
                stop.check(number)
                if checkpoints is not None:
                    checkpoints.check()
                batch = place_batch(mesh, next(batches))
                state, metrics = step(state, batch)
                before, pending = pending, (number, metrics)
                shown = finish(before)
                progress.update(bar, completed=number, numbers=numbers(shown))
                is_last = number == total
                wants_evaluation = _due(number, config.train.evaluate_every) and not is_last
                is_kept = wants_evaluation or is_last or _due(number, config.train.checkpoint_every)
                if is_kept or not_finite.may_be_last:
                    now, pending = pending, None
                    seen = finish(now)
                    if seen and not_finite.is_too_many:
                        raise lost(number, seen, batch)
                if is_kept:
                    keep()
                if wants_evaluation and (result := evaluate_now(state)):
                    evaluations.add({"step": number, "minutes": round(clock.minutes, 4), **result})
                    events.add(number, result, "evaluation/")
                    progress.console.print(f"step {number}: " + ", ".join(f"{k} {v:.4f}" for k, v in result.items()))
                if is_kept:
                    memory.give_back()
                    clock.restart()
        except (TrainingStopped, KeyboardInterrupt):
            with contextlib.suppress(TrainingStopped):
                finish(pending)  # the record has every step that the checkpoint has
            keep()
            raise
        except DataStalled:
            if jax.process_count() == 1:  # the others do not know of it, and all must keep a step together
                with contextlib.suppress(TrainingStopped):
                    finish(pending)
                keep()
            raise
    if not_finite.count:
        in_file = "" if folder is None else f"; see {NOT_FINITE}"
        console.print(f"{not_finite.count:,} of {total:,} steps were not finite and changed nothing{in_file}")
    return Trained(state, clock.images_per_second, clock.minutes, history, not_finite.count)


def _floats(metrics: dict[str, jax.Array]) -> dict[str, float]:
    return {key: float(value) for key, value in jax.device_get(metrics).items()}


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
