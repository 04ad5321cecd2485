"""The main that chooses a model's cosines, on generated colours."""

import json
from pathlib import Path

import numpy as np

from experiments import thresholds
from faces.data.source import ArraySource
from tests.experiments.setting import one_matrix_model, refused, result_of, run


def test_cosines_of_labelled_faces(faces_folder: Path, tmp_path: Path, one_matrix: list[str], capsys):
    model = one_matrix_model(tmp_path / "model")
    given = [str(faces_folder / "train"), "--weights", str(model), "--cache", str(tmp_path / "cache"), "--far", "0.1"]
    out = tmp_path / "out"
    result = result_of(run(thresholds.main, [*given, "--pictures", "4", "--out", str(out)]))
    assert result == json.loads((out / "result.json").read_text())
    assert (result["people"], result["pictures"]) == (12, 48)
    assert result["pairs"][0]["accepted"] <= 0.1 and result["albums"]["people"] == [10]
    assert -1 <= result["verification"] <= 1.01 and result["clustering"] in result["albums"]["thresholds"]
    few = [*given, "--people", "3", "--out", str(tmp_path / "few")]
    refused(thresholds.main, capsys, few, "there are 3 people, and 10 are needed")


def test_faces_are_turned_about_their_middle():
    picture = np.zeros((9, 9, 3), np.uint8)
    picture[4, :, :] = 200
    source = ArraySource("lines", np.stack([picture] * 3), np.zeros(3, np.int32))
    turned = list(thresholds.turned(source, 60.0, 0))
    assert all(one[4, 4, 0] == 200 and (one != picture).any() for one in turned)
    assert all((one == picture).all() for one in thresholds.turned(source, 0.0, 0))
