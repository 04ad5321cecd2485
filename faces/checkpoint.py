"""A run's state on disk, through Orbax: written whole or not at all, restored onto any number of devices.

A checkpoint holds the train state, the loader's place in the data order, and the config it belongs to.

Not here: weights of other projects.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import NamedSharding, PartitionSpec

from faces import orbax_metrics
from faces.errors import CheckpointError
from faces.refused import writing
from faces.schema import Checked, flatten, nested
from faces.train_state import TrainState

_Shapes = dict[str, tuple[int, ...]]


class Checkpoints:
    """The checkpoints of one run, the newest `keep` of them, under `folder`.

    A context manager: leaving it waits until the last checkpoint is on disk.
    """

    def __init__(self, folder: Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=True)
        handlers = {"state": ocp.StandardCheckpointHandler(), **_json_handlers()}
        self._folder = folder.resolve()
        self._quiet = ExitStack()
        orbax_metrics.switch_off()
        with writing(self._folder):
            self._manager = ocp.CheckpointManager(
                self._folder, options=options, item_names=tuple(handlers), item_handlers=handlers
            )

    def __enter__(self) -> "Checkpoints":
        self._quiet.enter_context(told_once())
        return self

    def __exit__(self, *_: object) -> None:
        with self._quiet, writing(self._folder):
            self._manager.wait_until_finished()
            self._manager.close()

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, loader_state: dict[str, Any], config: Checked) -> None:
        """Store the state as the checkpoint of its step; no effect if that step is stored already.

        Raises:
            OutputError: the disk refuses; those before it are whole.
        """
        step = int(state.step)
        if step == self.latest_step():
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),  # pyright: ignore[reportCallIssue]
            loader=ocp.args.JsonSave(loader_state),  # pyright: ignore[reportCallIssue]
            config=ocp.args.JsonSave(_to_json(config)),  # pyright: ignore[reportCallIssue]
        )
        with writing(self._folder):  # this one, or the one before, which was written meanwhile
            self._manager.save(step, args=items)

    def restore(self, like: TrainState, config: Checked, classes: int = 0) -> tuple[TrainState, dict[str, Any]]:
        """The newest checkpoint, placed on devices as `like` is.

        Class centres, and what the optimiser keeps for each, may have been padded to another number of rows, for
        another number of devices: the rows of the classes are taken, and as much padding, zero, as `like` has. Each
        device then holds all stored rows once.

        Args:
            like: a state of the same shapes, such as the one before the first step; only its shapes and placements
                are used.
            config: of the run that resumes. Logging and evaluation may differ from the checkpoint's, and `train.steps`
                where the learning rate does not depend on it; the rest must be the same.
            classes: of the training set, which the caller knows to be the checkpoint's; 0 where centres have no
                padding.
        Returns:
            The state, and the loader's state.
        Raises:
            CheckpointError: there is no checkpoint, it cannot be read, it belongs to another config, or its arrays
                have other shapes.
        """
        step = self.latest_step()
        if step is None:
            raise CheckpointError(f"{self._folder}: no checkpoint to resume from; start without --resume.")
        with self._reading(step):
            stored = self._manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))["config"]
            wanted = _to_json(config)
            if not isinstance(stored, dict):
                raise ValueError("the config is none")
            stored = flatten(config.of_earlier(nested(stored)))
        _check_same(stored, wanted, self._folder)
        with self._reading(step):
            shapes = _by_path(self._manager.item_metadata(step)["state"].tree)
        padded = _check_shapes(shapes, _by_path(like), classes, f"{self._folder}/{step}")

        def placed(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
            if (name := _name(path)) in padded:
                everywhere = NamedSharding(leaf.sharding.mesh, PartitionSpec())
                return jax.ShapeDtypeStruct(shapes[name], leaf.dtype, sharding=everywhere)
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)

        abstract = jax.tree_util.tree_map_with_path(placed, like)
        restore = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract),  # pyright: ignore[reportCallIssue]
            loader=ocp.args.JsonRestore(),
        )
        with self._reading(step):
            items = self._manager.restore(step, args=restore)

        def fitted(path: Any, leaf: Any, wanted: Any) -> Any:
            return _with_rows(leaf, wanted, classes) if _name(path) in padded else leaf

        return jax.tree_util.tree_map_with_path(fitted, items["state"], like), items["loader"]

    @contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        with _reading(self._folder, step, self._manager.all_steps()):
            yield


@contextmanager
def told_once() -> Iterator[None]:
    """A block in which Orbax and TensorStore do not print the errors that they also raise.

    Orbax logs the traceback of a write that failed in its thread; TensorStore's other writes then meet a loop that is
    closed, and say so each.
    """
    logger, before = logging.getLogger("absl"), sys.unraisablehook

    def is_news(record: logging.LogRecord) -> bool:
        return not record.exc_info

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    logger.addFilter(is_news)
    sys.unraisablehook = hook
    try:
        yield
    finally:
        logger.removeFilter(is_news)
        sys.unraisablehook = before


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
    handlers = {"state": ocp.PyTreeCheckpointHandler(), **_json_handlers()}
    with ocp.CheckpointManager(folder.resolve(), item_names=tuple(handlers), item_handlers=handlers) as manager:
        step = manager.latest_step()
        if step is None:
            raise CheckpointError(f"{folder}: no checkpoint there.")
        with _reading(folder, step, manager.all_steps()):
            tree = manager.item_metadata(step)["state"]
            kept = {key: tree[key] for key in ("params", "batch_stats", "centres")}
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), kept)
            restore = ocp.args.PyTreeRestore(kept, as_numpy, partial_restore=True)
            return step, manager.restore(step, args=ocp.args.Composite(state=restore))["state"]


def _json_handlers() -> dict[str, ocp.JsonCheckpointHandler]:
    """Of the items beside the state; Orbax warns of items without a name."""
    return {item: ocp.JsonCheckpointHandler() for item in ("loader", "config")}


_OF_DAMAGE = (ValueError, OSError, KeyError, TypeError, AttributeError)


@contextmanager
def _reading(folder: Path, step: int, steps: Any) -> Iterator[None]:
    """A block that reads the checkpoint of `step`, one of `steps`; its errors become one that names the file."""
    try:
        yield
    except PermissionError as error:
        raise CheckpointError(f"{folder}/{step}: the checkpoint may not be read ({error.strerror}).") from error
    except Exception as error:
        # For damaged arrays Orbax raises a bare Exception; kinds other than these are defects, and stay what they are.
        if not isinstance(error, _OF_DAMAGE) and type(error) is not Exception:
            raise
        earlier = [other for other in steps if other < step]
        remedy = (
            f"move that folder away, and the one before it, {max(earlier)}, is taken"
            if earlier
            else "there is no other, so the run must be started anew"
        )
        raise CheckpointError(
            f"{folder}/{step}: the checkpoint cannot be read, it is damaged or cut; {remedy}."
        ) from error


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _by_path(tree: Any) -> _Shapes:
    """The shape of each array by its place, but for random keys, which are stored in another form."""
    return {
        _name(path): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
        if _name(path) != "key"
    }


def _check_shapes(stored: _Shapes, wanted: _Shapes, classes: int, place: str) -> set[str]:
    """Which arrays differ in the rows that pad class centres alone.

    Raises:
        CheckpointError: any other difference.
    """
    sound = "the checkpoint is sound, but of another network, or of another version of the project, which can resume it"
    if missing := wanted.keys() - stored.keys():
        raise CheckpointError(f"{place}: has no {min(missing)}, which this run needs; {sound}.")
    if more := stored.keys() - wanted.keys():
        raise CheckpointError(f"{place}: has {min(more)}, which this run knows nothing of; {sound}.")
    padded = set[str]()
    for name in sorted(wanted):
        old, new = stored[name], wanted[name]
        of_classes = "centres" in name.split("/") and old[:1] != new[:1] and old[1:] == new[1:]
        if of_classes and 0 < classes <= min(old[0], new[0]):
            padded.add(name)
        elif old != new:
            raise CheckpointError(f"{place}: {name} has the shape {old}, and in this run {new}; {sound}.")
    return padded


def _with_rows(stored: jax.Array, wanted: Any, classes: int) -> jax.Array:
    """The rows of the classes, padded with zeros to the shape of `wanted`, and placed as it is."""

    def fit(rows: jax.Array) -> jax.Array:
        padding = [(0, wanted.shape[0] - classes), *[(0, 0)] * (rows.ndim - 1)]
        return jnp.pad(rows[:classes], padding)

    return jax.jit(fit, out_shardings=wanted.sharding)(stored)


_MAY_DIFFER = ("train.log_every", "train.evaluate_every", "train.checkpoint_every", "evaluation.")


def _check_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Refuse another config than the checkpoint's, with all keys in which it differs."""
    other = []
    for key in sorted(stored.keys() | wanted.keys()):
        longer = key == "train.steps" and wanted["optimiser.schedule"] != "cosine"  # the past does not depend on it
        if stored.get(key) != wanted.get(key) and not longer and not key.startswith(_MAY_DIFFER):
            other.append(f"{key} = {stored.get(key)!r}, and this run asks for {wanted.get(key)!r}")
    if other:
        raise CheckpointError(
            f"{folder}: the checkpoint was made with {'; with '.join(other)}; resume with the same config, or start in "
            "another folder."
        )


def _to_json(config: Checked) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flatten(config).items()}
