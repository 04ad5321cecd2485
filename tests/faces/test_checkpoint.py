"""Weights out of a checkpoint without the state they were saved from."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.checkpoint import Checkpoints, load_weights
from faces.errors import CheckpointError
from faces.mesh import copied, make_mesh, split
from faces.train_state import TrainState
from tests.faces.configs import tiny


def state(seed: int, batch_stats: Any, has_centres: bool) -> TrainState:
    """Parameters copied to four devices, centres divided among them."""
    rng, mesh = np.random.default_rng(seed), make_mesh(4)
    params = {"conv": {"kernel": rng.normal(size=(3, 2)).astype(np.float32)}, "bias": np.float32(rng.normal())}
    centres = rng.normal(size=(8, 5)).astype(np.float32) if has_centres else {}
    step, key = jnp.int32(seed), jax.random.key(seed)
    params, batch_stats, step, key = jax.device_put((params, batch_stats, step, key), copied(mesh))
    centres = jax.device_put(centres, split(mesh))
    return TrainState(step, params, batch_stats, centres, {"momentum": params}, key)


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
