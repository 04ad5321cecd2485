"""Folders and sets with names that markup, formats, Matplotlib or a terminal could take for their own."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import arcface, cluster, evaluate, prepare, search
from faces.cli import exit_code
from tests.experiments.setting import SMALL, one_matrix_model, run

ODD = "out [/lfw] $x_{ %s {0} \x1b[31m 李"
NAME = "x [b] $y_{ %s {0} 李"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> Path:
    return one_matrix_model(tmp_path_factory.mktemp("odd") / ODD / "model")


@pytest.fixture
def odd(tmp_path: Path, faces_folder: Path) -> Path:
    """A folder with such a name, in which all of `faces_folder` is."""
    (tmp_path / ODD).mkdir(parents=True)
    (tmp_path / ODD / "faces [x]").symlink_to(faces_folder)
    return tmp_path / ODD


def shown(odd: Path) -> str:
    return str(odd).replace("\x1b", "\\x1b")


def commands(odd: Path, model: Path) -> dict[str, tuple[Callable[[list[str]], None], list[str]]]:
    made = ["--weights", str(model), "--cache", str(odd / "cache")]
    photographs = str(odd / "faces [x]" / "lfw")
    pairs = ["--data", f"{NAME}={photographs}"]
    index = ["--index", str(odd / "enrolled" / "index.npz")]
    threshold = ["--threshold", "0.5"]
    return {
        "evaluated": (evaluate.main, [*pairs, *made]),
        "clusters": (cluster.main, [photographs, *threshold, *made]),
        "enrolled": (search.main, ["enrol", str(odd / "faces [x]" / "train"), *made]),
        "found": (search.main, ["find", photographs, *index, *threshold, *made]),
    }


def test_the_mains_that_judge_and_look_for_people(odd: Path, model: Path, capsys: pytest.CaptureFixture):
    for out, (main, arguments) in commands(odd, model).items():
        assert exit_code(main, [*arguments, "--out", str(odd / out)]) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        assert f"everything is in {shown(odd)}/{out}\n" in printed and "\x1b" not in printed
        json.loads((odd / out / "result.json").read_text())
        assert exit_code(main, [*arguments, "--out", str(odd / out)]) == 2
        assert f"error: {shown(odd)}/{out}: holds results already" in capsys.readouterr().err
    for picture in ("roc", "det", "distances", "hardest_pairs"):
        assert (odd / "evaluated" / f"{picture}_{NAME}.png").is_file()
    with (odd / "clusters" / "clusters.csv").open(newline="", encoding="utf-8") as file:
        assert {row["photograph"].startswith(shown(odd)) for row in csv.DictReader(file)} == {True}


def test_preparing_and_training(odd: Path, one_matrix: list[str], capsys: pytest.CaptureFixture):
    prepared, folder = odd / "prepared", odd / "run"
    assert exit_code(prepare.main, [str(odd / "faces [x]" / "train"), "--out", str(prepared)]) == 0
    assert f"written to {shown(odd)}/prepared\n" in capsys.readouterr().out
    given = [*SMALL["arcface"], *one_matrix, "--devices", "2", "--data", str(prepared), "--out", str(folder)]
    given += ["--eval", f"{NAME}={odd / 'faces [x]' / 'lfw'}"]
    printed = run(arcface.main, [*given, "--train.steps", "2"])
    assert f"everything is in {shown(odd)}/run" in printed and (folder / "training.png").is_file()
