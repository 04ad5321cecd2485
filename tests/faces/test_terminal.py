"""Text from outside is printed as it is, and a bar tells its count on a narrow terminal too."""

import io

import pytest
from rich.table import Table

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
