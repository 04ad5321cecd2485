"""What a person sees of errors: one sentence and an exit code."""

import sys

import pytest

from faces import start
from faces.cli import exit_code, run
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
    assert capsys.readouterr().err == "interrupted.\n"


def test_run_exits_with_the_code_and_passes_the_arguments(monkeypatch):
    seen = []
    monkeypatch.setattr(start, "keep_programs", lambda: seen.append("programs are kept"))
    monkeypatch.setattr(sys, "argv", ["program", "a", "b"])
    with pytest.raises(SystemExit) as exit_info:
        run(seen.extend)
    assert exit_info.value.code == 0
    assert seen == ["programs are kept", "a", "b"]


def test_our_own_defects_keep_their_traceback():
    def main(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_code(main, [])
