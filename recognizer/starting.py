"""The weights that a training run starts with (`--init`): of another run, of a converted model, of a published file.

The network's name, embedding, size and range of pixels come with its weights and are enforced in the new run. Batch
norm's statistics stay as they are ("running") where the weights are of a model or file, unless the config asks for
others: a small batch of other faces is no match for what they were made of, and where a file has them folded into the
kernels there are none to go on from.

Not here: opening models (`model.py`) and runs (`runs.py`), layers that stay (`faces.frozen`).
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from faces.aligned import made
from faces.config import RunConfig
from faces.errors import ConfigError
from faces.preprocessing import NEED_NO_FACE
from faces.schema import flatten
from faces.train_state import TrainState
from recognizer import runs
from recognizer.description import DESCRIPTION, Model
from recognizer.model import open_model
from recognizer.told import plain

BATCH_NORM = "model.batch_norm"


def network_of(path: Path, config: RunConfig) -> dict[str, Any]:
    """What a new run's config must say of the network, its input and its range of pixels, by the paths of the values.

    Args:
        path: of another run's folder, of either paper; of a converted model's folder; or of a file of weights.
        config: of the new run, whose "running" batch norm stays.
    Raises:
        CheckpointError, ConfigError, WeightsError: as `open_model`; a network that takes blue first.
    """
    if _is_run(path):
        network = runs.network_of(path)
        keeps = flatten(config)[BATCH_NORM] == "running" and network[BATCH_NORM] != "none"
        return network | ({BATCH_NORM: "running"} if keeps else {})
    model = _opened(path)
    how, network = model.preprocessing, model.description.network
    if how.channels != "rgb":
        raise ConfigError(
            f"{path}: the network to start with takes channels in the order {how.channels}, training gives rgb."
        )
    if isinstance(how.mean, tuple) or isinstance(how.scale, tuple):
        raise ConfigError(
            f"{path}: the network to start with takes channels by a mean of {plain(how.mean)} and a scale of "
            f"{plain(how.scale)}, training gives all by one."
        )
    return {
        "model.name": network.name,
        "model.embedding_dim": network.embedding_dim,
        "model.input_size": how.size,
        BATCH_NORM: "running" if model.batch_stats else "none",
        "data.mean": how.mean,
        "data.scale": how.scale,
        "data.illumination": how.illumination,
    }


def check_network(path: Path, network: Mapping[str, Any], config: RunConfig) -> None:
    """Refuse options that ask for another network than that of `--init`.

    Args:
        path: as for `network_of`.
        network: what that gave.
        config: of the new run, with what options have changed.
    Raises:
        ConfigError: a value of the network is among that; statistics of the batch for batch norms that are folded.
    """
    if _is_run(path):
        return runs.check_network(path, network, config)
    asked = flatten(config)[BATCH_NORM]
    fixed = {key: value for key, value in network.items() if key != BATCH_NORM or "none" in (value, asked)}
    runs.check_network(path, fixed, config)
    if asked in ("global", "per_device") and _has_folded(_opened(path).batch_stats):
        raise ConfigError(
            f"{path}: the batch norms of the network to start with are folded into the kernels before them, and "
            f'statistics of a batch would undo that; train with model.batch_norm "running", not "{asked}".'
        )
    return None


def start_from(path: Path, state: TrainState) -> TrainState:
    """The state before the first step, with the network's weights taken from elsewhere.

    Args:
        path: as for `network_of`.
        state: before the first step, of the same network.
    Raises:
        CheckpointError: other weights than the network has; or as `open_model`.
    """
    if _is_run(path):
        return runs.start_from(path, state)
    model = _opened(path)
    return runs.with_weights(state, model.params, model.batch_stats, path, model.name)


def said(path: Path, cut_as: Mapping[str, Any] | None = None) -> str:
    """A line on what a run starts with; how its faces were aligned, which training cannot enforce.

    Args:
        path: as for `network_of`.
        cut_as: how the faces of the training set were cut out, where that is known.
    """
    line = f"network's weights: those of {path}"
    if _is_run(path):
        return line
    how = _opened(path).preprocessing
    if cut_as is not None and how.alignment not in NEED_NO_FACE:
        if wanted := made.difference(cut_as, how):
            return (
                f"{line}; its faces were aligned by {wanted}, and those of --data were {made.said(cut_as)}: "
                "other faces than the weights know; prepare the photographs as those were"
            )
        return f"{line}; its faces were aligned as those of --data, {made.said(cut_as)}"
    margin = f", margin {how.margin:g}" if how.alignment == "box_margin" else ""
    return f"{line}; its faces were aligned by {how.alignment}{margin}, those of --data are taken whole, as they are"


def _is_run(path: Path) -> bool:
    return path.is_dir() and not (path / DESCRIPTION).is_file()


@lru_cache(maxsize=1)
def _opened(path: Path) -> Model:
    return open_model(path)


def _has_folded(batch_stats: Any) -> bool:
    """Whether the statistics of a batch norm are those that stand for none (`faces.weights.layouts.folded_norm`)."""
    if not isinstance(batch_stats, Mapping):
        return False
    if {"mean", "var"} <= set(batch_stats):
        mean, var = np.asarray(batch_stats["mean"]), np.asarray(batch_stats["var"])
        return bool((mean == 0).all() and (var == var[0]).all() and var[0] != 1)
    return any(map(_has_folded, batch_stats.values()))
