"""A folder of checkpoints: which are there, which are sound, and the weights in them.

    STEP/state            the arrays, as Orbax writes them
    STEP/loader/metadata  the loader's place in the data order, JSON
    STEP/config/metadata  the config by its keys, JSON
    STEP/tensors.json     the checksum of each array
    STEP/SHA256SUMS       the checksum of each file, written last
    .STEP.partial         one that is being written, or was when the program ended
    STEP.damaged          one that a resumed run has found damaged, and gone back behind

Those of earlier versions have no checksums, and are told by a file of Orbax's: they are read, and it is said.

Not here: taking and restoring a run's (`checkpoint.py`).
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from faces import checksums
from faces.errors import CheckpointError
from faces.mesh import agreed, first_said
from faces.opening import MIB
from faces.opening import read_json as read_json_file
from faces.outputs import write_json
from faces.terminal import make_console

STATE, LOADER, CONFIG, TENSORS = "state", "loader/metadata", "config/metadata", "tensors.json"
PARTIAL, ASIDE = ".partial", ".damaged"
_OF_EARLIER = "_CHECKPOINT_METADATA"  # Orbax's, of checkpoints that it finished itself
_OF_ORBAX = ".orbax-checkpoint-tmp"  # within the name of those that it did not

_LARGEST_JSON = 64 * MIB
_QUIET, _LONGEST_REST = 0.5, 20.0
"""Seconds without a change after which nothing more is written, and after which it is not waited for."""

Content = TypeVar("Content")


class Damaged(Exception):
    """A checkpoint that is not as it was written; says what of it."""


class Newest(NamedTuple):
    """The newest sound checkpoint.

    Args:
        step: of it.
        content: what was read there.
        damaged: what is wrong with those after it, by their steps.
    """

    step: int
    content: Any
    damaged: dict[int, str]


def steps_in(folder: Path) -> list[int]:
    """The steps of the finished checkpoints in a folder, ascending."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and name == str(int(name)))


def partial_of(folder: Path, step: int) -> Path:
    """Where a checkpoint is written until it is finished."""
    return folder / f".{step}{PARTIAL}"


def finish(partial: Path, place: Path, tensors: Mapping[str, str], content: Mapping[str, Any]) -> None:
    """Add all but the arrays to a checkpoint whose arrays are written, seal it, and give it its name.

    Args:
        partial, place: where it lies, and will lie.
        tensors: of `checksums.of_arrays`.
        content: JSON by the file's name.
    """
    for name, one in {**content, TENSORS: dict(tensors)}.items():
        write_json(partial / name, one, indent=None)
    checksums.seal(partial)
    partial.rename(place)
    checksums.sync_folder(place.parent)


def remove(folder: Path, steps: Iterator[int] | set[int]) -> None:
    """Take finished checkpoints away, none of which is ever found in half."""
    for step in steps:
        gone = partial_of(folder, step)
        (folder / str(step)).rename(gone)
        shutil.rmtree(gone)


def remove_unfinished(folder: Path) -> None:
    """Take away what programs that were ended have left in the middle of writing."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if (entry.name.startswith(".") and entry.name.endswith(PARTIAL)) or _OF_ORBAX in entry.name:
            shutil.rmtree(entry)


def newest(
    folder: Path,
    read: Callable[[Path], Content],
    together: bool,
    check: Callable[[Path, Content], None] = lambda place, content: None,
) -> Newest:
    """Read the newest sound checkpoint, and tell of those after it.

    Where several processes read, all take the same one: which are there, and whether their files are as they were
    written, process 0 decides, and one that any process cannot read counts as damaged in all.

    Args:
        folder: of the checkpoints.
        read: what is wanted of one, whose files are as they were written; raises `Damaged`. It must not wait for other
            processes, which it may not reach.
        together: several processes read it, and all of them call this.
        check: what all have read is looked at by all; raises `Damaged`.
    Raises:
        CheckpointError: there is none, or none is sound, or one may not be read; or as `read`.
    """
    damaged = dict[int, str]()
    asks = not together or jax.process_index() == 0
    here = f", in process {jax.process_index()}" if together and jax.process_count() > 1 else ""
    there = " ".join(map(str, steps_in(folder)))
    steps = [int(word) for word in (agreed(there) if together else there).split()]

    def stage(work: Callable[..., Any], where: str, *given: Any) -> Any:
        done, reason = None, ""
        try:
            with _damage(given[0]):
                done = work(*given)
        except Damaged as error:
            reason = f"{error}{where}"
        if reason := first_said(reason) if together else reason:
            raise Damaged(reason)
        return done

    for step in reversed(steps):
        place = folder / str(step)
        try:
            stage(_check_files if asks else lambda place: None, "", place)
            content = stage(read, here, place)
            stage(check, here, place, content)
        except Damaged as error:
            damaged[step] = str(error)
            continue
        if asks:
            _tell(folder, step, damaged)
        return Newest(step, content, damaged)
    if not damaged:
        raise CheckpointError(f"{folder}: no checkpoint there.")
    raise CheckpointError(
        f"{folder}: no checkpoint is sound ({_listed(damaged)}); restore one from a copy, or start anew in another "
        "folder."
    )


def _tell(folder: Path, step: int, damaged: dict[int, str]) -> None:
    if damaged:
        _say(f"{folder}: damaged are {_listed(damaged)}; the newest sound checkpoint, {step}, is taken.")
    if not (folder / str(step) / checksums.SUMS).exists():
        _say(f"{folder}/{step}: is of an earlier version, without checksums; it can be read, and more is not known.")


def _listed(damaged: dict[int, str]) -> str:
    return "; ".join(f"{step}: {reason}" for step, reason in damaged.items())


def _say(sentence: str) -> None:
    make_console(stderr=True).print(sentence)


def _check_files(place: Path) -> None:
    """Raise `Damaged` if a checkpoint's files are; of those of earlier versions nobody can tell."""
    if not place.is_dir():
        raise Damaged("is no folder")
    if not os.path.lexists(place / checksums.SUMS):
        if not os.path.lexists(place / _OF_EARLIER):
            raise Damaged(f"{checksums.SUMS} is missing")
        reason = checksums.not_regular(place)
    else:
        reason = checksums.damage(place)
    if reason:
        raise Damaged(reason)


def read_json(path: Path) -> Any:
    """A JSON file of a checkpoint."""
    return read_json_file(path, _LARGEST_JSON)


def check_arrays(place: Path, found: Mapping[str, str]) -> None:
    """Compare arrays with those that were saved; no effect for a checkpoint of an earlier version.

    Args:
        place: the checkpoint.
        found: of `checksums.of_arrays`.
    Raises:
        Damaged: one differs.
    """
    if not (place / TENSORS).is_file():
        return
    saved = read_json(place / TENSORS)
    for name, one in found.items():
        if saved.get(name) != one:
            raise Damaged(f"{name} is not as it was saved")


_OF_DAMAGE = (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError)


@contextmanager
def _damage(place: Path) -> Iterator[None]:
    """A block that reads a checkpoint: what it raises over files that cannot be read becomes `Damaged`."""
    try:
        yield
    except PermissionError as error:
        raise CheckpointError(f"{place}: the checkpoint may not be read ({error.strerror}).") from error
    except Exception as error:
        # For damaged arrays Orbax raises a bare Exception; kinds other than these are defects, and stay what they are.
        if not isinstance(error, _OF_DAMAGE) and type(error) is not Exception:
            raise
        raise Damaged("it cannot be read") from error


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


def write_weights(folder: Path, params: Any, batch_stats: Any) -> None:
    """Store a network alone, as the checkpoint of a run that has taken no step, for `load_weights`.

    Raises:
        OutputError: the disk refuses.
    """
    state = {"params": params, "batch_stats": batch_stats, "centres": {}}
    folder, partial = folder.resolve(), partial_of(folder.resolve(), 0)
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            checkpointer.save(partial / STATE, args=ocp.args.StandardSave(state))  # pyright: ignore[reportCallIssue]
    except BaseException:
        _wait_for_rest(folder)
        raise
    finish(partial, folder / "0", checksums.of_arrays(state, together=False), {})


def _wait_for_rest(folder: Path) -> None:
    """Wait until TensorStore has ended its other writes, which go on when one has failed, and make folders anew."""
    before, changed = None, time.monotonic()
    end = changed + _LONGEST_REST
    while (now := time.monotonic()) < end and now - changed < _QUIET:
        try:
            there = {str(path): path.lstat().st_size for path in folder.rglob("*")}
        except OSError:  # one has just got its name
            there = None
        if there is None or there != before:
            before, changed = there, now
        time.sleep(_QUIET / 10)


def load_weights(folder: Path) -> tuple[int, dict[str, Any]]:
    """The newest sound checkpoint's weights, to look at or to start from.

    Args:
        folder: of the checkpoints.
    Returns:
        Its step, and "params", "batch_stats" and "centres" as in `TrainState`, of NumPy arrays.
    Raises:
        CheckpointError: there is no checkpoint, or none is sound.
    """
    found = newest(folder.resolve(), _read_weights, together=False)
    return found.step, found.content


def _read_weights(place: Path) -> dict[str, Any]:
    handler = ocp.PyTreeCheckpointHandler()
    tree = handler.metadata(place / STATE)  # pyright: ignore[reportArgumentType]
    kept = {key: tree[key] for key in ("params", "batch_stats", "centres")}
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), kept)
    restore = ocp.args.PyTreeRestore(kept, as_numpy, partial_restore=True)
    with ocp.Checkpointer(handler) as checkpointer:
        weights = checkpointer.restore(place / STATE, args=restore)
    check_arrays(place, checksums.of_arrays(weights, together=False))
    return weights
