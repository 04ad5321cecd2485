"""Figures of searches: rates over ranks, and over the share of false accepts.

Not here: pairs of images (`plots.py`), the numbers (`identification.py`, `ijb.py`, `megaface.py`).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from faces.evaluate.plain_text import plain
from faces.evaluate.plots import COLOURS, MUTED, save_figure, style

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By the name of the legend: x, ascending, and y, a share of 1."""


def plot_ranks(curves: Mapping[str, np.ndarray], path: Path, title: str) -> None:
    """Cumulative match characteristics, from rank 1.

    Args:
        curves: share of probes within the first 1, 2 ... ranks, by the name of the legend.
        path: the PNG to write.
        title: what was evaluated.
    """
    drawn = {name: (1 + np.arange(len(share)), np.asarray(share)) for name, share in curves.items()}
    _plot(drawn, path, title, "rank", "probes whose mate is within it", logarithmic=False, at=None)


def plot_rates(curves: Curves, path: Path, title: str, x_label: str, y_label: str, at: float) -> None:
    """Rates over the share of false accepts, on a logarithmic axis.

    Args:
        curves: by the name of the legend; points at 0 are left out.
        path: the PNG to write.
        title, x_label, y_label: words.
        at: the rate at which the number is taken, drawn as a line.
    """
    _plot(curves, path, title, x_label, y_label, logarithmic=True, at=at)


def _plot(
    curves: Curves, path: Path, title: str, x_label: str, y_label: str, logarithmic: bool, at: float | None
) -> None:
    with style():
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        figure.suptitle(plain(title), fontsize=12.5, fontweight="bold")
        axes = figure.add_subplot()
        for number, (name, (x, y)) in enumerate(curves.items()):
            shown = x > 0
            marker = "o" if shown.sum() <= 20 else ""
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(x[shown], y[shown], color=colour, label=plain(name), marker=marker, markersize=4)
        if at:
            axes.axvline(at, color=MUTED, linewidth=1, linestyle=":", zorder=1)
        axes.set(xlabel=x_label, ylabel=y_label)
        if logarithmic:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(top=min(1.005, axes.get_ylim()[1]))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(fontsize=9)
        save_figure(figure, path)
