"""The LFW protocol on 6,000 pairs: is it free beside the embedding, and quicker than what one writes otherwise?

    python -m benchmarks.protocol [--rounds N] [--json FILE]

Accuracy over ten folds with a threshold from the nine others, VAL at FAR 1e-3 likewise, EER and AUC, from the distances
of 6,000 pairs. Ours is `faces.evaluate.verification.evaluate_pairs`, which decides every threshold exactly. The peer is
the form that scikit-learn invites: `roc_curve` on nine folds, the threshold of its most accurate point and of its last
point within the FAR; `roc_curve` and `roc_auc_score` on all pairs. Both accuracies, VALs and AUCs are printed. Below it
the usual form for comparison: 400 thresholds tried on each fold, and 4,000 for VAL.

The bound is sorting: the distances of all pairs once and of nine folds ten times. Without scikit-learn, ours and the
usual form are measured alone.

Not here: embeddings; the metrics' definitions (`faces.evaluate.metrics`).
"""

import argparse
import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.table import Table

from benchmarks.rounds import Row, check_options, cores, take_turns
from faces import cli, outputs, run_record
from faces.evaluate.verification import evaluate_pairs
from faces.terminal import make_console

jax.config.update("jax_platforms", "cpu")

FOLDS, OF_A_KIND, FAR = 10, 300, 1e-3
GOAL_SECONDS = 0.2
OURS, PEER, USUAL = "faces.evaluate", "scikit-learn", "a grid of thresholds"

Numbers = dict[str, float]


def make_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared distances, whether a pair shows one person, and its fold, of 6,000 pairs of a fair network."""
    rng = np.random.default_rng(0)
    fold = np.repeat(np.arange(FOLDS), 2 * OF_A_KIND)
    same = np.tile(np.repeat([True, False], OF_A_KIND), FOLDS)
    cosine = np.where(same, rng.normal(0.62, 0.13, same.size), rng.normal(0.02, 0.09, same.size))
    return 2 - 2 * np.clip(cosine, -1, 1), same, fold


def by_ours(distance: np.ndarray, same: np.ndarray, fold: np.ndarray) -> Numbers:
    """The protocol by this project."""
    found = evaluate_pairs(distance, same, fold, FAR)
    return {"accuracy": found.accuracy, "val": found.val, "eer": found.eer, "auc": found.auc}


def make_peer(distance: np.ndarray, same: np.ndarray, fold: np.ndarray) -> Callable[[], Numbers] | None:
    """The protocol with scikit-learn's metrics; None where it is not installed."""
    try:
        metrics = importlib.import_module("sklearn.metrics")
    except ImportError:
        return None

    def call() -> Numbers:
        accuracy, val = [], []
        for number in range(FOLDS):
            test = fold == number
            far, rate, cut = metrics.roc_curve(same[~test], -distance[~test], drop_intermediate=False)
            share = np.mean(same[~test])
            best = cut[np.argmax(share * rate + (1 - share) * (1 - far))]
            within = cut[np.searchsorted(far, FAR, side="right") - 1]
            accuracy.append(np.mean((-distance[test] >= best) == same[test]))
            val.append(np.mean(-distance[test][same[test]] >= within))
        far, rate, _ = metrics.roc_curve(same, -distance, drop_intermediate=False)
        eer = far[np.argmin(np.abs(far - (1 - rate)))]
        auc = metrics.roc_auc_score(same, -distance)
        return {"accuracy": float(np.mean(accuracy)), "val": float(np.mean(val)), "eer": float(eer), "auc": float(auc)}

    return call


def by_grid(distance: np.ndarray, same: np.ndarray, fold: np.ndarray) -> Numbers:
    """Accuracy and VAL with thresholds tried one by one on every fold."""
    accuracy, val = [], []
    for number in range(FOLDS):
        test = fold == number
        train = ~test
        right = [np.mean((distance[train] < cut) == same[train]) for cut in np.arange(0, 4, 0.01)]
        best = 0.01 * int(np.argmax(right))
        accuracy.append(np.mean((distance[test] < best) == same[test]))
        cuts = np.arange(0, 4, 0.001)
        far = np.array([np.mean(distance[train][~same[train]] < cut) for cut in cuts])
        within = cuts[np.searchsorted(far, FAR, side="right") - 1]
        val.append(np.mean(distance[test][same[test]] < within))
    return {"accuracy": float(np.mean(accuracy)), "val": float(np.mean(val))}


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protocol", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="rounds per comparison (default 11)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    pairs = make_pairs()
    distance, _, fold = pairs
    peer = make_peer(*pairs)
    calls: dict[str, Callable[[], Any]] = {OURS: lambda: by_ours(*pairs), USUAL: lambda: by_grid(*pairs)}
    calls["sorts"] = lambda: [np.sort(distance), *(np.sort(distance[fold != number]) for number in range(FOLDS))]
    if peer is None:
        console.print(f"{PEER} is not installed, so it is left out: pip install scikit-learn")
    else:
        calls[PEER] = peer
    numbers = {name: call() for name, call in calls.items() if name != "sorts"}
    times = take_turns(calls, options.rounds)
    table = Table("", title=f"{distance.size:,} pairs, {FOLDS} folds, {cores()} threads")
    for heading in ("median ms", "accuracy", f"VAL at {FAR:g}", "EER", "AUC"):
        table.add_column(heading, justify="right")
    for name, time in times.items():
        of_name = numbers.get(name, {})
        shown = (f"{of_name[key]:.5f}" if key in of_name else "" for key in ("accuracy", "val", "eer", "auc"))
        table.add_row(name, f"{time['median_ms']:.2f}", *shown)
    console.print(table)
    ours, sorts = times[OURS]["median_ms"], times["sorts"]["median_ms"]
    remark = f"goal: under {GOAL_SECONDS:g} s; the sorts alone take {sorts:.1f} ms"
    rows = [
        Row(f"LFW protocol, {distance.size:,} pairs", name, ours, times[name]["median_ms"], "ms", 1.0, remark)
        for name in (PEER, USUAL) if name in times
    ]  # fmt: skip
    result: dict[str, Any] = {"times": times, "numbers": numbers, "under_goal": ours < 1e3 * GOAL_SECONDS}
    result["rows"] = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows]
    result["environment"] = run_record.environment()
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
