"""Which checkpoints a run keeps."""

import math

import pytest

from faces.errors import ConfigError
from faces.keep import Keep, parse


@pytest.mark.parametrize(
    ("keep", "stay"),
    [
        (Keep(), {60, 70}),
        (Keep(newest=1), {70}),
        (Keep(newest=1, every=30), {30, 60, 70}),
        (Keep(newest=1, best="lfw"), {40, 70}),  # of equal ones the later, and never one that is not a number
        (Keep(newest=9), {10, 20, 30, 40, 50, 60, 70}),
    ],
)
def test_newest_every_and_best(keep: Keep, stay: set[int]):
    scores = {10: 0.8, 20: 0.9, 40: 0.9, 50: math.nan, 5: 1.0}  # of step 5 there is none
    assert keep.of(range(10, 80, 10), scores) == stay
    assert len(stay) <= keep.most(0, 70) or keep.newest == 9


def test_without_scores_none_is_the_best():
    assert Keep(newest=1, best="lfw").of([10, 20], {}) == {20}


def test_what_the_command_line_says():
    assert parse([], 10, 0, []) == Keep(2, 0, "")
    assert parse(["newest:3", "every:40", "best:lfw"], 10, 30, ["cfp", "lfw"]) == Keep(3, 40, "lfw")


@pytest.mark.parametrize(
    ("given", "every", "evaluate", "words"),
    [
        (["best"], 10, 10, "newest:K, every:N or best:NAME is expected"),
        (["last:2"], 10, 10, "newest:K, every:N or best:NAME is expected"),
        (["newest:0"], 10, 10, "a whole number above 0"),
        (["every:1e3"], 10, 10, "a whole number above 0"),
        (["newest:" + "9" * 30], 10, 10, "a whole number above 0"),
        (["newest:1", "newest:2"], 10, 10, "newest is given twice"),
        (["every:25"], 10, 10, "checkpoints are taken every 10 steps; give a multiple of that"),
        (["best:agedb"], 10, 10, "no --eval has that name; the run's are lfw"),
        (["best:lfw"], 10, 0, "give --train.evaluate-every N"),
    ],
)
def test_what_it_may_not_say(given: list[str], every: int, evaluate: int, words: str):
    with pytest.raises(ConfigError, match=words):
        parse(given, every, evaluate, ["lfw"])
