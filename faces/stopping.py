"""Signals that ask a command to end: what is begun is kept, and the exit code tells a scheduler to start it again.

Ctrl-C is SIGINT. Schedulers send SIGTERM before they take a machine away, SLURM's `--signal` mostly SIGUSR1, and a
closed terminal SIGHUP. Each becomes `KeyboardInterrupt`, or `Preempted` which is one, where the command stands; a train
loop puts it off to the end of the step (`Late`). A second signal ends the process at once. A signal that the process
was started to ignore, as `nohup` does, stays ignored.

Where several processes train together, all must stop after the same step: the signal goes on to JAX's service for
preemptions, which agrees on it with the others, and which TPU machines also tell of their maintenance.

Not here: sentences and exit codes (`cli.py`). JAX is not imported with this module, which is among the first to run.
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: it did not fail, and is to be tried again
INTERRUPTED = 130  # 128 + SIGINT, as shells count
ASKING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
"""Signals with which others than the person at the keyboard ask for an end."""


class Preempted(KeyboardInterrupt):
    """A scheduler, not the person at the keyboard, wants the command to end.

    Attributes:
        by: its signal; None where several processes stop together, and this one has had none or JAX has taken it.
    """

    by: int | None = None


def word_of(interrupt: KeyboardInterrupt) -> str:
    """How a command was ended, such as "stopped by SIGTERM"."""
    if not isinstance(interrupt, Preempted):
        return "interrupted"
    if interrupt.by is None:
        return "stopped with all processes of the run, one of which was asked to"
    return f"stopped by {signal.Signals(interrupt.by).name}"


def install() -> None:
    """From now on `ASKING` raise `Preempted` in the main thread, and Ctrl-C `KeyboardInterrupt`, each once."""
    for number in (signal.SIGINT, *ASKING):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def quit_while_importing() -> None:
    """Until `install`, a signal ends the process with two lines in place of a traceback: nothing has begun.

    To be called from the `__init__.py` of a package of mains; at any other import of the package it does nothing.
    """
    if sys.argv[:1] != ["-m"]:  # so it is while Python looks for the module
        return
    for number in (signal.SIGINT, *ASKING):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _quit)


def interrupt() -> bool:
    """Have `KeyboardInterrupt` raised in the main thread, by another one; False where no signal would."""
    for number in (signal.SIGINT, *ASKING):
        if callable(signal.getsignal(number)):
            os.kill(os.getpid(), number)
            return True
    return False


def command() -> str:
    """This process's command line, as one may type it again."""
    arguments = sys.orig_argv[1:] if "-m" in sys.orig_argv else sys.argv
    return shlex.join(["python", *arguments])


class Late:
    """Signals of a train loop, acted on between two steps: within one, the state is half donated."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._is_at_once = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler. A second signal is not put off."""
        for other in (signal.SIGINT, *ASKING):
            if signal.getsignal(other) == self.note:
                signal.signal(other, _raise_again if other == signal.SIGINT else signal.SIG_DFL)
        self._received = number
        if self._is_at_once:
            raise _error(number)
        if _processes() > 1:
            os.kill(os.getpid(), signal.SIGTERM)  # JAX's service listens to this one

    def check(self, step: int) -> None:
        """End the loop before step `step`, which all processes ask for alike, if one of them is to stop.

        Raises:
            KeyboardInterrupt: after Ctrl-C, in the process that had it.
            Preempted: after another signal, or where another process had it.
        """
        if _processes() > 1:
            from jax.experimental import multihost_utils

            if not multihost_utils.reached_preemption_sync_point(step):
                return
            error = _error(self._received)
            error.is_agreed = True  # pyright: ignore[reportAttributeAccessIssue]
            raise error
        if self._received is not None:
            raise _error(self._received)

    def check_waiting(self) -> None:
        """End the loop while it waits for a batch. Not where there are several processes, which do not wait alike.

        Raises:
            KeyboardInterrupt, Preempted: as `check`.
        """
        if self._received is not None and _processes() == 1:
            raise _error(self._received)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that may be left anywhere, such as an evaluation after the state was kept."""
        if self._received is not None and _processes() == 1:
            raise _error(self._received)
        self._is_at_once = _processes() == 1
        try:
            yield
        finally:
            self._is_at_once = False


@contextmanager
def late() -> Iterator[Late]:
    """A block in which signals are noted; in a thread that is not the main one, which gets none, nothing is."""
    noted, before = Late(), dict[int, Any]()
    if threading.current_thread() is threading.main_thread():
        # JAX's service has taken SIGTERM for itself where there are several processes.
        for number in (signal.SIGINT, *(one for one in ASKING if _processes() == 1 or one != signal.SIGTERM)):
            if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, noted.note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _processes() -> int:
    """That make this run; 1 where JAX has not been told of others."""
    if "jax" not in sys.modules:
        return 1
    import jax

    return jax.process_count() if jax.distributed.is_initialized() else 1


def _error(number: int | None) -> KeyboardInterrupt:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    error = Preempted()
    error.by = number
    return error


def _raise(number: int, frame: FrameType | None) -> None:
    for other in ASKING:
        if signal.getsignal(other) is _raise:
            signal.signal(other, signal.SIG_DFL)
    signal.signal(signal.SIGINT, _raise_again)
    raise _error(number)


def _raise_again(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _quit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{word_of(_error(number))} before anything was begun.\ngo on with: {command()}\n".encode())
    os._exit(INTERRUPTED if number == signal.SIGINT else PREEMPTED)
