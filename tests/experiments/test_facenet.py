"""The FaceNet main from end to end on a small folder of faces: its outputs, resuming, and what it refuses."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np
import pytest

from experiments import facenet
from facenet_jax.train_step import init_state
from faces import cli
from faces.checkpoint import Checkpoints
from faces.cut_faces import cut_faces
from faces.errors import ConfigError
from faces.evaluate.pair_set import open_photographs
from faces.mesh import make_mesh, replicated
from faces.train_state import TrainState
from recognizer.model import embedder_of, open_model
from tests.experiments import setting
from tests.experiments.setting import result_of, rows_of, run

SMALL = setting.SMALL["facenet"]
REPOSITORY = Path(__file__).parents[2]


def arguments(root: Path, out: Path, steps: int, *more: str) -> list[str]:
    return [*SMALL, "--data", str(root / "train"), "--out", str(out), "--train.steps", str(steps), *more]


def judged(root: Path) -> list[str]:
    return ["--eval", f"lfw={root / 'lfw'}"]


class Whole(NamedTuple):
    """A run of six steps on one device that nothing interrupted: what the others are compared with."""

    folder: Path
    given: list[str]
    printed: list[str]


@pytest.fixture(scope="module")
def whole(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp("whole") / "run"
    given = arguments(faces_folder, out, 6, *judged(faces_folder), "--train.evaluate-every", "3", "--devices", "1")
    return Whole(out, given, run(facenet.main, given))


def final_state(given: list[str], devices: int = 1) -> tuple[TrainState, Any]:
    """The last checkpoint's state and place in the data."""
    options, config = facenet.parse(given)
    mesh = make_mesh(devices)
    shapes = jax.eval_shape(lambda: init_state(config, mesh))
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), shapes)
    with Checkpoints(options.out / "checkpoints") as checkpoints:
        state, place = checkpoints.restore(like, config)
    return jax.device_get(state), place


def assert_same_log(folder: Path, other: Path, steps: int) -> None:
    rows, their_rows = (rows_of(run / "log.jsonl")[:steps] for run in (folder, other))
    assert len(rows) == steps
    for row, theirs in zip(rows, their_rows, strict=True):
        assert row["step"] == theirs["step"] and row["pairs"] == theirs["pairs"]
        np.testing.assert_allclose(row["loss"], theirs["loss"], rtol=1e-4)


def test_outputs_and_result_line(whole: Whole):
    out, result = whole.folder, result_of(whole.printed)
    assert result == json.loads((out / "result.json").read_text())
    expected = {"accuracy", "accuracy_se", "val_at_far_1e-3", "eer", "auc", "pairs", "coverage", "images_per_second"}
    assert expected | {"config", "data"} <= result.keys()
    assert result["pairs"] == 48 and result["coverage"] == 1.0 and result["config"] == "facenet/tiny"
    assert 0.5 <= result["accuracy"] <= 1 and result["images_per_second"] > 0
    names = {path.name for path in out.iterdir()}
    assert {"config.toml", "environment.json", "log.jsonl", "evaluations.jsonl", "checkpoints"} <= names
    for picture in ("training", "roc", "distances", "hardest_pairs"):
        assert cv2.imread(str(out / f"{picture}.png")) is not None
    assert [row["step"] for row in rows_of(out / "log.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows_of(out / "evaluations.jsonl")] == [3]
    assert any("changed: train.steps 250 -> 6" in line for line in whole.printed)


def test_a_runs_own_number_is_that_of_its_weights(whole: Whole, faces_folder: Path):
    """Training cuts test images by `evaluation.crop`; whoever opens the run cuts the same pixels."""
    model, photographs = open_model(whole.folder), open_photographs("lfw", faces_folder / "lfw")
    cut = cut_faces(photographs.read(), len(photographs.names), model.preprocessing, None, "most_central")
    config = facenet.parse(whole.given)[1]
    np.testing.assert_array_equal(cut.faces, photographs.cut(config.model.input_size, config.evaluation).images)
    result = photographs.with_images(cut.faces).evaluate(embedder_of(model, make_mesh(1))(cut.faces), 1e-3)
    stated = result_of(whole.printed)
    assert (result.accuracy, result.val) == (stated["accuracy"], stated["val_at_far_1e-3"])
    np.testing.assert_allclose([result.auc, result.eer], [stated["auc"], stated["eer"]], rtol=1e-6)


def test_without_a_test_set_nothing_is_said_of_evaluations_and_one_may_come_later(
    faces_folder: Path, tmp_path: Path, one_matrix: list[str]
):
    out, more = tmp_path / "run", [*one_matrix, "--model.batch-norm", "global", "--devices", "1"]
    printed = run(facenet.main, [*arguments(faces_folder, out, 2, *more), "--train.evaluate-every", "1"])
    assert not [line for line in printed if line.startswith("step ")] and rows_of(out / "evaluations.jsonl") == []
    (out / "evaluations.jsonl").write_text('{"step": 1, "minutes": 0.1}\n')  # as runs of earlier versions have it
    resumed = arguments(faces_folder, out, 3, *more, *judged(faces_folder), "--resume")
    assert result_of(run(facenet.main, resumed))["pairs"] == 48
    assert cv2.imread(str(out / "training.png")) is not None


def test_six_steps_are_three_and_three_on_other_devices(whole: Whole, faces_folder: Path, tmp_path: Path):
    halves = tmp_path / "halves"
    run(facenet.main, arguments(faces_folder, halves, 3, "--devices", "1"))
    given = arguments(faces_folder, halves, 6)
    run(facenet.main, [*given, "--devices", "4", "--resume"])
    (state, place), (resumed, their_place) = final_state(whole.given), final_state(given, devices=4)
    assert int(state.step) == int(resumed.step) == 6 and place == their_place
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), state.params, resumed.params)
    assert_same_log(whole.folder, halves, 6)


KILLED_IN_STEP_5 = """
import os, signal, sys, time
from pathlib import Path
from experiments import facenet
from faces import train_loop

place_batch, given = train_loop.place_batch, []

def place_or_die(mesh, batch):
    given.append(batch)
    while len(given) == 5:
        if Path(sys.argv[1], "3").is_dir():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
    return place_batch(mesh, batch)

train_loop.place_batch = place_or_die
facenet.main(sys.argv[2:])
"""


def test_killed_and_resumed_is_never_interrupted(whole: Whole, faces_folder: Path, tmp_path: Path):
    """SIGKILL in the middle, then --resume: every weight has the bits of the run that was left alone."""
    killed = tmp_path / "killed"
    given = arguments(faces_folder, killed, 6, "--devices", "1")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_STEP_5, str(killed / "checkpoints"), *given],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        timeout=240,
    )
    assert done.returncode == -signal.SIGKILL and not (killed / "result.json").exists()
    run(facenet.main, [*given, "--resume"])
    one, other = final_state(whole.given)[0], final_state(given)[0]
    jax.tree.map(np.testing.assert_array_equal, (one.params, one.opt_state), (other.params, other.opt_state))


def test_two_processes_are_one_run(whole: Whole, faces_folder: Path, tmp_path: Path):
    """Three steps of two processes of four devices each, joined on loopback, against one process of one device.

    Then the machine of one is no longer there, and the other goes on alone: with the same batches, and the same rate.
    """
    two = tmp_path / "two"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4"
    joined = ["--coordinator", address, "--processes", "2", "--process"]
    given = arguments(faces_folder, two, 3, *judged(faces_folder))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.facenet", *given, *joined, number],
            env={**os.environ, "XLA_FLAGS": flags, "PYTHONWARNINGS": "ignore"},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in "01"
    ]
    try:
        printed = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)
    assert "result: " in printed[0] and "result: " not in printed[1]
    assert "batches of 16 (2 a device)" in printed[0]
    assert_same_log(whole.folder, two, 3)
    (after_three,) = rows_of(whole.folder / "evaluations.jsonl")
    accuracy = json.loads((two / "result.json").read_text())["accuracy"]
    assert accuracy == pytest.approx(after_three["accuracy"], abs=0.05)

    given = arguments(faces_folder, two, 6)
    assert "batches of 16 (4 a device)" in "\n".join(run(facenet.main, [*given, "--devices", "4", "--resume"]))
    assert_same_log(whole.folder, two, 6)
    (state, place), (resumed, their_place) = final_state(whole.given), final_state(given, devices=4)
    assert int(resumed.step) == 6 and place == their_place
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), state.params, resumed.params)


def refused(capsys: Any, given: list[str], *words: str) -> None:
    setting.refused(facenet.main, capsys, given, *words)


def test_bad_input_is_one_sentence_and_leaves_nothing(faces_folder: Path, tmp_path: Path, capsys):
    out, data = tmp_path / "run", tmp_path / "data"
    data.mkdir()
    refused(capsys, [*SMALL, "--data", str(data), "--out", str(out)], str(data))
    (data / "Only").mkdir()
    for picture in range(20):
        cv2.imwrite(str(data / "Only" / f"{picture}.png"), np.full((8, 8, 3), 9 * picture, np.uint8))
    refused(capsys, [*SMALL, "--data", str(data), "--out", str(out)], "single identity")
    refused(capsys, ["--config", "facenet/tinny", "--out", str(out)], "did you mean 'facenet/tiny'")
    own = tmp_path / "own.toml"
    own.write_text('base = "missing"\n')
    refused(capsys, ["--config", str(own), "--out", str(out)], "missing.toml")
    refused(capsys, [*SMALL, "--batch.micro-batch", "5", "--out", str(out)], "micro_batch")
    refused(capsys, arguments(faces_folder, out, 2, "--resume"), "no run to resume")
    refused(capsys, arguments(faces_folder, out, 2, "--devices", "3"), "batch.images = 16", "3 devices")
    assert not out.exists()


def test_an_image_that_breaks_while_training_is_replaced_counted_and_named(faces_folder: Path, tmp_path: Path):
    data, out = tmp_path / "train", tmp_path / "run"
    shutil.copytree(faces_folder / "train", data)
    broken = data / "Person_3" / "Person_3_0002.png"
    broken.write_bytes(broken.read_bytes()[:60])
    given = [*SMALL, "--data", str(data), "--out", str(out), "--train.steps", "5", "--train.checkpoint-every", "0"]
    printed = " ".join(run(facenet.main, [*given, "--devices", "1"]))
    assert "1 of the" in printed and "another one of the same person stood in" in printed and str(broken) in printed


def test_a_broken_list_and_a_missing_image_are_refused(faces_folder: Path, tmp_path: Path, capsys):
    lfw, out = tmp_path / "lfw", tmp_path / "run"
    shutil.copytree(faces_folder / "lfw", lfw)
    given = [*SMALL, "--data", str(faces_folder / "train"), "--eval", f"lfw={lfw}", "--out", str(out)]
    lines = (lfw / "pairs.txt").read_text().splitlines()
    (lfw / "pairs.txt").write_text("\n".join([*lines[:4], "Person_1\t12", *lines[5:]]) + "\n")
    refused(capsys, given, "pairs.txt, line 5")
    (lfw / "pairs.txt").write_text("\n".join(lines) + "\n")
    (lfw / "Person_0" / "Person_0_0001.png").unlink()
    refused(capsys, given, "Person_0/Person_0_0001.jpg")
    assert not out.exists()


def test_a_run_is_not_overwritten(whole: Whole, faces_folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole.folder, out)
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    refused(capsys, arguments(faces_folder, out, 6), "holds results already; add --resume to continue it")
    refused(capsys, arguments(faces_folder, out, 7, "--resume", "--loss.alpha", "0.3"), "loss.alpha = 0.2")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize("name", ["log.jsonl", "evaluations.jsonl"])
@pytest.mark.parametrize("damaged", ['{"step": 2', '{"step": 2}', '{"step": 2, "minutes": "1"}', "[2]"])
def test_a_damaged_log_is_refused_before_anything_is_resumed(
    whole: Whole, faces_folder: Path, tmp_path: Path, capsys, name: str, damaged: str
):
    out = tmp_path / "run"
    shutil.copytree(whole.folder, out)
    (out / name).write_text(f'{{"step": 1, "minutes": 0.1}}\n{damaged}\n{{"step": 3, "minutes": 0.1}}\n')
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert cli.exit_code(facenet.main, arguments(faces_folder, out, 7, "--resume", "--devices", "1")) == 2
    told = capsys.readouterr()
    assert f"{name}, line 2: is damaged" in told.err and "resumed" not in told.out
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files


def test_unknown_option_names_the_nearest():
    with pytest.raises(ConfigError, match=r"--optimiser\.lerning-rate: .* did you mean '--optimiser\.learning-rate'\?"):
        facenet.main(["--optimiser.lerning-rate", "0.1"])
