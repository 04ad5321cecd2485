"""Opening the folder of a finished or interrupted run: its config and its weights.

Not here: resuming a run, which needs the optimiser's state as well (`faces.checkpoint`).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import arcface_jax.config
import facenet_jax.config
from faces.checkpoint_folder import load_weights
from faces.config import RunConfig
from faces.data.source import FaceSource
from faces.errors import CheckpointError, ConfigError
from faces.schema import Checked, build, flatten
from faces.toml_config import read_toml
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
        CheckpointError, ConfigError: as `config_of`, or there is no checkpoint.
    """
    trained_as, config = config_of(folder)
    step, weights = load_weights(folder / "checkpoints")
    return Run(trained_as, config, step, weights["params"], weights["batch_stats"], weights["centres"])


def config_of(folder: Path) -> tuple[str, RunConfig]:
    """Which paper's run lies in a folder, and its config.

    Raises:
        CheckpointError: there is no run.
        ConfigError: its config.toml was changed by hand and does not hold together.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise CheckpointError(f"{folder}: no run lies there; the folder that a training run wrote is expected.")
    schemas = {"facenet": facenet_jax.config.Config, "arcface": arcface_jax.config.Config}
    tables = read_toml(path)
    trained_as = "arcface" if "head" in tables else "facenet"
    schema = schemas[trained_as]
    return trained_as, build(schema, schema.of_earlier(tables), path)


def centres_of(run: Run, source: FaceSource) -> np.ndarray:
    """The class centres of a training set's people, one row each, without the rows that pad them.

    Args:
        run: what `open_run` read.
        source: the set that the run was trained on, which `faces.run_record.check_training_set` has said it is.
    """
    return run.centres[: int(source.identities.max()) + 1]


OF_NETWORK = ("model.name", "model.embedding_dim", "model.input_size", "model.batch_norm", "data.mean", "data.scale",
              "data.illumination")  # fmt: skip
"""Keys of a config that belong to a network's weights, and go wherever they go."""


def network_of(folder: Path) -> dict[str, Any]:
    """What a run's config says of its network, its input and its range of pixels, by the paths of the values.

    Args:
        folder: of the run, of either paper.
    Raises:
        CheckpointError, ConfigError: as `config_of`.
    """
    values = flatten(config_of(folder)[1])
    return {key: values.get(key) for key in OF_NETWORK}


def check_network(folder: Path, network: Mapping[str, Any], config: Checked) -> None:
    """Refuse options that ask for another network than that of `--init`.

    Args:
        folder: of the other run.
        network: that of the other run, by `network_of`.
        config: of the new run, with what options have changed.
    Raises:
        ConfigError: a value of the network is among that.
    """
    values = flatten(config)
    for key, theirs in network.items():
        ours = values.get(key)
        if ours != theirs and not (ours == "running" and theirs != "none"):
            raise ConfigError(
                f"{folder}: the network to start with has {key} = {_plain(theirs)}, and {_plain(ours)} is asked for; "
                "leave that out."
            )


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else str(value)


def start_from(folder: Path, state: TrainState) -> TrainState:
    """The state before the first step, with the network's weights taken from another run.

    Args:
        folder: of the other run, of either paper.
        state: before the first step, of the same network.
    Raises:
        CheckpointError: other weights than the network has; or as `open_run`.
    """
    run = open_run(folder)
    return with_weights(state, run.params, run.batch_stats, folder, run.config.model.name)


def with_weights(state: TrainState, params: Any, batch_stats: Any, origin: Path, network: str) -> TrainState:
    """A state with other weights of the same network, placed as its own.

    Args:
        state: before the first step.
        params, batch_stats: NumPy arrays.
        origin, network: where they come from, and of what, for the message.
    Raises:
        CheckpointError: other weights than the network has.
    """
    theirs, ours = (jax.tree.map(np.shape, one) for one in ((params, batch_stats), (state.params, state.batch_stats)))
    if theirs != ours:
        raise CheckpointError(
            f"{origin}: its weights are not those of {network} as it is now; it may be of another version of the "
            "project."
        )

    def like(new: Any, old: jax.Array) -> jax.Array:
        return jax.device_put(new.astype(old.dtype), old.sharding)

    return dataclasses.replace(
        state,
        params=jax.tree.map(like, params, state.params),
        batch_stats=jax.tree.map(like, batch_stats, state.batch_stats),
    )
