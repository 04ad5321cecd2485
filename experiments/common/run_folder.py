"""The folder of a training run: claimed before the work, by one command at a time.

Not here: what a run writes there (`faces.run_record`, `faces.checkpoint`).
"""

import argparse
import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from faces import outputs
from faces.checkpoint_folder import steps_in
from faces.errors import CheckpointError, ConfigError, DataStalled, OutOfMemory, OutputError
from faces.event_file import FOLDER as EVENTS
from faces.lost_report import FOLDER as OF_LOST
from faces.refused import writing
from faces.run_record import LOGS, NOT_FINITE, OF_START


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
    check = _check_run if options.resume else _check_free
    check(options.out)
    stack.enter_context(outputs.locked(options.out))
    check(options.out)
    return options.out


_OF_A_RUN = {*OF_START, *LOGS, NOT_FINITE, OF_LOST, EVENTS, "checkpoints", "p", "r", "o"}


def _check_run(folder: Path) -> None:
    """Refuse to resume where no run is; one may have ended before it has written anything."""
    if not folder.is_dir() or not ((folder / "config.toml").is_file() or _holds_nothing_else(folder)):
        raise CheckpointError(f"{folder}: no run to resume; start it without --resume.")


def _check_free(folder: Path) -> None:
    way = "add --resume to continue it"
    if folder.is_dir() and outputs.contents(folder) and _holds_nothing_else(folder):
        raise OutputError(f"{folder}: holds results already; {way}, or name another folder.")
    outputs.check_free(folder, other_way=way)


def _holds_nothing_else(folder: Path) -> bool:
    """Whether all that lies in a folder is what a run writes there, however early it has ended; a hidden file is what
    it had not yet given its name."""
    with writing(folder):
        return all(entry.name in _OF_A_RUN or entry.name.startswith(".") for entry in outputs.contents(folder))


def command_to_resume(main: str, arguments: list[str], folder: Path) -> str:
    """How a run goes on.

    Args:
        main: "facenet", say.
        arguments: that it was given.
        folder: that it was given, or has chosen.
    """
    again = [*arguments, *([] if _is_given("--out", arguments) else ["--out", str(folder)])]
    return _command(main, [*again, *([] if _is_given("--resume", arguments) else ["--resume"])])


@contextlib.contextmanager
def says_how_to_go_on(main: str, arguments: list[str], folder: Path, *, writes: bool = True) -> Iterator[None]:
    """A block of a run: what the disk refuses in it, data that never come, too little memory and a signal that ends it
    are told with the command that goes on.

    Args:
        main, arguments, folder: as for `command_to_resume`.
        writes: this process keeps the steps; another may say so before the last one is there.
    """
    try:
        yield
    except OutOfMemory as error:
        command = _going_on(main, arguments, folder)[1]
        other = "That is another run, in another folder; where there is more memory this one goes on"
        raise OutOfMemory(f"{error} {other} with: {command}") from error
    except (OutputError, DataStalled) as error:
        has_begun, command = _going_on(main, arguments, folder)
        raise type(error)(f"{error} Then {'go on' if has_begun else 'start again'} with: {command}") from error
    except KeyboardInterrupt as interrupt:
        steps = steps_in(folder / "checkpoints")
        kept = f"Step {steps[-1]:,} is kept." if steps and writes else ""
        interrupt.args = (kept, _going_on(main, arguments, folder)[1])
        raise


def how_to_go_on(main: str, arguments: list[str], folder: Path) -> str:
    """The last lines of a process that another one has taken with it: what is kept, and what to do in all of them.

    Args: as `command_to_resume`.
    """
    steps = steps_in(folder / "checkpoints")
    kept = f"Step {steps[-1]:,} is kept. " if steps else ""
    return (f"{kept}Start all processes again, or fewer, with a smaller --processes.\n"
            f"go on with: {_going_on(main, arguments, folder)[1]}")  # fmt: skip


def _going_on(main: str, arguments: list[str], folder: Path) -> tuple[bool, str]:
    """Whether the run has left anything to go on from, and the command that does, or that starts it again."""
    has_begun = folder.is_dir() and bool(outputs.contents(folder))
    return has_begun, command_to_resume(main, arguments, folder) if has_begun else _command(main, arguments)


def _is_given(option: str, arguments: list[str]) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in arguments)


def _command(main: str, arguments: list[str]) -> str:
    return shlex.join(["python", "-m", f"experiments.{main}", *arguments])


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds the run
        folder.rmdir()
