"""The folder of a training run: claimed before the work, by one command at a time.

Not here: what a run writes there (`faces.run_record`, `faces.checkpoint`).
"""

import argparse
import contextlib
from functools import partial
from pathlib import Path

from faces import outputs
from faces.errors import CheckpointError, ConfigError


def claim(options: argparse.Namespace, stack: contextlib.ExitStack) -> Path:
    """The run's folder, kept for this command until `stack` closes; never one that holds anything but what is resumed.

    Raises:
        OutputError: the folder is not free, another command is writing there, or the disk refuses.
        CheckpointError: there is no run to resume.
        ConfigError: it is not said which.
    """
    if options.out is None:
        if options.resume:
            raise ConfigError("--resume needs --out, the folder of the run to continue.")
        folder = outputs.numbered(Path("runs") / Path(options.config).stem)
        stack.callback(_remove_if_empty, folder)
        stack.enter_context(outputs.locked(folder))
        return folder
    check = _check_run if options.resume else partial(outputs.check_free, other_way="add --resume to continue it")
    check(options.out)
    stack.enter_context(outputs.locked(options.out))
    check(options.out)
    return options.out


def _check_run(folder: Path) -> None:
    if not (folder / "config.toml").is_file():
        raise CheckpointError(f"{folder}: no run to resume; start it without --resume.")


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds the run
        folder.rmdir()
