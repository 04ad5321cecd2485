"""Figures of an evaluation and of a training run, as PNG files: ROC, DET, distances, training curves, hardest pairs.

Every function draws one figure with matplotlib's object interface (no global state, no display) and writes it under a
temporary name first, so an interrupted run leaves no half-written figure. Colours are those of Okabe and Ito, which
stay apart for colour-blind readers. Where faces are generated, the title says so.

Not here: the numbers (metrics.py, verification.py) and tables (report.py).
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from faces.evaluate import metrics
from faces.evaluate.plain_text import FONT, plain
from faces.evaluate.verification import VerificationResult, cosine_of, hardest_errors
from faces.outputs import replacing

Columns = Mapping[str, Sequence[float | int] | np.ndarray]

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
INK, MUTED = "#222222", "#767676"
STYLE: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}

# Panels of `plot_training`: title, unit of the y axis, and what is drawn in it (key of the log, label, colour).
TRAINING_PANELS = (
    ("Loss", "loss", (("loss", "loss", BLUE),)),
    ("Angle to the own class's centre", "degrees", (("theta", "theta", GREEN),)),
    ("Active triplets", "fraction", (("active", "active", GREEN),)),
    (
        "Distances in the batch",
        "squared L2",
        (("d_ap", "anchor to positive", BLUE), ("d_an", "anchor to negative", VERMILION)),
    ),
    ("Spread of the embeddings", "mean squared distance to the mean", (("spread", "spread", PURPLE),)),
)


def plot_roc(results: Mapping[str, VerificationResult], path: Path, title: str, generated: bool = False) -> None:
    """ROC on a logarithmic FAR axis; a dot marks VAL at the FAR aimed at, on all pairs.

    Args:
        results: an evaluation for each name of the legend, drawn in this order.
        path: the PNG to write.
        title: what was evaluated.
        generated: say in the title that the faces are generated.
    """
    with style():
        figure, axes = _figure(6.4, 4.8, title, generated)
        targets = {result.far_target for result in results.values()}
        one_accept = {1 / result.roc.different_pairs for result in results.values()}
        lowest = min(one_accept | {far for far in targets if far > 0})
        shown = np.geomspace(lowest, 1.0, 200)  # (200,)
        axes.plot(shown, shown, color=MUTED, linewidth=1, linestyle="--", label="chance")
        for (name, result), colour in zip(results.items(), _cycle(len(results)), strict=True):
            roc = result.roc
            label = f"{name}  (AUC {result.auc:.3f}, EER {result.eer:.1%})"
            # A log axis has no zero: the curve enters at the left edge with the VAL it has without a false accept.
            axes.plot(np.maximum(roc.far, lowest), roc.val, color=colour, label=plain(label))
            point = metrics.val_at_far(roc, result.far_target)
            axes.plot(max(result.far_target, lowest), point.val, "o", color=colour, clip_on=False, zorder=3)
        label = "VAL on all pairs together (tables: mean of the folds, thresholds of the others)"
        axes.plot([], [], "o", color=MUTED, label=label)
        for far in targets:
            axes.axvline(max(far, lowest), color=MUTED, linewidth=1, linestyle=":", zorder=1)
        axes.set(xscale="log", xlim=(lowest, 1.0), ylim=(0.0, 1.02))
        axes.set(xlabel="false accept rate (FAR)", ylabel="validation rate (VAL)")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=9)
        save_figure(figure, path)


def plot_det(results: Mapping[str, VerificationResult], path: Path, title: str, generated: bool = False) -> None:
    """Detection error trade-off: false rejects over false accepts, on axes that make normal scores a straight line.

    Rates of zero cannot be drawn: the curve ends at its last false accept and its last false reject.

    Args: as `plot_roc`.
    """
    with style():
        figure, axes = _figure(6.4, 5.6, title, generated)
        quantile = np.vectorize(NormalDist().inv_cdf, otypes=[float])
        pairs = max(result.pairs for result in results.values())
        low, high = 1 / pairs, 0.5
        for (name, result), colour in zip(results.items(), _cycle(len(results)), strict=True):
            far, reject = result.roc.far, 1 - result.roc.val
            drawn = (far > 0) & (reject > 0) & (far < 1) & (reject < 1)
            label = f"{name}  (EER {result.eer:.2%})"
            axes.plot(quantile(far[drawn]), quantile(reject[drawn]), color=colour, label=plain(label))
        ticks = [rate for rate in (1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.4) if low <= rate <= high]
        places, names = quantile(np.array(ticks)), [f"{100 * rate:g}%" for rate in ticks]
        limits = tuple(quantile(np.array([low, high])))
        axes.plot(limits, limits, color=MUTED, linewidth=1, linestyle=":", zorder=1)
        axes.set_xticks(places, names)
        axes.set_yticks(places, names)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set(xlabel="false accept rate", ylabel="false reject rate")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=9)
        save_figure(figure, path)


def plot_distances(result: VerificationResult, path: Path, title: str, generated: bool = False) -> None:
    """Histograms of the cosines of same and of different pairs, with the range of the folds' thresholds.

    The axis above has the same as squared distances.

    Args:
        result: an evaluation.
        path: the PNG to write.
        title: what was evaluated.
        generated: say in the title that the faces are generated.
    """
    with style():
        figure, axes = _figure(6.4, 4.2, title, generated)
        cosine = _cosine(result.distance)  # (pairs,)
        low, high = float(cosine.min()), float(cosine.max())
        edges = np.linspace(low, high if high > low else low + 0.5, 61)
        for is_kind, colour, label in ((result.same, BLUE, "same person"), (~result.same, ORANGE, "different people")):
            label = f"{label} ({int(is_kind.sum()):,} pairs)"
            axes.hist(cosine[is_kind], list(edges), color=colour, alpha=0.55, label=label, edgecolor="none")
        thresholds = [cosine_of(fold.threshold) for fold in result.folds]
        axes.axvspan(min(thresholds), max(thresholds), color=INK, alpha=0.25, linewidth=0)
        label = f"thresholds of the folds: {min(thresholds):.3f} to {max(thresholds):.3f}"
        axes.axvline(float(np.median(thresholds)), color=INK, linewidth=1.2, label=label)
        axes.set(xlabel="cosine", ylabel="pairs", xlim=(edges[0], edges[-1]))
        above = axes.secondary_xaxis("top", functions=(_squared_distance, _cosine))
        above.set_xlabel("squared distance, 2 - 2 cos")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=9, ncols=2)
        save_figure(figure, path)


def plot_training(
    log: Columns,
    path: Path,
    title: str,
    generated: bool = False,
    evaluations: Columns | None = None,
    alpha: float | None = None,
) -> None:
    """Curves of a training run over its steps, and accuracy over time.

    Args:
        log: equally long columns: "step", and any of "loss", "theta", "active", "d_ap", "d_an", "spread".
        path: the PNG to write.
        title: what was trained.
        generated: say in the title that the faces are generated.
        evaluations: equally long columns: "accuracy", "accuracy_se" (fractions), and "minutes" or else "step".
        alpha: the margin, drawn in the panel of the loss: a loss that sits on it has collapsed.
    """
    panels = [
        (heading, unit, [line for line in lines if line[0] in log])
        for heading, unit, lines in TRAINING_PANELS
        if any(line[0] in log for line in lines)
    ]
    count = len(panels) + (1 if evaluations else 0)
    columns = min(count, 3 if count > 4 else 2)
    rows = -(-count // columns)
    with style():
        figure = Figure(figsize=(4.2 * columns, 2.9 * rows + 0.4), layout="constrained")
        _title(figure, title, generated)
        step = np.asarray(log["step"], np.float64)
        for place, (heading, unit, lines) in enumerate(panels, start=1):
            axes = figure.add_subplot(rows, columns, place)
            for key, label, colour in lines:
                _noisy_line(axes, step, np.asarray(log[key], np.float64), label, colour)
            if alpha is not None and heading == "Loss":
                axes.axhline(alpha, color=MUTED, linewidth=1, linestyle=":", label="collapse (loss = margin)")
            axes.set(title=heading, ylabel=unit, xlabel="step")
            axes.set_ylim(0, 1.05 * max(axes.get_ylim()[1], 1e-6))
            if len(axes.get_lines()) > 2:
                axes.legend(fontsize=8)
        if evaluations:
            axes = figure.add_subplot(rows, columns, count)
            key = "minutes" if "minutes" in evaluations else "step"
            error = evaluations["accuracy_se"]
            axes.errorbar(evaluations[key], evaluations["accuracy"], error, color=VERMILION, marker="o", capsize=2.5)
            axes.set(title="Verification accuracy", ylabel="accuracy, ± standard error", xlabel=key)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        save_figure(figure, path)


def plot_hardest(
    result: VerificationResult,
    pictures: Callable[[int], tuple[np.ndarray, np.ndarray]],
    path: Path,
    title: str,
    generated: bool = False,
    captions: Callable[[int], str] | None = None,
    limit: int = 4,
) -> None:
    """A sheet of the worst errors: false rejects with the lowest cosine, false accepts with the highest.

    Args:
        result: an evaluation.
        pictures: the two images, uint8 (height, width, 3) RGB, of a row of the list of pairs.
        path: the PNG to write.
        title: what was evaluated.
        generated: say in the title that the faces are generated.
        captions: a line for a row of the list, such as the names; none, if not given.
        limit: pairs shown of each kind; few, where the faces are those of people.
    """
    rejects, accepts = hardest_errors(result, limit)
    accept = result.distance <= result.threshold
    rejected = _drawn(len(rejects), int(np.sum(result.same & ~accept)), int(np.sum(result.same)))
    accepted = _drawn(len(accepts), int(np.sum(~result.same & accept)), int(np.sum(~result.same)))
    rows = max(len(rejects), len(accepts), 1)
    with style(grid=False):
        figure = Figure(figsize=(8.6, 2.15 * rows + 0.9), layout="constrained")
        _title(figure, title, generated)
        grid = figure.add_gridspec(1, 2, wspace=0.05)
        left, right = figure.add_subfigure(grid[0, 0]), figure.add_subfigure(grid[0, 1])
        kinds = (
            (left, rejects, f"Same person, rejected\n{rejected}", BLUE),
            (right, accepts, f"Different people, accepted\n{accepted}", VERMILION),
        )
        for half, positions, heading, colour in kinds:
            half.suptitle(heading, color=colour, fontsize=11, fontweight="bold")
            if not len(positions):
                half.text(0.5, 0.5, "none", ha="center", va="center", color=MUTED)
            for row, position in enumerate(positions):
                _draw_pair(half, rows, row, result, int(position), pictures, captions)
        save_figure(figure, path)


@contextlib.contextmanager
def style(grid: bool = True) -> Iterator[None]:
    """A block that draws in our style, whatever matplotlib's settings are, by a matplotlibrc of the user too."""
    with rc_context():
        rcdefaults()
        rcParams.update({**STYLE, "axes.grid": grid})
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, facecolor="white")


def _cosine(squared_distance: ArrayLike) -> np.ndarray:
    return 1 - np.asarray(squared_distance) / 2


def _squared_distance(cosine: ArrayLike) -> np.ndarray:
    return 2 - 2 * np.asarray(cosine)


def _figure(width: float, height: float, title: str, generated: bool) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    _title(figure, title, generated)
    return figure, figure.add_subplot()


def _title(figure: Figure, title: str, generated: bool) -> None:
    figure.suptitle(plain(f"{title} · generated faces" if generated else title), fontsize=12.5, fontweight="bold")


def _cycle(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _noisy_line(axes: Axes, step: np.ndarray, values: np.ndarray, label: str, colour: str) -> None:
    """The values, faint, and their running mean over a fortieth of the run."""
    window = max(1, len(values) // 40)
    axes.plot(step, values, color=colour, alpha=0.25 if window > 1 else 1.0, linewidth=1)
    padded = np.pad(values, (window // 2, window - 1 - window // 2), mode="edge")
    axes.plot(step, np.convolve(padded, np.ones(window) / window, mode="valid"), color=colour, label=plain(label))


def _drawn(drawn: int, wrong: int, pairs: int) -> str:
    return f"{wrong:,} of {pairs:,} pairs" + (f", the hardest {drawn} drawn" if drawn < wrong else "")


def _draw_pair(
    half: SubFigure,
    rows: int,
    row: int,
    result: VerificationResult,
    position: int,
    pictures: Callable[[int], tuple[np.ndarray, np.ndarray]],
    captions: Callable[[int], str] | None,
) -> None:
    pair = int(result.pair[position])
    cosine, threshold = (cosine_of(float(of[position])) for of in (result.distance, result.threshold))
    numbers = f"cosine {cosine:.3f} (d² {result.distance[position]:.3f}), threshold {threshold:.3f}"
    both = np.concatenate(pictures(pair), axis=1)  # (height, 2 width, 3): two images side by side
    axes = half.add_subplot(rows, 1, row + 1)
    axes.imshow(both)
    axes.axvline(both.shape[1] / 2 - 0.5, color="white", linewidth=3)
    axes.set_axis_off()
    caption = numbers if captions is None else f"{plain(captions(pair))}\n{numbers}"
    axes.set_title(caption, fontsize=8, loc="center")
