"""`pairs` and `prepare --hold-out`: a list of pairs of anybody's people that the mains take as a set to choose by."""

import csv
import json

import numpy as np
import pytest

from experiments import evaluate, pairs, prepare
from faces.cli import exit_code
from faces.data.lfw import read_lfw, read_pairs
from faces.data.open import open_source
from faces.evaluate.pair_set import open_photographs
from tests.experiments.setting import one_matrix_model, refused
from tests.faces.data.makers import encoded, image_folder, insightface_rec, picture

PEOPLE = {name: [encoded(picture(10 * at + seed)) for seed in range(4)] for at, name in enumerate("abcdefghijkl")}


def run(main, *arguments) -> None:
    assert exit_code(main, [str(argument) for argument in arguments]) == 0


@pytest.mark.parametrize("kind", ["folder", "records", "prepared", "odd names"])
def test_a_set_with_its_list_of_any_source(tmp_path, kind):
    source = tmp_path / "in"
    if kind == "records":
        source.mkdir()
        insightface_rec(source / "train.rec", list(PEOPLE.values()))
    else:
        image_folder(source, PEOPLE)
    if kind == "odd names":
        (source / "a").rename(source / "a:b\tc")
        (source / "b").rename(source / "C")
        for number, path in enumerate(sorted(source.glob("*/*.png"))):
            path.rename(path.with_name(f"IMG {number}.png"))
    if kind == "prepared":
        run(prepare.main, source, "--out", tmp_path / "prepared")
        source = tmp_path / "prepared"
    run(pairs.main, source, "--out", tmp_path / "dev", "--folds", 3)
    lfw = read_lfw(tmp_path / "dev")
    assert not lfw.missing and lfw.pairs.folds.max() == 2 and lfw.pairs.same.mean() == 0.5
    photographs = open_photographs("dev", tmp_path / "dev")
    assert photographs.aligned == (kind == "records")
    assert sum(image is not None for image in photographs.read()) == len(photographs.names)
    # the images are the source's, under the names that names.csv gives them, if it had to
    given = open_source(source).source
    place = {given.source_name(row): row for row in range(len(given))}
    table = tmp_path / "dev" / "names.csv"
    assert table.is_file() == (kind in ("records", "odd names"))
    rows = csv.DictReader(table.read_text("utf-8").splitlines()) if table.is_file() else []
    origin = {row["name"]: row["source"] for row in rows}
    for name in lfw.pairs.first[:5]:
        stored = lfw.source.source_name(lfw.index[name])
        np.testing.assert_array_equal(lfw.load(name), given[place[origin.get(stored, stored)]])


def test_the_same_seed_draws_the_same_and_another_others(tmp_path):
    source = image_folder(tmp_path / "in", PEOPLE)
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        run(pairs.main, source, "--out", tmp_path / name, "--seed", seed)
    one, two, three = ((tmp_path / name / "pairs.txt").read_text() for name in ("one", "two", "three"))
    assert one == two != three


def test_the_list_alone_beside_images_that_are_called_so(tmp_path, capsys):
    source = image_folder(tmp_path / "in", PEOPLE)
    run(pairs.main, source, "--out", source / "pairs.txt", "--folds", 2, "--pairs", 5)
    assert len(read_pairs(source / "pairs.txt").same) == 20 and not read_lfw(source).missing
    refused(pairs.main, capsys, [str(source), "--out", str(source / "pairs.txt")], "is there already")
    (source / "a" / "a_0001.png").rename(source / "a" / "x.png")
    refused(
        pairs.main,
        capsys,
        [str(source), "--out", str(tmp_path / "other.txt"), "--folds", "2", "--kind", "folder"],
        "a/x.png is not called as LFW calls images",
        "give --out a folder",
    )
    assert not (tmp_path / "other.txt").exists()


def test_people_held_out_are_a_set_of_their_own(tmp_path, capsys):
    source = image_folder(tmp_path / "in", PEOPLE | {"m": [b"text", PEOPLE["a"][0][:30], PEOPLE["b"][0]]})
    run(prepare.main, source, "--out", tmp_path / "out", "--hold-out", 0.4, "--seed", 3)
    printed = capsys.readouterr().out
    assert "held out, in held_out: " in printed and "nobody in two folds" in printed
    stay, held = (open_source(tmp_path / name).source for name in ("out", "out/held_out"))
    assert len(held.identity_names) == 5 and not {*stay.identity_names} & {*held.identity_names}
    assert {*stay.identity_names, *held.identity_names} == {*PEOPLE, "m"}
    dev = open_photographs("dev", tmp_path / "out" / "held_out")
    assert dev.aligned and not dev.missing
    assert not (tmp_path / "out" / "pairs.txt").exists()


@pytest.mark.parametrize("part", ["0.05", "0.9"])
def test_too_few_held_out_or_left(tmp_path, capsys, part):
    source = image_folder(tmp_path / "in", PEOPLE)
    arguments = [str(source), "--out", str(tmp_path / "out"), "--hold-out", part]
    refused(prepare.main, capsys, arguments, "at least 4 must be held out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("one_matrix")
def test_evaluate_takes_it_as_faces(tmp_path):
    source = image_folder(tmp_path / "in", PEOPLE)
    run(prepare.main, source, "--out", tmp_path / "out", "--hold-out", 0.5)
    model = one_matrix_model(tmp_path / "model")
    run(evaluate.main, "--weights", model, "--data", f"dev={tmp_path / 'out' / 'held_out'}", "--out",
        tmp_path / "results", "--cache", tmp_path / "cache")  # fmt: skip
    found = json.loads((tmp_path / "results" / "result.json").read_text())
    assert found["detection"]["dev"]["detected"] is None
