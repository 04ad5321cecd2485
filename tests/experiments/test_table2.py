"""Rows of Table 2 trained alike: the table, going on where it was, and what is refused."""

import shutil
from pathlib import Path

import pytest

from arcface_jax.config import Config
from experiments import table2
from faces.toml_config import load_config
from tests.experiments.setting import refused, rows_of, run


@pytest.fixture(scope="module")
def given(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> list[str]:
    """Options of runs of two steps."""
    faces = ["--data", str(faces_folder / "train"), "--eval", str(faces_folder / "lfw")]
    small = ["--model.input-size", "16", "16", "--model.embedding-dim", "8"]
    small += ["--batch.images", "16", "--train.steps", "2"]
    return ["--out", str(tmp_path_factory.mktemp("table2") / "out"), "--seeds", "1", *faces, *one_matrix, *small]


def test_two_rows_make_a_table_and_going_on_trains_what_is_missing(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = Path(given[1])
    run(table2.main, [*given, "--rows", "arcface_050"])
    first = (out / "rows.jsonl").read_bytes()
    printed = run(table2.main, [*given, "--rows", "arcface_050", "triplet_035"])
    rows = rows_of(out / "rows.jsonl")
    assert [(row["row"], row["seed"]) for row in rows] == [("arcface_050", 0), ("triplet_035", 0)]
    assert (out / "rows.jsonl").read_bytes().startswith(first)
    assert sum(", seed 0: accuracy" in line for line in printed) == 1
    assert all(0 <= row["accuracy"] <= 1 and row["loss"] > 0 for row in rows)
    table = (out / "table2.md").read_text().splitlines()
    assert len(table) == 4
    best = max(rows, key=lambda row: row["accuracy"])
    assert table[2].startswith(f"| {best['row']} | {100 * best['accuracy']:.2f} |")

    before = {path: path.read_bytes() for path in (out / "rows.jsonl", out / "table2.md")}
    assert table[2].split(" | ")[2] == "-"  # one seed has no spread

    monkeypatch.setattr(table2, "_train", lambda *_: pytest.fail("a row was trained again"))
    with (out / "rows.jsonl").open("a") as record:
        record.write('{"row": "ns_s64", "se')  # as a crash leaves it
    run(table2.main, [*given, "--rows", "arcface_050", "triplet_035"])
    assert {path: path.read_bytes() for path in before} == before

    text = (out / "rows.jsonl").read_text()
    (out / "rows.jsonl").write_text("{" + text)
    refused(table2.main, capsys, [*given, "--rows", "arcface_050"], "rows.jsonl, line 1: is damaged")
    (out / "rows.jsonl").write_text(text)
    moved, data = tmp_path / "moved", Path(given[given.index("--data") + 1])
    shutil.copytree(data, moved)
    run(table2.main, [*given, "--data", str(moved), "--rows", "arcface_050"])
    shutil.rmtree(moved / "Person_5")
    refused(table2.main, capsys, [*given, "--data", str(moved)], "1 person (Person_5) was removed")
    test = moved.with_name("test")
    shutil.copytree(data.with_name("lfw"), test)
    shutil.copy(test / "Person_1" / "Person_1_0001.png", test / "Person_2" / "Person_2_0001.png")
    refused(table2.main, capsys, [*given, "--eval", str(test)], "made with test_set lfw, 48 pairs")


def test_a_row_brings_its_loss_and_its_batch_alone():
    base, _ = load_config("arcface/tiny", Config)
    row = table2._row(base, "arcface_triplet", 7, 4)
    paper, _ = load_config("arcface/table2_arcface_triplet", Config)
    assert (row.model, row.optimiser, row.data, row.head) == (base.model, base.optimiser, base.data, base.head)
    ramp = base.loss.classifier.margin_ramp_steps
    assert ramp > 0 and row.loss == paper.with_(loss__classifier__margin_ramp_steps=ramp).loss
    assert (row.batch.images, row.batch.images_per_identity, row.train.seed) == (base.batch.images, 4, 7)
    assert table2._row(base, "arcface_050", 7, 4).batch.images_per_identity == 0
    assert table2._row(base, "softmax", 7, 4).loss == load_config("arcface/table2_softmax", Config)[0].loss


def test_what_is_refused(given: list[str], tmp_path: Path, capsys):
    out = ["--out", str(tmp_path / "out")]
    refused(table2.main, capsys, [*out, "--rows", "arcface_060"], "arcface_060: no row of Table 2", "arcface_055")
    refused(table2.main, capsys, [*out, "--data", str(tmp_path)], "--data and --eval belong together")
    assert not (tmp_path / "out").exists()


def test_a_folder_holds_rows_of_one_setting(given: list[str], capsys):
    out = Path(given[1])
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = [*given, "--rows", "arcface_050", "--optimiser.learning-rate", "0.01"]
    refused(table2.main, capsys, other, "made with optimiser.learning_rate 0.", "here it is 0.01", "--overwrite")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
