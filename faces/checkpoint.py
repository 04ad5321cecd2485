"""A run's state on disk, through Orbax: written whole or not at all, restored onto any number of devices.

A checkpoint holds the train state, the loader's place in the data order, and the config it belongs to.

Not here: weights of other projects.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from faces.config import RunConfig, flatten
from faces.errors import CheckpointError
from faces.train_state import TrainState

_DAMAGED = "the checkpoint cannot be read, it is damaged or cut; delete that folder, and the one before it is taken."


class Checkpoints:
    """The checkpoints of one run, the newest `keep` of them, under `folder`.

    A context manager: leaving it waits until the last checkpoint is on disk.
    """

    def __init__(self, folder: Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=True)
        self._folder = folder.resolve()
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, loader_state: dict[str, Any], config: RunConfig) -> None:
        """Store the state as the checkpoint of its step; no effect if that step is stored already."""
        step = int(state.step)
        if step == self.latest_step():
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),  # pyright: ignore[reportCallIssue]
            loader=ocp.args.JsonSave(loader_state),  # pyright: ignore[reportCallIssue]
            config=ocp.args.JsonSave(_to_json(config)),  # pyright: ignore[reportCallIssue]
        )
        self._manager.save(step, args=items)

    def restore(self, like: TrainState, config: RunConfig) -> tuple[TrainState, dict[str, Any]]:
        """The newest checkpoint, placed on devices as `like` is.

        Args:
            like: a state of the same shapes, such as the one before the first step; only its shapes and placements
                are used.
            config: of the run that resumes. Logging and evaluation may differ from the checkpoint's, and `train.steps`
                where the learning rate does not depend on it; the rest must be the same.
        Returns:
            The state, and the loader's state.
        Raises:
            CheckpointError: there is no checkpoint, it cannot be read, or it belongs to another config.
        """
        step = self.latest_step()
        if step is None:
            raise CheckpointError(f"{self._folder}: no checkpoint to resume from; start without --resume.")
        stored = self._manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))["config"]
        _check_same(stored, _to_json(config), self._folder)
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        restore = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract),  # pyright: ignore[reportCallIssue]
            loader=ocp.args.JsonRestore(),
        )
        try:
            items = self._manager.restore(step, args=restore)
        except (ValueError, FileNotFoundError, KeyError) as error:
            raise CheckpointError(f"{self._folder}/{step}: {_DAMAGED}") from error
        return items["state"], items["loader"]


def load_weights(folder: Path) -> tuple[int, dict[str, Any]]:
    """The newest checkpoint's weights, to look at or to start from.

    Args:
        folder: of the checkpoints.
    Returns:
        Its step, and "params", "batch_stats" and "centres" as in `TrainState`, of NumPy arrays.
    Raises:
        CheckpointError: there is no checkpoint, or it cannot be read.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no checkpoint there.")
    others = {item: ocp.JsonCheckpointHandler() for item in ("loader", "config")}  # named, or Orbax warns of them
    handlers = {"state": ocp.PyTreeCheckpointHandler(), **others}
    with ocp.CheckpointManager(folder.resolve(), item_names=tuple(handlers), item_handlers=handlers) as manager:
        step = manager.latest_step()
        if step is None:
            raise CheckpointError(f"{folder}: no checkpoint there.")
        try:
            tree = manager.item_metadata(step)["state"]
            kept = {key: tree[key] for key in ("params", "batch_stats", "centres")}
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), kept)
            restore = ocp.args.PyTreeRestore(kept, as_numpy, partial_restore=True)
            return step, manager.restore(step, args=ocp.args.Composite(state=restore))["state"]
        except (ValueError, FileNotFoundError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}/{step}: {_DAMAGED}") from error


_MAY_DIFFER = ("train.log_every", "train.evaluate_every", "train.checkpoint_every", "evaluation.")


def _check_same(stored: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    for key in sorted(stored.keys() | wanted.keys()):
        longer = key == "train.steps" and wanted["optimiser.schedule"] != "cosine"  # the past does not depend on it
        if stored.get(key) != wanted.get(key) and not longer and not key.startswith(_MAY_DIFFER):
            raise CheckpointError(
                f"{folder}: the checkpoint was made with {key} = {stored.get(key)!r}, and this run asks for "
                f"{wanted.get(key)!r}; resume with the same config, or start in another folder."
            )


def _to_json(config: RunConfig) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flatten(config).items()}
