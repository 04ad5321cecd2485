"""Weights out of a checkpoint without the state they were saved from."""

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.checkpoint import Checkpoints, load_weights
from faces.errors import CheckpointError, OutputError
from faces.mesh import make_mesh, replicated, sharded
from faces.train_state import TrainState
from tests.faces.configs import tiny


def state(seed: int, batch_stats: Any, has_centres: bool, devices: int = 4, rows: int = 8) -> TrainState:
    """Parameters copied to the devices, centres divided among them."""
    rng, mesh = np.random.default_rng(seed), make_mesh(devices)
    params = {"conv": {"kernel": rng.normal(size=(3, 2)).astype(np.float32)}, "bias": np.float32(rng.normal())}
    centres = rng.normal(size=(rows, 5)).astype(np.float32) if has_centres else {}
    step, key = jnp.int32(seed), jax.random.key(seed)
    params, batch_stats, step, key = jax.device_put((params, batch_stats, step, key), replicated(mesh))
    centres = jax.device_put(centres, sharded(mesh))
    return TrainState(step, params, batch_stats, centres, {"momentum": params, "centres": {"trace": centres}}, key)


def save(folder: Path, *states: TrainState) -> None:
    with Checkpoints(folder) as checkpoints:
        for one in states:
            checkpoints.save(one, {"place": int(one.step)}, tiny())


@pytest.mark.parametrize("has_centres", [True, False])
@pytest.mark.parametrize("batch_stats", [{}, {"norm": {"mean": np.arange(3.0, dtype=np.float32)}}])
def test_the_newest_weights_as_numpy_arrays(tmp_path: Path, batch_stats: Any, has_centres: bool):
    states = [state(seed, batch_stats, has_centres) for seed in (3, 5)]
    save(tmp_path, *states)
    step, weights = load_weights(tmp_path)
    assert step == 5 and set(weights) == {"params", "batch_stats", "centres"}
    expected = {key: getattr(states[1], key) for key in weights}
    assert jax.tree.structure(weights) == jax.tree.structure(expected)
    for given, wanted in zip(jax.tree.leaves(weights), jax.tree.leaves(expected), strict=True):
        assert isinstance(given, np.ndarray) and given.dtype == np.float32
        np.testing.assert_array_equal(given, wanted)


def test_looking_at_weights_leaves_the_run_as_it_was(tmp_path: Path):
    one = state(3, {}, True)
    save(tmp_path, one)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    load_weights(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    with Checkpoints(tmp_path) as checkpoints:
        restored, place = checkpoints.restore(one, tiny())
    jax.tree.map(np.testing.assert_array_equal, restored.params, one.params)
    assert place == {"place": 3}


def test_where_there_is_none(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"none: no checkpoint there"):
        load_weights(tmp_path / "none")
    with pytest.raises(CheckpointError, match=rf"{tmp_path.name}: no checkpoint there"):
        load_weights(tmp_path)


def test_a_checkpoint_with_a_file_gone(tmp_path: Path):
    save(tmp_path, dataclasses.replace(state(3, {}, True)))
    (tmp_path / "3" / "state" / "_METADATA").unlink()
    with pytest.raises(CheckpointError, match=r"3: the checkpoint cannot be read"):
        load_weights(tmp_path)


@pytest.mark.parametrize(("devices", "rows"), [(3, 9), (1, 6), (2, 12), (4, 8)])
def test_padding_of_centres_follows_the_devices(tmp_path: Path, devices: int, rows: int):
    """Six classes in eight rows of four devices, restored in other rows: the classes' own, and zeros."""
    stored, like = state(3, {}, True), state(4, {}, True, devices, rows)
    save(tmp_path, stored)
    with Checkpoints(tmp_path) as checkpoints:
        restored, _ = checkpoints.restore(like, tiny(), classes=6)
    for given, wanted in (
        (restored.centres, like.centres),
        (restored.opt_state["centres"]["trace"], like.opt_state["centres"]["trace"]),
    ):
        assert given.shape == wanted.shape and given.sharding == wanted.sharding
        np.testing.assert_array_equal(given[:6], stored.centres[:6])
        if rows != 8:
            assert not given[6:].any()
    jax.tree.map(np.testing.assert_array_equal, restored.params, stored.params)


@pytest.mark.parametrize(
    ("change", "classes", "words"),
    [
        ({"centres": np.zeros((9, 5))}, 0, r"centres has the shape \(8, 5\), and in this run \(9, 5\)"),
        ({"centres": np.zeros((9, 5))}, 9, r"centres has the shape \(8, 5\)"),  # a class more than there are rows
        ({"centres": np.zeros((8, 4))}, 6, r"centres has the shape \(8, 5\), and in this run \(8, 4\)"),
        ({"params": {"bias": np.zeros(())}}, 6, "has params/conv/kernel, which this run knows nothing of"),
        ({"batch_stats": {"mean": np.zeros(3)}}, 6, "has no batch_stats/mean, which this run needs"),
    ],
)
def test_other_shapes_are_no_damage(tmp_path: Path, change: dict[str, Any], classes: int, words: str):
    one = state(3, {}, True)
    save(tmp_path, one)
    other = dataclasses.replace(one, **jax.device_put(change, replicated(make_mesh(1))))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=words) as refused:
        checkpoints.restore(other, tiny(), classes)
    assert "the checkpoint is sound" in str(refused.value) and "damaged" not in str(refused.value)


def test_all_keys_of_another_config_are_named(tmp_path: Path):
    one = state(3, {}, True)
    save(tmp_path, one)
    other = tiny(loss__alpha=0.3, train__seed=1, train__log_every=7, evaluation__far=0.01)
    words = r"loss\.alpha = 0\.2, and this run asks for 0\.3; with train\.seed = 0, and this run asks for 1; resume"
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=words):
        checkpoints.restore(one, other)


def test_a_checkpoint_of_an_earlier_version_is_resumed(tmp_path: Path):
    """Its config calls loss.classifier_weight loss.classifier."""
    one = state(3, {}, True)
    save(tmp_path, one)
    file = tmp_path / "3" / "config" / "metadata"
    file.write_text(file.read_text().replace("loss.classifier_weight", "loss.classifier"))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(one, tiny())[1] == {"place": 3}
        with pytest.raises(CheckpointError, match=r"loss\.classifier_weight = 0\.0, and this run asks for 0\.5"):
            checkpoints.restore(one, tiny(loss__classifier_weight=0.5))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves other reads behind
@pytest.mark.parametrize("damage", [b"", b"{", b"[]", None])
@pytest.mark.parametrize("what", ["config/metadata", "loader/metadata", "state/_METADATA", "state/d/*"])
def test_damage_is_said_where_reading_fails_with_the_way_out(tmp_path: Path, what: str, damage: bytes | None):
    states = [state(seed, {}, True) for seed in (3, 5)]
    save(tmp_path, *states)
    for newest, remedy in ((5, "move that folder away, and the one before it, 3, is taken"), (3, "no other")):
        file = next(tmp_path.glob(f"{newest}/{what}"))
        file.unlink() if damage is None else file.write_bytes(damage)
        if (what, damage) == ("loader/metadata", b"[]"):
            continue  # sound JSON, whose meaning the loader knows
        words = rf"/{newest}: the checkpoint cannot be read, .*{remedy}"
        with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=words):
            checkpoints.restore(states[0], tiny())
        shutil.rmtree(tmp_path / str(newest))


@pytest.mark.parametrize("when", ["save", "wait_until_finished"])
def test_a_disk_that_fills_up_is_one_sentence(tmp_path: Path, when: str, capfd: pytest.CaptureFixture):
    """Whenever Orbax comes to tell of it; and nothing besides."""

    def full(*_: object, **__: object) -> None:
        try:
            raise ValueError("RESOURCE_EXHAUSTED: Failed writing: No space left on device [os_error_code='28']")
        except ValueError:
            logging.getLogger("absl").exception("a thread has raised")
            raise

    def save_one() -> None:
        with Checkpoints(tmp_path / "run") as checkpoints:
            setattr(checkpoints._manager, when, full)
            checkpoints.save(state(3, {}, False), {}, tiny())

    with pytest.raises(OutputError, match="run: cannot be written, the disk is full"):
        save_one()
    assert "Traceback" not in capfd.readouterr().err
