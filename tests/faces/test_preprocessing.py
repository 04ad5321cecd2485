"""What is stored with weights: its rules, the alignment that it asks for, and pictures that it refuses."""

import dataclasses
import typing
from typing import Any

import numpy as np
import pytest

from faces.align import ALIGNMENTS
from faces.errors import ConfigError
from faces.preprocessing import WHOLE, Preprocessing, align, check_pictures

FIVE_POINTS = Preprocessing((112, 112), "rgb", 127.5, 128.0, "five_points", 0.0, 0, WHOLE, "sum")
BOX_MARGIN = Preprocessing((160, 160), "bgr", 127.5, 128.0, "box_margin", 44.0, 182, WHOLE, "none")
FIXED_BOX = Preprocessing((20, 10), "rgb", 0.0, 255.0, "fixed_box", 0.0, 0, (0.2, 0.1, 0.8, 0.9), "concatenate")
ALL = (FIVE_POINTS, BOX_MARGIN, FIXED_BOX)


def test_alignments_are_those_there_are():
    named = typing.get_type_hints(Preprocessing)["alignment"]
    assert set(typing.get_args(named)) == set(ALIGNMENTS)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.alignment)
def test_these_keep_the_rules(one: Preprocessing):
    assert all(holds for holds, _ in one.rules())


@pytest.mark.parametrize(
    ("one", "changes", "words"),
    [
        (FIVE_POINTS, {"size": (112, 0)}, "rows and columns must be positive"),
        (FIVE_POINTS, {"scale": 0.0}, "preprocessing.scale: must be positive"),
        (FIVE_POINTS, {"scale": float("nan")}, "preprocessing.scale: must be positive"),
        (FIVE_POINTS, {"margin": 32.0}, 'margin and resized are of "box_margin"'),
        (FIVE_POINTS, {"resized": 182}, 'margin and resized are of "box_margin"'),
        (BOX_MARGIN, {"margin": -1.0}, "not negative"),
        (BOX_MARGIN, {"resized": 159}, "0, or a square that holds the input"),
        (FIVE_POINTS, {"box": (0.2, 0.1, 0.8, 0.9)}, '0, 0, 1, 1 unless alignment is "fixed_box"'),
        (FIXED_BOX, {"box": (0.8, 0.1, 0.2, 0.9)}, "left, top, right, bottom in this order"),
    ],
)
def test_what_makes_no_sense_breaks_a_rule(one: Preprocessing, changes: dict[str, Any], words: str):
    broken = [sentence for holds, sentence in dataclasses.replace(one, **changes).rules() if not holds]
    assert len(broken) == 1 and words in broken[0]


@pytest.mark.parametrize(
    ("one", "options"),
    [
        (FIVE_POINTS, {}),
        (BOX_MARGIN, {"margin": 44.0, "resized": 182}),
        (dataclasses.replace(BOX_MARGIN, margin=32.0, resized=0), {"margin": 32.0, "resized": None}),
        (FIXED_BOX, {"fractions": (0.2, 0.1, 0.8, 0.9)}),
        (dataclasses.replace(FIVE_POINTS, alignment="two_eyes"), {}),
        (dataclasses.replace(FIVE_POINTS, alignment="centre_crop"), {}),
        (dataclasses.replace(FIVE_POINTS, alignment="letterbox"), {}),
    ],
)
def test_the_alignment_gets_what_is_stored(
    one: Preprocessing, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    image, box, points = np.zeros((50, 40, 3), np.uint8), np.array([1.0, 2, 30, 40]), np.zeros((5, 2))
    calls = []
    monkeypatch.setitem(ALIGNMENTS, one.alignment, lambda *arguments, **given: calls.append((arguments, given)))
    align(one, image, box, points)
    (((given_image, given_box, given_points, size), given),) = calls
    assert given_image is image and given_box is box and given_points is points
    assert (size, given) == (one.size, options)


def test_alignment_of_a_picture():
    image = np.random.default_rng(0).integers(0, 256, (40, 20, 3)).astype(np.uint8)
    whole = dataclasses.replace(FIXED_BOX, size=(40, 20), box=WHOLE)
    np.testing.assert_array_equal(align(whole, image, None, None), image)
    assert align(FIXED_BOX, image, None, None).shape == (20, 10, 3)


def test_pictures_that_were_not_aligned_are_refused():
    check_pictures(FIXED_BOX, np.zeros((3, 20, 10, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"pictures of 10x20x3 in uint8 were given .* stored with 20x10x3 in uint8"):
        check_pictures(FIXED_BOX, np.zeros((3, 10, 20, 3), np.uint8))
    with pytest.raises(ConfigError, match="in float32 were given"):
        check_pictures(FIXED_BOX, np.zeros((3, 20, 10, 3), np.float32))
