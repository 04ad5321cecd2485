"""Processes of one run notice when one of them is gone, and end in words.

A collective of JAX waits for all processes and cannot be left. Where one is gone the others would wait for up to a
minute and then end somewhere in C++. So a thread in each keeps the connection over which it has met process 0, says
every few seconds that it is there, and listens. Where process 0 loses one it tells the others which, and every process
ends, with a code of its own and the command that goes on. What an end of this kind leaves is what a kill leaves: the
checkpoints that are finished.

Not here: how they meet (`processes.py`); ends that all have agreed on (`stopping.py`).
"""

import atexit
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from faces import stopping
from faces.errors import FacesError, OutputError
from faces.json_lines import read, tell
from faces.printable import sentence

LOST = 69  # EX_UNAVAILABLE of sysexits.h: something that this process needs is not there
SILENT = 20.0
"""Seconds without a word after which a process counts as gone; Gloo gives up a collective after 30."""
_BEAT = 2.0  # seconds between two words
_NAMING = 3.0  # seconds that an error of JAX waits for the name of the process which is gone
_SAVING = 30.0  # seconds in which a process that was interrupted ends by itself
_LOOK = 0.1  # seconds between two looks at who is done
_HEARD = 1.0  # seconds in which a last word reaches the others, before JAX finds that its sender is gone

_codes = {"exit": 1}


def ended_with(code: int) -> None:
    """Tell the exit code that this process is about to end with; without it, it is that of a traceback."""
    _codes["exit"] = code


class Watch:
    """One process's eye on the others: on all if it is process 0, else on process 0.

    Args:
        process: this one's number.
        there: connections by the numbers of the processes at their other ends.
        silent: seconds without a word after which one counts as gone.
        interrupts: where one is lost, the main thread is interrupted, which can keep what it has done: for work that
            waits for no collective. `lost` then says why.
    """

    def __init__(
        self, process: int, there: Mapping[int, socket.socket], silent: float = SILENT, *, interrupts: bool = False
    ) -> None:
        self._process, self._there, self._silent = process, dict(there), silent
        self._connections = tuple(there.values())
        self._hosts = {number: _address(connection) for number, connection in there.items()}
        self._interrupts, self.lost = interrupts, ""
        self._done = set[int]()  # processes that need no watching any more
        self._has_failed = self._is_closed = False
        self._last_words: Callable[[], str] = lambda: f"go on with: {stopping.command()}"
        for connection in there.values():
            connection.settimeout(self._silent)
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    @contextmanager
    def guarding(self, last_words: Callable[[], str]) -> Iterator[None]:
        """A block in which all processes work together; an error that leaves it here ends it everywhere.

        Args:
            last_words: what is printed last, the command that goes on.
        """
        self._last_words = last_words
        atexit.register(self._leave_at_once)  # so it runs before JAX's own, which waits for the others
        try:
            yield
        except BaseException as error:
            if not getattr(error, "is_agreed", False):
                if not isinstance(error, FacesError | KeyboardInterrupt):
                    time.sleep(_NAMING)  # it may be how JAX finds one gone; then the watch ends this process meanwhile
                self._has_failed = True
                tell(self._there, {"failed": _told(error)})
            else:
                tell(self._there, {"done": True})
            raise
        tell(self._there, {"done": True})

    def wait(self) -> None:
        """Return when the others are done with their block; one that is lost ends this process meanwhile."""
        while not self._hosts.keys() <= self._done:
            time.sleep(_LOOK)

    def close(self) -> None:
        """Watch no longer, and be watched no longer; after the block of `guarding`."""
        self._is_closed = True
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        self._thread.join()
        for connection in self._connections:
            connection.close()

    def _leave_at_once(self) -> None:
        """After a failure, end without JAX, which would wait for the others.

        JAX ends a process, in its own words, soon after process 0 is gone: so that is the last to go.
        """
        if self._has_failed:
            if self._process == 0:
                self._thread.join(2 * _HEARD)  # until the others are gone
            leave_at_once(_codes["exit"])

    def _watch(self) -> None:
        """The thread."""
        heard = dict.fromkeys(self._there, time.monotonic())
        beat = 0.0
        with selectors.DefaultSelector() as selector:
            for number, connection in self._there.items():
                selector.register(connection, selectors.EVENT_READ, number)
            while self._there and not self._is_closed:
                before = time.monotonic()
                if before >= beat:
                    tell(self._there, {"host": socket.gethostname()})
                    beat = before + _BEAT
                spoken = {key.data for key, _ in selector.select(max(0.0, beat - before))}
                now = time.monotonic()
                if now - before > 3 * _BEAT:  # this process has stood still itself
                    heard = dict.fromkeys(heard, now)
                for number, connection in list(self._there.items()):
                    if number in spoken:
                        heard[number] = now
                        if not self._hear(number, read(connection)):
                            selector.unregister(connection)
                            del self._there[number]
                    elif now - heard[number] > self._silent and number not in self._done:
                        self._end(f"{self._name(number)} has not been heard of for {self._silent:g} seconds: its "
                                  "machine or the network stands still.")  # fmt: skip

    def _hear(self, number: int, line: Mapping[str, object]) -> bool:
        """Take in one line; False where the connection has ended, as it may."""
        if not line:
            if number not in self._done:
                self._end(f"{self._name(number)} is gone: it was killed, or its machine has ended.")
            return False
        if isinstance(host := line.get("host"), str):
            self._hosts[number] = host
        if "done" in line:
            self._done.add(number)
        if isinstance(lost := line.get("lost"), str):
            self._done.add(number)  # it is about to end
            self._end(lost)
        if isinstance(failed := line.get("failed"), str):
            self._done.add(number)
            self._end(f"{self._name(number)} has stopped: {failed}", has_time=True)
        return True

    def _end(self, why: str, *, has_time: bool = False) -> None:
        """End this process, and with it the run; not if it is failing by itself, which it says better.

        Args:
            why: a sentence.
            has_time: the process that it speaks of is still there; this one may find the same by itself.
        """
        if self._has_failed or self._is_closed:
            return
        if self._process == 0:
            tell(self._there, {"lost": why})
        if self._process == 0 or has_time:
            time.sleep(_HEARD)
        if self._has_failed:
            return
        if self._interrupts:
            self.lost = sentence(why)
            if stopping.interrupt():
                time.sleep(_SAVING)
        with suppress(OSError):
            os.write(2, f"error: {sentence(why)}\n{self._last_words()}\n".encode())
        leave_at_once(LOST)

    def _name(self, number: int) -> str:
        return f"process {number} on {self._hosts[number]}"


def _address(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0])
    except (OSError, IndexError):
        return "an unknown host"


def _told(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"{stopping.word_of(error)}."
    if not isinstance(error, FacesError):
        return f"{type(error).__name__}: {error}"
    # Mains add the command that goes on, which is another one in each process.
    return str(error.__cause__ if isinstance(error.__cause__, OutputError) else error)


def leave_at_once(code: int) -> None:
    """End this process without waiting for its threads, nor for JAX; what was printed is printed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
