"""How a set's faces were cut out, in words, and against what a network takes."""

import dataclasses

import pytest

from faces.aligned.made import difference, said
from faces.preprocessing import WHOLE, Preprocessing

BY_POINTS = Preprocessing((112, 112), "rgb", 127.5, 128.0, "five_points", 0.0, 0, WHOLE, "sum")
CUT_AS = {"detector": "mtcnn", "alignment": "five_points", "size": [112, 112], "margin": 0.0, "resized": 0}


def test_what_a_set_says():
    assert said(CUT_AS) == "cut out by five_points to 112x112, found by mtcnn"
    by_box = {**CUT_AS, "alignment": "box_margin", "size": [160, 160], "margin": 44.0, "resized": 182}
    assert said(by_box) == "cut out by box_margin to 160x160, margin 44 at 182, found by mtcnn"
    assert said({}) == "cut out by None, found by None"  # of a set by other hands, but no error


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, ""),
        ({"flip": "none", "mean": 0.0, "channels": "bgr"}, ""),  # of the network, not of the faces
        ({"size": (112, 96)}, "five_points to 112x96"),
        ({"alignment": "box_margin", "margin": 32.0}, "box_margin to 112x112, margin 32"),
        ({"alignment": "fixed_box"}, ""),
        ({"alignment": "centre_crop"}, ""),
    ],
)
def test_what_a_network_takes(changed: dict, wanted: str):
    assert difference(CUT_AS, dataclasses.replace(BY_POINTS, **changed)) == wanted
