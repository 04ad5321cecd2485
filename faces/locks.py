"""Locks: what one program writes at a time.

Not here: folders of results (`outputs.py`), which use them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from faces.errors import OutputError
from faces.private import PRIVATE_FILE, make_folders
from faces.refused import explained, writing

_LONGEST_WAIT = 600.0  # seconds, for a file that other programs hold for as long as it takes to write it


@contextlib.contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """Keep a file that many commands share, such as a cache, for this program while the block runs; wait for it first.

    Its folder is made. Files are replaced whole, so those who only read need no lock.

    Raises:
        OutputError: another program has it for minutes, or nothing can be written there.
    """
    with writing(path):
        make_folders(path.parent)
    with lock_file(path.with_name(f".{path.name[:20]}.lock"), path, _LONGEST_WAIT):
        yield


@contextlib.contextmanager
def lock_file(path: Path, place: Path, timeout: float) -> Iterator[None]:
    """Hold a lock while the block runs; the system frees it however the program ends.

    Args:
        path: the file to lock, which is made, and taken away again.
        place: what it stands for, which messages name.
        timeout: seconds to wait for another program.
    Raises:
        OutputError: another program has it, or the disk refuses.
    """
    lock = FileLock(path, timeout=timeout, mode=PRIVATE_FILE)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(f"{place}: another command is writing there; wait for it, or name another place.") from None
    except OSError as error:
        raise explained(error, place) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: a program that has opened it meanwhile finds it gone, and tries again
        lock.release()
