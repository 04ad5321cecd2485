"""The RetinaFace main from end to end on a network of one matrix a stride: outputs, resuming, WIDER FACE, refusals."""

import dataclasses
import json
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from experiments import retinaface
from experiments.common import detection_data
from faces.checkpoint_folder import load_weights
from faces.data.source import ArraySource
from faces.detect.looks import Sizes
from recognizer.detector_identity import NETWORKS, RECORD, read_record
from retinaface_jax.network import BODIES
from tests.experiments.setting import refused, result_of, rows_of, run
from tests.experiments.wider_maker import write_wider
from tests.retinaface_jax.test_training import Patches

SMALL = [
    *("--input.network", "patches", "--input.size", "64", "--input.faces", "8", "--batch.images", "8"),
    *("--test", "4", "--optimiser.learning-rate", "0.01", "--optimiser.schedule", "constant"),
    *("--train.log-every", "1", "--train.checkpoint-every", "3", "--train.evaluate-every", "2"),
]


def make_small(patch: pytest.MonkeyPatch) -> None:
    """A network without published names, and faces that cost nothing."""
    patch.setitem(BODIES, "patches", Patches)
    of_patches = dataclasses.replace(NETWORKS["retinaface_mobilenet025"], body="patches")
    patch.setitem(NETWORKS, "retinaface_patches", of_patches)
    patch.setattr(detection_data, "generated_crops", flat_crops)
    patch.setattr(retinaface, "to_pytorch", lambda weights: {"norm.weight": weights.params["norm"]["scale"]})


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def flat_crops(people: int, images: int, seed: int) -> ArraySource:
    """Crops of one colour each with darker eyes."""
    rng = np.random.default_rng(seed)
    crops = np.repeat(rng.integers(120, 255, (20, 1, 1, 3)), 112 * 112, axis=1).reshape(20, 112, 112, 3)
    crops[:, 45:58, 32:45] = crops[:, 45:58, 67:80] = 30
    return ArraySource("flat", crops.astype(np.uint8), np.repeat(np.arange(10, dtype=np.int32), 2))


def given(out: Path, steps: int, *more: str) -> list[str]:
    scenes = [] if "--data" in more else ["--scenes", "16"]
    return [*SMALL, *scenes, "--out", str(out), "--train.steps", str(steps), *more]


def test_outputs_and_result_line(tmp_path: Path):
    out = tmp_path / "run"
    printed = run(retinaface.main, given(out, 3, "--devices", "2"))
    result = result_of(printed)
    assert result == json.loads((out / "result.json").read_text())
    assert result["test_images"] == 4 and result["test_faces"] > 4 and result["steps"] == 3
    assert 0 <= result["ap"] <= 1 and 0 <= result["ap_before"] <= 1 and result["images_per_second"] > 0
    assert result["data"]["train"] == "16 scenes of flat"
    assert [row["step"] for row in rows_of(out / "log.jsonl")] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) for row in rows_of(out / "log.jsonl"))
    assert [row["step"] for row in rows_of(out / "evaluations.jsonl")] == [2]
    for picture in ("detections", "training"):
        assert cv2.imread(str(out / f"{picture}.png")) is not None
    with np.load(out / "retinaface.npz") as weights:
        assert weights["norm.weight"].shape == (3,)
        assert read_record(out, weights[RECORD]) == ("retinaface_patches", Sizes(20, 64 * 0.5 / 0.6, 64))
    assert "size = 64" in (out / "config.toml").read_text()


def test_six_steps_are_three_and_three_on_other_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run(retinaface.main, given(whole, 6, "--devices", "1"))
    run(retinaface.main, given(halves, 3, "--devices", "1"))
    printed = run(retinaface.main, given(halves, 6, "--devices", "8", "--resume"))
    assert "resumed at step 3" in printed
    (step, mine), (their_step, theirs) = load_weights(whole / "checkpoints"), load_weights(halves / "checkpoints")
    assert step == their_step == 6
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), mine, theirs)
    refused(retinaface.main, capsys, given(halves, 6), "holds results already", "--resume")


def test_resuming_with_other_data_or_another_config_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    run(retinaface.main, given(out, 2, "--devices", "1"))
    kept = (out / "config.toml").read_text()
    again = given(out, 2, "--devices", "1", "--resume")
    refused(retinaface.main, capsys, [*again, "--scenes", "17"], "trains on 16 scenes", "not on 17 scenes")
    refused(retinaface.main, capsys, [*again, "--test", "5"], "is tested on 4 scenes", "not on 5 scenes")
    refused(retinaface.main, capsys, [*again, "--loss.box-weight", "3"], "loss.box_weight = 2.0", "asks for 3.0")
    refused(retinaface.main, capsys, [*again, "--train.seed", "1"], "train.seed = 0", "asks for 1")
    refused(retinaface.main, capsys, [*again, "--train.steps", "1"], "is at step 2 already", "ask for more")
    (out / "log.jsonl").write_text("{\n" + (out / "log.jsonl").read_text())
    refused(retinaface.main, capsys, again, "log.jsonl, line 1: is damaged")
    assert (out / "config.toml").read_text() == kept


def test_wider_face(tmp_path: Path):
    write_wider(tmp_path)
    wider = ["--data", str(tmp_path), "--config", "retinaface/paper", "--train.evaluate-every", "0"]
    for more, are_points in (([], False), (["--labels", str(tmp_path / "labels")], True)):
        out = tmp_path / f"run{are_points}"
        judged = ["--eval", f"wider={tmp_path}"] if are_points else []
        result = result_of(run(retinaface.main, given(out, 1, *wider, *more, *judged, "--devices", "1")))
        assert result["test_faces"] == 6
        assert (rows_of(out / "log.jsonl")[0]["points"] > 0) == are_points
        assert ("wider" in result) == are_points
    assert result["wider"]["images"] == 3 and result["wider"]["faces"] == {"easy": 3, "medium": 6, "hard": 9}
    assert all(0 <= result["wider"][name] <= 1 for name in ("easy", "medium", "hard"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--batch.images", "12", "--devices", "8"], ["batch.images = 12", "8 devices"]),
        (["--input.size", "70"], ["input.size", "multiple of 32"]),
        (["--loss.background-overlap", "0.5"], ["background_overlap <= face_overlap"]),
        (["--data", "nowhere"], ["nowhere/WIDER_train/images", "no such folder"]),
        (["--eval", "wider=nowhere"], ["nowhere/WIDER_val/images", "no such folder"]),
        (["--resume"], ["no run to resume"]),
    ],
)
def test_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: list[str]):
    refused(retinaface.main, capsys, given(tmp_path / "run", 1, *more), *words)
    assert not (tmp_path / "run").exists()


def test_people_are_parted():
    faces = flat_crops(0, 0, 0)
    training, held_out = detection_data.split_people(faces, 0)
    assert (len(training), len(held_out)) == (18, 2)
    assert not any((held_out[0] == training[row]).all() for row in range(18))
