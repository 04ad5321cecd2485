"""Memory that is free goes back to the system, now and then."""

import sys
from pathlib import Path

import pytest

from faces import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is asked")


def resident() -> int:
    """Bytes of this process that are in memory."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_what_nobody_uses_is_given_back_once_a_minute(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_last", -memory.EVERY)
    before = resident()
    pieces = [bytes(100_000) for _ in range(600)]  # each too small to be mapped by itself
    kept = pieces[-1]
    del pieces  # below the last one all is free, and malloc keeps it
    held = resident()
    assert memory.give_back() and not memory.give_back()
    assert held - before > 40e6 and resident() - before < 20e6 and len(kept) == 100_000
