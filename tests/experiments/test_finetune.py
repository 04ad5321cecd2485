"""`--init` of converted models and published files: network and range of pixels are theirs, layers may stay."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import arcface, facenet
from faces.checkpoint_folder import load_weights
from faces.errors import ConfigError
from recognizer import starting
from recognizer.model import open_model, write_model
from recognizer.runs import config_of
from tests.experiments.setting import ONE_MATRIX, one_matrix_model, refused, run

MAINS = {"facenet": facenet.main, "arcface": arcface.main}


@pytest.fixture
def model(one_matrix: list[str], tmp_path: Path) -> Path:
    return one_matrix_model(tmp_path / "model")


def given(paper: str, faces_folder: Path, out: Path, model: Path, *more: str) -> list[str]:
    batch = ["--batch.images", "16", "--train.steps", "2", "--train.evaluate-every", "0", "--train.log-every", "1"]
    batch += ["--batch.images-per-identity", "4", "--batch.random-negatives", "4"] if paper == "facenet" else []
    start = ["--config", f"{paper}/small", "--data", str(faces_folder / "train"), "--out", str(out)]
    return [*start, "--init", str(model), "--devices", "1", *batch, *more]


@pytest.mark.parametrize("paper", ["facenet", "arcface"])
def test_a_converted_model_goes_on_in_training(faces_folder: Path, tmp_path: Path, model: Path, paper: str, capsys):
    out = tmp_path / "run"
    printed = run(MAINS[paper], given(paper, faces_folder, out, model, "--freeze", "fc/kernel"))
    assert any("its faces were aligned by fixed_box" in line for line in printed)
    _, config = config_of(out)
    assert (config.model.name, config.model.embedding_dim, config.model.input_size) == (ONE_MATRIX, 8, (16, 16))
    assert (config.model.batch_norm, config.optimiser.freeze) == ("running", ("fc/kernel",))
    before, after = open_model(model), load_weights(out / "checkpoints")[1]
    assert before.params["fc"]["kernel"].tobytes() == after["params"]["fc"]["kernel"].tobytes()
    assert not np.array_equal(before.params["fc"]["bias"], after["params"]["fc"]["bias"])
    jax.tree.map(np.testing.assert_array_equal, before.batch_stats, after["batch_stats"])
    wrong = given(paper, faces_folder, tmp_path / "other", model)
    refused(MAINS[paper], capsys, [*wrong, "--data.mean", "0"], "the network to start with has data.mean = 127.5")
    refused(MAINS[paper], capsys, [*wrong, "--model.input-size", "8", "8"], "start with has model.input_size = 16 16")
    refused(MAINS[paper], capsys, [*wrong, "--freeze", "conv"], 'no layer of the network is "conv"')
    assert not (tmp_path / "other" / "checkpoints").exists()


def test_what_training_could_not_keep_its_word_on(faces_folder: Path, tmp_path: Path, model: Path, capsys):
    opened = open_model(model)
    how = dataclasses.replace(opened.preprocessing, channels="bgr")
    blue_first = dataclasses.replace(opened.description, preprocessing=how)
    write_model(dataclasses.replace(opened, description=blue_first), tmp_path / "bgr")
    arguments = given("facenet", faces_folder, tmp_path / "run", tmp_path / "bgr")
    refused(facenet.main, capsys, arguments, "start with takes channels in the order bgr, training gives rgb")
    arguments = given("facenet", faces_folder, tmp_path / "run", tmp_path / "none.pt")
    refused(facenet.main, capsys, arguments, "none.pt: nothing lies there; a file of weights")
    assert not (tmp_path / "run").exists()


def test_batch_norms_that_are_folded_are_not_undone(tmp_path: Path, model: Path):
    opened = open_model(model)
    config = facenet.parse(["--init", str(model)])[1]
    assert starting.check_network(model, starting.network_of(model, config), config) is None
    of_batch = config.with_(model__batch_norm="global")
    assert starting.check_network(model, starting.network_of(model, config), of_batch) is None
    folded = jax.tree.map(lambda x: np.full_like(x, 0.999 if x[0] == 1 else 0), opened.batch_stats)
    write_model(dataclasses.replace(opened, batch_stats=folded), tmp_path / "folded")
    with pytest.raises(ConfigError, match="folded into the kernels"):
        starting.check_network(tmp_path / "folded", starting.network_of(tmp_path / "folded", config), of_batch)
