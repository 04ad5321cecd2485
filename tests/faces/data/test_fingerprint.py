"""Another training set is told from what it was, by the first difference, whatever lies on disk."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faces.data import marks
from faces.data.fingerprint import fingerprint, from_json
from faces.data.image_folder import FolderSource
from faces.data.open import open_source
from faces.data.preparing import write_prepared
from faces.data.source import ArraySource, Relabelled, Subset, limit_images
from faces.data.synthetic import generated
from faces.data.synthetic.generated import generated_faces
from faces.errors import DataError
from tests.faces.data.makers import encoded, packed, picture, write_rec


def folder_of(root: Path, people: dict[str, list[int]]) -> Path:
    for person, numbers in people.items():
        (root / person).mkdir(parents=True)
        for place, number in enumerate(numbers):
            (root / person / f"{place}.bmp").write_bytes(encoded(picture(number), ".bmp"))  # all of one size
    return root


PEOPLE = {"Bea": [0, 1, 2], "Cid": [3, 4], "Dan": [5, 6]}


def add_person(root: Path) -> None:
    folder_of(root, {"Aaron": [7, 8]})


def remove_person(root: Path) -> None:
    shutil.rmtree(root / "Cid")


def rename_person(root: Path) -> None:
    (root / "Cid").rename(root / "Cod")


def add_file(root: Path) -> None:
    shutil.copy(root / "Bea" / "0.bmp", root / "Dan" / "9.bmp")


def rename_file(root: Path) -> None:
    (root / "Dan" / "0.bmp").rename(root / "Dan" / "00.bmp")


def replace_file(root: Path) -> None:
    shutil.copy(root / "Bea" / "0.bmp", root / "Dan" / "0.bmp")  # as many bytes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_person, "1 person (Aaron) was added"),
        (remove_person, "1 person (Cid) was removed"),
        (rename_person, "1 person (Cod) was added; 1 person (Cid) was removed"),
        (add_file, "the images of 1 are others, first Dan's (2 then and 3 now)"),
        (rename_file, "the images of 1 are others, first Dan's (2 then and 2 now)"),
        (replace_file, "the images of 1 are others, first Dan's (2 then and 2 now)"),
    ],
)
@pytest.mark.parametrize("is_large", [False, True])
def test_every_change_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], words: str, is_large: bool
):
    if is_large and change is not replace_file:  # which only those that are looked at can tell
        monkeypatch.setattr(marks, "every", lambda images, wanted: 2)
    root = folder_of(tmp_path / "set", PEOPLE)
    then = fingerprint(FolderSource(root))
    assert then.difference(fingerprint(FolderSource(root))) == ""
    change(root)
    assert then.difference(fingerprint(FolderSource(root))) == words


def test_a_set_that_was_moved_is_the_same_set(tmp_path: Path):
    root = folder_of(tmp_path / "set", PEOPLE)
    then = fingerprint(FolderSource(root))
    root.rename(tmp_path / "other")
    assert then.difference(fingerprint(FolderSource(tmp_path / "other"))) == ""


def test_prepared_sets_and_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = folder_of(tmp_path / "set", PEOPLE)
    write_prepared(FolderSource(root), tmp_path / "one")
    add_person(root)
    write_prepared(FolderSource(root), tmp_path / "two")
    replace_file(root)
    write_prepared(FolderSource(root), tmp_path / "three")
    one, two, three = (fingerprint(open_source(tmp_path / name).source) for name in ("one", "two", "three"))
    assert one.difference(two) == "1 person (Aaron) was added"
    assert two.difference(three) == "the images of 1 are others, first Dan's (2 then and 2 now)"
    monkeypatch.setattr("faces.data.prepared.RECORDS_MARKED", 2)
    of_few = [fingerprint(open_source(tmp_path / name).source) for name in ("one", "two", "three")]
    assert of_few[1].difference(of_few[2]) == "the images of 1 are others, first Dan's (2 then and 2 now)"

    records = {1 + n: packed(float(n // 2), encoded(picture(n))) for n in range(6)}
    rec = fingerprint(open_source(write_rec(tmp_path / "a.rec", records)).source)
    assert rec.difference(fingerprint(open_source(write_rec(tmp_path / "b.rec", records)).source)) == ""
    records[3] = packed(1.0, encoded(picture(9)))
    other = fingerprint(open_source(write_rec(tmp_path / "c.rec", records)).source)
    assert rec.difference(other) == "the images of 1 are others, first 1's (2 then and 2 now)"
    records[3] = packed(2.0, encoded(picture(2)))
    assert "first 1's (2 then and 1 now)" in rec.difference(
        fingerprint(open_source(write_rec(tmp_path / "d.rec", records)).source)
    )


def test_choices_labels_and_order_count():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    source = ArraySource("made", images, np.arange(20, dtype=np.int32) // 4)
    whole = fingerprint(source)
    assert whole.difference(fingerprint(Subset(source, np.arange(20)))) == ""
    assert whole.difference(fingerprint(Subset(source, np.arange(16)))) == "1 person (4) was removed"
    assert whole.difference(fingerprint(limit_images(source, 12, seed=0))) == "2 people (0, 1) were removed"
    assert "the images of" in whole.difference(fingerprint(Relabelled(source, 0.2, seed=0)))
    turned = Subset(source, np.concatenate([np.arange(16, 20), np.arange(16)]))
    assert "another order" in whole.difference(fingerprint(turned))
    twins = [Relabelled(source, 0.5, seed) for seed in (1, 2)]
    assert fingerprint(twins[0]).difference(fingerprint(twins[1]))


def test_generated_faces_are_told_by_their_numbers(monkeypatch: pytest.MonkeyPatch):
    blank = np.full((generated.BLOCK, 3, 8, 8), 9, np.uint8)
    monkeypatch.setattr(generated, "_draw_numbered", lambda *_: blank)  # which takes seconds to compile
    faces = generated_faces(2, 2, 8, seed=0)
    one, darker = fingerprint(faces), dataclasses.replace(faces, images=faces.images - 1)
    assert one.difference(fingerprint(darker)) == ""  # as another machine may draw them
    for old, new in (("seed 0", "seed 1"), ("2 images", "3 images"), ("8 pixels", "9 pixels"), ("from 0", "from 2")):
        assert old in faces.drawn_from
        other = dataclasses.replace(faces, drawn_from=faces.drawn_from.replace(old, new))
        assert one.difference(fingerprint(other))


@pytest.mark.parametrize("content", [None, [], {}, {"each": 3}, {"each": [["a", 1]]}, {"each": [["a", "b", "c"]]}])
def test_what_was_written_is_read_back_and_what_is_damaged_is_refused(content: object):
    given = fingerprint(ArraySource("made", np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 1, 0], np.int32)))
    stored = json.loads(json.dumps(given.to_json()))
    assert from_json(stored, "x.json") == given
    with pytest.raises(DataError, match=r"x\.json: is damaged"):
        from_json(content, "x.json")
    with pytest.raises(DataError, match=r"x\.json: is damaged"):
        from_json(stored | {"images": 5}, "x.json")
