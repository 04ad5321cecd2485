"""Results kept on disk by the hash of what they were computed from, so that no image is looked at twice.

A key is the content, never a name or a date: a file that was moved is found again, one that was changed is not. Several
programs may use one cache at a time: what one has added stays when another saves.

Not here: what is computed (`faces.detect`, `faces.embed`).
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faces.errors import DataError, WeightsError
from faces.locks import waited_for
from faces.opening import open_regular
from faces.outputs import write_npz
from faces.refused import writing
from faces.weights import read_weights

DIGEST = hashlib.sha256().digest_size


def digest_of(array: np.ndarray) -> bytes:
    """SHA-256 of an array's shape, dtype and content."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).digest()


class Cache:
    """Float32 vectors of any lengths by 32-byte keys, in one file that is replaced whole.

    Args:
        path: the file; read now if it is there, written by `save` alone.
        row: vectors are rows of so many numbers, one after the other.
    Raises:
        DataError: something else is there, or it is damaged or cannot be read: which is raised before anything is
            computed.
    """

    def __init__(self, path: Path, row: int = 1):
        self._path, self._row = path, row
        self._vectors: dict[bytes, np.ndarray] = {}
        self._changed = False
        self.reread()

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, key: bytes) -> np.ndarray | None:
        """The vector of a key, or None."""
        return self._vectors.get(key)

    def put(self, key: bytes, vector: np.ndarray) -> None:
        """Keep a vector, float32 (n,)."""
        self._vectors[key] = np.asarray(vector, np.float32)
        self._changed = True

    def reread(self) -> None:
        """Take in what other programs have added to the file since.

        Raises:
            DataError: as for a new one.
        """
        try:
            self._vectors = _read(self._path, self._row) | self._vectors
        except FileNotFoundError:
            pass  # nobody has kept anything yet
        except OSError as error:
            raise DataError(f"{self._path}: cannot be read ({error.strerror}); name another cache.") from None

    def save(self) -> None:
        """Write the file, if anything is new, with what other programs have added to it meanwhile.

        A file that was damaged meanwhile is replaced by what this program has.

        Raises:
            OutputError: the disk refuses.
        """
        if not self._changed:
            return
        with waited_for(self._path), writing(self._path):
            try:
                others = _read(self._path, self._row)
            except (DataError, FileNotFoundError):
                others = {}
            self._vectors = others | self._vectors
            write_npz(self._path, _packed(self._vectors))
        self._changed = False


def remove_from(path: Path, is_gone: Callable[[bytes, np.ndarray], bool]) -> int:
    """Take vectors out of a cache's file, which is replaced, or removed when it has none left; how many went.

    A command that has read the file before and saves it afterwards brings them back.

    Args:
        path: the file.
        is_gone: whether a key with its vector, float32 (n,), is to go.
    Raises:
        DataError: something else is there, or it is damaged.
        OutputError: the disk refuses.
    """
    with waited_for(path), writing(path):
        there = _read(path, 1)
        kept = {key: vector for key, vector in there.items() if not is_gone(key, vector)}
        if not kept:
            path.unlink()
        elif len(kept) < len(there):
            write_npz(path, _packed(kept))
    return len(there) - len(kept)


def _packed(vectors: dict[bytes, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        "keys": np.frombuffer(b"".join(vectors), np.uint8).reshape(-1, DIGEST),
        "lengths": np.array([len(vector) for vector in vectors.values()], np.int64),
        "values": np.concatenate([np.zeros(0, np.float32), *vectors.values()]),
    }


def _read(path: Path, row: int) -> dict[bytes, np.ndarray]:
    with open_regular(path):  # of what cannot be read the system's words are told
        pass
    try:
        stored = read_weights(path)
        keys, lengths, values = (stored[name] for name in ("keys", "lengths", "values"))
        fits = (
            keys.dtype == np.uint8
            and lengths.dtype == np.int64
            and lengths.ndim == 1
            and keys.shape == (len(lengths), DIGEST)
            and values.dtype == np.float32
            and bool(((lengths >= 0) & (lengths <= values.size)).all())
            and bool((lengths % row == 0).all())
            and values.shape == (lengths.sum(),)
        )
    except (WeightsError, KeyError):
        fits = False
    if not fits:
        raise DataError(f"{path}: not a cache that was written here, or damaged; delete it, and it is computed anew.")
    parts = np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []
    return {key.tobytes(): part for key, part in zip(keys, parts, strict=True)}
