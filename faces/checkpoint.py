"""A run's state on disk, through Orbax: written whole or not at all, restored onto any number of devices.

A checkpoint holds the train state, the loader's place in the data order, and the config it belongs to, each file and
each array with a checksum. It is written beside the training, one at a time: the next waits for it.

Not here: its files (`checkpoint_folder.py`), what a run that goes on must have in common with it
(`checkpoint_match.py`), which are kept (`keep.py`), weights of other projects.
"""

import dataclasses
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import NamedSharding, PartitionSpec

from faces import checkpoint_folder as files
from faces import checksums, orbax_leaks, room
from faces.checkpoint_match import by_path, check_same, check_shapes, to_json, with_rows
from faces.errors import OutputError
from faces.keep import Keep
from faces.mesh import agreed
from faces.refused import writing
from faces.schema import Checked, flatten, nested
from faces.train_state import TrainState

_NO_SCORES: Mapping[int, float] = {}


class Checkpoints:
    """The checkpoints of one run under `folder`, which is made with the first.

    A context manager: leaving it waits until the last checkpoint is on disk.

    Args:
        folder: of the checkpoints.
        keep: which stay when another is finished.
        scores: gives the score of each step that was evaluated, for `Keep.best`.
    """

    def __init__(
        self, folder: Path, keep: Keep | None = None, scores: Callable[[], Mapping[int, float]] = lambda: _NO_SCORES
    ):
        self._folder, self._keep, self._scores = folder.resolve(), keep or Keep(), scores
        self._steps = _numbers(agreed(_written(files.steps_in(self._folder))))
        orbax_leaks.mend()
        self._checkpointer = ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler())
        self._writer: _Writer | None = None
        self._has_saved = False
        self._quiet = ExitStack()

    def __enter__(self) -> "Checkpoints":
        self._quiet.enter_context(files.told_once())
        return self

    def __exit__(self, *_: object) -> None:
        with self._quiet, writing(self._folder):
            try:
                self.wait()
            finally:
                self._checkpointer.close()

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, which may still be written; None if there is none."""
        return self._steps[-1] if self._steps else None

    def check_room(self, state: TrainState, steps: int) -> None:
        """Refuse a run whose checkpoints the disk cannot hold, those of now and those to come; all processes must ask.

        Args:
            state: before the next step.
            steps: of the whole run.
        Raises:
            OutputError: with the numbers.
        """
        size, count = room.size_of(state), self._keep.most(int(state.step), steps)
        held = (file for file in self._folder.rglob("*") if file.is_file() and files.ASIDE not in str(file))
        there = sum(file.stat().st_size for file in held)
        what = f"{count} checkpoints of {room.in_words(size)}, and one that is written, need"
        _refuse(lambda: room.check(self._folder, size * (count + 1) - there, what))

    def save(self, state: TrainState, loader_state: dict[str, Any], config: Checked) -> None:
        """Store the state as the checkpoint of its step; no effect if that step is stored already.

        Returns when the state may be changed; what is written after that may fail, and is raised by the next call.

        Raises:
            OutputError: the disk has no room, in all processes; or it refuses, in the process whose write it was,
                which others wait for and must be told of (`faces.partners`). Those before it are whole.
        """
        step = int(state.step)
        if step == self.latest_step():
            return
        self.wait()

        def ready() -> None:
            if not self._has_saved:
                with writing(self._folder):
                    files.remove_unfinished(self._folder)
            room.check(self._folder, room.size_of(state), f"the checkpoint of step {step:,} needs")

        _refuse(ready)
        self._has_saved = True
        tensors = checksums.of_arrays(state, together=True)
        partial = files.partial_of(self._folder, step)
        with writing(self._folder):
            self._checkpointer.save(
                partial / files.STATE,
                args=ocp.args.StandardSave(state),  # pyright: ignore[reportCallIssue]
            )
        scores = self._scores() if jax.process_index() == 0 else {}
        stay = _numbers(agreed(_written(sorted(self._keep.of([*self._steps, step], scores)))))
        gone, self._steps = set(self._steps) - set(stay), stay

        def finish() -> None:
            self._checkpointer.wait_until_finished()
            if jax.process_index() == 0:
                content = {files.LOADER: loader_state, files.CONFIG: to_json(config)}
                files.finish(partial, self._folder / str(step), tensors, content)
                files.remove(self._folder, gone)

        self._writer = _Writer(finish)
        self._writer.start()

    def check(self) -> None:
        """Raise what went wrong since the last `save`, if a write has ended; to be called often.

        Of several processes the one whose write it was raises it, and the others wait for it until they are told.

        Raises:
            OutputError: as `save`.
        """
        if self._writer is not None and not self._writer.is_alive():
            self.wait()

    def wait(self) -> None:
        """Return when the last checkpoint is on disk.

        Raises:
            OutputError: as `save`.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.join()
        if writer.error is None:
            return
        if jax.process_index() == 0:
            for entry in self._folder.glob(f".*{files.PARTIAL}"):
                shutil.rmtree(entry, ignore_errors=True)
        self._steps = files.steps_in(self._folder)
        with writing(self._folder):
            raise writer.error

    def restore(self, like: TrainState, config: Checked, classes: int = 0) -> tuple[TrainState, dict[str, Any]]:
        """The newest sound checkpoint, placed on devices as `like` is; damaged ones after it are told of, and renamed.

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
            CheckpointError: there is no checkpoint, none is sound, it belongs to another config, or its arrays have
                other shapes.
        """

        def read(place: Path) -> tuple[TrainState, dict[str, Any]]:
            stored = files.read_json(place / files.CONFIG)
            if not isinstance(stored, dict):
                raise files.Damaged("its config is none")
            check_same(flatten(config.of_earlier(nested(stored))), to_json(config), self._folder)
            return _read_state(place, like, classes), files.read_json(place / files.LOADER)

        def check(place: Path, content: tuple[TrainState, dict[str, Any]]) -> None:
            files.check_arrays(place, checksums.of_arrays(content[0], together=True))

        self.wait()
        found = files.newest(self._folder, read, together=True, check=check)
        if found.damaged and jax.process_index() == 0:
            with writing(self._folder):
                for step in found.damaged:
                    _set_aside(self._folder / str(step))
        self._steps = [step for step in self._steps if step <= found.step]
        state, place = found.content
        return _fitted(state, like, classes), place


class _Writer(threading.Thread):
    """Ends a checkpoint while the training goes on."""

    def __init__(self, work: Callable[[], None]):
        super().__init__(name="checkpoint")
        self._work, self.error = work, None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # of any kind: it is raised in the main thread, by `Checkpoints.wait`
            self.error = error


def _refuse(check: Callable[[], None]) -> None:
    """Call in process 0 what it alone can tell; its refusal is raised in all, which must all ask."""
    said = ""
    try:
        if jax.process_index() == 0:
            check()
    except OutputError as error:
        said = str(error)
    if said := agreed(said):
        raise OutputError(said)


def _written(steps: list[int]) -> str:
    return " ".join(map(str, steps))


def _numbers(text: str) -> list[int]:
    return [int(step) for step in text.split()]


def _set_aside(place: Path) -> None:
    number = 1
    while os.path.lexists(aside := place.with_name(place.name + files.ASIDE + (f"-{number}" if number > 1 else ""))):
        number += 1
    place.rename(aside)


def _read_state(place: Path, like: TrainState, classes: int) -> TrainState:
    """The state in a checkpoint, centres with as many rows as are stored; see `Checkpoints.restore`.

    Orbax's `Checkpointer` would have all processes wait at the end for one that cannot read.
    """
    handler = ocp.StandardCheckpointHandler()
    stored = handler.metadata(place / files.STATE).tree  # pyright: ignore[reportArgumentType]
    shapes = by_path(stored)
    padded = check_shapes(shapes, by_path(like), classes, str(place))

    def placed(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
        if (name := checksums.name_of(path)) in padded:
            everywhere = NamedSharding(leaf.sharding.mesh, PartitionSpec())
            return jax.ShapeDtypeStruct(shapes[name], leaf.dtype, sharding=everywhere)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)

    # A part that an earlier version of the project did not know is not stored, and has no arrays in this run.
    parts = {part.name: getattr(like, part.name) for part in dataclasses.fields(like) if part.name in stored}
    restore = ocp.args.StandardRestore(jax.tree_util.tree_map_with_path(placed, parts))  # pyright: ignore[reportCallIssue]
    try:
        restored = handler.restore(place / files.STATE, args=restore)  # pyright: ignore[reportArgumentType]
        return dataclasses.replace(like, **restored)
    finally:
        handler.close()


def _fitted(state: TrainState, like: TrainState, classes: int) -> TrainState:
    """A state with as many rows of centres as `like` has, placed as those are."""

    def fitted(leaf: Any, wanted: Any) -> Any:
        return leaf if leaf.shape == wanted.shape else with_rows(leaf, wanted, classes)

    return jax.tree.map(fitted, state, like)
