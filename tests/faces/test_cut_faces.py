"""Faces cut out of photographs by a detector that is made up: counting, choosing, the fallback and the cache."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from faces import preprocessing
from faces.cache import Cache, digest_of
from faces.cut_faces import cut_faces, look
from faces.data import chunks
from faces.data.chunks import MOST
from faces.detect.detections import NOTHING, Detections
from faces.errors import DataError
from faces.preprocessing import WHOLE, Preprocessing

BY_BOX = Preprocessing((8, 8), "rgb", 127.5, 128.0, "box_margin", 0.0, 0, WHOLE, "none")
MIDDLE = dataclasses.replace(BY_BOX, alignment="centre_crop")
RNG = np.random.default_rng(0)
TWO_FACES, NOBODY, ONE_FACE = (RNG.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(3))


class MadeUp:
    """Finds two faces in `TWO_FACES`, none in `NOBODY`, one in every other photograph; remembers what it was asked."""

    def __init__(self):
        self.asked: list[int] = []

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self.asked.append(len(images))
        return [self.faces_of(image) for image in images]

    def faces_of(self, image: np.ndarray) -> Detections:
        if np.array_equal(image, NOBODY):
            return NOTHING
        boxes = np.array([[2, 2, 8, 9], [10, 12, 21, 29]], np.float32)  # (2, 4); the second is larger
        points = np.stack([boxes[:, :2] + n for n in range(5)], axis=1)  # (2, 5, 2)
        faces = 2 if np.array_equal(image, TWO_FACES) else 1
        return Detections(boxes[:faces], points[:faces], np.array([0.9, 0.8], np.float32)[:faces])


def test_counts_and_the_chosen_face():
    photographs = [ONE_FACE, None, NOBODY, TWO_FACES]
    done: list[int] = []
    cut = cut_faces(photographs, 4, BY_BOX, MadeUp(), "largest", progress=done.append)
    assert (cut.seen, cut.undetected, cut.several, sum(done)) == (3, (2,), 1, 4)
    assert not cut.faces[1].any() and not cut.faces[2].any()
    small, large = np.float32([2, 2, 8, 9]), np.float32([10, 12, 21, 29])
    np.testing.assert_array_equal(cut.faces[0], preprocessing.align(BY_BOX, ONE_FACE, small, None))
    np.testing.assert_array_equal(cut.faces[3], preprocessing.align(BY_BOX, TWO_FACES, large, None))
    best = cut_faces(photographs, 4, BY_BOX, MadeUp(), "best").faces[3]
    np.testing.assert_array_equal(best, preprocessing.align(BY_BOX, TWO_FACES, small, None))


def test_the_middle_where_no_face_is_found():
    cut = cut_faces([NOBODY], 1, BY_BOX, MadeUp(), "largest", MIDDLE)
    assert cut.undetected == (0,)
    np.testing.assert_array_equal(cut.faces[0], preprocessing.align(MIDDLE, NOBODY, None, None))


def test_without_a_detector_every_photograph_is_cut_alike():
    cut = cut_faces([NOBODY, TWO_FACES], 2, MIDDLE, None, "largest")
    assert (cut.seen, cut.undetected, cut.several) == (2, (), 0)
    np.testing.assert_array_equal(cut.faces[1], preprocessing.align(MIDDLE, TWO_FACES, None, None))


def test_the_cache_answers_for_what_it_has_seen(tmp_path: Path):
    detect, path = MadeUp(), tmp_path / "found.npz"
    cache = Cache(path)
    first = cut_faces([ONE_FACE, NOBODY], 2, BY_BOX, detect, "largest", cache=cache)
    cache.save()
    again = cut_faces([NOBODY, TWO_FACES, ONE_FACE], 3, BY_BOX, detect, "largest", cache=Cache(path))
    assert detect.asked == [2, 1] and again.undetected == (0,) and again.several == 1
    np.testing.assert_array_equal(again.faces[2], first.faces[0])


def test_chunks_keep_their_places():
    count = MOST + 3
    photographs = [NOBODY if n in (1, MOST + 1) else np.full((40, 30, 3), n, np.uint8) for n in range(count)]
    detect = MadeUp()
    cut = cut_faces(photographs, count, BY_BOX, detect, "largest")
    assert detect.asked == [MOST, 3] and cut.undetected == (1, MOST + 1)
    assert [face[4, 4, 0] for n, face in enumerate(cut.faces) if n not in cut.undetected] == [
        n for n in range(count) if n not in cut.undetected
    ]


def test_a_cache_of_something_else(tmp_path: Path):
    cache = Cache(tmp_path / "found.npz")
    cache.put(digest_of(ONE_FACE), np.ones(16))
    with pytest.raises(DataError, match="the cache of detections holds something else"):
        cut_faces([ONE_FACE], 1, BY_BOX, MadeUp(), "largest", cache=cache)


def test_every_face_is_cut():
    photographs = [ONE_FACE, None, NOBODY, TWO_FACES]
    done: list[int] = []
    looked = list(look(photographs, BY_BOX, MadeUp(), "all", progress=done.append))
    assert [(one.row, one.size, one.chosen) for one in looked] == [
        (0, (40, 30), (0,)), (2, (40, 30), ()), (3, (40, 30), (0, 1))
    ]  # fmt: skip
    assert sum(done) == 4 and looked[1].pictures.shape == (0, 8, 8, 3)
    small, large = np.float32([2, 2, 8, 9]), np.float32([10, 12, 21, 29])
    for picture, box in zip(looked[2].pictures, (small, large), strict=True):
        np.testing.assert_array_equal(picture, preprocessing.align(BY_BOX, TWO_FACES, box, None))
    middle = next(look([NOBODY], BY_BOX, MadeUp(), "all", MIDDLE))
    assert middle.chosen == (None,) and middle.found is not None and len(middle.found) == 0
    np.testing.assert_array_equal(middle.pictures[0], preprocessing.align(MIDDLE, NOBODY, None, None))
    whole = next(look([TWO_FACES], MIDDLE, None, "all"))
    assert whole.found is None and whole.chosen == (None,) and len(whole.pictures) == 1


def test_no_more_photographs_are_in_memory_than_their_pixels_allow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chunks, "PIXELS", 3 * 40 * 30)
    detect, read = MadeUp(), list[int]()

    def photographs():
        for row in range(8):
            read.append(row)
            assert len(read) <= sum(detect.asked) + 3  # those of earlier groups have been looked at
            yield np.full((40, 30, 3), row, np.uint8)
        yield np.full((400, 300, 3), 9, np.uint8)

    assert cut_faces(photographs(), 9, BY_BOX, detect, "largest").seen == 9
    assert detect.asked == [3, 3, 3]
