"""People of one set who are in another: found by name and by embedding, listed, drawn, left out of a training set."""

import csv
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest

from experiments import overlap, prepare
from experiments.common.contact_sheets import GAP, TILE
from experiments.common.face_sets import EmbeddedSet, FaceSet, some_of_each
from experiments.common.overlap_lines import levels
from experiments.common.pair_sheets import BETWEEN, EACH, HEAD, WORDS, Side, draw_pairs, drawable
from faces.data.images import decode_image
from faces.data.open import open_source
from faces.data.pair_people import PairPeople
from faces.data.prepared import EncodedSource
from faces.data.source import ArraySource
from faces.evaluate.overlap import embedded
from recognizer.model import Model
from tests.experiments.setting import one_matrix_model, refused, result_of, run
from tests.experiments.test_search import detector as detector
from tests.faces.data.makers import encoded, image_folder, insightface_rec
from tests.faces.data.pair_makers import pair_bin

COMMON = ("Ann_Lee", "Bo Yi", "Cy_Orr", "Di Ray")


def images_of(seed: int, count: int = 3) -> list[bytes]:
    """One person's: a pattern with a little noise."""
    rng = np.random.default_rng(seed)
    pattern, noise = rng.integers(20, 236, (16, 16, 3)), rng.integers(-15, 16, (count, 16, 16, 3))
    return [encoded(np.clip(pattern + one, 0, 255).astype(np.uint8)) for one in noise]


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Twelve people each; the first four of both are the same ones, one under another name and one under a near one."""
    train = {name: images_of(at) for at, name in enumerate(COMMON)}
    train |= {f"t{'abcdefgh'[at]}": images_of(100 + at) for at in range(8)} | {"Ed_Fox": images_of(300)}
    test = {name: images_of(at, 5)[3:] for at, name in enumerate(("ann lee", "Someone", "Cy_M_Orr", "Di_Ray"))}
    test |= {f"e{'abcdefgh'[at]}": images_of(200 + at, 2) for at in range(8)} | {"Ed_Fox": images_of(301)}
    return image_folder(tmp_path / "train", train), image_folder(tmp_path / "eval", test)


@pytest.fixture
def given(tmp_path: Path, one_matrix: list[str]) -> list[str]:
    return ["--weights", str(one_matrix_model(tmp_path / "model")), "--cache", str(tmp_path / "cache")]


def sheet_of(path: Path) -> np.ndarray:
    sheet = cv2.imread(str(path))
    assert sheet is not None
    return sheet


def lines(out: Path) -> list[dict[str, str]]:
    with (out / "overlap.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_people_are_proposed_drawn_and_left_out(sets, given, tmp_path):
    out = tmp_path / "out"
    printed = run(overlap.main, [*map(str, sets), *given, "--threshold", "0.93", "--out", str(out)])
    result, listed = result_of(printed), lines(out)
    assert result == json.loads((out / "result.json").read_text())
    found = {(line["person"], line["of_eval"]): line for line in listed}
    assert set(found) == {
        ("Ann_Lee", "ann lee"), ("Bo Yi", "Someone"), ("Cy_Orr", "Cy_M_Orr"), ("Di Ray", "Di_Ray"), ("Ed_Fox", "Ed_Fox")
    }  # fmt: skip
    assert found["Ann_Lee", "ann lee"]["found_by"] == "name + centres + images"
    assert found["Bo Yi", "Someone"]["found_by"] == "centres + images"
    assert found["Cy_Orr", "Cy_M_Orr"]["found_by"] == "near name + centres + images"
    assert found["Ed_Fox", "Ed_Fox"]["found_by"] == "name" and float(found["Ed_Fox", "Ed_Fox"]["best_cosine"]) < 0.8
    assert listed[-1]["person"] == "Ed_Fox" and listed[0]["image"].startswith(listed[0]["person"] + "/")
    assert result["found_by"] == {"name": 3, "near name": 1, "centres": 4, "images": 4}
    assert (result["pairs"], result["people"], result["images"]) == (5, 5, 15)
    assert result["images_compared"]["pairs"] == 39 * 27 and result["images_compared"]["expected_false"] > 0
    sheet = sheet_of(out / "pairs.png")
    assert sheet.shape[0] == HEAD + 5 * (TILE + GAP) and any("pairs.png: all 5 pairs" in line for line in printed)
    assert len(list(sets[0].glob("*/*.png"))) == 3 * 13  # nothing is deleted
    # a line that is not believed is deleted
    text = (out / "overlap.csv").read_text("utf-8").splitlines(keepends=True)
    (out / "overlap.csv").write_text("".join(text[:-1]), "utf-8")
    printed = run(prepare.main, [str(sets[0]), "--out", str(tmp_path / "set"), "--without", str(out / "overlap.csv")])
    assert any("left out" in line and "4 people with 12 images" in line for line in printed)
    assert sorted(open_source(tmp_path / "set").source.identity_names) == ["Ed_Fox", *(f"t{c}" for c in "abcdefgh")]


def face_set(seed: int, people: int, names_people: bool = True) -> EmbeddedSet:
    """Three images each, of which no two people's are alike."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(people), 3)
    x = rng.normal(size=(people, 64))[identities] + 0.5 * rng.normal(size=(3 * people, 64))
    source = ArraySource(f"set {seed}", np.zeros((len(identities), 1, 1, 3), np.uint8), identities.astype(np.int32))
    faces = FaceSet(Path(source.name), cast(EncodedSource, source), True, names_people)
    return EmbeddedSet(faces, np.arange(len(identities)), np.arange(people), embedded(x, identities), {})


def test_the_more_is_compared_the_higher_the_cosine():
    """And none is below the model's own, nor is one chosen on images of people who may be one."""
    small, large = ([face_set(seed, people) for seed in (0, 1)] for people in (60, 300))
    own = cast(Model, SimpleNamespace(threshold=0.3))
    found = [levels(sets, own, None, false, 0) for sets, false in ((small, 10.0), (large, 10.0), (large, 1.0))]
    for one, other in itertools.pairwise(found):
        assert 0.3 <= one[0].cosine < other[0].cosine and one[1].cosine < other[1].cosine
    images, centres = found[2]
    assert images.compared == 900**2 and centres.compared == 300**2 and 0.4 < images.cosine < 0.75
    expected = images.expected(images.cosine)
    assert expected is not None and 0.3 < expected <= 1.0
    assert "about" in images.said() and f"from {images.cosine:g} on" in images.said()
    assert [level.cosine for level in levels(large, own, 0.5, 10.0, 0)] == [0.5, 0.5]
    strict = cast(Model, SimpleNamespace(threshold=0.9))
    assert [level.cosine for level in levels(large, strict, None, 10.0, 0)] == [0.9, 0.9]
    pairs = [face_set(0, 300, names_people=False), face_set(1, 3, names_people=False)]
    unknown = levels(pairs, own, None, 10.0, 0)[0]
    assert unknown.strangers is None and unknown.cosine == 0.3 and "too few people" in unknown.said()


def test_a_name_that_the_source_does_not_have(sets, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("Ann_Lee\nBo_Yi\n")
    arguments = [str(sets[0]), "--out", str(tmp_path / "set"), "--without", str(tmp_path / "list.txt")]
    refused(prepare.main, capsys, arguments, 'list.txt, line 2: "Bo_Yi" is nobody in', 'did you mean "Bo Yi"?')
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("kind", ["records", "bin", "prepared"])
def test_any_source(sets, given, tmp_path, kind):
    """Numbered people have no names to compare; a person of whom no image decodes is listed by name alone."""
    train, test = sets
    bad = train / "Gil_Ida"
    bad.mkdir()
    (bad / "x.png").write_bytes(images_of(5)[0][:60])
    images = [path.read_bytes() for path in sorted(test.glob("*/*.png"))]
    if kind == "records":
        (tmp_path / "rec").mkdir()
        test = tmp_path / "rec" / "train.rec"
        insightface_rec(test, [images_of(0, 5)[3:], images_of(400)])
    elif kind == "bin":
        test = tmp_path / "pairs.bin"
        pairs = [images_of(0, 5)[3:], images_of(400, 2), [images_of(0, 5)[3], images_of(400, 1)[0]]]
        pair_bin(test, 10 * [image for pair in pairs for image in pair], 10 * [True, True, False])
    else:
        image_folder(test, {"gil ida": images_of(401)})
        run(prepare.main, [str(test), "--out", str(tmp_path / "prepared")])
        test = tmp_path / "prepared"
    out = tmp_path / "out"
    printed = run(overlap.main, [str(train), str(test), *given, "--threshold", "0.97", "--out", str(out)])
    result, listed = result_of(printed), lines(out)
    assert result["left_out"]["train"].keys() == {"Gil_Ida/x.png"}
    assert float({line["person"]: line for line in listed}["Ann_Lee"]["best_cosine"]) > 0.97
    if kind == "prepared":
        assert listed[-1]["person"] == "Gil_Ida" and listed[-1]["best_cosine"] == "" and len(images) == 27
    else:
        assert any("numbers and no names" in line for line in printed) and len(listed) == 1
        assert result["sets"]["eval"] == {"images": len(PairPeople(test)) if kind == "bin" else 5, "people": 2,
                                          "aligned": True}  # fmt: skip


def test_photographs_are_searched_for_faces_and_faces_are_not(sets, given, tmp_path, detector, capsys):
    """An image without a face is counted and named; the faces found are those that a set of faces has."""
    photographs = tmp_path / "photographs"
    for name, seed in (("Ann_Lee", 0), ("Bo Yi", 1), ("nobody", None)):
        face = np.zeros((24, 24, 3), np.uint8)
        if seed is not None:  # what the detector cuts out has the pixels of the other set
            face = cv2.resize(decode_image(images_of(seed)[0], ""), (24, 24), interpolation=cv2.INTER_NEAREST)
        image_folder(photographs, {name: [encoded(np.concatenate([np.zeros_like(face), face], axis=1))]})
    out = tmp_path / "out"
    arguments = [*given, *detector, "--aligned", "train", "--threshold", "0.8", "--out", str(out)]
    result = result_of(run(overlap.main, [str(sets[0]), str(photographs), *arguments]))
    assert result["left_out"] == {"train": {}, "eval": {"nobody/nobody_0001.png": "no face found in it"}}
    assert result["sets"]["train"]["aligned"] and not result["sets"]["eval"]["aligned"]
    found = {(line["person"], line["of_eval"]): float(line["best_cosine"]) for line in lines(out)}
    assert found["Ann_Lee", "Ann_Lee"] > 0.6 and found["Bo Yi", "Bo Yi"] > 0.6
    needs = [str(sets[0]), str(photographs), *given, "--alignment", "box_margin", "--out", str(tmp_path / "x")]
    refused(overlap.main, capsys, needs, "needs the face found; name a --detector")


@pytest.mark.parametrize("kind", ["records", "several", "held out"])
def test_of_any_source_people_and_images_are_left_out(sets, tmp_path, kind):
    listed = tmp_path / "list.csv"
    given = [str(place) for place in sets]
    if kind == "records":
        (tmp_path / "rec").mkdir()
        insightface_rec(tmp_path / "rec" / "train.rec", [images_of(seed) for seed in range(4)])
        given = [str(tmp_path / "rec")]
        listed.write_text("person,of_eval\n1,x\n3,y\n1,z\n")
    elif kind == "several":  # people of one name in both, of whom one line means all
        listed.write_text("person\nEd_Fox\nCy_Orr\n")
    else:
        given = [given[0], "--hold-out", "0.4"]
        listed.write_text("image\nCy_Orr/Cy_Orr_0001.png\nCy_Orr/Cy_Orr_0002.png\nCy_Orr/Cy_Orr_0003.png\n")
    given += ["--out", str(tmp_path / "out"), "--without", str(listed)]
    printed = "\n".join(run(prepare.main, given))
    names = open_source(tmp_path / "out").source.identity_names
    if kind == "records":
        assert names == ["0", "2"] and "2 people with 6 images" in printed and open_source(tmp_path / "out").aligned
    elif kind == "several":
        assert "3 people with 9 images" in printed and len(names) == 26 - 3
        assert not any("Fox" in name or name == "Cy_Orr" for name in names) and "Cy_M_Orr" in names
    else:
        names += open_source(tmp_path / "out" / "held_out").source.identity_names
        assert len(names) == 12 and "Cy_Orr" not in names and "1 person with 3 images" in printed


def test_refused(sets, given, tmp_path, capsys):
    train, test = map(str, sets)
    out = ["--out", str(tmp_path / "out")]
    refused(overlap.main, capsys, [train, train, *given, *out], "is both sets")
    few = image_folder(tmp_path / "few", {"a": images_of(1, 1), "b": images_of(2, 1)})
    other = image_folder(tmp_path / "other", {"a": images_of(1, 1), "c": images_of(2, 1)})
    refused(overlap.main, capsys, [str(few), str(other), *given, *out], "too few to choose a cosine", "--threshold")
    for wrong in (["--false", "0"], ["--candidates", "0"], ["--images", "0"], ["--aligned-box", "0", "0", "0", "1"]):
        with pytest.raises(SystemExit):
            overlap.main([train, test, *given, *out, *wrong])
    assert not (tmp_path / "out").exists()


def test_some_of_each_person():
    identities = np.random.default_rng(0).integers(0, 7, 90)
    assert some_of_each(identities, None, 0).tolist() == list(range(90))
    two, five = (some_of_each(identities, most, 3) for most in (2, 5))
    assert np.bincount(identities[two]).tolist() == [2] * 7 and np.isin(two, five).all() and (np.diff(two) > 0).all()
    assert some_of_each(identities, 2, 4).tolist() != two.tolist()


def test_people_of_a_file_of_pairs(tmp_path):
    a, b, c, d, e = (images_of(seed, 1)[0] for seed in range(5))
    pair_bin(tmp_path / "x.bin", 5 * [d, a, a, b, c, b, e, a], 5 * [False, True, False, True])
    people = PairPeople(tmp_path / "x.bin")  # d, a, b, c, e in the order of their first use
    assert people.identities.tolist() == [0, 1, 1, 2, 1] and people.identity_names == ["0", "1", "4"]
    assert people.source_name(2) == "image 3" and people[0].shape == (16, 16, 3) and len(people.marks()) == 5


def test_pairs_are_drawn_side_by_side(tmp_path):
    grey = lambda value, count: np.full((count, 8, 8, 3), value, np.uint8)  # noqa: E731
    pairs = [Side((f"{n}", "a", "b"), grey(10 + n, 1 + n % 7), grey(100 + n, 2)) for n in range(30)]
    said = draw_pairs(iter(pairs), 30, ("x", "one", "other"), tmp_path)
    assert said == "pairs_1.png to pairs_2.png: all 30 pairs"
    for name, start, count in (("pairs_1.png", 0, 24), ("pairs_2.png", 24, 6)):
        sheet = sheet_of(tmp_path / name)
        assert sheet.shape[0] == HEAD + count * (TILE + GAP)
        for row in range(count):
            n, middle = start + row, sheet[HEAD + row * (TILE + GAP) + TILE // 2, :, 0]
            first, second = (middle[left + TILE // 2 :: TILE + GAP][:EACH] for left in
                             (WORDS, WORDS + EACH * (TILE + GAP) + BETWEEN))  # fmt: skip
            assert [value for value in first if value != 255] == [10 + n] * min(EACH, 1 + n % 7)
            assert [value for value in second if value != 255] == [100 + n] * 2
    assert drawable("José 王 " + "x" * 40) == "Jose ? " + "x" * 27 + ".."
