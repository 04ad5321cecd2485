"""What a training run keeps on the way: its checkpoints, what is left of it when it breaks off, and going on.

Not here: the checkpoints' format (`faces.checkpoint`), who may write to the folder (`run_folder.py`).
"""

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from faces import outputs
from faces.checkpoint import Checkpoints
from faces.checkpoint_folder import steps_in
from faces.checkpoint_match import check_same, to_json
from faces.data.fingerprint import Fingerprint
from faces.errors import CheckpointError
from faces.keep import Keep
from faces.run_record import LOGS, OF_START, check_logs, check_training_set, read_log
from faces.schema import flatten
from faces.toml_config import read_toml
from faces.train_loop import Course
from faces.train_state import TrainState

CHECKPOINTS = "checkpoints"
"""Within a run's folder."""


@contextlib.contextmanager
def kept(folder: Path, is_new: bool, keep: Keep | None = None) -> Iterator[Checkpoints]:
    """The run's checkpoints; from here on files are written. A run that breaks off before its first leaves none behind.

    Args:
        folder: of the run.
        is_new: nothing is resumed.
        keep: which checkpoints stay.
    """
    checkpoints, keep = folder / CHECKPOINTS, keep or Keep()
    try:
        with Checkpoints(checkpoints, keep, lambda: scores(folder, keep)) as opened:
            yield opened
    except BaseException:
        if is_new and not steps_in(checkpoints) and jax.process_index() == 0:
            for entry in outputs.contents(folder):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        raise


def scores(folder: Path, keep: Keep) -> dict[int, float]:
    """By step, what the best checkpoint of a run is chosen by."""
    rows = read_log(folder / LOGS[1]) if keep.best else []
    return {row["step"]: float(row.get(keep.score, math.nan)) for row in rows}


def check_faces(folder: Path, training_set: Fingerprint, console: Console) -> None:
    """Refuse to resume on another training set; a run that ended before it was recorded may have had any.

    Raises:
        CheckpointError, DataError: as `check_training_set`.
    """
    if not _is_begun(folder):
        return
    if remark := check_training_set(folder, training_set):
        console.print(remark)


def restore(
    checkpoints: Checkpoints, folder: Path, state: TrainState, config: Course, classes: int = 0
) -> tuple[TrainState, dict[str, Any]] | None:
    """The newest sound checkpoint's state and place in the data; None where the run ended before its first.

    Args:
        checkpoints, folder: of the run.
        state: before the first step.
        config: of the run that resumes.
        classes: people of the training set; 0 without class centres.
    Raises:
        CheckpointError: as `Checkpoints.restore`, or the run has done more steps than are asked for, or began with
            another config.
        ConfigError, DataError: a record of the run is damaged.
    """
    check_logs(folder)
    if checkpoints.latest_step() is None:
        if (began := folder / "config.toml").is_file():
            check_same(flatten(config.of_earlier(read_toml(began))), to_json(config), folder)
        return None
    restored, place = checkpoints.restore(state, config, classes)
    done, asked = int(restored.step), config.train.steps
    if done > asked:
        raise CheckpointError(
            f"{folder}: is at step {done:,} already, and train.steps = {asked:,} lies before; ask for more, or start "
            "in another folder."
        )
    return restored, place


def _is_begun(folder: Path) -> bool:
    """Whether a run's folder holds more than what is there before anything is recorded."""
    return bool(steps_in(folder / CHECKPOINTS)) or any((folder / name).exists() for name in OF_START)
