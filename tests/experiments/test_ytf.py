"""Videos to the number: pairs of videos scored by loops over all pairs of frames, and what is refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments import arcface, ytf
from faces.data.ytf import read_ytf
from faces.preprocessing import align
from recognizer.model import open_model
from tests.experiments.setting import SMALL, refused, result_of, run, run_in_parts
from tests.faces.data import ytf_maker


@pytest.fixture(scope="module")
def given(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> list[str]:
    root = tmp_path_factory.mktemp("ytf")
    data = ["--data", str(faces_folder / "train"), "--devices", "2", "--train.steps", "1", "--out", str(root / "run")]
    run(arcface.main, [*SMALL["arcface"], *one_matrix, *data])
    (root / "data").mkdir()
    ytf_maker.ytf(root / "data")
    given = ["--weights", str(root / "run"), "--data", str(root / "data"), "--cache", str(root / "cache")]
    return [*given, "--alignment", "fixed_box", "--box", "0", "0", "1", "1"]


def test_both_rules_against_loops(given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ytf, "AT_ONCE", 3)
    asked = []
    evaluate = ytf.ytf.video_similarities
    monkeypatch.setattr(ytf.ytf, "video_similarities", lambda *of: asked.append(evaluate(*of)) or asked[-1])
    out = tmp_path / "out"
    printed = run(ytf.main, [*given, "--frames", "2", "--allow-missing", "--out", str(out)])
    result = result_of(printed)
    assert result == json.loads((out / "result.json").read_text())
    assert result["partial"] and result["pairs"] == 8 and set(result["rules"]) == {"mean_similarity", "mean_feature"}
    assert any(line.startswith("PARTIAL YouTube Faces: 8 of 8 pairs, 4 of 4 videos") for line in printed)
    assert cv2.imread(str(out / "roc_ytf.png")).std() > 5
    assert any("frames, taken whole, as alignment fixed_box says; no face was looked for" in line for line in printed)

    model, data = open_model(Path(given[1])), read_ytf(Path(given[3]))

    def embed(frame: str) -> np.ndarray:
        face = align(ytf.pipeline.asked_preprocessing(ytf.parse([*given, "--out", "x"]), model.preprocessing),
                     data.load(frame), None, None)  # fmt: skip
        pixels = (face.astype(np.float32) - model.preprocessing.mean) / model.preprocessing.scale
        x = np.asarray(model.apply(model.params, model.batch_stats, pixels[None], False)[0][0], np.float64)
        return x / np.sqrt(x @ x)

    frames = {v: [embed(f) for f in fs[:2]] for v, fs in zip(data.pairs.videos, data.frames, strict=True)}
    for row, (first, second, _) in enumerate(ytf_maker.ROWS):
        every = [x @ y for x in frames[first] for y in frames[second]]
        assert asked[0][row] == pytest.approx(np.mean(every), abs=1e-5)


def test_several_processes_are_one(given: list[str], tmp_path: Path):
    given = [*given, "--frames", "2", "--allow-missing"]
    one = result_of(run(ytf.main, [*given, "--out", str(tmp_path / "one")]))
    printed = run_in_parts(ytf.main, given, tmp_path, 2)
    assert {**result_of(printed), "images_per_second": 0} == {**one, "images_per_second": 0}
    assert [entry.name for entry in tmp_path.glob("of*")] == ["of0"]
    assert len([line for line in printed if line.startswith("process ")]) == 2


def test_what_is_refused(given: list[str], tmp_path: Path, capsys):
    out = ["--out", str(tmp_path / "out")]
    refused(ytf.main, capsys, [*given, *out], "fewer frames than they should", "add the frames, or --allow-missing")
    refused(ytf.main, capsys, [*given[:2], "--data", str(tmp_path), *given[4:], *out], "splits.txt")
    with pytest.raises(SystemExit):
        ytf.parse([*given, *out, "--frames", "0"])
