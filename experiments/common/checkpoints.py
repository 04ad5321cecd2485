"""What a training run keeps on the way: its checkpoints, what is left of it when it breaks off, and going on.

Not here: the checkpoints' format (`faces.checkpoint`), who may write to the folder (`run_folder.py`).
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from faces import outputs
from faces.checkpoint import Checkpoints
from faces.errors import CheckpointError, ImageError
from faces.run_record import check_logs
from faces.train_loop import Course
from faces.train_state import TrainState


@contextlib.contextmanager
def kept(folder: Path, is_new: bool, command_to_resume: str) -> Iterator[Checkpoints]:
    """The run's checkpoints; from here on files are written. A run that breaks off before its first leaves none behind.

    Args:
        folder: of the run.
        is_new: nothing is resumed.
        command_to_resume: what Ctrl-C says, if there is a checkpoint to go on from.
    Raises:
        ImageError: with the remedy, where a training image cannot be read: raw folders are read while training.
    """
    checkpoints = folder / "checkpoints"
    try:
        with Checkpoints(checkpoints) as opened:
            try:
                yield opened
            except KeyboardInterrupt:
                if (step := opened.latest_step()) is None:
                    raise
                raise KeyboardInterrupt(f"Step {step:,} is kept; go on with: {command_to_resume}") from None
    except BaseException as error:
        has_taken = checkpoints.is_dir() and any(entry.name.isdigit() for entry in checkpoints.iterdir())
        if is_new and not has_taken and jax.process_index() == 0:
            for entry in outputs.contents(folder):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not isinstance(error, ImageError):
            raise
        remedy = "python -m experiments.prepare puts such files in quarantine; train on what it writes."
        raise ImageError(f"{error} {remedy}") from error


def restore(
    checkpoints: Checkpoints, folder: Path, state: TrainState, config: Course, classes: int = 0
) -> tuple[TrainState, dict[str, Any]] | None:
    """The newest checkpoint's state and place in the data; None where the run ended before its first.

    Args:
        checkpoints, folder: of the run.
        state: before the first step.
        config: of the run that resumes.
        classes: people of the training set; 0 without class centres.
    Raises:
        CheckpointError: as `Checkpoints.restore`, or the run has done more steps than are asked for.
        DataError: a log of the run is damaged.
    """
    check_logs(folder)
    if checkpoints.latest_step() is None:
        return None
    restored, place = checkpoints.restore(state, config, classes)
    done, asked = int(restored.step), config.train.steps
    if done > asked:
        raise CheckpointError(
            f"{folder}: is at step {done:,} already, and train.steps = {asked:,} lies before; ask for more, or start "
            "in another folder."
        )
    return restored, place
