"""Error by factor against loops over pairs, one at a time in float64."""

import csv
import io
import itertools
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from faces.errors import EvaluationError
from faces.evaluate.factor_report import COLUMNS, factor_dict, factor_table, factors_csv, plot_factors
from faces.evaluate.factors import FEW, Factor, Rate, _ends, by_factor, cut, pair_values
from faces.evaluate.metrics import wilson_interval
from faces.evaluate.verification import verify

NAMES = tuple(f"image {n}" for n in range(60))


def verified(seed=0, pairs=400, lost=()):
    """A verification of random embeddings in five folds, and the rows of its pairs."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(60, 4))
    embeddings[:, 0] += np.repeat(np.arange(20), 3) % 4
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = rng.integers(0, 60, (2, pairs))
    same = rng.random(pairs) < 0.4
    fold = np.arange(pairs) % 5
    missing = [NAMES[row] for row in lost]
    result = verify(embeddings, NAMES, first, second, same, fold, 0.1, missing=missing, allow_missing=True)
    return result, first, second


def test_groups_of_a_number_are_those_of_loops():
    result, first, second = verified(lost=(7,))
    values = np.random.default_rng(1).normal(size=60)
    values[[3, 11]] = np.nan
    for of_pair, choose in (("greatest", max), ("least", min), ("difference", lambda a, b: abs(a - b))):
        by = by_factor(result, Factor("f", "a number", values, of_pair), NAMES, first, second, 3)
        assert by.unmeasured == (NAMES[3], NAMES[11])
        left_out = 0
        counts = [[0, 0, 0, 0, 0] for _ in by.groups]  # pairs, correct, different, false accepts, false rejects
        for number, row in enumerate(result.pair.tolist()):
            a, b = values[first[row]], values[second[row]]
            if math.isnan(a) or math.isnan(b):
                left_out += 1
                continue
            [place] = [k for k, g in enumerate(by.groups) if g.ends[0] <= choose(a, b) <= g.ends[1]]
            accept, same = result.distance[number] <= result.threshold[number], result.same[number]
            for k, adds in enumerate((True, accept == same, not same, accept and not same, same and not accept)):
                counts[place][k] += bool(adds)
        assert by.pairs_left_out == left_out > 0
        for group, (pairs, correct, different, accepts, rejects) in zip(by.groups, counts, strict=True):
            assert group.correct == Rate(correct, pairs)
            assert group.false_accepts == Rate(accepts, different)
            assert group.false_rejects == Rate(rejects, pairs - different)
        assert sum(group.correct.of for group in by.groups) + left_out == result.pairs


def test_groups_of_a_label():
    result, first, second = verified(3)
    labels = np.array(["b", "a", "", "c"])[np.arange(60) % 4]
    by = by_factor(result, Factor("site", "a label", labels), NAMES, first, second)
    expected: dict[str, list[int]] = {}
    for row in result.pair.tolist():
        both = sorted((str(labels[first[row]]), str(labels[second[row]])))
        if "" not in both:
            expected.setdefault(both[0] if both[0] == both[1] else " with ".join(both), []).append(row)
    assert [group.name for group in by.groups] == sorted(expected)
    assert [group.correct.of for group in by.groups] == [len(expected[name]) for name in sorted(expected)]
    assert all(group.ends is None for group in by.groups)
    whole = sum(group.correct.count for group in by.groups)
    known = np.isin(result.pair, list(itertools.chain(*expected.values())))
    assert whole == int(np.sum((result.distance <= result.threshold)[known] == result.same[known]))


@pytest.mark.parametrize("parts", [1, 2, 4, 7])
@pytest.mark.parametrize("seed", range(3))
def test_parts_cover_all_do_not_overlap_and_are_alike(seed, parts):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=211)
    ends = list(cut(values, parts))
    sizes = [int(np.sum((values >= low) & (values <= high))) for low, high in ends]
    assert len(ends) == parts and sum(sizes) == 211 and max(sizes) - min(sizes) <= parts
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))


def test_a_value_that_many_have_is_a_part_of_its_own():
    assert list(cut(np.array([0.0] * 70 + [1, 2, 3, 4, 5, 6.0]), 3)) == [(0, 0), (1, 3), (4, 6)]
    assert list(cut(np.zeros(5), 4)) == [(0, 0)]
    assert list(cut(np.zeros(0), 4)) == []
    assert list(cut(np.array([1.0, 2.0]), 4)) == [(1, 1), (2, 2)]


def test_ends_are_told_apart():
    assert _ends(0.0, 0.0) == "0" and _ends(1.23456, 45.678) == "1.23 to 45.7"
    assert _ends(0.99991, 0.99993) == "0.99991 to 0.99993"


def test_worked_pairs():
    a, b = np.array([1.0, 5.0, np.nan]), np.array([3.0, 2.0, 1.0])
    np.testing.assert_array_equal(pair_values(a, b, "greatest"), [3, 5, np.nan])
    np.testing.assert_array_equal(pair_values(a, b, "least"), [1, 2, np.nan])
    np.testing.assert_array_equal(pair_values(a, b, "difference"), [2, 3, np.nan])


def test_rates_have_wilsons_interval_and_say_when_they_rest_on_little():
    assert Rate(3, 40).interval == wilson_interval(3, 40) and Rate(3, 40).share == 0.075
    assert math.isnan(Rate(0, 0).share) and Rate(0, 0).interval == (0.0, 1.0)
    assert Rate(0, FEW - 1).is_few and not Rate(0, FEW).is_few


def test_a_factor_of_other_images_is_refused():
    result, first, second = verified()
    with pytest.raises(EvaluationError, match="factor f: 59 values for 60 images"):
        by_factor(result, Factor("f", "", np.zeros(59)), NAMES, first, second)
    with pytest.raises(EvaluationError, match="in 0 parts"):
        by_factor(result, Factor("f", "", np.zeros(60)), NAMES, first, second, 0)


def test_table_csv_dictionary_and_figure_say_the_same(tmp_path: Path):
    result, first, second = verified(5, pairs=60)
    values = np.random.default_rng(1).normal(size=60)
    values[8] = np.nan
    labels = np.array(["[red]x", "\u4e2d, y", ""])[np.arange(60) % 3]
    by = [
        by_factor(result, Factor("f", "a number", values, "least"), NAMES, first, second),
        by_factor(result, Factor("site", "a label", labels), NAMES, first, second),
    ]
    rows = list(csv.DictReader(io.StringIO(factors_csv(by))))
    groups = [(one.factor.name, group) for one in by for group in one.groups]
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(groups)
    for row, (name, group) in zip(rows, groups, strict=True):
        assert (row["factor"], row["group"], int(row["pairs"])) == (name, group.name, group.correct.of)
        assert int(row["same"]) + int(row["different"]) == group.correct.of
        assert float(row["accuracy"]) == group.correct.share
        assert (float(row["false_rejects_low"]), float(row["false_rejects_high"])) == group.false_rejects.interval
    said = json.loads(json.dumps(factor_dict(by[0]), allow_nan=False))
    assert said["images_without_measure"] == 1 and said["pairs_left_out"] == by[0].pairs_left_out
    console = Console(width=150, record=True, file=io.StringIO())
    for one in by:
        console.print(factor_table(one, "Verification on x"))
    text = console.export_text()
    assert "Verification on x by f" in text and "[red]x with \u4e2d, y" in text and "*" in text
    assert f"{by[0].pairs_left_out} pairs are in no group: no measure of 1 image (image 8)" in " ".join(text.split())
    plot_factors(by, tmp_path / "f.png", "Error by factor, x")
    assert cv2.imread(str(tmp_path / "f.png")).std() > 10


def test_a_factor_without_any_measure_is_drawn_too(tmp_path: Path):
    result, first, second = verified()
    none = by_factor(result, Factor("f", "a number", np.full(60, np.nan)), NAMES, first, second)
    assert none.groups == () and none.pairs_left_out == result.pairs
    plot_factors([none], tmp_path / "f.png", "x")
    assert list(csv.reader(io.StringIO(factors_csv([none])))) == [list(COLUMNS)]
