"""From photographs to the number: a run of one matrix, and a detector that is made up."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments import arcface, evaluate
from faces.data.lfw import read_lfw
from faces.detect.detections import NOTHING, Detections
from faces.preprocessing import align
from recognizer import pipeline
from recognizer.model import open_model
from tests.experiments.setting import SMALL, refused, result_of, run, run_in_parts
from tests.faces.data.pair_makers import pair_bin

MIDDLE = (0.25, 0.25, 0.75, 0.75)
CROP = ["--alignment", "fixed_box", "--box", *map(str, MIDDLE)]


@pytest.fixture(scope="module")
def model(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    data = ["--data", str(faces_folder / "train"), "--devices", "2"]
    run(arcface.main, [*SMALL["arcface"], *one_matrix, *data, "--train.steps", "2", "--out", str(folder)])
    return folder


@pytest.fixture(scope="module")
def given(model: Path, faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    cache = tmp_path_factory.mktemp("cache")
    return ["--weights", str(model), "--data", f"lfw={faces_folder / 'lfw'}", "--cache", str(cache)]


def by_hand(model: Path, folder: Path) -> np.ndarray:
    """Cosines of the pairs of a list, float64, with the network applied to one image at a time."""
    opened, lfw = open_model(model), read_lfw(folder)
    middle = dataclasses.replace(opened.preprocessing, box=MIDDLE)

    def embed(name: str) -> np.ndarray:
        pixels = (align(middle, lfw.load(name), None, None).astype(np.float32) - 127.5) / 128.0
        x = np.asarray(opened.apply(opened.params, opened.batch_stats, pixels[None], False)[0][0], np.float64)
        return x / np.sqrt(x @ x)

    return np.array([embed(a) @ embed(b) for a, b in zip(lfw.pairs.first, lfw.pairs.second, strict=True)])


def test_scores_pictures_and_result_line(given: list[str], model: Path, faces_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    printed = run(evaluate.main, [*given, *CROP, "--out", str(out)])
    result = result_of(printed)
    assert result == json.loads((out / "result.json").read_text())
    assert result["pairs"] == 48 and result["coverage"] == 1.0 and result["config"] == "iresnet_of_one_matrix"
    assert result["detection"] == {"lfw": {"photographs": 48, "present": 48, "detected": None, "several": None}}
    taken = "  48 photographs, the same part of each taken (0.25, 0.25, 0.75, 0.75 of"
    assert any(line.startswith(taken) for line in printed)
    assert not any("face found" in line for line in printed)
    assert (result["detector"], result["select"], result["undetected"]) == ("none", None, None)
    assert result["preprocessing"]["box"] == list(MIDDLE)
    assert any("changed: box (0.0, 0.0, 1.0, 1.0) -> (0.25, 0.25, 0.75, 0.75)" in line for line in printed)
    with np.load(out / "scores_lfw.npz") as scores:
        assert scores["score"].dtype == np.float32 and scores["score"].shape == (48,)
        np.testing.assert_allclose(scores["score"], by_hand(model, faces_folder / "lfw"), atol=1e-5)
        assert scores["same"].sum() == 24
    for picture in ("roc", "det", "distances", "hardest_pairs"):
        assert cv2.imread(str(out / f"{picture}_lfw.png")).std() > 5
    # Nothing is embedded twice.
    printed = run(evaluate.main, [*given, *CROP, "--out", str(tmp_path / "again")])
    again = result_of(printed)
    assert again["images_per_second"] is None and result["images_per_second"] > 0
    assert "embeddings of 48 pictures are from the cache" in printed
    assert {**again, "images_per_second": 0} == {**result, "images_per_second": 0}


def test_several_processes_each_embed_a_share_and_one_has_the_results(model: Path, tmp_path: Path):
    """Three; 40 images are not divisible by three."""
    given = ["--weights", str(model), "--data", f"bin={pair_bin(tmp_path / 'pairs.bin')}"]
    alone = result_of(run(evaluate.main, [*given, "--cache", str(tmp_path / "own"), "--out", str(tmp_path / "one")]))
    printed = run_in_parts(evaluate.main, given, tmp_path, 3)
    assert [entry.name for entry in tmp_path.glob("of*")] == ["of0"]
    shares = sorted(line for line in printed if line.startswith("process "))
    for number, count in enumerate((13, 13, 14)):
        assert shares[number] == f"process {number} of 3: {count} photographs looked at, {count} faces embedded"
    assert "embeddings of 40 pictures are from the cache" in printed
    result = result_of(printed)
    assert {**result, "images_per_second": 0} == {**alone, "images_per_second": 0}
    scores = [np.load(tmp_path / place / "scores_bin.npz")["score"] for place in ("one", "of0")]
    np.testing.assert_allclose(*scores, atol=1e-6)


@pytest.fixture
def one_has_no_face(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A detector that finds the box of `MIDDLE` in all photographs but the first that it is shown."""
    asked: list[int] = []

    def detect(images: Sequence[np.ndarray]) -> list[Detections]:
        found = []
        for image in images:
            asked.append(1)
            box = np.array([[6, 6, 18, 18]], np.float32) * (image.shape[0] / 24)
            points = box[:, None, :2] + np.float32([[2, 3], [9, 3], [6, 6], [3, 9], [8, 9]])[None]
            found.append(NOTHING if len(asked) == 1 else Detections(box, points, np.ones(1, np.float32)))
        return found

    monkeypatch.setattr(pipeline, "open_detector", lambda name, weights, network, manifest: detect)
    return asked


def test_one_byte_a_dimension_stands_beside_what_was_rounded(given: list[str], tmp_path: Path):
    results = {
        name: result_of(run(evaluate.main, [*given, *CROP, *more, "--out", str(tmp_path / name)]))
        for name, more in (("floats", []), ("bytes", ["--one-byte"]))
    }
    assert results["bytes"]["as_floats"] == results["floats"]["tests"] and "as_floats" not in results["floats"]
    scores = {}
    for name in results:
        with np.load(tmp_path / name / "scores_lfw.npz") as stored:
            scores[name] = stored["score"]
    moved = np.abs(scores["bytes"] - scores["floats"])
    assert 1e-6 < moved.max() < 0.02


def test_a_face_that_is_not_found_refuses_the_number(
    given: list[str], tmp_path: Path, one_has_no_face: list[int], capsys
):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"made up")
    by_box = [*given, "--detector", "retinaface", "--detector-weights", str(weights), "--alignment", "box_margin"]
    by_box += ["--out", str(tmp_path / "out")]
    words = "lfw: no face was found in 1 of 48 photographs (Person_0/Person_0_0001.jpg), which are there"
    refused(evaluate.main, capsys, by_box, words, "--undetected centre_crop", "--allow-missing")
    assert len(one_has_no_face) == 48
    printed = run(evaluate.main, [*by_box, "--allow-missing"])
    assert len(one_has_no_face) == 48  # the cache knows, the face that is not there as well
    assert any("a face found in 47 of 48, more than one in 0 (most_central taken)" in line for line in printed)
    partial = result_of(printed)
    assert any("45 of 48 pairs; no face found in Person_0/Person_0_0001.jpg" in line for line in printed)
    assert partial["pairs"] == 45 and partial["coverage"] < 1  # the first photograph is in three pairs
    with np.load(tmp_path / "out" / "scores_lfw.npz") as scores:
        assert np.isnan(scores["score"]).sum() == 3
    whole = result_of(run(evaluate.main, [*by_box, "--undetected", "centre_crop", "--overwrite"]))
    assert (whole["pairs"], whole["detection"]["lfw"]["detected"]) == (48, 47)


def test_a_missing_picture_is_named_before_anything_is_opened(faces_folder: Path, tmp_path: Path, capsys):
    shutil.copytree(faces_folder / "lfw", tmp_path / "lfw")
    (tmp_path / "lfw" / "Person_0" / "Person_0_0001.png").unlink()
    given = ["--weights", str(tmp_path / "none"), "--data", f"lfw={tmp_path / 'lfw'}", "--out", str(tmp_path / "out")]
    words = "lfw: 1 of 48 pictures that its list names are missing (Person_0/Person_0_0001.jpg); add them"
    refused(evaluate.main, capsys, given, words, "--allow-missing")
    refused(evaluate.main, capsys, [*given, "--allow-missing"], "none: nothing lies there")


def test_lowered_quality_changes_the_scores(given: list[str], tmp_path: Path):
    scores = {}
    for name, more in {"plain": [], "jpeg": ["--jpeg-quality", "10"], "pixels": ["--pixels", "16"],
                       "more": ["--pixels", "65536"]}.items():  # fmt: skip
        remarks = result_of(run(evaluate.main, [*given, *more, "--out", str(tmp_path / name)]))["remarks"]
        assert ("pixels = 65,536 shrinks nothing: all 48 faces" in remarks.get("lfw", "")) == (name == "more")
        with np.load(tmp_path / name / "scores_lfw.npz") as stored:
            scores[name] = stored["score"]
    assert np.abs(scores["jpeg"] - scores["plain"]).max() > 0.01
    assert np.abs(scores["pixels"] - scores["plain"]).max() > 0.01
    np.testing.assert_array_equal(scores["more"], scores["plain"])


def test_what_is_refused(given: list[str], tmp_path: Path, capsys):
    out = ["--out", str(tmp_path / "out")]
    refused(evaluate.main, capsys, [*given, *out, "--alignment", "five_points"], "name a --detector")
    refused(evaluate.main, capsys, [*given, *out, "--margin", "32"], "margin and resized are of")
    refused(evaluate.main, capsys, [*given, *out, "--margin", "0"], "--margin changes nothing: margin and resized are")
    refused(evaluate.main, capsys, [*given, *out, "--select", "best"], "--select changes nothing", "name a --detector")
    refused(evaluate.main, capsys, [*given, *out, "--undetected", "refuse", "--select", "best"],
            "--select and --undetected change nothing")  # fmt: skip
    for option in ("--network", "--symbol"):
        refused(evaluate.main, capsys, [*given, *out, option, "x"], f"{option} changes nothing", "is a folder")
    box = ["--box", "0", "0", "1", "1", "--alignment", "centre_crop"]
    refused(evaluate.main, capsys, [*given, *out, *box], "--box changes nothing", "this is centre_crop")
    refused(evaluate.main, capsys, ["--weights", str(tmp_path / "none"), *given[2:], *out], "none: nothing lies there")
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        evaluate.parse([*given, *out, "--detector-weights", "det"])
    assert "--detector-weights belong to a detector; name it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.parse([*given, *out, "--detector", "mtcn"])
    nearest = 'there is no detector "mtcn"; the nearest is "mtcnn" (all: retinaface, mtcnn, scrfd)'
    assert nearest in capsys.readouterr().err


def test_a_detector_that_would_change_nothing_is_refused(
    given: list[str], tmp_path: Path, one_has_no_face: list[int], capsys
):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"made up")
    looking = ["--detector", "retinaface", "--detector-weights", str(weights), "--out", str(tmp_path / "out")]
    refused(evaluate.main, capsys, [*given, *looking],
            "--detector retinaface changes nothing: the model's alignment, fixed_box,", "five_points")  # fmt: skip
    cropped = [*given, *looking, "--alignment", "centre_crop"]
    refused(evaluate.main, capsys, cropped, "--alignment centre_crop takes the same part", "leave it out")
    assert not one_has_no_face and not (tmp_path / "out").exists()


def test_nothing_is_looked_for_in_aligned_faces(given: list[str], tmp_path: Path, capsys):
    pairs = pair_bin(tmp_path / "pairs.bin")
    of_bin = [*given[:2], "--data", f"pairs={pairs}", *given[4:], "--out", str(tmp_path / "out")]
    refused(evaluate.main, capsys, [*of_bin, "--alignment", "two_eyes"], "--alignment changes nothing", "aligned faces")
    refused(evaluate.main, capsys, [*of_bin, *CROP], "--box changes nothing: the pictures are aligned faces")
