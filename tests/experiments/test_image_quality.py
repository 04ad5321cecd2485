"""FaceNet's Table 4: each row is what `experiments.evaluate` gives for that setting."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments import arcface, evaluate, image_quality
from tests.experiments.setting import SMALL, refused, result_of, run


@pytest.fixture(scope="module")
def given(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> list[str]:
    folder = tmp_path_factory.mktemp("image_quality")
    data = ["--data", str(faces_folder / "train"), "--devices", "1"]
    run(arcface.main, [*SMALL["arcface"], *one_matrix, *data, "--train.steps", "1", "--out", str(folder / "run")])
    model = ["--weights", str(folder / "run"), "--cache", str(folder / "cache")]
    return [*model, "--data", f"lfw={faces_folder / 'lfw'}"]


def test_rows_pictures_and_other_models(given: list[str], tmp_path: Path, capsys):
    printed = run(image_quality.main, [*given, "--out", str(tmp_path / "one")])
    result = result_of(printed)
    assert result["rows"] == json.loads((tmp_path / "one" / "image_quality.json").read_text())["rows"]
    # No number of pixels of the table is below those of this network's small faces, and the command says so.
    assert result["left_out_pixels"] == [1_600, 6_400, 14_400, 25_600, 65_536]
    said = "1,600; 6,400; 14,400; 25,600; 65,536 pixels: left out, as the network's pictures have 256 themselves"
    assert said in " ".join(" ".join(printed).split())
    assert [row["jpeg_quality"] for row in result["rows"]] == [0, 10, 20, 30, 50, 70, 90]
    for row, options in {0: [], 1: ["--jpeg-quality", "10"]}.items():
        expected = result_of(run(evaluate.main, [*given, *options, "--out", str(tmp_path / f"evaluated{row}")]))
        numbers = {"accuracy": "accuracy", "accuracy_se": "accuracy_se", "val": "val_at_far_1e-3"}
        assert {key: result["rows"][row][key] for key in numbers} == {k: expected[v] for k, v in numbers.items()}

    run(image_quality.main, [*given, "--out", str(tmp_path / "two"), "--beside", str(tmp_path / "one")])
    for kind in ("jpeg_quality", "pixels"):
        alone, beside = (cv2.imread(str(tmp_path / run / f"{kind}.png")) for run in ("one", "two"))
        assert alone.std() > 5 and not np.array_equal(alone, beside)

    refused(image_quality.main, capsys, [*given, "--out", str(tmp_path / "x"), "--beside", str(tmp_path)], "no record")
    assert not (tmp_path / "x").exists()


def test_settings_are_those_that_take_something_away():
    settings, left_out = image_quality._settings((112, 112))
    assert [value for kind, value in settings if kind == "pixels"] == [1_600, 6_400]
    assert left_out == [14_400, 25_600, 65_536]
    assert len(image_quality._settings((257, 256))[0]) == 1 + 6 + 5
