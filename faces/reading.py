"""Who of the threads that read a loader's batches reads what, and since when: to be asked when none of them comes.

A reader says what it turns to, which costs it less than a microsecond; nothing is put into words before somebody asks.

    with reading.batch(step):                        # in the loader, in whichever thread it is
        reading.note("image", index, "of", name)     # for each image
        reading.note_file(path)                      # by whoever opens a file or fetches a record, at any depth

Elsewhere than in a batch, notes go nowhere.

Not here: waiting for batches (`waiting.py`).
"""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from faces.printable import on_one_line

_SHOWN = 3
"""Readers named in a sentence; the one that has read longest is what the others wait for, if they do."""
_NUMBER = re.compile(r"_(\d+)$")  # at the end of a pool's thread's name


@dataclass
class _Reader:
    name: str
    step: int
    what: tuple[object, ...]
    file: tuple[object, ...]
    since: float


_readers: dict[int, _Reader] = {}
"""By thread; each writes its own alone."""


@contextlib.contextmanager
def batch(step: int) -> Iterator[None]:
    """A block in which this thread makes the batch of a step.

    Args:
        step: from 1, as logs count.
    """
    thread = threading.get_ident()
    _readers[thread] = _Reader(_name(), step, (), (), time.monotonic())
    try:
        yield
    finally:
        del _readers[thread]


def note(*what: object) -> None:
    """This thread begins with something; the words are joined when somebody asks."""
    if (reader := _readers.get(threading.get_ident())) is not None:
        reader.what, reader.file, reader.since = what, (), time.monotonic()


def note_file(*what: object) -> None:
    """For what it has begun with it reads this file, or this record of one."""
    if (reader := _readers.get(threading.get_ident())) is not None:
        reader.file, reader.since = what, time.monotonic()


def said() -> str:
    """What each reader is at, the one that has been longest first, as a sentence."""
    now, readers = time.monotonic(), sorted(_readers.copy().values(), key=lambda reader: reader.since)
    if not readers:
        return "No worker reads anything."
    told = "; ".join(_said(reader, now) for reader in readers[:_SHOWN])
    more = len(readers) - _SHOWN
    return f"{told}{f'; and {more} more' if more > 0 else ''}."


def is_stuck(seconds: float = 5.0) -> bool:
    """Whether a reader has been at the same image for so long: a thread that Python would wait for at its end."""
    return any(time.monotonic() - reader.since > seconds for reader in _readers.copy().values())


def _said(reader: _Reader, now: float) -> str:
    at = " ".join(map(str, (*reader.what, *(("from", *reader.file) if reader.file else ()))))
    seconds = f"{now - reader.since:,.0f} seconds"
    return on_one_line(f"{reader.name} has been reading {at or 'nothing yet'} for {seconds}, for step {reader.step:,}")


def _name() -> str:
    """How this thread is called: by its number in a pool, from 1."""
    name = threading.current_thread().name
    found = _NUMBER.search(name)
    return f"worker {int(found[1]) + 1}" if found else name
