"""Opening the folder of a run and starting from it; the runs are of one matrix and were never trained."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import arcface_jax.train_step
import facenet_jax.train_step
from faces import run_record
from faces.checkpoint import Checkpoints
from faces.config import RunConfig
from faces.data.fingerprint import fingerprint
from faces.data.source import ArraySource
from faces.errors import CheckpointError, ConfigError
from faces.mesh import make_mesh
from faces.train_state import TrainState
from recognizer.runs import centres_of, check_network, config_of, network_of, open_run, start_from
from tests.arcface_jax import setting as of_arcface
from tests.facenet_jax import setting as of_facenet

MESH = make_mesh(2)
CLASSES = of_arcface.CLASSES
SOURCE = ArraySource("these", np.zeros((CLASSES + 3, 8, 8, 3), np.uint8), np.int32(np.arange(CLASSES + 3) % CLASSES))


def arcface_state(config: Any) -> TrainState:
    return arcface_jax.train_step.init_state(config, MESH, of_arcface.with_batch_norm(), CLASSES)


def save(folder: Path, state: TrainState, config: RunConfig, *steps: int) -> None:
    run_record.write_start(folder, config, fingerprint(SOURCE))
    with Checkpoints(folder / "checkpoints") as checkpoints:
        for step in steps:
            params = jax.tree.map(lambda x, step=step: x + step, state.params)
            at_step = dataclasses.replace(state, step=np.int32(step), params=params)
            checkpoints.save(at_step, {"at": step}, config)


@pytest.fixture(scope="module")
def arcface_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainState]:
    """A run's folder with two checkpoints, and the state of which their parameters differ by 3 and by 6."""
    folder, config = tmp_path_factory.mktemp("arcface") / "run", of_arcface.config(train__seed=5)
    state = arcface_state(config)
    save(folder, state, config, 3, 6)
    return folder, jax.device_get(state)


def assert_equal(tree: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_open_run_gives_the_newest_weights_and_the_config(arcface_run: tuple[Path, TrainState]):
    folder, state = arcface_run
    run = open_run(folder)
    assert (run.trained_as, run.step, run.config) == ("arcface", 6, of_arcface.config(train__seed=5))
    assert_equal(run.params, jax.tree.map(lambda x: x + 6, state.params))
    assert_equal((run.batch_stats, run.centres), (state.batch_stats, state.centres))


@pytest.mark.parametrize("classifier", [0.0, 0.5])
def test_open_run_of_facenet(tmp_path: Path, classifier: float):
    config = of_facenet.config(loss__classifier_weight=classifier)
    state = facenet_jax.train_step.init_state(config, MESH, of_facenet.without_batch_norm(), 9)
    save(tmp_path / "run", state, config, 1)
    run = open_run(tmp_path / "run")
    assert (run.trained_as, run.step, run.config) == ("facenet", 1, config)
    assert run.batch_stats == {}
    if classifier:
        assert run.centres.shape == (9, 8)
    else:
        assert run.centres == {}


def test_a_changed_config_is_not_taken_for_the_runs(arcface_run: tuple[Path, TrainState], tmp_path: Path):
    """Another range of pixels would give other embeddings, and no error."""
    folder, _ = arcface_run
    shutil.copytree(folder, tmp_path / "run")
    file = tmp_path / "run" / "config.toml"
    file.write_text(file.read_text().replace("scale = 128", "scale = 138"))
    with pytest.raises(ConfigError, match=r"config\.toml: is not as it was written"):
        open_run(tmp_path / "run")


def write_anew(file: Path, old: str, new: str) -> None:
    """Change a config, and take out its last line, the checksum, which earlier versions did not write."""
    file.write_text(file.read_text().replace(old, new).rpartition("# sha256")[0])


def test_a_run_of_an_earlier_version_is_read(arcface_run: tuple[Path, TrainState], tmp_path: Path):
    """Its config.toml has what is in [loss.classifier] now in [loss]; or no loss.kind, and loss.classifier for
    loss.classifier_weight."""
    folder, _ = arcface_run
    shutil.copytree(folder, tmp_path / "arcface")
    write_anew(tmp_path / "arcface" / "config.toml", "\n\n[loss.classifier]\nkind", "\nclassifier")
    assert open_run(tmp_path / "arcface").config == open_run(folder).config
    config = of_facenet.config(loss__classifier_weight=0.5)
    run_record.write_start(tmp_path / "facenet", config, fingerprint(SOURCE))
    write_anew(tmp_path / "facenet" / "config.toml", 'kind = "triplet"\n', "")
    assert config_of(tmp_path / "facenet") == ("facenet", config)
    config_file = tmp_path / "facenet" / "config.toml"
    config_file.write_text(config_file.read_text().replace("classifier_weight", "classifier"))
    assert config_of(tmp_path / "facenet") == ("facenet", config)


def test_a_run_starts_with_the_other_runs_network_alone(arcface_run: tuple[Path, TrainState]):
    folder, theirs = arcface_run
    config = of_arcface.config(train__seed=6)
    state = arcface_state(config)
    started = start_from(folder, state)
    assert_equal(started.params, jax.tree.map(lambda x: x + 6, theirs.params))
    assert_equal(started.batch_stats, theirs.batch_stats)
    assert_equal((started.centres, started.opt_state, started.step), (state.centres, state.opt_state, state.step))
    np.testing.assert_array_equal(*(jax.random.key_data(of.key) for of in (started, state)))
    assert jax.tree.map(lambda x: x.sharding, started) == jax.tree.map(lambda x: x.sharding, state)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model__name", "mobilefacenet", "model.name = iresnet_tiny, and mobilefacenet is asked for; leave"),
        ("model__embedding_dim", 7, "model.embedding_dim = 6, and 7 is asked for; leave"),
        ("model__input_size", (8, 9), "model.input_size = 8 8, and 8 9 is asked for; leave"),
        ("data__mean", 0.0, "data.mean = 127.5, and 0.0 is asked for; leave that out"),
    ],
)
def test_the_network_is_the_other_runs_whatever_the_config(
    arcface_run: tuple[Path, TrainState], key: str, value: Any, words: str
):
    folder, _ = arcface_run
    other = of_arcface.config(**{key: value})
    network = network_of(folder)
    assert other.with_(**network) == of_arcface.config()
    assert check_network(folder, network, of_arcface.config(train__seed=9)) is None
    with pytest.raises(ConfigError, match=f"{folder}: the network to start with has {re.escape(words)}"):
        check_network(folder, network, other)


def test_weights_of_another_shape_under_the_same_name(arcface_run: tuple[Path, TrainState]):
    folder, state = arcface_run
    params = jax.tree.map(lambda x: np.repeat(x, 2, axis=-1), state.params)
    with pytest.raises(CheckpointError, match="its weights are not those of iresnet_tiny as it is now"):
        start_from(folder, dataclasses.replace(state, params=params))


def test_folders_that_are_no_run(arcface_run: tuple[Path, TrainState], tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"nowhere: no run lies there"):
        open_run(tmp_path / "nowhere")
    folder = tmp_path / "run"
    shutil.copytree(arcface_run[0], folder)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(CheckpointError, match=r"checkpoints: no checkpoint there"):
        open_run(folder)


@pytest.mark.parametrize("content", [b"[head", b"\xff\xfe", b'head = "a'])
def test_a_config_that_was_damaged(tmp_path: Path, content: bytes):
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.toml: not valid TOML"):
        open_run(tmp_path)


def test_class_centres_are_those_of_the_people_and_no_padding(arcface_run: tuple[Path, TrainState]):
    run = open_run(arcface_run[0])
    centres = centres_of(run, SOURCE)
    assert len(run.centres) > len(centres) == CLASSES
    np.testing.assert_array_equal(centres, run.centres[:CLASSES])

