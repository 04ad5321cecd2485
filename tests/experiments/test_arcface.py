"""The ArcFace main from end to end on a small folder of faces: outputs, resuming, its heads, and what it refuses.

Softmax first and triplet after, across the two mains, is here too.
"""

import json
import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import pytest

from arcface_jax.train_step import init_state
from experiments import angles, arcface, clean, facenet
from faces import cli, outputs, train_loop
from faces.checkpoint import Checkpoints
from faces.checkpoint_folder import load_weights
from faces.mesh import make_mesh, replicated
from faces.train_state import TrainState
from recognizer.networks import backbone_of
from tests.experiments.protocol_maker import PEOPLE
from tests.experiments.setting import SMALL, refused, result_of, rows_of, run
from tests.faces.data.makers import encoded, packed, picture, write_rec
from tests.faces.data.pair_makers import attacks


def arguments(root: Path, out: Path, steps: int, *more: str) -> list[str]:
    return [*SMALL["arcface"], "--data", str(root / "train"), "--out", str(out), "--train.steps", str(steps), *more]


def test_outputs_and_result_line(faces_folder: Path, tmp_path: Path):
    out, lfw = tmp_path / "run", f"lfw={faces_folder / 'lfw'}"
    warm_up = ["--optimiser.learning-rate", "0.1", "--optimiser.warmup-steps", "10"]
    given = arguments(faces_folder, out, 4, "--eval", lfw, "--train.evaluate-every", "2", "--devices", "2", *warm_up)
    printed = run(arcface.main, given)
    result = result_of(printed)
    assert result == json.loads((out / "result.json").read_text())
    assert result["pairs"] == 48 and result["coverage"] == 1.0 and result["config"] == "arcface/tiny"
    assert 0.5 <= result["accuracy"] <= 1 and result["images_per_second"] > 0
    assert result["data"] == {"train": str(faces_folder / "train"), "test": ["lfw"]}
    names = {path.name for path in out.iterdir()}
    assert {"config.toml", "environment.json", "log.jsonl", "evaluations.jsonl", "checkpoints"} <= names
    for plot in ("training", "roc", "distances", "hardest_pairs"):
        assert cv2.imread(str(out / f"{plot}.png")) is not None
    assert [row["step"] for row in rows_of(out / "evaluations.jsonl")] == [2]
    rows = rows_of(out / "log.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    np.testing.assert_allclose([row["learning_rate"] for row in rows], [0.01, 0.02, 0.03, 0.04], rtol=1e-6)
    assert all(0 < row["theta"] < 180 and math.isfinite(row["loss"]) for row in rows)
    assert any("changed: train.steps 300 -> 4" in line for line in printed)
    assert any("72 images of 12 people; batches of 16 (8 a device)" in line for line in printed)
    memory = next(number for number, line in enumerate(printed) if line.startswith("memory of the head on each of 2"))
    assert memory < next(number for number, line in enumerate(printed) if line.startswith("step 2: "))


def final_state(given: list[str], devices: int) -> tuple[TrainState, Any]:
    options, config = arcface.parse(given)
    mesh, backbone = make_mesh(devices), backbone_of(config.model, "arcface")
    shapes = jax.eval_shape(lambda: init_state(config, mesh, backbone, PEOPLE))
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), shapes)
    with Checkpoints(options.out / "checkpoints") as checkpoints:
        return checkpoints.restore(like, config)


def test_six_steps_are_three_and_three_on_other_devices(faces_folder: Path, tmp_path: Path, one_matrix: list[str]):
    """Twelve classes, padded to 64 rows on one device and to 192 on three, with dropout and momentum."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    more = [*one_matrix, "--model.dropout", "0.3", "--batch.images", "12"]
    run(arcface.main, arguments(faces_folder, whole, 6, *more, "--devices", "1"))
    run(arcface.main, arguments(faces_folder, halves, 3, *more, "--devices", "1"))
    printed = run(arcface.main, arguments(faces_folder, halves, 6, *more, "--devices", "3", "--resume"))
    assert "resumed at step 3" in printed
    (state, place) = final_state(arguments(faces_folder, whole, 6, *more), 1)
    (resumed, their_place) = final_state(arguments(faces_folder, halves, 6, *more), 3)
    assert int(state.step) == int(resumed.step) == 6 and place == their_place
    assert (len(state.centres), len(resumed.centres)) == (64, 192)
    for part in ("params", "batch_stats", "centres", "opt_state"):
        mine, theirs = jax.tree.map(_without_padding, (getattr(state, part), getattr(resumed, part)))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), mine, theirs)
    keys = [jax.device_get(jax.random.key_data(of.key)) for of in (state, resumed)]
    np.testing.assert_array_equal(*keys)
    for row, other in zip(*(rows_of(folder / "log.jsonl") for folder in (whole, halves)), strict=True):
        for key in ("step", "loss", "theta", "gradient_norm", "learning_rate"):
            np.testing.assert_allclose(row[key], other[key], rtol=1e-4, err_msg=key)


def _without_padding(x: np.ndarray) -> np.ndarray:
    return x[:PEOPLE] if x.ndim == 2 and len(x) in (64, 192) else x


@pytest.fixture(scope="module")
def partial_fc(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> Path:
    """The folder of a run of Partial FC."""
    out = tmp_path_factory.mktemp("partial_fc") / "run"
    given = arguments(faces_folder, out, 2, *one_matrix, "--head.sampling-rate", "0.5", "--devices", "2")
    printed = run(arcface.main, given)
    assert any(line.startswith("memory of the head on each of 2") and "sampled centres" in line for line in printed)
    assert result_of(printed)["accuracy"] is None  # without --eval
    return out


def test_partial_fc_trains(partial_fc: Path):
    rows = rows_of(partial_fc / "log.jsonl")
    assert len(rows) == 2 and all(math.isfinite(row["loss"]) and row["gradient_norm"] > 0 for row in rows)


def test_softmax_first_triplet_after_with_a_classifier_beside(
    faces_folder: Path, tmp_path: Path, one_matrix: list[str], partial_fc: Path, capsys
):
    """A rate of almost nothing leaves the weights of the run that a run starts from."""
    out = tmp_path / "triplets"
    other = ["--config", "facenet/small", "--batch.images", "16", "--batch.images-per-identity", "4"]
    given = [*other, "--data", str(faces_folder / "train"), "--out", str(out), "--init", str(partial_fc)]
    given += ["--batch.random-negatives", "4", "--train.steps", "1", "--devices", "1"]
    wrong = ["--model.name", "iresnet_small"]
    words = "has model.name = iresnet_of_one_matrix, and iresnet_small is asked for"
    refused(facenet.main, capsys, [*given, *wrong], words)
    assert not out.exists()
    small = ["--optimiser.learning-rate", "1e-12", "--loss.classifier-weight", "0.5"]
    printed = run(facenet.main, [*given, *small])  # the network, its embedding and its input are the other run's
    assert any(line.endswith("-> iresnet_of_one_matrix") for line in printed)
    before, after = (load_weights(folder / "checkpoints")[1]["params"] for folder in (partial_fc, out))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-10), before, after)
    (row,) = rows_of(out / "log.jsonl")
    assert row["classifier_loss"] == pytest.approx(math.log(PEOPLE), abs=0.05)  # it starts without an opinion
    of_triplets = row["loss_per_pair"] / row["active"]
    np.testing.assert_allclose(row["loss"], of_triplets + 0.5 * row["classifier_loss"], rtol=1e-4)


def test_bad_input_is_one_sentence_and_leaves_nothing(faces_folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "run"
    given = arguments(faces_folder, out, 2)
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"images": [1, 2]}')
    for more, words in {
        ("--only", str(foreign)): (str(foreign), "not a list that experiments.clean has written"),
        ("--only", str(tmp_path / "none.json")): ("none.json: cannot be read",),
        ("--head.sampling-rate", "0"): ("head.sampling_rate = 0.0", "above 0"),
        ("--data.min-images", "7"): ("data.min_images = 7", "6 is the most"),
        ("--model.dropout", "1"): ("model.dropout",),
        ("--model.name", "iresnet_tin"): ('the nearest is "iresnet_tiny"',),
        ("--config", "facenet/tiny"): ("facenet/tiny", "run it with python -m experiments.facenet"),
        ("--devices", "0"): ("0 devices asked for; 1 to 8",),
        ("--devices", "9"): ("9 devices asked for; 1 to 8",),
        ("--eval", f"x={tmp_path / 'no.bin'}"): ("no.bin",),
        ("--init", str(tmp_path)): (str(tmp_path), "no run lies there"),
    }.items():
        refused(arcface.main, capsys, [*given, *more], *words)
    assert not out.exists()


def test_a_bin_file_that_would_run_a_command_is_refused_and_runs_nothing(faces_folder: Path, tmp_path: Path, capsys):
    out, marker = tmp_path / "run", tmp_path / "executed"
    for name, files in attacks(marker).items():
        (tmp_path / "x.bin").write_bytes(files[0])
        given = arguments(faces_folder, out, 2, "--eval", f"x={tmp_path / 'x.bin'}")
        refused(arcface.main, capsys, given, "x.bin", name)
    assert not marker.exists() and not out.exists()


@pytest.mark.parametrize(
    ("labels", "stated", "words"),
    [
        ([1.0, 2.0, 3.0], "3,20,16", "promises 3 identities, 0 to 2, and the labels run from 1 to 3"),
        ([0.0, 1.0, 7.0], "3,20,16", "label 7"),
        ([0.0, 1.0, 2.0], "3,20,20", "20x16 pixels"),
    ],
)
def test_records_that_break_their_promise(tmp_path: Path, capsys, labels: list[float], stated: str, words: str):
    records = {10 + n: packed(label, encoded(picture(n))) for n, label in enumerate(labels)}
    path = write_rec(tmp_path / "train.rec", records)
    (tmp_path / "property").write_text(stated)
    out = tmp_path / "run"
    given = [*SMALL["arcface"], "--data", str(path), "--out", str(out)]
    refused(arcface.main, capsys, given, "train.rec", words)
    assert not out.exists()


def test_a_run_is_not_overwritten(faces_folder: Path, tmp_path: Path, one_matrix: list[str], partial_fc: Path, capsys):
    out = tmp_path / "run"
    shutil.copytree(partial_fc, out)
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    given = arguments(faces_folder, out, 3, *one_matrix, "--head.sampling-rate", "0.5", "--devices", "2")
    refused(arcface.main, capsys, given, "holds results already; add --resume to continue it")
    refused(arcface.main, capsys, [*given, "--resume", "--loss.classifier.m2", "0.3"], "loss.classifier.m2 = 0.5")
    with outputs.locked(out):
        refused(arcface.main, capsys, [*given, "--resume"], str(out), "another command is writing there")
    shorter = [*given, "--resume", "--train.steps", "1", "--optimiser.schedule", "constant"]
    refused(arcface.main, capsys, shorter, "is at step 2 already, and train.steps = 1 lies before")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files


def test_an_interrupted_run_says_how_to_go_on(
    faces_folder: Path, tmp_path: Path, one_matrix: list[str], capsys, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "a run"
    given = arguments(faces_folder, out, 3, *one_matrix, "--devices", "1", "--train.checkpoint-every", "1")
    place_batch, placed = train_loop.place_batch, []

    def interrupt(*of_batch: Any) -> Any:
        placed.append(of_batch)
        if len(placed) == 3:
            raise KeyboardInterrupt
        return place_batch(*of_batch)

    monkeypatch.setattr(train_loop, "place_batch", interrupt)
    assert cli.exit_code(arcface.main, given) == 130
    told = capsys.readouterr().err
    assert told.startswith("interrupted. Step 2 is kept.\ngo on with: python -m experiments.arcface --config")
    _, _, command = told.strip().partition("python -m experiments.arcface ")
    assert shlex.split(command) == [*given, "--resume"]


def test_a_run_goes_on_with_its_own_training_set_alone(
    faces_folder: Path, tmp_path: Path, one_matrix: list[str], partial_fc: Path, capsys
):
    """A person whose name comes first gives every label to somebody else."""
    out, root = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(partial_fc, out)
    shutil.copytree(faces_folder / "train", root / "train")
    given = [*one_matrix, "--head.sampling-rate", "0.5", "--devices", "2", "--resume"]
    shutil.copytree(root / "train" / "Person_3", root / "train" / "Aaron")
    another = (str(out), "72 images of 12 people", "78 images of 13 people", "1 person (Aaron) was added")
    refused(arcface.main, capsys, arguments(root, out, 3, *given), *another)
    shutil.rmtree(root / "train" / "Aaron")
    shutil.copy(root / "train" / "Person_0" / "Person_0_0001.png", root / "train" / "Person_1" / "Person_1_0001.png")
    replaced = "the images of 1 are others, first Person_1's (6 then and 6 now)"
    refused(arcface.main, capsys, arguments(root, out, 3, *given), replaced)
    for tool in (angles, clean):
        wanted = [str(out), "--data", str(root / "train"), "--out", str(tmp_path / "there")]
        word = "train with --head.sub-centres 3" if tool is clean else replaced
        refused(tool.main, capsys, wanted, word)
    for checkpoint in (out / "checkpoints").iterdir():  # killed before the first
        shutil.rmtree(checkpoint)
    printed = run(arcface.main, arguments(faces_folder, out, 1, *given))
    assert any("no checkpoint was taken yet; the run begins anew" in line for line in printed)
    assert [row["step"] for row in rows_of(out / "log.jsonl")] == [1]
