"""`prepare --detector`: photographs to aligned faces; who is left out and why, and that a kill changes nothing."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from arcface_jax.config import Config
from experiments import evaluate, pairs, prepare
from experiments.common import aligning
from experiments.common.training_faces import training_faces
from faces.align import template
from faces.aligned.looks import Looks
from faces.cli import exit_code
from faces.data.chunks import chunks
from faces.data.images import decode_stored
from faces.data.open import open_source
from faces.data.pair_sets import HELD_OUT
from faces.detect.detections import Detections
from faces.evaluate.pair_set import open_photographs
from faces.terminal import make_console
from faces.toml_config import load_config
from recognizer import aligning as looking
from recognizer import starting
from recognizer.model import open_model, write_model
from tests.experiments.setting import one_matrix_model, refused, result_of, run

COLOURS = {"ann": (60, 90, 210), "bob": (200, 60, 70), "cleo": (70, 190, 60), "dora": (190, 190, 60)}
BLANK = np.zeros((24, 48, 3), np.uint8)
SEEN: list[np.ndarray] = []


def face(person: str, seed: int, side: int = 24) -> np.ndarray:
    """Noise of a person's colour, in a square of 24 pixels."""
    noise = np.random.default_rng(seed).integers(-50, 50, (side, side, 3))
    square = np.zeros((24, 24, 3), np.uint8)
    square[:side, :side] = np.clip(np.array(COLOURS[person]) + noise, 1, 255)
    return square


def save(path: Path, *faces: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(faces, axis=1)[:, :, ::-1])


def detect(images: Sequence[np.ndarray]) -> list[Detections]:
    """A face in every 24 columns that are not black, as large as its colour goes; the leftmost has the best score."""
    found = []
    for image in images:
        SEEN.append(image)
        lefts = [x for x in range(0, image.shape[1], 24) if image[:, x : x + 24].any()]
        sides = [int(image[0, x : x + 24].any(axis=1).sum()) for x in lefts]
        boxes = np.array([[x, 0, x + side, side] for x, side in zip(lefts, sides, strict=True)], np.float32)
        boxes = boxes.reshape(-1, 4)
        points = boxes[:, None, :2] + template((24, 24))[None]  # the box is the face
        if len(lefts) and image[0, 0, 0] == 255:  # whose five points lie in one place
            points[:] = 5.0
        found.append(Detections(boxes, points, np.linspace(0.9, 0.6, len(lefts), dtype=np.float32)))
    return found


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of a detector that takes no time."""
    monkeypatch.setattr(aligning, "open_detector", lambda *_, **__: detect)
    (tmp_path / "detector.pth").write_bytes(b"made up")
    SEEN.clear()
    return ["--detector", "retinaface", "--detector-weights", str(tmp_path / "detector.pth"), "--size", "24"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> list[str]:
    return ["--weights", str(one_matrix_model(tmp_path_factory.mktemp("aligned") / "model"))]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Four people with photographs of every kind."""
    root = tmp_path / "album"
    for number in range(3):
        save(root / "ann" / f"{number}.png", face("ann", number))
        save(root / "bob" / f"{number}.png", face("bob", 10 + number))
    save(root / "ann" / "none.png", BLANK)
    save(root / "ann" / "small.png", face("ann", 3, side=12))
    save(root / "ann" / "twice.png", face("ann", 0))  # 0.png once more
    save(root / "bob" / "smooth.png", np.full((24, 24, 3), COLOURS["bob"], np.uint8))
    uncut = face("bob", 4)
    uncut[0, 0] = 255
    save(root / "bob" / "uncut.png", uncut)
    (root / "bob" / "text.png").write_text("no picture")
    save(root / "cleo" / "lost.png", BLANK)
    save(root / "dora" / "0.png", face("dora", 30))
    save(root / "dora" / "bobs.png", face("bob", 11))  # bob's 1.png
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def kinds_of(folder: Path) -> dict[str, str]:
    return {row["source"]: row["reason"].partition(":")[0] for row in rows_of(folder / "quarantine.csv")}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_reason_is_named_and_counted(album: Path, given: list[str], tmp_path: Path):
    out = tmp_path / "out"
    printed = run(prepare.main, [str(album), *given, "--out", str(out)])
    kinds = kinds_of(out)
    assert kinds == {
        "ann/none.png": "no face", "ann/small.png": "too small", "ann/twice.png": "same picture",
        "bob/1.png": "same picture", "bob/smooth.png": "blurred", "bob/text.png": "unreadable",
        "bob/uncut.png": "cannot be cut", "cleo/lost.png": "no face", "dora/bobs.png": "same picture",
    }  # fmt: skip
    reasons = {row["source"]: row["reason"] for row in rows_of(out / "quarantine.csv")}
    assert reasons["ann/small.png"] == "too small: the face has 12x12 pixels, 24 are the least"
    assert reasons["ann/twice.png"] == "same picture: the same as ann/0.png"
    assert reasons["bob/1.png"] == "same picture: the same as dora/bobs.png, under another name"
    assert reasons["dora/bobs.png"] == "same picture: the same as bob/1.png, under another name"
    for line in ("15 photographs, a face found in 12", "quarantined: 9", "  no face: 2: ann/none.png, cleo/lost.png",
                 "  same picture: 3: ann/twice.png, bob/1.png, dora/bobs.png", "  nothing is left of 1: cleo",
                 "  one photograph of several is left of 1: dora"):  # fmt: skip
        assert line in printed
    assert any("6 of 15 photographs stay (40.0%), all of theirs of 0 of 4 people" in line for line in printed)
    coverage = {row["person"]: row for row in rows_of(out / "coverage.csv")}
    assert coverage["ann"] == {
        "person": "ann", "photographs": "6", "with a face": "5", "kept": "3", "unreadable": "0", "no face": "1",
        "cannot be cut": "0", "too small": "1", "blurred": "0", "same picture": "1", "near-duplicate": "0",
    }  # fmt: skip
    assert decode_stored((out / "dropped.png").read_bytes()).shape[0] > 500
    opened = open_source(out)
    assert opened.aligned and opened.source.identity_names == ["ann", "bob", "dora"] and len(opened.source) == 6
    assert opened.source[0].shape == (24, 24, 3)
    made = opened.cut_as
    assert made is not None and (made["detector"], made["alignment"], made["size"]) == (
        "retinaface", "five_points", [24, 24],
    )  # fmt: skip
    assert not (tmp_path / "out.unfinished").exists()


def test_near_duplicates_within_and_across_people(album: Path, given: list[str], model: list[str], tmp_path: Path):
    nearly = face("ann", 1).astype(int) + np.random.default_rng(5).integers(-1, 2, (24, 24, 3))
    save(album / "ann" / "near.png", np.clip(nearly, 1, 255).astype(np.uint8))
    nearly = face("dora", 30).astype(int) + np.random.default_rng(6).integers(-1, 2, (24, 24, 3))
    save(album / "bob" / "doras.png", np.clip(nearly, 1, 255).astype(np.uint8))
    near = ["--near-duplicates", "0.999"]
    printed = run(prepare.main, [str(album), *given, *model, *near, "--out", str(tmp_path / "out")])
    dropped = [row for row in rows_of(tmp_path / "out" / "quarantine.csv") if row["reason"].startswith("near-")]
    assert [row["source"] for row in dropped] in (["ann/1.png"], ["ann/near.png"])
    assert "nearly the same as ann/" in dropped[0]["reason"]
    across = rows_of(tmp_path / "out" / "near_duplicates.csv")
    assert [(pair["first"], pair["second"]) for pair in across] == [("bob/doras.png", "dora/0.png")]
    assert any("nearly the same under two names: 1 pair, in near_duplicates.csv" in line for line in printed)
    drop = [*near, "--drop-across", "--out", str(tmp_path / "across")]
    run(prepare.main, [str(album), *given, *model, *drop])
    kinds = kinds_of(tmp_path / "across")
    assert kinds["bob/doras.png"] == kinds["dora/0.png"] == "near-duplicate"


@pytest.mark.parametrize("alignment", ["five_points", "box_margin"])
def test_of_several_faces_the_persons_own_is_meant(
    given: list[str], model: list[str], tmp_path: Path, alignment: str
):
    root = tmp_path / "album"
    for number, person in enumerate(("ann", "bob")):
        for seed in range(3):
            save(root / person / f"{seed}.png", face(person, 10 * number + seed))
    save(root / "ann" / "with_bob.png", face("bob", 20), face("bob", 21), face("ann", 22))
    save(root / "bob" / "with_ann.png", face("ann", 23), face("ann", 24), face("bob", 25))
    more = ["--alignment", alignment, "--margin", "0"] if alignment == "box_margin" else []
    own = [*given, *more, *model, "--select", "nearest_to_person", "--near-duplicates", "1"]
    run(prepare.main, [str(root), *own, "--out", str(tmp_path / "own")])
    source = open_source(tmp_path / "own").source
    names = [source.source_name(row) for row in range(len(source))]
    for person, name in (("ann", "ann/with_bob.png"), ("bob", "bob/with_ann.png")):
        colour = np.median(source[names.index(name)][6:18, 6:18].reshape(-1, 3), axis=0)
        assert np.abs(colour - COLOURS[person]).max() < 25
    run(prepare.main, [str(root), *given, "--out", str(tmp_path / "central")])
    source = open_source(tmp_path / "central").source
    colour = np.median(source[names.index("ann/with_bob.png")][6:18, 6:18].reshape(-1, 3), axis=0)
    assert np.abs(colour - COLOURS["bob"]).max() < 25


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "chunks", lambda items, pixels: chunks(items, pixels, most=3))


def test_killed_at_any_moment_the_same_command_gives_the_same(
    album: Path, given: list[str], model: list[str], small_groups: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    command = [str(album), *given, *model, "--out", str(tmp_path / "out")]
    unfinished, states = tmp_path / "out.unfinished", tmp_path / "states"
    count = iter(range(1000))

    def kept(write: Callable[..., Any]) -> Callable[..., Any]:
        def keep(self: Looks, *arguments: Any) -> Any:
            shutil.copytree(unfinished, states / f"{next(count):02d}")  # as a kill would leave it
            return write(self, *arguments)

        return keep

    with monkeypatch.context() as watched:
        watched.setattr(Looks, "place", kept(Looks.place))
        watched.setattr(Looks, "end_group", kept(Looks.end_group))
        run(prepare.main, command)
    whole, seen = content(tmp_path / "out"), len(SEEN)
    left = sorted(states.iterdir())
    assert len(left) > 20 and seen == 14
    for state in left[3 :: len(left) // 3]:
        shutil.rmtree(tmp_path / "out")
        shutil.copytree(state, unfinished)
        lines = unfinished / "looks.jsonl"
        done = len(lines.read_bytes().splitlines()) if lines.exists() else 0
        if done > 2:  # in the middle of a line
            done -= 1
            lines.write_bytes(lines.read_bytes()[:-40])
        (tmp_path / "out" / ".partial").mkdir(parents=True)
        (tmp_path / "out" / ".partial" / "part-0").write_bytes(b"half")
        SEEN.clear()
        run(prepare.main, command)
        assert len(SEEN) <= 15 - 3 * done and (done == 0 or len(SEEN) < seen)
        assert content(tmp_path / "out") == whole
        assert not unfinished.exists()


def test_interrupted_it_says_how_to_go_on(
    album: Path, given: list[str], small_groups: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    command = [str(album), *given, "--out", str(tmp_path / "out")]

    def stopped(self: Looks, looks: Any) -> None:
        if len(self) == 6:
            raise KeyboardInterrupt
        self.__class__.end_group_(self, looks)  # type: ignore[attr-defined]

    with monkeypatch.context() as broken:
        broken.setattr(Looks, "end_group_", Looks.end_group, raising=False)
        broken.setattr(Looks, "end_group", stopped)
        assert exit_code(prepare.main, command) == 130
    assert "out.unfinished; the same command goes on" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == ["out.unfinished"]

    select = ["--select", "largest"]
    refused(prepare.main, capsys, [*command, *select], "made with select most_central, and here it is largest")
    save(album / "ann" / "9.png", face("ann", 9))
    refused(prepare.main, capsys, command, "holds the faces of other photographs", "the images of 1 are others, first "
            "ann's (6 then and 7 now)", "begin anew with --overwrite")  # fmt: skip
    (album / "ann" / "9.png").unlink()
    SEEN.clear()
    printed = run(prepare.main, command)
    assert f"6 of 15 photographs are in {tmp_path / 'out.unfinished'} already" in printed and len(SEEN) == 8
    run(prepare.main, [*command, *select, "--overwrite"])
    assert open_source(tmp_path / "out").cut_as["select"] == "largest"  # type: ignore[index]


def test_a_photograph_that_has_changed_is_not_gone_on_with(
    album: Path, given: list[str], small_groups: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    command = [str(album), *given, "--out", str(tmp_path / "out")]
    with monkeypatch.context() as broken:
        broken.setattr(aligning, "judge", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare.main(command)
    before = aligning.fingerprint(open_source(album).source)
    monkeypatch.setattr(aligning, "fingerprint", lambda source: before)  # of a large set not all bytes are read
    content_ = (album / "ann" / "0.png").read_bytes()
    save(album / "ann" / "0.png", face("ann", 77))
    refused(prepare.main, capsys, command, "ann/0.png has changed since it was looked at", "--overwrite")
    (album / "ann" / "0.png").write_bytes(content_)
    SEEN.clear()
    run(prepare.main, command)
    assert not SEEN


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    root = tmp_path / "lfw"
    for person in ("ann", "bob"):
        for number in range(1, 4):
            save(root / person / f"{person}_{number:04d}.png", face(person, number, side=12 if number == 2 else 24))
    save(root / "bob" / "bob_0003.png", BLANK)
    save(root / "cleo" / "cleo_0001.png", BLANK)  # no pair has it
    (root / "pairs.txt").write_text("1\t2\nann\t1\t2\nbob\t1\t3\nann\t1\tbob\t1\nann\t3\tbob\t2\n")
    return root


def test_a_list_of_pairs_loses_none_silently(lfw: Path, given: list[str], tmp_path: Path, capsys):
    out = tmp_path / "out"
    command = [str(lfw), *given, "--out", str(out)]
    refused(prepare.main, capsys, command, "1 photograph that pairs.txt names gives no face (bob/bob_0003.png",
            "1 of 4 pairs of pairs.txt need them", "--undetected centre_crop", "--allow-missing")  # fmt: skip
    assert not out.exists()
    SEEN.clear()
    printed = run(prepare.main, [*command, "--undetected", "centre_crop"])
    assert not SEEN and "  no face, and the middle taken, in 2" in printed
    assert "kept all the same, as a list of pairs names them: 3" in printed
    assert "  too small: 2: ann/ann_0002.png, bob/bob_0002.png" in printed
    photos = open_photographs("lfw", out)
    assert photos.aligned and not photos.missing and len(photos.names) == 6
    assert all(image is not None and image.shape == (24, 24, 3) for image in photos.read())
    run(prepare.main, [*command[:-1], str(tmp_path / "partial"), "--allow-missing"])
    assert open_photographs("lfw", tmp_path / "partial").missing == ("bob/bob_0003.jpg",)


def test_several_sources(given: list[str], tmp_path: Path, capsys):
    first, second = tmp_path / "a" / "one", tmp_path / "a" / "two"
    for number in range(2):
        save(first / "ann" / f"{number}.png", face("ann", number))
        save(first / "bob" / f"{number}.png", face("bob", number))
        save(second / "ann" / f"{number}.png", face("ann", 1 + number))  # one of them is the same
        save(second / "cleo" / f"{number}.png", face("bob", 1 + number))  # likewise, under another name
    command = [str(first), str(second), *given, "--out"]
    printed = run(prepare.main, [*command, str(tmp_path / "apart")])
    assert ("in several sets: 1 name, different people, each called after the set too: ann; --merge-by-name makes "
            "them one") in printed  # fmt: skip
    source = open_source(tmp_path / "apart").source
    assert source.identity_names == ["ann (one)", "bob", "ann (two)", "cleo"]
    rows = {row["source"]: row["reason"] for row in rows_of(tmp_path / "apart" / "quarantine.csv")}
    assert rows == {
        "two/ann/0.png": "same picture: the same as one/ann/1.png",
        "one/bob/1.png": "same picture: the same as two/cleo/0.png, under another name",
        "two/cleo/0.png": "same picture: the same as one/bob/1.png, under another name",
    }
    run(prepare.main, [*command, str(tmp_path / "merged"), "--merge-by-name"])
    source = open_source(tmp_path / "merged").source
    assert source.identity_names == ["ann", "bob", "cleo"] and np.bincount(source.identities).tolist() == [3, 1, 1]
    run(prepare.main, [str(first), str(second), "--out", str(tmp_path / "as_they_are")])  # without a detector too
    assert len(open_source(tmp_path / "as_they_are").source) == 8
    refused(prepare.main, capsys, [str(first), str(first / ".." / "one"), "--out", str(tmp_path / "x")], "given twice")


def test_people_are_held_out_of_aligned_faces(given: list[str], tmp_path: Path):
    root = tmp_path / "album"
    for person in range(8):
        for number in range(3):
            save(root / f"p{person}" / f"{number}.png", face("ann", 10 * person + number))
    run(prepare.main, [str(root), *given, "--hold-out", "0.5", "--out", str(tmp_path / "out")])
    apart, stay = open_source(tmp_path / "out" / HELD_OUT), open_source(tmp_path / "out")
    assert apart.aligned and apart.cut_as == stay.cut_as and stay.cut_as is not None
    assert not set(apart.source.identity_names) & set(stay.source.identity_names) and len(apart.source) == 12
    again = run(prepare.main, [str(tmp_path / "out"), "--out", str(tmp_path / "again")])
    assert open_source(tmp_path / "again").cut_as == stay.cut_as and again
    run(pairs.main, [str(tmp_path / "out"), "--out", str(tmp_path / "pairs")])
    assert open_photographs("dev", tmp_path / "pairs").cut_as == stay.cut_as


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--select", "largest", "--drop-across"], ["--select and --drop-across change nothing", "name a --detector"]),
        (["--detector", "mtcnn", "--margin", "3"], ["--margin changes nothing", "name --alignment box_margin"]),
        (["--detector", "mtcnn", "--drop-across"], ["--drop-across changes nothing", "name --weights"]),
    ],
)
def test_options_that_change_nothing_are_refused(options: list[str], words: list[str], tmp_path: Path, capsys):
    refused(prepare.main, capsys, [str(tmp_path), "--out", str(tmp_path / "out"), *options], *words)


def test_faces_that_are_cut_out_already_are_refused(album: Path, given: list[str], tmp_path: Path, capsys):
    run(prepare.main, [str(album), *given, "--out", str(tmp_path / "out")])
    refused(prepare.main, capsys, [str(tmp_path / "out"), *given, "--out", str(tmp_path / "again")],
            "its images are aligned faces already", "leave --detector out")  # fmt: skip
    refused(prepare.main, capsys, [str(album), *given, "--out", str(album / "cut")], "whose folders are people")
    for place in ("again", "again.unfinished", "album/cut"):
        assert not (tmp_path / place).exists()


def test_nobody_left_is_one_sentence(given: list[str], tmp_path: Path, capsys):
    for person in ("ann", "bob"):
        save(tmp_path / "album" / person / "0.png", BLANK)
    refused(prepare.main, capsys, [str(tmp_path / "album"), *given, "--out", str(tmp_path / "out")],
            "usable faces of 0 people (no face 2)")  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_the_manifest_is_json(album: Path, given: list[str], model: list[str], tmp_path: Path):
    run(prepare.main, [str(album), *given, *model, "--out", str(tmp_path / "out")])
    made = json.loads((tmp_path / "out" / "prepared.json").read_text())["cut_as"]
    assert made["model"] == "0" * 64 and made["model_preprocessing"]["flip"] == "sum"


def test_whom_a_list_names_is_not_looked_at(given: list[str], tmp_path: Path):
    """By the name of one set, or of both."""
    for place in ("one", "two"):
        for number, person in enumerate(("ann", "bob", "cleo")):
            save(tmp_path / place / person / "0.png", face(person, 10 * number + len(place + person) + ord(place[0])))
    (tmp_path / "list.csv").write_text("person,test\nann,Ann\nbob (one),Bob\n")
    sources = [str(tmp_path / "one"), str(tmp_path / "two")]
    without = ["--without", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out")]
    run(prepare.main, [*sources, *given, *without])
    assert open_source(tmp_path / "out").source.identity_names == ["cleo (one)", "bob (two)", "cleo (two)"]
    assert len(SEEN) == 3


def test_training_and_evaluation_say_how_faces_were_cut_out(
    given: list[str], model: list[str], lfw: Path, tmp_path: Path, capsys
):
    out = tmp_path / "out"
    run(prepare.main, [str(lfw), *given, "--undetected", "centre_crop", "--out", str(out)])
    by_points = tmp_path / "by_points"
    opened = open_model(Path(model[1]))
    how = dataclasses.replace(opened.preprocessing, alignment="five_points")
    write_model(dataclasses.replace(opened, description=dataclasses.replace(opened.description, preprocessing=how)),
                by_points)  # fmt: skip
    (out / "pairs.txt").write_text("2\t1\nann\t1\t2\nann\t1\tbob\t1\nbob\t1\t3\nann\t3\tbob\t2\n")
    cache = ["--cache", str(tmp_path / "cache")]
    asked = [*cache, "--data", f"lfw={out}", "--out"]
    printed = run(evaluate.main, ["--weights", str(by_points), *asked, str(tmp_path / "evaluated")])
    assert ("lfw: cut out by five_points to 24x24, found by retinaface; the weights take faces by five_points to "
            "16x16, and the number is not theirs") in printed  # fmt: skip
    assert result_of(printed)["cut_as"]["lfw"]["detector"] == "retinaface"
    cut_as = open_source(out).cut_as
    assert cut_as is not None
    assert starting.said(by_points, cut_as).endswith(
        "its faces were aligned by five_points to 16x16, and those of --data were cut out by five_points to 24x24, "
        "found by retinaface: other faces than the weights know; prepare the photographs as those were"
    )
    assert starting.said(by_points, {**cut_as, "size": [16, 16]}).endswith("as those of --data, cut out by five_points "
        "to 16x16, found by retinaface")  # fmt: skip
    assert starting.said(Path(model[1]), cut_as) == starting.said(Path(model[1]))
    training_faces(out, load_config("arcface/tiny", Config)[0], make_console())
    assert f"faces of {out}: cut out by five_points to 24x24, found by retinaface" in capsys.readouterr().out
