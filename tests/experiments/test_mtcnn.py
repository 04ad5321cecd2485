"""The MTCNN main from end to end on networks of one matrix and a detector that computes nothing."""

import json
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import mtcnn
from experiments.common import detection_data
from faces.checkpoint_folder import load_weights
from faces.detect.detections import Detections
from faces.detect.looks import TILE, Sizes
from mtcnn_jax import examples
from mtcnn_jax import train_step as training
from mtcnn_jax.config import NAMES
from mtcnn_jax.networks import Net, Outputs
from recognizer.detector_identity import RECORD, read_record
from tests.experiments.setting import refused, result_of, rows_of, run
from tests.experiments.test_retinaface import flat_crops
from tests.experiments.wider_maker import write_wider

SMALL = [
    *("--test", "4", "--optimiser.schedule", "constant", "--optimiser.warmup-steps", "0"),
    *("--course.log-every", "1", "--course.checkpoint-every", "2", "--course.evaluate-every", "2"),
]
for _name in NAMES:
    SMALL += [f"--{_name}.windows", "320", f"--{_name}.steps", "3", f"--{_name}.images", "16"]


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Networks without published names, faces that cost nothing, and windows that pass whatever the networks say."""
    for module in (examples, training):
        patch.setattr(module, "make_net", one_matrix)
    patch.setattr(detection_data, "generated_crops", flat_crops)
    patch.setattr(mtcnn, "make_detector", always_the_same)
    patch.setattr(mtcnn, "to_facenet_pytorch", lambda nets: {f"{name}net": nets[name] for name in NAMES})


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def one_matrix(name: str, points: bool | None = None) -> Net:
    def init(key: jax.Array) -> dict[str, jax.Array]:
        return {"matrix": 0.01 * jax.random.normal(key, (12 * 12 * 3, 16))}

    def apply(params: dict[str, jax.Array], images: jax.Array) -> Outputs:
        face, box, five = jnp.split(images.reshape(len(images), -1) @ params["matrix"], [2, 6], axis=1)
        outputs = (face, box, five.reshape(-1, 5, 2))
        return Outputs(*(jnp.expand_dims(x, (1, 2)) if name == "p" else x for x in outputs))

    return Net(init, apply, 12)


def always_the_same(cascade, options):
    """The same windows of every picture, fewer behind each further network."""
    corners = np.array([[1, 1, 40, 40], [20, 30, 60, 70], [60, 60, 90, 90], [5, 70, 44, 109]], np.float32)
    corners = corners[: 5 - len(cascade)]
    scores = np.linspace(0.9, 0.8, len(corners), dtype=np.float32)
    return lambda images: [Detections(corners, np.zeros((len(corners), 5, 2), np.float32), scores) for _ in images]


def given(out: Path, *more: str) -> list[str]:
    scenes = [] if "--data" in more else ["--scenes", "16"]
    return [*SMALL, *scenes, "--out", str(out), *more]


def test_outputs_and_result_line(tmp_path: Path):
    out = tmp_path / "run"
    printed = run(mtcnn.main, given(out, "--devices", "2"))
    result = result_of(printed)
    assert result == json.loads((out / "result.json").read_text())
    assert result["test_images"] == 4 and result["test_faces"] > 4 and result["data"]["train"] == "16 scenes of flat"
    assert list(result["stages"]) == list(NAMES) and all(one["steps"] == 3 for one in result["stages"].values())
    assert result["ap"] == result["stages"]["o"]["after"]["ap"] and 0 <= result["ap_before"] <= 1
    for name in NAMES:
        assert [row["step"] for row in rows_of(out / name / "log.jsonl")] == [1, 2, 3]
        assert all(np.isfinite(row["loss"]) for row in rows_of(out / name / "log.jsonl"))
        assert [row["step"] for row in rows_of(out / name / "evaluations.jsonl")] == [2]
        with np.load(out / "weights" / f"{name}net.npz") as weights:
            assert weights["matrix"].shape == (432, 16)
            assert read_record(out, weights[RECORD]) == ("mtcnn", Sizes(20, TILE, 128))
        assert not (out / name / "windows.npz").exists()
    for picture in ("detections", "training"):
        assert cv2.imread(str(out / f"{picture}.png")) is not None
    text = "\n".join(printed)
    for name in "PRO":
        assert f"{name}-net before training: ap " in text and f"{name}-net after training: ap " in text
    assert "steps = 3" in (out / "config.toml").read_text()
    assert "config mtcnn/scenes:" in text and "changed: p.steps 2500 -> 3" in text


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run(mtcnn.main, given(whole, "--devices", "1"))

    def interrupted(name, config, mesh):
        step, calls = training.make_train_step(name, config, mesh), []

        def some(state, batch):
            calls.append(name)
            if name == "r" and len(calls) == 3:
                raise KeyboardInterrupt
            return step(state, batch)

        return some

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mtcnn, "make_train_step", interrupted)
        run(mtcnn.main, given(halves, "--devices", "1"))
    assert (halves / "r" / "windows.npz").exists()
    refused(mtcnn.main, capsys, given(halves), "holds results already", "--resume")
    refused(mtcnn.main, capsys, given(halves, "--resume", "--scenes", "17"), "trains on 16 scenes", "not on 17 scenes")
    refused(mtcnn.main, capsys, given(halves, "--resume", "--test", "5"), "is tested on 4 scenes", "not on 5 scenes")
    other = given(halves, "--resume", "--loss.box-weight", "0.6")
    refused(mtcnn.main, capsys, other, "loss.box_weight = 0.5", "asks for 0.6")
    log = (halves / "r" / "log.jsonl").read_text()
    (halves / "r" / "log.jsonl").write_text("{\n" + log)
    refused(mtcnn.main, capsys, given(halves, "--resume"), "r/log.jsonl, line 1: is damaged")
    (halves / "r" / "log.jsonl").write_text(log)
    assert "box_weight = 0.5" in (halves / "config.toml").read_text()
    printed = "\n".join(run(mtcnn.main, given(halves, "--devices", "8", "--resume")))
    assert "R-net: resumed at step 2" in printed and "P-net: resumed" not in printed
    for name in NAMES:
        (step, mine), (their_step, theirs) = (load_weights(one / name / "checkpoints") for one in (whole, halves))
        assert step == their_step == 3
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), mine, theirs)
        assert [row["step"] for row in rows_of(halves / name / "log.jsonl")] == [1, 2, 3]


def test_wider_face(tmp_path: Path):
    write_wider(tmp_path)
    wider = ["--data", str(tmp_path), "--labels", str(tmp_path / "labels"), "--eval", f"wider={tmp_path}"]
    result = result_of(run(mtcnn.main, given(tmp_path / "run", *wider, "--devices", "1")))
    assert result["test_faces"] == 6 and result["stages"]["o"]["steps"] == 3
    assert result["wider"]["images"] == 3 and result["wider"]["faces"] == {"easy": 3, "medium": 6, "hard": 9}
    assert all(0 <= result["wider"][name] <= 1 for name in ("easy", "medium", "hard"))
    assert rows_of(tmp_path / "run" / "o" / "log.jsonl")[0]["points"] > 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--r.images", "12", "--devices", "8"], ["r.images = 12", "8 devices"]),
        (["--o.images", "5"], ["images: at least 7"]),
        (["--windows.part", "0.7"], ["part < positive"]),
        (["--eval", "wider=nowhere"], ["nowhere/WIDER_val/images", "no such folder"]),
        (["--resume"], ["no run to resume"]),
    ],
)
def test_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: list[str]):
    refused(mtcnn.main, capsys, given(tmp_path / "run", *more), *words)
    assert not (tmp_path / "run").exists()


def test_another_test_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        mtcnn.main(given(tmp_path / "run", "--eval", "lfw=x"))
    assert "wider=DIR is expected" in capsys.readouterr().err
