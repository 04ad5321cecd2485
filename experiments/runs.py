"""Opening the folder of a finished or interrupted run: its config and its weights.

Not here: resuming a run, which needs the optimiser's state as well (`faces.checkpoint`).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import arcface_jax.config
import facenet_jax.config
from faces import run_record
from faces.checkpoint import load_weights
from faces.config import RunConfig, load_config, read_toml
from faces.data.source import FaceSource
from faces.errors import CheckpointError, ConfigError
from faces.train_state import TrainState


@dataclass(frozen=True)
class Run:
    """A run's newest checkpoint.

    Args:
        trained_as: "facenet" or "arcface".
        config: as it was resolved.
        step: batches seen.
        params, batch_stats, centres: as in `TrainState`, NumPy arrays.
    """

    trained_as: str
    config: RunConfig
    step: int
    params: Any
    batch_stats: Any
    centres: Any


def open_run(folder: Path) -> Run:
    """Read the config and the newest weights in a run's folder.

    Raises:
        CheckpointError: there is no run, or no checkpoint in it.
        ConfigError: its config.toml was changed by hand and does not hold together.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise CheckpointError(f"{folder}: no run lies there; the folder that a training run wrote (--out) is expected.")
    schemas = {"facenet": facenet_jax.config.Config, "arcface": arcface_jax.config.Config}
    trained_as = "arcface" if "head" in read_toml(path) else "facenet"
    config, _ = load_config(str(path), schemas[trained_as])
    step, weights = load_weights(folder / "checkpoints")
    return Run(trained_as, config, step, weights["params"], weights["batch_stats"], weights["centres"])


def centres_of(folder: Path, run: Run, source: FaceSource) -> np.ndarray:
    """The class centres of a training set's people, one row each, without the rows that pad them.

    Args:
        folder: of the run.
        run: what `open_run` read there.
        source: the set that the run was trained on.
    Raises:
        ConfigError: the run was trained on another number of images or people.
        CheckpointError: the record of the run's training set is missing.
    """
    path, given = folder / "environment.json", run_record.training_set(source)
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))["training_set"]
        trained_on = {key: int(recorded[key]) for key in ("images", "people")}
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: does not tell how many images and people the run was trained on.") from None
    for key, count in trained_on.items():
        if count != given[key]:
            raise ConfigError(f"{folder}: was trained on {count:,} {key}, and {source.name} has {given[key]:,}; give "
                              "the training faces that the run had.")  # fmt: skip
    return run.centres[: trained_on["people"]]


def start_from(folder: Path, state: TrainState, config: RunConfig) -> TrainState:
    """The state before the first step, with the network's weights taken from another run.

    Args:
        folder: of the other run, of either paper.
        state: before the first step.
        config: of the new run; its network must be the other's.
    Raises:
        CheckpointError: another network, embedding or input size; or as `open_run`.
    """
    run = open_run(folder)
    for field in ("name", "embedding_dim", "input_size"):
        theirs, ours = getattr(run.config.model, field), getattr(config.model, field)
        if theirs != ours:
            option = f"--model.{field.replace('_', '-')}"
            value = " ".join(map(str, theirs)) if isinstance(theirs, tuple) else theirs
            raise CheckpointError(
                f"{folder}: its network has {field} = {theirs!r}, and this run asks for {ours!r}; add {option} {value}."
            )

    def like(new: Any, old: jax.Array) -> jax.Array:
        return jax.device_put(new.astype(old.dtype), old.sharding)

    return TrainState(
        state.step,
        jax.tree.map(like, run.params, state.params),
        jax.tree.map(like, run.batch_stats, state.batch_stats),
        state.centres,
        state.opt_state,
        state.key,
    )
