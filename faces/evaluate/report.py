"""Evaluations as tables for people and as a dictionary for machines.

Coverage, folds, the threshold of each fold and the interval stand beside every accuracy, so that a number cannot
be quoted without what it rests on.

Not here: the numbers (metrics.py, verification.py) and the pictures (plots.py).
"""

from collections.abc import Mapping

from rich import box
from rich.table import Table

from faces.evaluate.verification import VerificationResult, few_names


def summary_table(results: Mapping[str, VerificationResult], title: str) -> Table:
    """One row an evaluation: before and after training, baselines, networks.

    Args:
        results: evaluations by row label, in the order shown.
        title: what was evaluated.

    Returns:
        A table for rich's console; its caption names missing images.
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
        f"* {name}: {result.pairs:,} of {result.listed:,} pairs; pictures missing: {few_names(result.missing)}"
        for name, result in results.items()
        if result.coverage < 1
    ]
    table.caption = "\n".join(partial) or None
    return table


def fold_table(result: VerificationResult, title: str) -> Table:
    """One row a held-out fold, and the means.

    Args:
        result: an evaluation.
        title: what was evaluated.
    """
    table = Table(title=title, title_justify="left", show_footer=True, box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    low, high = result.accuracy_interval
    table.caption_justify = "left"
    table.caption = (
        f"{_partial_mark(result)}coverage {coverage_text(result)} of {result.listed:,} pairs; "
        f"95% interval of the accuracy {100 * low:.2f} to {100 * high:.2f}%"
    )
    means = (
        "mean±SE",
        f"{result.pairs:,}",
        f"{_mean_and_error(result.accuracy, result.accuracy_se)}{_partial_mark(result)}",
        "",
        _mean_and_error(result.val, result.val_se),
        f"{100 * result.far:.2f}",
        "",
    )
    val = f"VAL %\nat FAR {far_text(result.far_target)}"
    headings = ("fold", "pairs", "accuracy %", "threshold", val, "FAR %\nhere", "threshold\nof VAL")
    for heading, mean in zip(headings, means, strict=True):
        table.add_column(heading, footer=mean, justify="right", no_wrap=True)
    for fold in result.folds:
        table.add_row(
            str(fold.fold),
            f"{fold.pairs:,}",
            f"{100 * fold.accuracy:.2f}",
            f"{fold.threshold:.4f}",
            f"{100 * fold.val:.2f}",
            f"{100 * fold.far:.2f}",
            f"{fold.val_threshold:.4f}",
        )
    return table


def result_dict(result: VerificationResult) -> dict[str, float | int]:
    """The numbers that `result.json` holds, under the names that it gives them.

    Returns:
        accuracy, accuracy_se, val_at_far_1e-3 (with the FAR that was asked for), eer, auc as fractions;
        pairs evaluated; coverage = evaluated / listed pairs.
    """
    return {
        "accuracy": result.accuracy,
        "accuracy_se": result.accuracy_se,
        f"val_at_far_{far_text(result.far_target)}": result.val,
        "eer": result.eer,
        "auc": result.auc,
        "pairs": result.pairs,
        "coverage": result.coverage,
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


def _partial_mark(result: VerificationResult) -> str:
    return "*" if result.coverage < 1 else ""
