"""What commands print with: a console to which text is text, and the bar of long work.

Names of files, people and configs come from outside, and rich would take "[/lfw]" in them for an instruction of its
own; here nothing is markup, and nothing is coloured by guess.

Not here: what is printed.
"""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column


def make_console(**settings: Any) -> Console:
    """A console that prints every text as it is, on lines as long as they are; `settings` are rich's."""
    return Console(soft_wrap=True, highlight=False, markup=False, emoji=False, **settings)


def make_progress(console: Console, *more: ProgressColumn) -> Progress:
    """The bar of long work: what is done, how far it is and how long it takes still; on a terminal alone.

    Count and time are never cut: on a narrow terminal the description is, and the bar shrinks.

    Args:
        console: where.
        more: columns between the count and the time left.
    """
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=3)),
        BarColumn(bar_width=None, table_column=Column(ratio=2)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        *more,
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        expand=True,
        disable=not console.is_terminal,
    )
