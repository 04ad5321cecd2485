"""Whether there is room on a disk, before anything is written there.

What the system says is free may be less for this user, whose share is limited, or more when other programs write: a
write may fail nevertheless, which is `refused.py`'s matter.

Not here: what is written.
"""

import shutil
from pathlib import Path
from typing import Any

import jax

from faces.errors import OutputError

_BESIDE = 2**16  # bytes of a checkpoint besides its arrays: lists of files, of arrays and of their places
_OF_EACH = 2**10  # bytes likewise for each array


def size_of(state: Any) -> int:
    """Bytes of a state on disk, at most: its arrays are compressed, which saves little of numbers that were trained."""
    leaves = jax.tree.leaves(state)
    return _BESIDE + sum(_OF_EACH + leaf.size * leaf.dtype.itemsize for leaf in leaves)


def free(folder: Path) -> int:
    """Bytes that are free where a folder lies, or will lie."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free


def check(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: where it would be written.
        needed: bytes.
        what: needs them, as the beginning of a sentence.
    Raises:
        OutputError: with both numbers.
    """
    if needed > (left := free(folder)):
        raise OutputError(f"{folder}: {what} {in_words(needed)}, and {in_words(left)} are free; make room.")


def in_words(size: int) -> str:
    """Bytes as a person reads them."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 2**10:.0f} KiB"
