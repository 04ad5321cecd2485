"""Error by factor: of generated faces, and of photographs by measures and labels."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments import evaluate, factors
from faces.data.source import ArraySource
from faces.data.synthetic.generated import generated_nuisances
from faces.evaluate import pair_set
from tests.experiments.setting import one_matrix_model, refused, result_of, run
from tests.faces.data.makers import picture


@pytest.fixture
def model(tmp_path: Path, one_matrix: list[str]) -> Path:
    return one_matrix_model(tmp_path / "model")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_generated_faces_by_what_is_known(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    people = np.repeat(np.arange(20), 20)
    pictures = np.stack([picture(n, 16, 16) for n in range(400)])
    made = ArraySource("made", pictures, people.astype(np.int32), "made")
    monkeypatch.setattr(pair_set, "generated_faces", lambda *_: made)
    out = tmp_path / "out"
    given = ["--weights", str(model), "--people", "20", "--images", "20", "--by", "yaw", "occlusion", "resolution"]
    result = result_of(run(factors.main, [*given, "--parts", "3", "--out", str(out)]))
    assert result == json.loads((out / "result.json").read_text())
    assert set(result["tests"]) == {"generated", "generated_lowered"}
    table = rows(out / "factors_generated.csv")
    assert [row["factor"] for row in table] == ["yaw"] * 3 + ["occlusion"] * 3
    assert sum(int(row["pairs"]) for row in table[:3]) == 3000 == sum(int(row["pairs"]) for row in table[3:])
    yaw = np.abs(np.degrees(generated_nuisances(20, 20, 0, 400).yaw))
    assert float(table[0]["least"]) > 0 and float(table[2]["greatest"]) <= yaw.max() + 1e-6
    assert table[3]["group"] == "0"
    assert cv2.imread(str(out / "factors_generated_lowered.png")).std() > 5
    by = result["tests"]["generated"]["factors"]["yaw"]["groups"]
    assert by[0]["accuracy"] == pytest.approx(float(table[0]["accuracy"]))


def test_photographs_by_measures_and_labels(model: Path, faces_folder: Path, tmp_path: Path, capsys):
    labels = tmp_path / "sites.csv"
    test = pair_set.open_photographs("lfw", faces_folder / "lfw")
    lines = [f"{name},{'north' if n % 2 else 'south'}" for n, name in enumerate(test.names[1:])]
    labels.write_text("\n".join(["image,site", *lines, "Nobody/Nobody_0001.jpg,south"]) + "\n")
    given = ["--weights", str(model), "--data", f"lfw={faces_folder / 'lfw'}", "--cache", str(tmp_path / "cache")]
    out = tmp_path / "out"
    printed = run(evaluate.main, [*given, "--by", "light", "--parts", "2", "--groups", str(labels), "--out", str(out)])
    assert any("sites.csv, site: 1 images are not in lfw (Nobody/Nobody_0001.jpg)" in line for line in printed)
    text = " ".join(" ".join(printed).split())
    assert f"pairs are in no group: no measure of 1 image ({test.names[0]})" in text
    result = result_of(printed)["factors"]["lfw"]
    assert len(result["light"]["groups"]) == 2 and result["light"]["pairs_left_out"] == 0
    sites = [group["group"] for group in result["site"]["groups"]]
    assert set(sites) <= {"north", "south", "north with south"} and result["site"]["images_without_measure"] == 1
    assert [row["factor"] for row in rows(out / "factors_lfw.csv")] == ["light", "light", *("site" for _ in sites)]
    assert cv2.imread(str(out / "factors_lfw.png")).std() > 5

    bad = [*given, "--out", str(tmp_path / "other")]
    refused(evaluate.main, capsys, [*bad, "--by", "yaw", "blur"], "--by yaw: measured by what a detector finds", "lfw")
    refused(evaluate.main, capsys, [*bad, "--parts", "3"], "--parts changes nothing")
    refused(evaluate.main, capsys, [*bad, "--by", "blur", "blur"], "--by blur blur: each factor once")
    refused(evaluate.main, capsys, [*bad, "--by", "blur", "--parts", "0"], "--parts 0: 1 or more")
    refused(evaluate.main, capsys, [*bad, "--groups", str(tmp_path / "none.csv")], "none.csv")
    labels.write_text("image,site\nNobody,south\n")
    refused(evaluate.main, capsys, [*bad, "--groups", str(labels)], "column site has no label of an image of lfw")
    assert not (tmp_path / "other").exists()
