"""Batches of a loader as a train loop takes them: one ahead, in a thread of its own, so that nothing but the wait for
one waits, and somebody is told whom it waits for.

A disk, or the network that it is at the other end of, may stop answering; a read then never returns, and neither would
the loop. Here the loop asks once a second: it says who reads what (`reading.py`) when its patience is over, hears
signals, and ends at last.

A file that is mapped to memory, as a .rec is, is read within Python's lock: while the system does not answer, no thread
of the process runs, and nothing is said.

Not here: reading and composing batches (`faces.data.batches` and each paper's `Steps`).
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from faces import reading
from faces.errors import DataStalled

PATIENCE = 300.0
"""Seconds without a batch after which that is said, where a config does not."""
TIMES = 6
"""It ends after so many times as long: half an hour, in which most disks are back."""
_TICK = 1.0  # seconds


class Waiting:
    """An iterator over a loader's batches, with its place as of the last batch that was given.

    Args:
        loader: a grain iterator, or what has its `get_state()`.
        patience: seconds; None for PATIENCE, 0: it waits for ever, and says nothing.
        tell: takes a sentence, after each `patience` seconds without a batch.
        check: is called while it waits, and may raise.
    """

    def __init__(
        self,
        loader: Any,
        patience: float | None = None,
        tell: Callable[[str], None] = lambda told: None,
        check: Callable[[], None] = lambda: None,
    ):
        self._loader, self._tell, self._check = loader, tell, check
        self._patience = PATIENCE if patience is None else patience
        self._pool = ThreadPoolExecutor(1, "loader")
        self._place = loader.get_state()
        self._ahead: Future[tuple[Any, Any]] | None = None

    def __iter__(self) -> "Waiting":
        return self

    def __next__(self) -> Any:
        """The next batch.

        Raises:
            StopIteration: there is none; what the loader raises; what `check` does, after which the same batch is next.
            DataStalled: it has not come, with who reads what.
        """
        ahead = self._ahead = self._ahead or self._pool.submit(_fetch, self._loader)
        if not ahead.done():
            self._wait(ahead)
        self._ahead = None
        batch, self._place = ahead.result()
        self._ahead = self._pool.submit(_fetch, self._loader)
        return batch

    def get_state(self) -> Any:
        """The loader's place behind the last batch that was given."""
        return self._place

    def close(self) -> None:
        """Fetch no more; a batch that is being fetched is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wait(self, ahead: "Future[tuple[Any, Any]]") -> None:
        began, told = time.monotonic(), 0
        tick = min(_TICK, self._patience) or _TICK
        while not wait([ahead], timeout=tick).done:
            self._check()
            seconds = time.monotonic() - began
            times = int(seconds / self._patience) if self._patience else 0
            if times <= told:
                continue
            told = times
            stalled = f"no batch has come for {seconds:,.0f} seconds. {reading.said()}"
            if times >= TIMES:
                raise DataStalled(f"{stalled} Look at the disk, or the network, that it is read from.")
            last = TIMES * self._patience
            self._tell(f"{stalled} The run ends after {last:,.0f} seconds without one (train.patience).")


def _fetch(loader: Any) -> tuple[Any, Any]:
    return next(loader), loader.get_state()
