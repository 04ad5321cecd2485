"""Memory that malloc keeps although nobody uses it any more, given back to the system.

Each thread takes from an arena of its own, and glibc gives back only the free end of one. Large arrays that come and go
in many threads, as evaluations and checkpoints bring them, leave holes: some 170 KB an evaluation that never came back,
and 770 MB where 430 are in use (`RESULTS.md`, "Memory over two hours of training").

Not here: huge pages (`start.py`), what a step takes (`step_memory.py`).
"""

import ctypes
import sys
import time

from faces.refused import refusal

EVERY = 60.0
"""Seconds between two times at least: what was given back has to be taken anew, page by page."""

_last = -EVERY


def give_back() -> bool:
    """Have glibc give back all pages that are free, unless that was done within `EVERY` seconds.

    Returns:
        Whether it was done; another system or C library does as it does.
    """
    global _last
    if sys.platform != "linux" or time.monotonic() - _last < EVERY:
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    _last = time.monotonic()
    trim(0)
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the host has no more memory: XLA's is a RuntimeError with a code."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error) and refusal(error) is None
    )
