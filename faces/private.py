"""Files and folders of their owner alone: what is written may be of people, their embeddings and pictures.

Files are made 0600 and folders 0700, whatever the umask (which may take more away). What was there keeps its mode.

Not here: when and where files are written (`outputs.py`).
"""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from faces.opening import check_kind

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def keep_private() -> None:
    """Let this process, and what libraries write in it, make files and folders for their owner alone."""
    os.umask(os.umask(0o077) | 0o077)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing, for their owner alone; OSError if refused."""
    for place in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        place.mkdir(PRIVATE_FOLDER, exist_ok=True)
    folder.mkdir(PRIVATE_FOLDER, exist_ok=True)  # which says what is in the way


def make_private(folder: Path) -> None:
    """Leave to its owner alone what a folder of ours holds: libraries write in it as the umask says."""
    for place, folders, files in os.walk(folder):
        for names, mode in ((folders, PRIVATE_FOLDER), (files, PRIVATE_FILE)):
            for entry in (Path(place) / name for name in names):
                if not entry.is_symlink():
                    entry.chmod(mode)


def open_to_append(path: Path) -> BinaryIO:
    """Open a file whose end is added to; a new one is its owner's alone. OSError for a pipe or device, at once."""
    with contextlib.suppress(FileNotFoundError):
        check_kind(path.stat().st_mode)  # a pipe that nobody reads is waited for
    return os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, PRIVATE_FILE), "ab")
