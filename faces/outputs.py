"""Where results go: places that are looked at before the work, files that are there whole or not at all.

One rule for every command. A folder of results belongs to one command at a time (`locked`). One that holds anything is
not written into, unless the person says that the results in it may be replaced; and then they are replaced together,
when the new ones are complete (`results_folder`). A single file is written under a name that no other program uses, and
takes its place in one step (`replacing`). What the disk refuses becomes an `OutputError`, a sentence with the way out.

Not here: what is written (`run_record.py` and whoever computes it), reading what others wrote.
"""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from filelock import FileLock, Timeout

from faces.errors import OutputError

LOCK = ".lock"
PARTIAL = ".partial"
"""Within a folder of results: where they lie until they are complete."""
RECORDS = ("environment.json", "result.json", "settings.json", "config.toml", "prepared.json", "model.toml")
"""A folder with one of these was written by a command of this project; no other is ever emptied."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
REFUSED = _NO_SPACE | _FORBIDDEN | _IN_THE_WAY
"""Errors of the system that a person can mend."""


def explained(error: OSError, place: Path | str) -> OutputError:
    """The sentence for what the system refused at `place`."""
    if error.errno in _NO_SPACE:
        return OutputError(f"{place}: cannot be written, the disk is full; make room, or name a place on another disk.")
    if error.errno in _FORBIDDEN:
        return OutputError(f"{place}: may not be written ({error.strerror}); name a place of yours.")
    if error.errno in _IN_THE_WAY:
        return OutputError(f"{place}: cannot be made, a file or folder is in the way; name another place.")
    return OutputError(f"{place}: cannot be written ({error.strerror or error}).")


@contextlib.contextmanager
def writing(place: Path | str) -> Iterator[None]:
    """A block that writes at `place`: an OSError in it becomes an OutputError that names the place."""
    try:
        yield
    except OSError as error:
        raise explained(error, place) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to in place of `path`, in the same folder, which is made: it takes the place of `path` when the
    block ends well, and vanishes when it does not.

    No two programs get the same name. What lies at `path` stays until then. The new file is on the disk before it has
    the name. Its permissions are those of any new file, which the umask gives.

    Raises:
        OutputError: the disk refuses.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=path.suffix[:20], dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by a file of these bytes, in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by a file of this text in UTF-8, in one step."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by this content as indented JSON, in one step."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Replace `path` by these arrays by their names, uncompressed, in one step."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **cast(dict[str, Any], arrays))


def check_folder(folder: Path) -> None:
    """Make a folder that many commands share, such as a cache, and see that files can be written there.

    Raises:
        OutputError: they cannot.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder and keep it for this program while the block runs; the system frees it however the program ends.

    What the block leaves empty and was not there before is taken away again.

    Raises:
        OutputError: another program has it, or it cannot be made or written.
    """
    made = _make(folder)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(f"{folder}: another command is writing there; wait for it, or name another place.") from None
    except OSError as error:
        _remove_empty(made)
        raise explained(error, folder) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()  # while it is held: who has opened it meanwhile finds it gone, and tries again
        lock.release()
        _remove_empty(made)


@contextlib.contextmanager
def results_folder(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """Where a command writes its results: a folder inside `folder`, whose files move into it when the block ends well.

    Until then `folder` holds what it held, and it does so again when the block breaks off.

    Args:
        folder: where results shall be.
        overwrite: replace all results of an earlier command there.
    Raises:
        OutputError: something is there already, or another command is writing there, or the disk refuses.
    """
    check_free(folder, overwrite)
    with locked(folder):
        check_free(folder, overwrite)
        partial = folder / PARTIAL
        with writing(folder):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
        try:
            yield partial
            with writing(folder):
                for old in contents(folder):
                    shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
                for new in sorted(partial.iterdir()):
                    new.rename(folder / new.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def check_free(folder: Path, overwrite: bool = False, other_way: str = "") -> None:
    """Refuse a folder that holds anything, but for results that may be replaced.

    Args:
        folder: where results shall be.
        overwrite: whether results may be replaced.
        other_way: what else the person can do, such as "add --resume to continue it"; "" for nothing.
    Raises:
        OutputError: it is a file, or holds files of others, or results that may not be replaced.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; name a folder to write to.")
        there = contents(folder) if folder.exists() else []
    if not there:
        return
    if not any((folder / record).exists() for record in RECORDS):
        raise OutputError(
            f"{folder}: is not empty, and no results of these commands ({there[0].name} is in it); name another folder."
        )
    if not overwrite:
        ways = [*([other_way] if other_way else []), "name another folder", "replace them with --overwrite"]
        raise OutputError(f"{folder}: holds results already; {', '.join(ways[:-1])}, or {ways[-1]}.")


def contents(folder: Path) -> list[Path]:
    """What a folder holds, by name, but for what this module puts there while a command runs."""
    return sorted(entry for entry in folder.iterdir() if entry.name not in (LOCK, PARTIAL))


def numbered(base: Path) -> Path:
    """The first of BASE, BASE-2, BASE-3, ... that was not there, made: no other program gets the same.

    Raises:
        OutputError: the disk refuses.
    """
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1


def _make(folder: Path) -> list[Path]:
    """Make a folder; those that were not there before, the innermost first."""
    with writing(folder):
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):  # one that is not empty, and so are those around it
        for folder in folders:
            folder.rmdir()


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
