"""What commands print with: a console to which text is text, and the bar of long work.

Names of files, people and configs come from outside. Rich would take "[/lfw]" in them for an instruction of its own,
and the terminal an escape code: here nothing is markup, what cannot be printed is escaped, and nothing is coloured by
guess.

Not here: the escapes (`printable.py`), what is printed.
"""

import errno
import os
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from faces.printable import escaped, on_one_line


class _Console(Console):
    def render_str(self, text: str, **settings: Any) -> Text:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().render_str(escaped(text), **settings)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))  # rich would end the program with its own code


class _Description(TextColumn):
    def render(self, task: Task) -> Text:
        return Text(on_one_line(task.description))


def make_console(**settings: Any) -> Console:
    """A console that prints every text as it is, on lines as long as they are; `settings` are rich's."""
    return _Console(soft_wrap=True, highlight=False, markup=False, emoji=False, **settings)


def warn(told: str) -> None:
    """Print a sentence that a command goes on after, on standard error."""
    make_console(stderr=True).print(f"warning: {told}")


def make_progress(console: Console, *more: ProgressColumn) -> Progress:
    """The bar of long work: what is done, how far it is and how long it takes still; on a terminal alone.

    Count and time are never cut: on a narrow terminal the description is, and the bar shrinks.

    Args:
        console: where.
        more: columns between the count and the time left.
    """
    return Progress(
        _Description("", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=3)),
        BarColumn(bar_width=None, table_column=Column(ratio=2)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        *more,
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        expand=True,
        disable=not console.is_terminal,
    )
