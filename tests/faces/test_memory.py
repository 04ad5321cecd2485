"""Memory that is free goes back to the system, now and then."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from pathlib import Path
from faces import memory

def resident():
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

before = resident()
pieces = [bytes(100_000) for _ in range(600)]  # each too small to be mapped by itself
kept = pieces[-1]
del pieces  # below the last one all is free, and malloc keeps it
held = resident()
assert memory.give_back() and not memory.give_back()
print(held - before, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is asked")
def test_what_nobody_uses_is_given_back_once_a_minute():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True
    )
    held, left = map(int, done.stdout.split())
    assert held > 40e6 and left < 20e6
