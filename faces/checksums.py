"""Checksums of files and of arrays: whether what is read is what was written.

A folder is sealed by a list of all its files with their SHA-256, `SHA256SUMS`, the last file that is written;
`sha256sum -c SHA256SUMS` checks it too. SHA-256 takes 1.2 s for a gigabyte on one core, beside the training.

An array's checksum is that of its values by their places, however it is divided among devices and hosts: each host adds
up what it holds, and the sums are added. It tells that what was restored is what was saved.

    r_i = CRC-32 of row i of the first axis; of an array of one axis, the value itself
    sum of mix(mix(i) ^ r_i) over i, modulo 2^64; mix is the finaliser of SplitMix64

Not here: which folders and arrays are checked, and what is done when one is damaged.
"""

import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from faces.opening import MIB, open_regular, read_bytes
from faces.outputs import write_text

SUMS = "SHA256SUMS"
"""Of a sealed folder: the list of its files."""
_LARGEST_SUMS = 64 * MIB
_LARGEST_FILE = 1 << 50
"""More than there is: a file of this size at most is looked at for holes, and not read where it is one."""

_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")


def seal(folder: Path) -> None:
    """Bring all files of a folder to the disk, and list them; to be called when all are written.

    Raises:
        OutputError: the disk refuses the list.
        OSError: it refuses something else.
    """
    lines = []
    for name in sorted(set(_files(folder)) - {SUMS}):
        with open_regular(folder / name) as file:
            os.fsync(file.fileno())
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    write_text(folder / SUMS, "".join(lines))
    for place, _, _ in os.walk(folder):
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Bring to the disk which names a folder holds."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def damage(folder: Path) -> str:
    """What of a sealed folder is not as it was written, as the end of a sentence; "" if all is.

    Hidden files are passed over: file systems and desktops put some there.

    Raises:
        PermissionError: a file may not be read.
    """
    try:
        text = read_bytes(folder / SUMS, _LARGEST_SUMS).decode(errors="replace")
        expected = {name: digest for digest, name in _LINE.findall(text)}
        if text != "".join(f"{digest}  {name}\n" for name, digest in expected.items()) or not text:
            return f"{SUMS} is damaged"
        found = set(_files(folder)) - {SUMS}
        if missing := expected.keys() - found:
            return f"{min(missing)} is missing"
        if more := found - expected.keys():
            return f"{min(more)} does not belong there"
        for name in sorted(expected):
            with _opened(folder, name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected[name]:
                    return f"{name} is not as it was written"
    except PermissionError:
        raise
    except OSError as error:
        return f"{error.filename or 'a file'} cannot be read ({error.strerror})"
    return ""


def not_regular(folder: Path) -> str:
    """What in a folder without a list is no file that ends, as the end of a sentence; "" if all of it is.

    Raises:
        PermissionError: a file may not be read.
    """
    try:
        for name in _files(folder):
            _opened(folder, name).close()
    except PermissionError:
        raise
    except OSError as error:
        return f"{error.filename or 'a file'} cannot be read ({error.strerror})"
    return ""


def _opened(folder: Path, name: str) -> io.BufferedReader:
    try:
        return open_regular(folder / name, _LARGEST_FILE)
    except OSError as error:
        error.filename = name
        raise


def _files(folder: Path) -> Iterator[str]:
    """Whatever lies in a folder and is no folder itself, by its path within, but for hidden names."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        within = Path(place).relative_to(folder)
        for name in (*names, *(name for name in folders if Path(place, name).is_symlink())):
            if not name.startswith("."):
                yield (within / name).as_posix()


def name_of(path: Any) -> str:
    """Where an array lies in a tree, such as "params/conv/kernel"; `path` is JAX's."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def of_arrays(tree: Any, together: bool) -> dict[str, str]:
    """Type, shape and checksum of each array of a tree, by `name_of`.

    Args:
        tree: of NumPy's arrays or JAX's, random keys too, each divided along its first axis or not at all.
        together: several processes hold the arrays, and all of them call this; otherwise this one has them whole.
    """
    leaves = {name_of(path): _plain(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
    sums = np.array([_sum_here(leaf) for leaf in leaves.values()], np.uint64)
    if together and jax.process_count() > 1:
        halves = np.stack([sums >> np.uint64(32), sums & np.uint64(0xFFFFFFFF)]).astype(np.uint32)  # JAX keeps 32 bits
        high, low = np.asarray(multihost_utils.process_allgather(halves)).astype(np.uint64).sum(axis=0)
        sums = (high << np.uint64(32)) + low
    return {
        name: f"{leaf.dtype} {'x'.join(map(str, leaf.shape)) or '1'} {int(one):016x}"
        for (name, leaf), one in zip(leaves.items(), sums, strict=True)
    }


def _plain(leaf: Any) -> Any:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def _sum_here(leaf: Any) -> int:
    """The checksum of the rows that this process holds, each once."""
    if not isinstance(leaf, jax.Array):
        return _sum(np.asarray(leaf), 0)
    total = 0
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            if shard.data.shape[1:] != leaf.shape[1:]:
                raise ValueError(f"an array of {leaf.shape} is divided along another axis than the first")
            total += _sum(np.asarray(shard.data), (shard.index[0].start or 0) if shard.index else 0)
    return total % 2**64


def _sum(rows: np.ndarray, first: int) -> int:
    """The checksum of an array of which these are the rows from `first` on."""
    if rows.size == 0:
        return 0
    if rows.ndim <= 1:
        values = np.ascontiguousarray(rows).reshape(-1).view(f"u{rows.dtype.itemsize}").astype(np.uint64)
    else:
        flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)  # (rows, bytes)
        values = np.fromiter((zlib.crc32(row.data) for row in flat), np.uint64, len(rows))
    places = np.arange(first, first + len(values), dtype=np.uint64)
    return int(_mix(_mix(places) ^ values).sum(dtype=np.uint64))


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: numbers that are near one another become numbers that are not; modulo 2^64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
