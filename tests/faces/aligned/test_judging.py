"""Who stays of photographs that were looked at, on hand-made looks."""

from collections.abc import Callable

import numpy as np
import pytest

from faces.aligned.judging import KINDS, Labelled, Rules, judge
from faces.aligned.looks import CutFace, Look

BOX = (0.0, 0.0, 40.0, 50.0)


def look(pixels: str, detail: float = 0.2, box: tuple[float, ...] = BOX, found: int | None = 0) -> Look:
    face = CutFace(found, (0, 1), detail, (0, 4))
    return Look("x", pixels, boxes=() if found is None else (box,), cut=(face,))


def labelled(identities: list[int], needed: tuple[int, ...] = (), alike: list[str] | None = None) -> Labelled:
    is_needed = np.isin(np.arange(len(identities)), needed)
    return Labelled(np.array(identities), alike or ["a", "b", "c"], "photograph {}".format, is_needed)


def by(looks: list[Look], *degrees: float) -> Callable[[CutFace], np.ndarray]:
    """Embeddings on a circle, by the photograph."""
    of = {id(one.cut[0]): np.array([np.cos(np.deg2rad(at)), np.sin(np.deg2rad(at))], np.float32)
          for one, at in zip(looks, degrees, strict=True)}  # fmt: skip
    return lambda face: of[id(face)]


def test_the_first_reason_counts():
    looks = [
        Look("", unreadable="is text"),
        look("b", found=None),
        Look("x", "c", boxes=(BOX,), uncut=("points in one place",)),
        look("d", detail=0.01, box=(0, 0, 20, 50)),
        look("e", detail=0.01),
        look("f"), look("f"), look("g"),
    ]  # fmt: skip
    judged = judge(looks, labelled([0] * 7 + [1]), Rules(), None)
    assert [(one.row, one.kind) for one in judged.left_out] == [*enumerate(KINDS[:5]), (6, "same picture")]
    assert sorted(judged.kept) == [5, 7] and judged.left_out[2].said == "cannot be cut: points in one place"
    assert judged.left_out[3].reason == "the face has 20x50 pixels, 24 are the least"
    assert sorted(judge(looks, labelled([0] * 8), Rules(True, 20, 0), None).kept) == [1, 3, 4, 5, 7]


def test_what_is_needed_stays_where_it_has_a_face():
    looks = [look("a", found=None), look("b", detail=0.0), look("c"), look("c")]
    judged = judge(looks, labelled([0, 0, 1, 2], needed=(0, 1, 2, 3)), Rules(), None)
    assert [one.kind for one in judged.left_out] == ["no face"] and sorted(judged.kept) == [1, 2, 3]
    assert [(one.row, one.kind) for one in judged.spared] == [(1, "blurred"), (2, "same picture"), (3, "same picture")]


def test_the_same_picture_under_one_name_in_two_sets():
    looks = [look("a"), look("a"), look("b", found=0), look("b", found=None)]
    judged = judge(looks, labelled([0, 1, 2, 2], alike=["ann", "ann", "bob"]), Rules(True), None)
    assert [(one.row, one.reason) for one in judged.left_out] == [(1, "the same as photograph 0")]  # 3 is another face


def test_near_duplicates_keep_the_sharpest():
    looks = [look(str(n), detail=detail) for n, detail in enumerate((0.1, 0.3, 0.2, 0.2, 0.2))]
    degrees = (0, 3, 90, 92, 45)
    judged = judge(looks, labelled([0, 0, 1, 2, 2]), Rules(near=0.99), by(looks, *degrees))
    assert [(one.row, one.kind, one.other) for one in judged.left_out] == [(0, "near-duplicate", 1)]
    assert [pair[:2] for pair in judged.across] == [(2, 3)]
    assert judged.across[0].cosine == pytest.approx(np.cos(np.deg2rad(2)))
    across = judge(looks, labelled([0, 0, 1, 2, 2]), Rules(near=0.99, drops_across=True), by(looks, *degrees))
    assert sorted(across.kept) == [1, 4]
    assert across.left_out[1].reason.startswith("nearly the same as photograph 3, under another name, cosine 0.999")
    spared = judge(looks, labelled([0, 0, 1, 2, 2], needed=(0, 2)), Rules(near=0.99, drops_across=True),
                   by(looks, *degrees))  # fmt: skip
    assert sorted(spared.kept) == [0, 1, 2, 4]


def test_nothing_at_all():
    assert judge([], labelled([]), Rules(), by([])).kept == {}
