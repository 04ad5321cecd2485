"""What a person sees of errors: one sentence and an exit code."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faces import start, stopping
from faces.cli import exit_code, interruptible, run
from faces.errors import DataError


def test_errors_of_ours_become_one_line_and_exit_code_2(capsys):
    message = "pairs.txt, line 3: [bold]" + " word" * 60 + "."

    def main(arguments):
        raise DataError(message + arguments[0])

    assert exit_code(main, ["!"]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: {message}!\n"
    assert captured.out == ""


def test_ctrl_c(capsys):
    def main(arguments):
        raise KeyboardInterrupt

    assert exit_code(main, []) == 130
    first, last = capsys.readouterr().err.splitlines()
    assert first == "interrupted." and last.startswith("go on with: python ")


def test_a_scheduler_is_told_by_the_code_that_the_command_is_to_be_started_again(capsys):
    def main(arguments):
        with interruptible("All of it is kept [/out].", "python -m this --resume"):
            error = stopping.Preempted()
            error.by = signal.SIGTERM
            raise error

    assert exit_code(main, []) == 75
    told = ["stopped by SIGTERM. All of it is kept [/out].", "go on with: python -m this --resume"]
    assert capsys.readouterr().err.splitlines() == told


def test_run_exits_with_the_code_and_passes_the_arguments(monkeypatch):
    seen = []
    monkeypatch.setattr(stopping, "install", lambda: seen.append("signals are heard"))
    monkeypatch.setattr(start, "choose_routines", lambda: seen.append("routines are chosen"))
    monkeypatch.setattr(start, "keep_programs", lambda: seen.append("programs are kept"))
    monkeypatch.setattr(sys, "argv", ["program", "a", "b"])
    with pytest.raises(SystemExit) as exit_info:
        run(seen.extend)
    assert exit_info.value.code == 0
    assert seen == ["signals are heard", "routines are chosen", "programs are kept", "a", "b"]


def test_our_own_defects_keep_their_traceback():
    def main(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_code(main, [])


def test_ctrl_c_tells_what_is_kept(capsys):
    def main(arguments):
        with interruptible("All of it is kept [/out]."), interruptible("inner"):
            raise KeyboardInterrupt

    assert exit_code(main, []) == 130
    assert capsys.readouterr().err.startswith("interrupted. inner\ngo on with: python ")


@pytest.mark.parametrize(
    ("error", "words"),
    [(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b"), "a/b: cannot be written or read (No space left"),
     (PermissionError(errno.EACCES, "Permission denied", "a"), "a: cannot be written or read (Permission denied)"),
     (RuntimeError("UNKNOWN: writing failed: No space left on device"), "a file or the output: cannot be written"),
     (MemoryError("Unable to allocate 8 TiB"), "too little memory (Unable to allocate 8 TiB)")],
)  # fmt: skip
def test_what_a_person_can_mend_is_a_sentence_wherever_it_comes_from(error, words, capsys):
    def main(arguments):
        raise error

    assert exit_code(main, []) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and words in message and message.count("\n") == 1


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "No such file"), ValueError("a defect")])
def test_what_nobody_can_mend_keeps_its_traceback(error):
    def main(arguments):
        raise error

    with pytest.raises(type(error)):
        exit_code(main, [])


def test_a_message_is_one_line_and_commands_no_terminal(capsys):
    def main(arguments):
        raise DataError("a\nb\x1b[31m\udcff\u2028.")

    assert exit_code(main, []) == 2
    assert capsys.readouterr().err == "error: a\\nb\\x1b[31m\\udcff\\u2028.\n"


LINES = """
import sys
from faces import cli, start
from faces.terminal import make_console
start.choose_routines = start.keep_programs = lambda: None
def main(arguments):
    for number in range(100_000):
        {}("line \\udcff ü", number)
cli.run(main)
"""


@pytest.mark.parametrize("command", ["print", "make_console().print"])
def test_who_reads_the_output_may_go(command):
    """As `head` does: no traceback, no complaint of Python's when it ends."""
    code = LINES.format(command)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None and program.stderr is not None
        assert program.stdout.readline() == rb"line \udcff " + "ü 0\n".encode()
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_an_output_that_takes_nothing():
    with Path("/dev/full").open("wb") as full:
        code = LINES.format("print")
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: a file or the output: cannot be written or read (No space left on device)")
    assert done.stderr.count(b"\n") == 1
