"""Error by factor as a table, as CSV, as a dictionary and as a figure.

Not here: the numbers (`factors.py`).
"""

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich import box
from rich.table import Table
from rich.text import Text

from faces.evaluate.factors import FEW, ByFactor, Group, Rate
from faces.evaluate.plain_text import plain
from faces.evaluate.plots import BLUE, MUTED, ORANGE, save_figure, style
from faces.evaluate.verification import few_names
from faces.printable import on_one_line

RATES = ("accuracy", "false_accepts", "false_rejects")
COLUMNS = (
    *("factor", "group", "least", "greatest", "pairs", "same", "different"),
    *(f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high")),
    "few",
)
MOST_DRAWN = 12
"""CHOICE: groups of a factor in a figure, those of most pairs; the table and the CSV have all."""


def factor_table(by: ByFactor, title: str) -> Table:
    """One row a group; rates of fewer than `FEW` pairs are marked.

    Args:
        by: the rates.
        title: what was evaluated.
    """
    table = Table(
        title=Text(on_one_line(f"{title} by {by.factor.name}")),
        title_justify="left",
        caption=Text(on_one_line(caption(by))),
        caption_justify="left",
        box=box.HORIZONTALS,
        padding=(0, 1, 0, 0),
    )
    table.add_column(Text(on_one_line(by.factor.name)))
    headings = ("pairs", "accuracy\n%, 95% interval", "false accepts\n% of different", "false rejects\n% of same")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for group in by.groups:
        rates = (group.correct, group.false_accepts, group.false_rejects)
        table.add_row(Text(on_one_line(group.name)), f"{group.correct.of:,}", *map(_cell, rates))
    return table


def caption(by: ByFactor) -> str:
    """What the numbers are, and what is in none of them."""
    parts = [f"{by.factor.name}: {by.factor.text}"]
    if any(rate.is_few for group in by.groups for rate in (group.false_accepts, group.false_rejects)):
        parts.append(f"* of fewer than {FEW} pairs, which say little")
    if by.unmeasured:
        images = f"{len(by.unmeasured):,} image{'s' if len(by.unmeasured) > 1 else ''}"
        named = few_names(by.unmeasured)
        parts.append(f"{by.pairs_left_out:,} pairs are in no group: no measure of {images} ({named})")
    return "; ".join(parts)


def factors_csv(factors: Sequence[ByFactor]) -> str:
    """All groups of all factors, with `COLUMNS`; cells of what is none are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for by in factors:
        for row in (group_dict(group) for group in by.groups):
            cells = {"factor": by.factor.name} | row
            writer.writerow("" if cells[column] is None else cells[column] for column in COLUMNS)
    return text.getvalue()


def factor_dict(by: ByFactor) -> dict[str, Any]:
    """What `result.json` holds of a factor."""
    return {
        "what": by.factor.text,
        "pairs_left_out": by.pairs_left_out,
        "images_without_measure": len(by.unmeasured),
        "groups": [group_dict(group) for group in by.groups],
    }


def group_dict(group: Group) -> dict[str, Any]:
    """A group's numbers by `COLUMNS`, fractions; None of none."""
    least, greatest = group.ends or (None, None)
    numbers: dict[str, Any] = {"group": group.name, "least": least, "greatest": greatest, "pairs": group.correct.of}
    numbers |= {"same": group.false_rejects.of, "different": group.false_accepts.of}
    for name, rate in zip(RATES, (group.correct, group.false_accepts, group.false_rejects), strict=True):
        share, (low, high) = (None if math.isnan(rate.share) else rate.share), rate.interval
        numbers |= {name: share, f"{name}_low": low, f"{name}_high": high}
    return numbers | {"few": group.false_accepts.is_few or group.false_rejects.is_few}


def plot_factors(factors: Sequence[ByFactor], path: Path, title: str) -> None:
    """False rejects and false accepts of each group with their intervals, a panel for each factor.

    Args:
        factors: one or more.
        path: the PNG to write.
        title: what was evaluated.
    """
    columns = min(3, len(factors))
    rows = -(-len(factors) // columns)
    with style():
        figure = Figure(figsize=(4.4 * columns, 3.5 * rows + 0.7), layout="constrained")
        figure.suptitle(plain(title), fontsize=12.5, fontweight="bold")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, by in zip(grid.flat, factors, strict=False):
            _draw(axes, by)
        for axes in list(grid.flat)[len(factors) :]:
            axes.set_axis_off()
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize=9, ncols=3)
        save_figure(figure, path)


def _draw(axes: Axes, by: ByFactor) -> None:
    groups = by.groups
    if len(groups) > MOST_DRAWN:
        most = sorted(groups, key=lambda group: -group.correct.of)[:MOST_DRAWN]
        groups = tuple(group for group in groups if group in most)
    for shift, colour, name in ((-0.12, BLUE, "false_rejects"), (0.12, ORANGE, "false_accepts")):
        rates: list[Rate] = [getattr(group, name) for group in groups]
        label = {"false_rejects": "false rejects, of pairs of one person",
                 "false_accepts": "false accepts, of pairs of two"}[name]  # fmt: skip
        for place, rate in enumerate(rates):
            if rate.of:
                low, high = rate.interval
                axes.vlines(place + shift, low, high, color=colour, linewidth=1.6, alpha=0.35 if rate.is_few else 1)
        shown = [(place + shift, rate.share) for place, rate in enumerate(rates) if rate.of]
        axes.plot(*zip(*shown, strict=True) if shown else ([], []), "o", color=colour, markersize=5, label=label)
        hollow = [(place + shift, rate.share) for place, rate in enumerate(rates) if rate.of and rate.is_few]
        axes.plot(*zip(*hollow, strict=True) if hollow else ([], []), "o", color="white", markersize=3)
    axes.plot([], [], "o", color=MUTED, markerfacecolor="white", label=f"of fewer than {FEW} pairs")
    names = [f"{plain(_short(group.name))}\nn = {group.correct.of:,}" for group in groups]
    axes.set_xticks(range(len(groups)), names, fontsize=7.5, rotation=0 if len(groups) <= 5 else 45)
    axes.set_xlabel(textwrap.fill(plain(by.factor.text), 60), fontsize=7.5)
    axes.set_xlim(-0.6, max(len(groups), 1) - 0.4)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(plain(by.factor.name.replace("_", " ")), fontsize=10)


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:20]}..."


def _cell(rate: Rate) -> str:
    if not rate.of:
        return "none"
    low, high = rate.interval
    return f"{'*' if rate.is_few else ''}{100 * rate.share:.2f} ({100 * low:.1f}-{100 * high:.1f})"
