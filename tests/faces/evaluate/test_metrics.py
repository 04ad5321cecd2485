"""Metrics of verification against loops over every threshold, worked cases and laws."""

import math
from statistics import stdev

import numpy as np
import pytest

from faces.errors import EvaluationError
from faces.evaluate import metrics
from tests.faces.evaluate import pairs as oracle

CASES = [(seed, *counts, tied) for seed in (0, 1, 2) for counts in ((37, 61), (50, 9)) for tied in (False, True)]


@pytest.fixture(params=CASES, ids=str)
def scored(request) -> tuple[np.ndarray, np.ndarray]:
    seed, same, different, tied = request.param
    return oracle.random_pairs(seed, same, different, tied)


def test_four_pairs_by_hand():
    distance, same = np.array([5.0, 1.0, 3.0, 2.0]), np.array([False, True, True, False])
    roc = metrics.roc_curve(distance, same)
    np.testing.assert_array_equal(roc.threshold, [-np.inf, 1, 2, 3, 5])
    np.testing.assert_array_equal(roc.val, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(roc.far, [0, 0, 0.5, 0.5, 1])
    assert metrics.auc(roc) == 0.75  # 1 is closer than 2 and 5, 3 is closer than 5 alone
    assert metrics.eer(roc) == 0.5
    assert metrics.best_threshold(roc) == 4.0  # [1, 2) and [3, 5) are equally good, the second is wider
    assert metrics.val_at_far(roc, 0.0) == (math.nextafter(2.0, 0.0), 0.5, 0.0)
    assert metrics.val_at_far(roc, 0.5) == (math.nextafter(5.0, 0.0), 1.0, 0.5)
    assert metrics.val_at_far(roc, 1.0) == (math.inf, 1.0, 1.0)


def test_roc_counts_every_cut(scored):
    distance, same = scored
    roc = metrics.roc_curve(distance, same)
    np.testing.assert_array_equal(roc.threshold, oracle.cuts(distance))
    for threshold, val, far in zip(roc.threshold, roc.val, roc.far, strict=True):
        assert (val, far) == oracle.rates(distance, same, threshold)[1:]
    assert (roc.same_pairs, roc.different_pairs) == (same.sum(), (~same).sum())


@pytest.mark.parametrize("far", [0.0, 1e-3, 0.1, 1 / 3, 0.5, 1.0])
def test_val_at_far_equals_the_loop(scored, far):
    roc = metrics.roc_curve(*scored)
    assert metrics.val_at_far(roc, far) == oracle.val_at_far(*scored, far)


def test_val_threshold_is_the_largest_number_within_the_far(scored):
    point = metrics.val_at_far(metrics.roc_curve(*scored), 0.1)
    assert oracle.rates(*scored, point.threshold)[2] <= 0.1
    assert oracle.rates(*scored, math.nextafter(point.threshold, math.inf))[2] > 0.1


def test_a_far_that_is_a_whole_count_is_met_exactly():
    distance = np.arange(4000, dtype=np.float64)
    same = np.arange(4000) >= 3000
    point = metrics.val_at_far(metrics.roc_curve(distance, same), 1e-3)  # 3 of 3,000
    assert point == (math.nextafter(3.0, 0.0), 0.0, 0.001)


def test_auc_equals_pair_counting(scored):
    assert metrics.auc(metrics.roc_curve(*scored)) == pytest.approx(oracle.auc(*scored), abs=1e-14)


def test_eer_equals_bisection(scored):
    assert metrics.eer(metrics.roc_curve(*scored)) == pytest.approx(oracle.eer(*scored), abs=1e-12)


def test_best_threshold_equals_the_loop(scored):
    threshold = metrics.best_threshold(metrics.roc_curve(*scored))
    assert threshold == pytest.approx(oracle.best_threshold(*scored), abs=1e-12)
    best = max(oracle.rates(*scored, cut)[0] for cut in oracle.cuts(scored[0]))
    assert oracle.rates(*scored, threshold)[0] == best


def test_best_threshold_where_distances_are_neighbouring_floats():
    below = math.nextafter(1.0, 0.0)
    roc = metrics.roc_curve(np.array([below, 1.0]), np.array([True, False]))
    assert metrics.best_threshold(roc) == below  # the rounded middle would be 1, which accepts both


@pytest.mark.parametrize(
    ("distance", "auc", "eer", "val", "accuracy"),
    [
        ([0.0, 0.5, 1.0, 2.0], 1.0, 0.0, 1.0, 1.0),
        ([2.0, 1.0, 0.5, 0.0], 0.0, 1.0, 0.0, 0.5),
        ([1.0, 1.0, 1.0, 1.0], 0.5, 0.5, 0.0, 0.5),
    ],
    ids=["perfect", "worst", "all tied"],
)
def test_extreme_scores(distance, auc, eer, val, accuracy):
    distance, same = np.array(distance), np.array([True, True, False, False])
    roc = metrics.roc_curve(distance, same)
    assert (metrics.auc(roc), metrics.eer(roc), metrics.val_at_far(roc, 1e-3).val) == (auc, eer, val)
    assert metrics.rates_at(distance, same, metrics.best_threshold(roc))[0] == accuracy
    assert math.isfinite(metrics.best_threshold(roc))


def test_swapping_the_labels_mirrors_auc_and_eer(scored):
    distance, same = scored
    roc, mirrored = metrics.roc_curve(distance, same), metrics.roc_curve(distance, ~same)
    assert metrics.auc(mirrored) == pytest.approx(1 - metrics.auc(roc), abs=1e-14)
    assert metrics.eer(mirrored) == pytest.approx(1 - metrics.eer(roc), abs=1e-12)


def test_only_the_order_of_distances_matters(scored):
    distance, same = scored
    roc, stretched = metrics.roc_curve(distance, same), metrics.roc_curve(np.exp(3 * distance) - 7, same)
    np.testing.assert_array_equal(roc.true_accepts, stretched.true_accepts)
    np.testing.assert_array_equal(roc.false_accepts, stretched.false_accepts)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_distances_are_refused(bad):
    with pytest.raises(EvaluationError, match=r"1 of 3 pairs .* not finite, the first is pair 1"):
        metrics.roc_curve(np.array([0.0, bad, 1.0]), np.array([True, False, False]))


@pytest.mark.parametrize("label", [True, False])
def test_one_kind_of_pair_is_refused(label):
    with pytest.raises(EvaluationError, match="same and of different people"):
        metrics.roc_curve(np.array([0.0, 1.0]), np.array([label, label]))


def test_mean_and_standard_error_use_the_sample_deviation():
    values = [0.9, 0.8, 1.0, 0.7]
    mean, error = metrics.mean_and_standard_error(values)
    assert mean == pytest.approx(0.85)
    assert error == pytest.approx(stdev(values) / 2)
    assert error == pytest.approx(np.std(values, ddof=1) / 2)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (10, 10), (5850, 6000)])
def test_wilson_limits_are_where_the_score_test_just_rejects(successes, trials):
    low, high = metrics.wilson_interval(successes, trials)
    z = 1.959963984540054
    for limit in (low, high):
        if 0 < limit < 1:
            score = abs(successes / trials - limit) / math.sqrt(limit * (1 - limit) / trials)
            assert score == pytest.approx(z, rel=1e-9)
    assert 0 <= low <= successes / trials <= high <= 1
    assert low < high
