"""How much memory one call takes at its highest, measured in a process of its own.

Resident memory is read from Linux's /proc; elsewhere it stays unknown.

Not here: what is called, and its time.
"""

import math
import multiprocessing
import os
import re
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

_PROCESS = Path("/proc/self")


def peak_memory(make_call: Callable[..., Callable[[], Any]], *arguments: Any, limit: float) -> float | None:
    """MiB that a call adds to its process.

    Args:
        make_call: a function of a module, called with `arguments` in a fresh process. What it does (imports, inputs,
            compilation, a small call that starts the libraries' threads) does not count; the call it returns does.
        limit: GiB that the call may add to its address space; infinity for no limit.
    Returns:
        The highest resident memory during the call minus that before it; None where it cannot be read.
    Raises:
        MemoryError: the call wanted more than `limit`.
    """
    # Blocks of 64 KiB or more are then mapped for the call and given back: no heap left by a compiler serves it unseen.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
            return child.submit(_measure, make_call, arguments, limit).result()
    finally:
        del os.environ["MALLOC_MMAP_THRESHOLD_"]


def _measure(make_call: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...], limit: float) -> float | None:
    call = make_call(*arguments)
    if not (_PROCESS / "clear_refs").exists():
        call()
        return None
    if limit < math.inf:
        allowed = int(_bytes("VmSize") + limit * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    (_PROCESS / "clear_refs").write_text("5")  # the highest mark, VmHWM, starts anew
    before = _bytes("VmRSS")
    try:
        call()
    except RuntimeError as error:  # so PyTorch and XLA say that an allocation failed
        raise MemoryError(f"more than {limit:g} GiB") from error
    return (_bytes("VmHWM") - before) / 2**20


def _bytes(field: str) -> int:
    """A line of /proc/self/status: VmSize (address space), VmRSS (resident), VmHWM (the highest VmRSS so far)."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", (_PROCESS / "status").read_text(), re.MULTILINE)
    assert found is not None, field
    return 1024 * int(found[1])
