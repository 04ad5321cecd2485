"""Tables carry coverage, folds, thresholds and interval; the dictionary has the keys of result.json."""

import dataclasses
import json
import statistics

import numpy as np
import pytest
from rich.console import Console

from faces.evaluate import report, verification

SAME, FOLD = np.tile([True, False], 50), np.repeat(np.arange(5), 20)
DISTANCE = np.where(SAME, 0.9, 1.1) + np.random.default_rng(0).normal(0, 0.15, 100)
RESULT = verification.evaluate_pairs(DISTANCE, SAME, FOLD)
IS_COMPLETE = np.arange(100) != 17
PARTIAL = verification.evaluate_pairs(
    DISTANCE, SAME, FOLD, is_complete=IS_COMPLETE, missing=["Ann_0002"], allow_missing=True
)


def printed(table, width: int = 80) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_summary_holds_every_number_within_80_columns():
    text = printed(report.summary_table({"before": RESULT, "after": RESULT}, "LFW"))
    low, high = RESULT.accuracy_interval
    for expected in (
        f"{100 * RESULT.accuracy:.2f}±{100 * RESULT.accuracy_se:.2f}",
        f"{100 * low:.1f}-{100 * high:.1f}",
        f"{100 * RESULT.val:.2f}±{100 * RESULT.val_se:.2f}",
        f"{100 * RESULT.eer:.2f}",
        f"{RESULT.auc:.4f}",
        "100 (100%)",
    ):
        assert text.count(expected) >= 2, expected
    assert "1e-3" in text
    assert "…" not in text
    assert "*" not in text


def test_coverage_below_one_stands_beside_the_number():
    text = printed(report.summary_table({"after": PARTIAL}, "LFW"))
    assert f"±{100 * PARTIAL.accuracy_se:.2f}*" in text
    assert "99 (99.00%)" in text
    assert "* after: 99 of 100 pairs; pictures missing: Ann_0002" in text
    faceless = dataclasses.replace(PARTIAL, missing=(), undetected=("Bo_0001",))
    assert "* x: 99 of 100 pairs; no face found in Bo_0001" in str(report.summary_table({"x": faceless}, "").caption)
    assert "coverage 99.00% of 100 pairs" in printed(report.fold_table(PARTIAL, "LFW"))


def test_folds_are_listed_with_their_thresholds():
    text = printed(report.fold_table(RESULT, "LFW"))
    for fold in RESULT.folds:
        row = next(line.split() for line in text.splitlines() if line.split()[:2] == [str(fold.fold), str(fold.pairs)])
        accuracy, val, far = (f"{100 * rate:.2f}" for rate in (fold.accuracy, fold.val, fold.far))
        best, at_far = (
            [f"{1 - d / 2:.4f}", f"({d:.3f})"] for d in (fold.threshold, fold.val_threshold)
        )  # cosine (squared distance)
        assert row[2:] == [accuracy, *best, val, far, *at_far]
    mean = np.mean([fold.threshold for fold in RESULT.folds])
    assert f"{1 - mean / 2:.4f} ({mean:.3f})" in text.splitlines()[-4]
    assert max(map(len, text.splitlines())) <= 80 and "d² = 2 - 2 cos" in text
    assert f"{100 * RESULT.accuracy:.2f}±{100 * RESULT.accuracy_se:.2f}" in text
    assert "coverage 100% of 100 pairs" in text
    assert "…" not in text


def test_what_a_threshold_costs():
    text = printed(report.error_table(RESULT, "LFW"))
    accept = DISTANCE <= 2 - 2 * 0.45
    false, rejected = 100 * np.mean(accept[~SAME]), 100 * np.mean(~accept[SAME])
    row = next(line.split() for line in text.splitlines() if "0.4500" in line)
    assert row == ["0.4500", "(1.100)", f"{false:.2f}", f"{rejected:.2f}"] and 0 < false < 100


@pytest.mark.parametrize(
    ("distance", "text"),
    [(1.488, "0.2560 (1.488)"), (-np.inf, "none pass"), (np.inf, "all pass"), (2.5, "-0.2500 (2.500)")],
)
def test_thresholds_are_cosines(distance, text):
    assert report.threshold_text(distance) == text


def test_result_dict_has_the_keys_of_result_json():
    got = json.loads(json.dumps(report.result_dict(PARTIAL)))
    best, at_far = (
        statistics.fmean(getattr(fold, name) for fold in PARTIAL.folds) for name in ("threshold", "val_threshold")
    )
    assert got == {
        "accuracy": PARTIAL.accuracy,
        "accuracy_se": PARTIAL.accuracy_se,
        "val_at_far_1e-3": PARTIAL.val,
        "eer": PARTIAL.eer,
        "auc": PARTIAL.auc,
        "pairs": 99,
        "coverage": 0.99,
        "thresholds": {
            "accuracy": {"cosine": 1 - best / 2, "squared_distance": best},
            "val_at_far_1e-3": {"cosine": 1 - at_far / 2, "squared_distance": at_far},
        },
    }


@pytest.mark.parametrize(("far", "text"), [(1e-3, "1e-3"), (0.1, "1e-1"), (1e-10, "1e-10"), (0.0025, "2.5e-3")])
def test_far_is_written_as_papers_do(far, text):
    assert report.far_text(far) == text


@pytest.mark.parametrize(("complete", "text"), [(100_000, "100%"), (99_999, "99.99%"), (12_345, "12.34%")])
def test_only_whole_coverage_reads_100(complete, text):
    same, fold = np.tile([True, False], 50_000), np.repeat(np.arange(2), 50_000)
    order = np.random.default_rng(0).permutation(100_000)
    is_complete = np.isin(np.arange(100_000), order[:complete])
    result = verification.evaluate_pairs(
        np.where(same, 0.0, 1.0), same, fold, is_complete=is_complete, missing=["x"], allow_missing=True
    )
    assert report.coverage_text(result) == text
