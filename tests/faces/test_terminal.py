"""Text from outside is printed as it is, and a bar tells its count on a narrow terminal too."""

import io
import pickle
import subprocess
import sys

import pytest
from rich.table import Table

from faces.errors import DataError, FaceNotFound, FacesError, ImageError, WeightsError
from faces.terminal import make_console, make_progress
from faces.train_loop import NUMBERS


def test_brackets_and_colons_are_text():
    stream = io.StringIO()
    console = make_console(file=stream)
    table = Table("[b]", title="out [/lfw]")
    table.add_row("[red]x[/y] :smile:")
    console.print("out [lfw] [/lfw] :smile:", table)
    for text in ("out [lfw] [/lfw] :smile:", "[b]", "out [/lfw]", "[red]x[/y] :smile:"):
        assert text in stream.getvalue()


def test_codes_that_command_a_terminal_are_shown():
    stream = io.StringIO()
    console = make_console(file=stream, force_terminal=True, color_system=None)
    table = Table("\x1b[2J", title="\x9b31m")
    console.print("a\x1b[31mb\r\x07\tc\nd", table)
    assert "a\\x1b[31mb\\x0d\\x07" in stream.getvalue() and "\nd\n" in stream.getvalue()
    assert "\\x1b[2J" in stream.getvalue() and "\\x9b31m" in stream.getvalue() and "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("more", [(), (NUMBERS,)])
@pytest.mark.parametrize("width", [40, 80])
def test_a_bar_tells_count_and_time_left(width, more):
    stream = io.StringIO()
    console = make_console(file=stream, width=width, force_terminal=True, color_system=None)
    with make_progress(console, *more) as bar:
        name = "faces of a set whose name [/lfw] is longer than the line " * 3
        task = bar.add_task(name, total=13233, numbers="loss 0.1234  active 0.33  1234 images/s " * 3)
        bar.advance(task, 12345)
        bar.refresh()
    (line,) = {line.partition("\x1b[2K")[2] for line in stream.getvalue().split("\n") if "12345" in line}
    assert "12345/13233 " in line and line.endswith(" -:--:--") and ("los" in line) == bool(more)


def test_a_bar_of_a_hostile_name_commands_nothing():
    stream = io.StringIO()
    console = make_console(file=stream, width=120, force_terminal=True, color_system=None)
    with make_progress(console) as bar:
        bar.add_task("a\x1b]0;title\x07\u202eb\nc", total=2)
        bar.refresh()
    shown = stream.getvalue()
    assert "a\\x1b]0;title\\x07\\u202eb\\nc" in shown
    assert "\x1b]" not in shown and "\x07" not in shown and "\u202e" not in shown


def test_errors_are_one_line_that_is_no_longer_than_a_person_reads():
    name = "a\x1b[2J\r\u202e\ud800\nb"
    for error in (DataError(name), ImageError(name), FaceNotFound(name, ["x"])):
        assert str(error) == "a\\x1b[2J\\x0d\\u202e\\ud800\\nb"
    long = str(WeightsError(f"{'x' * 5000}.npz: cut; copy it again."))
    assert len(long) < 2100 and long.startswith("xxx") and long.endswith(" copy it again.") and " ... " in long
    assert str(pickle.loads(pickle.dumps(DataError(name)))) == str(DataError(name))
    assert str(FacesError()) == ""


def test_tracebacks_of_defects_command_nothing():
    program = "import sys; from faces import cli, start; start.choose_routines = start.keep_programs = lambda: None; "
    program += "sys.argv = ['x']\ndef fail(_): raise Exception('a\\x1b[2Jb')\ncli.run(fail)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Exception: a\\x1b[2Jb" in done.stderr and "\x1b" not in done.stderr
