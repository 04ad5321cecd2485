"""Tables carry coverage, folds, thresholds and interval; the dictionary has the keys of result.json."""

import json

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
    assert "coverage 99.00% of 100 pairs" in printed(report.fold_table(PARTIAL, "LFW"))


def test_folds_are_listed_with_their_thresholds():
    text = printed(report.fold_table(RESULT, "LFW"))
    for fold in RESULT.folds:
        row = next(line.split() for line in text.splitlines() if line.split()[:2] == [str(fold.fold), str(fold.pairs)])
        accuracy, val, far = (f"{100 * rate:.2f}" for rate in (fold.accuracy, fold.val, fold.far))
        assert row[2:] == [accuracy, f"{fold.threshold:.4f}", val, far, f"{fold.val_threshold:.4f}"]
    assert f"{100 * RESULT.accuracy:.2f}±{100 * RESULT.accuracy_se:.2f}" in text
    assert "coverage 100% of 100 pairs" in text
    assert "…" not in text


def test_result_dict_has_the_keys_of_result_json():
    got = json.loads(json.dumps(report.result_dict(PARTIAL)))
    assert got == {
        "accuracy": PARTIAL.accuracy,
        "accuracy_se": PARTIAL.accuracy_se,
        "val_at_far_1e-3": PARTIAL.val,
        "eer": PARTIAL.eer,
        "auc": PARTIAL.auc,
        "pairs": 99,
        "coverage": 0.99,
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
