"""Evaluations as tables for people and as a dictionary for machines.

Coverage, folds, the threshold of each fold and the interval stand beside every accuracy, so that a number cannot
be quoted without what it rests on. Thresholds are cosines, as every command takes them, with the papers' squared
distance beside.

Not here: the numbers (metrics.py, verification.py) and the figures (plots.py).
"""

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from faces.evaluate.metrics import rates_at
from faces.evaluate.verification import VerificationResult, cosine_of, few_names

COSINES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
"""Thresholds whose errors are printed."""


def summary_table(results: Mapping[str, VerificationResult], title: str) -> Table:
    """One row an evaluation: before and after training, baselines, networks.

    Args:
        results: evaluations by row label, in the order shown.
        title: what was evaluated.

    Returns:
        A table for rich's console; its caption names missing images, and those without a face.
    """
    far = " or ".join(sorted({far_text(result.far_target) for result in results.values()}))
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    table.add_column("")
    headings = ("accuracy\n% ± SE", "95%\ninterval", f"VAL at FAR\n{far}, % ± SE", "EER\n%", "AUC", "pairs\n(coverage)")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, result in results.items():
        low, high = result.accuracy_interval
        table.add_row(
            name,
            f"{_mean_and_error(result.accuracy, result.accuracy_se)}{_partial_mark(result)}",
            f"{100 * low:.1f}-{100 * high:.1f}",
            _mean_and_error(result.val, result.val_se),
            f"{100 * result.eer:.2f}",
            f"{result.auc:.4f}",
            f"{result.pairs:,} ({coverage_text(result)})",
        )
    partial = [
        f"* {name}: {result.pairs:,} of {result.listed:,} pairs; {_lost(result)}"
        for name, result in results.items()
        if result.coverage < 1
    ]
    table.caption = "\n".join(partial) or None
    return table


def fold_table(result: VerificationResult, title: str) -> Table:
    """One row a held-out fold, and the means; a pair is one person from a threshold's cosine on.

    Args:
        result: an evaluation.
        title: what was evaluated.
    """
    table = Table(title=title, title_justify="left", show_footer=True, box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    low, high = result.accuracy_interval
    table.caption_justify = "left"
    table.caption = (
        f"{_partial_mark(result)}coverage {coverage_text(result)} of {result.listed:,} pairs; "
        f"95% interval of the accuracy {100 * low:.2f} to {100 * high:.2f}%;\n"
        "thresholds are cosines, from which on a pair is one person; d² = 2 - 2 cos"
    )
    means = (
        "mean",
        f"{result.pairs:,}",
        f"{_mean_and_error(result.accuracy, result.accuracy_se)}{_partial_mark(result)}",
        threshold_text(result.mean_threshold),
        _mean_and_error(result.val, result.val_se),
        f"{100 * result.far:.2f}",
        threshold_text(result.mean_val_threshold),
    )
    val = f"VAL, % ± SE\nat FAR {far_text(result.far_target)}"
    thresholds = ("threshold\ncosine (d²)", "of VAL\ncosine (d²)")
    headings = ("fold", "pairs", "accuracy\n% ± SE", thresholds[0], val, "FAR %\nhere", thresholds[1])
    for heading, mean in zip(headings, means, strict=True):
        table.add_column(heading, footer=mean, justify="right", no_wrap=True)
    for fold in result.folds:
        table.add_row(
            str(fold.fold),
            f"{fold.pairs:,}",
            f"{100 * fold.accuracy:.2f}",
            threshold_text(fold.threshold),
            f"{100 * fold.val:.2f}",
            f"{100 * fold.far:.2f}",
            threshold_text(fold.val_threshold),
        )
    return table


def error_table(result: VerificationResult, title: str) -> Table:
    """What each cosine would cost as a threshold: how many pairs of two people pass, how many of one person do not.

    All evaluated pairs count together, none is held out: a table to choose by, not a result.

    Args:
        result: an evaluation.
        title: what was evaluated.
    """
    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    for heading in ("threshold\ncosine (d²)", "false accepts\n% of different", "false rejects\n% of same"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cosine in COSINES:
        _, val, far = rates_at(result.distance, result.same, 2 - 2 * cosine)
        table.add_row(threshold_text(2 - 2 * cosine), f"{100 * far:.2f}", f"{100 * (1 - val):.2f}")
    return table


def threshold_text(distance: float) -> str:
    """A threshold as cosine (squared distance); one that no pair passes, or every pair, in words."""
    if not math.isfinite(distance):
        return "all pass" if distance > 0 else "none pass"
    return f"{cosine_of(distance):.4f} ({distance:.3f})"


def result_dict(result: VerificationResult) -> dict[str, Any]:
    """The numbers that `result.json` holds, under the names that it gives them.

    Returns:
        accuracy, accuracy_se, val_at_far_1e-3 (with the FAR that was asked for), eer, auc as fractions;
        pairs evaluated; coverage = evaluated / listed pairs; thresholds of accuracy and of VAL, means over folds, as
        cosine and as squared_distance, null where no pair passes, or every pair.
    """
    of_val = f"val_at_far_{far_text(result.far_target)}"
    thresholds = {"accuracy": result.mean_threshold, of_val: result.mean_val_threshold}
    return {
        "accuracy": result.accuracy,
        "accuracy_se": result.accuracy_se,
        of_val: result.val,
        "eer": result.eer,
        "auc": result.auc,
        "pairs": result.pairs,
        "coverage": result.coverage,
        "thresholds": {
            what: {"cosine": cosine_of(distance), "squared_distance": distance} if math.isfinite(distance) else None
            for what, distance in thresholds.items()
        },
    }


def far_text(far: float) -> str:
    """A false accept rate as papers write it: 0.001 is "1e-3"."""
    mantissa, exponent = f"{far:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def coverage_text(result: VerificationResult) -> str:
    """Evaluated / listed pairs in percent, rounded down: only a whole list reads 100%."""
    hundredths = 10_000 * result.pairs // result.listed
    return "100%" if hundredths == 10_000 else f"{hundredths // 100}.{hundredths % 100:02d}%"


def _mean_and_error(mean: float, error: float) -> str:
    return f"{100 * mean:.2f}±{100 * error:.2f}"


def _lost(result: VerificationResult) -> str:
    """Which images could not be compared, and why."""
    parts = (("pictures missing: ", result.missing), ("no face found in ", result.undetected))
    return "; ".join(what + few_names(names) for what, names in parts if names) or "pictures missing"


def _partial_mark(result: VerificationResult) -> str:
    return "*" if result.coverage < 1 else ""
