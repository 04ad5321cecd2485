"""Signals that end a command, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEARD = """
import signal
for name in ("SIGTERM", "SIGHUP", "SIGUSR1"):  # these tests may themselves have been started to ignore one
    signal.signal(getattr(signal, name), signal.SIG_DFL)
"""
BEFORE = f"""{HEARD}
import sys, time
sys.argv = ["-m"]
from faces import stopping
stopping.quit_while_importing()
print("importing", flush=True)
time.sleep(60)
"""
COMMAND = f"""{HEARD}
import sys, time
from faces import cli, start
start.choose_routines = start.keep_programs = lambda: None
def main(arguments):
    with cli.interruptible("All is kept.", "python -m this --resume"):
        try:
            print("working", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("keeping", flush=True)
            time.sleep(float(sys.argv[1]))
            raise
cli.run(main)
"""


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that has said its first word."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "FACES_HUGE_PAGES": "0"},
    )
    assert process.stdout is not None and process.stdout.readline()
    return process


@pytest.mark.parametrize(
    ("name", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGUSR1", 75, "stopped by SIGUSR1")]
)
def test_a_signal_while_importing_is_two_lines(name: str, code: int, word: str):
    process = started(BEFORE)
    process.send_signal(getattr(signal, name))
    _, told = process.communicate(timeout=30)
    first, last = told.splitlines()
    assert process.returncode == code and first == f"{word} before anything was begun."
    assert last.startswith("go on with: python ")


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75), ("SIGHUP", 75)])
def test_what_is_begun_is_kept_and_the_last_line_is_the_command(name: str, code: int):
    process = started(COMMAND, "0")
    process.send_signal(getattr(signal, name))
    out, told = process.communicate(timeout=30)
    assert process.returncode == code and out == "keeping\n"
    assert told.splitlines()[-1] == "go on with: python -m this --resume" and "All is kept." in told


def test_a_second_signal_ends_at_once():
    process = started(COMMAND, "50")
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None and process.stdout.readline() == "keeping\n"
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM and time.monotonic() - before < 10
