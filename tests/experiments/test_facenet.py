"""The FaceNet main from end to end on a small folder of faces: its outputs, resuming, and what it refuses."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from experiments import facenet
from facenet_jax.train_step import init_state
from faces import cli
from faces.checkpoint import Checkpoints
from faces.mesh import make_mesh

PEOPLE, PICTURES = 12, 6
SMALL = [
    *("--config", "facenet/tiny", "--model.input-size", "16", "16", "--model.embedding-dim", "8"),
    *("--batch.images", "16", "--batch.images-per-identity", "4"),
    *("--batch.random-negatives", "4", "--optimiser.schedule", "constant"),
    *("--train.log-every", "1", "--train.evaluate-every", "0", "--train.checkpoint-every", "3"),
]


@pytest.fixture(scope="module")
def faces_folder(tmp_path_factory) -> Path:
    """`train/` and `lfw/`, twelve people of flat colour and noise in each, with a list of two folds beside."""
    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for name in ("train", "lfw"):
        for person in range(PEOPLE):
            colour = rng.integers(40, 216, size=3)
            folder = root / name / f"Person_{person}"
            folder.mkdir(parents=True)
            for picture in range(1, PICTURES + 1):
                pixels = np.clip(colour + rng.integers(-40, 40, size=(24, 24, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"Person_{person}_{picture:04d}.png"), pixels)
    lines = ["2\t12"]
    for fold in range(2):
        people = [6 * fold + n % 6 for n in range(12)]
        lines += [f"Person_{p}\t{1 + n // 6}\t{3 + n // 6}" for n, p in enumerate(people)]
        lines += [
            f"Person_{p}\t{1 + n // 6}\tPerson_{6 * fold + (p + 1) % 6}\t{1 + n // 6}" for n, p in enumerate(people)
        ]
    (root / "lfw" / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


def arguments(root: Path, out: Path, steps: int, *more: str) -> list[str]:
    data = ["--data", str(root / "train"), "--eval", f"lfw={root / 'lfw'}", "--out", str(out)]
    return [*SMALL, *data, "--train.steps", str(steps), *more]


def final_params(out: Path, given: list[str], devices: int = 1):
    options, config = facenet.parse(given)
    with Checkpoints(out / "checkpoints") as checkpoints:
        state, loader_state = checkpoints.restore(init_state(config, make_mesh(devices)), config)
    assert options.out == out
    return jax.device_get(state), loader_state


def test_outputs_and_result_line(faces_folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "run"
    facenet.main(arguments(faces_folder, out, 8, "--train.evaluate-every", "4", "--devices", "2"))
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed[-1].startswith("result: ")
    result = json.loads(printed[-1].removeprefix("result: "))
    assert result == json.loads((out / "result.json").read_text())
    expected = {"accuracy", "accuracy_se", "val_at_far_1e-3", "eer", "auc", "pairs", "coverage", "images_per_second"}
    assert expected | {"config", "data"} <= result.keys()
    assert result["pairs"] == 48 and result["coverage"] == 1.0 and result["config"] == "facenet/tiny"
    assert 0.5 <= result["accuracy"] <= 1 and result["images_per_second"] > 0
    names = {path.name for path in out.iterdir()}
    assert {"config.toml", "environment.json", "log.jsonl", "evaluations.jsonl", "checkpoints"} <= names
    for picture in ("training", "roc", "distances", "hardest_pairs"):
        assert cv2.imread(str(out / f"{picture}.png")) is not None
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 9))
    assert any("changed: train.steps 250 -> 8" in line for line in printed)


def test_six_steps_are_three_and_three_on_other_devices(faces_folder: Path, tmp_path: Path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    facenet.main(arguments(faces_folder, whole, 6, "--devices", "1"))
    facenet.main(arguments(faces_folder, halves, 3, "--devices", "1"))
    facenet.main(arguments(faces_folder, halves, 6, "--devices", "4", "--resume"))
    given = arguments(faces_folder, whole, 6), arguments(faces_folder, halves, 6)
    (state, place), (resumed, their_place) = final_params(whole, given[0]), final_params(halves, given[1], devices=4)
    assert int(state.step) == int(resumed.step) == 6 and place == their_place
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), state.params, resumed.params)
    rows = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (whole, halves)]
    for row, theirs in zip(*rows, strict=True):
        assert row["step"] == theirs["step"] and row["pairs"] == theirs["pairs"]
        np.testing.assert_allclose(row["loss"], theirs["loss"], rtol=1e-4)


def test_killed_and_resumed_is_never_interrupted(faces_folder: Path, tmp_path: Path):
    """SIGKILL in the middle, then --resume: every weight has the bits of the run that was left alone."""
    steps, whole, killed = 36, tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-m", "experiments.facenet"]
    process = subprocess.Popen(
        [*command, *arguments(faces_folder, killed, steps, "--devices", "1")],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        cwd=Path(__file__).parents[2],
    )
    try:
        deadline = time.monotonic() + 120
        while not (killed / "checkpoints" / "3").is_dir() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (killed / "result.json").exists(), "the run ended before it was killed"
    facenet.main(arguments(faces_folder, killed, steps, "--devices", "1", "--resume"))
    facenet.main(arguments(faces_folder, whole, steps, "--devices", "1"))
    one, _ = final_params(whole, arguments(faces_folder, whole, steps))
    other, _ = final_params(killed, arguments(faces_folder, killed, steps))
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


def test_two_processes_are_one_run(faces_folder: Path, tmp_path: Path):
    """Two processes of four devices each, joined on loopback, against one process of eight."""
    one, two = tmp_path / "one", tmp_path / "two"
    facenet.main(arguments(faces_folder, one, 4))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "PYTHONWARNINGS": "ignore"}
    joined = ["--coordinator", address, "--processes", "2", "--process"]
    command = [sys.executable, "-m", "experiments.facenet", *arguments(faces_folder, two, 4)]
    processes = [
        subprocess.Popen([*command, *joined, number], env={**os.environ, **flags}, cwd=Path(__file__).parents[2],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for number in "01"
    ]  # fmt: skip
    try:
        printed = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)
    assert "result: " in printed[0] and "result: " not in printed[1]
    logs = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (one, two)]
    for row, theirs in zip(*logs, strict=True):
        np.testing.assert_allclose(row["loss"], theirs["loss"], rtol=1e-4)
        assert row["pairs"] == theirs["pairs"]
    results = [json.loads((run / "result.json").read_text()) for run in (one, two)]
    assert results[0]["accuracy"] == pytest.approx(results[1]["accuracy"], abs=0.05)


def refused(capsys, given: list[str], *words: str) -> None:
    """Exit code 2, one sentence with these words, no traceback."""
    assert cli.exit_code(facenet.main, given) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ") and "Traceback" not in message and len(message.splitlines()) == 1
    for word in words:
        assert word in message, message


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


def test_an_image_that_breaks_while_training_names_itself_and_the_remedy(faces_folder: Path, tmp_path: Path, capsys):
    data, out = tmp_path / "train", tmp_path / "run"
    subprocess.run(["cp", "-r", str(faces_folder / "train"), str(data)], check=True)
    broken = data / "Person_3" / "Person_3_0002.png"
    broken.write_bytes(broken.read_bytes()[:60])
    given = [*SMALL, "--data", str(data), "--out", str(out), "--train.steps", "40", "--train.checkpoint-every", "0"]
    refused(capsys, [*given, "--devices", "1"], str(broken), "experiments.prepare")
    assert not out.exists()


def test_a_broken_list_and_a_missing_image_are_refused(faces_folder: Path, tmp_path: Path, capsys):
    lfw, out = tmp_path / "lfw", tmp_path / "run"
    subprocess.run(["cp", "-r", str(faces_folder / "lfw"), str(lfw)], check=True)
    given = [*SMALL, "--data", str(faces_folder / "train"), "--eval", f"lfw={lfw}", "--out", str(out)]
    lines = (lfw / "pairs.txt").read_text().splitlines()
    (lfw / "pairs.txt").write_text("\n".join([*lines[:4], "Person_1\t12", *lines[5:]]) + "\n")
    refused(capsys, given, "pairs.txt, line 5")
    (lfw / "pairs.txt").write_text("\n".join(lines) + "\n")
    (lfw / "Person_0" / "Person_0_0001.png").unlink()
    refused(capsys, given, "Person_0/Person_0_0001.jpg")
    assert not out.exists()


def test_a_run_is_not_overwritten(faces_folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "run"
    facenet.main(arguments(faces_folder, out, 2, "--devices", "1"))
    refused(capsys, arguments(faces_folder, out, 2), "holds a run already")
    refused(capsys, arguments(faces_folder, out, 3, "--resume", "--loss.alpha", "0.3"), "loss.alpha = 0.2")


def test_unknown_option_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as stopped:
        facenet.main(["--optimiser.lerning-rate", "0.1"])
    assert stopped.value.code == 2
    assert "learning-rate" in capsys.readouterr().err
