"""A file of weights while it is read: its bytes, its name for errors, and the memory that reading it may yet take.

The file is mapped, not loaded, and every array is copied out of it once. What the arrays of a file take together is
counted before each is made, and may not exceed twice the file's size plus 16 MiB, whatever shapes, overlaps and
compression the file claims; twice, because bfloat16 becomes float32. The readers bound what they keep beside arrays
(names, nodes, entries of a zip file, values of a pickle) to less than 48 MiB more.

Not here: the formats.
"""

import math
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from faces.errors import WeightsError
from faces.opening import EmptyFileError, map_file
from faces.unpickle.pickled_arrays import shown

MAX_TENSORS = 65_536
MAX_TEXT = 1_500_000
"""Bytes of JSON in a file: parsed, they take up to 30 times as much. MobileFaceNet's symbol has 108 kB."""

_SPARE = 16 * 2**20
_MAX_DIMENSIONS = 32
_NAME_COST = 4  # bytes of memory that a byte of UTF-8 may take
BFLOAT16 = "bfloat16"

Buffer = mmap.mmap | bytearray
Order = Literal["C", "F"]


class WeightsFile:
    """A file of weights, open for reading.

    Args:
        path: the file.

    Attributes:
        data: its bytes, mapped.
        name: what to call it in the message of an error.

    Raises:
        WeightsError: the file is absent, empty or no file.
    """

    def __init__(self, path: Path | str):
        self.name = str(path)
        try:
            if Path(path).is_dir():
                raise self.error("a folder, where a file of weights is expected; give the file in it that holds them")
            self.data = map_file(path)
        except FileNotFoundError:
            raise self.error("there is no such file") from None
        except EmptyFileError:
            raise self.error("the file is empty") from None
        except OSError as error:
            raise self.error(f"cannot be read ({error.strerror}); give a file of weights") from None
        self.left = 2 * len(self.data) + _SPARE
        self.names: set[str] = set()

    def error(self, what: str) -> WeightsError:
        return WeightsError(f"{self.name}: {what}.")

    def damaged(self, what: str) -> WeightsError:
        return self.error(f"{what}; the file is damaged: copy it again")

    def spend(self, size: int) -> None:
        """Count memory before it is allocated.

        Raises:
            WeightsError: more than may be taken in all.
        """
        if size > self.left:
            raise self.error("its content would take more than twice its size in memory; it is a bomb or damaged")
        self.left -= size

    def text(self, data: bytes) -> str:
        """UTF-8 of the file as text, counted.

        Raises:
            WeightsError: no UTF-8, or more than may be taken.
        """
        self.spend(_NAME_COST * len(data))
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self.damaged("a name that is not Unicode") from None

    def joined(self, *parts: str) -> str:
        """Text of the file put together, counted: a long part may come again and again."""
        self.spend(_NAME_COST * sum(map(len, parts)))
        return "".join(parts)

    def new_name(self, name: str) -> str:
        """The name of one more tensor.

        Raises:
            WeightsError: it has been used, or there are more than MAX_TENSORS.
        """
        if name in self.names:
            raise self.damaged(f"two tensors have the name {shown(name)}")
        if len(self.names) == MAX_TENSORS:
            raise self.error(f"more than {MAX_TENSORS:,} tensors, the limit")
        self.names.add(name)
        return name

    def size_of(self, shape: Sequence[int], dtype: str, name: str) -> int:
        """Bytes that a tensor takes in the file.

        Args:
            shape: sides, from the file, unchecked.
            dtype: NumPy's code such as "<f4", or BFLOAT16.
            name: the tensor, for errors.

        Raises:
            WeightsError: a negative side, too many sides, or more values than the file has bytes.
        """
        limit = max(2 * len(self.data) + _SPARE, 0)
        if len(shape) > _MAX_DIMENSIONS or not all(0 <= side <= limit for side in shape):
            raise self.damaged(f"{shown(name)} has an impossible shape")
        if math.prod(side or 1 for side in shape) > limit:  # NumPy refuses such a shape even where a side is 0
            raise self.damaged(f"{shown(name)} is declared larger than the file")
        return math.prod(shape) * (2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize)

    def array(
        self,
        shape: Sequence[int],
        dtype: str,
        name: str,
        at: int,
        end: int,
        data: Buffer | None = None,
        order: Order = "C",
    ) -> np.ndarray:
        """A tensor of the file, counted.

        Args:
            shape, dtype, name: as `size_of`.
            at, end: its first byte and the byte after its last.
            data: what the bytes are taken from; None for the file. Of a bytearray the array is a view.
            order: "C" where the last index varies fastest, "F" where the first does.

        Returns:
            An array of this shape, in the machine's byte order; float32 for bfloat16.

        Raises:
            WeightsError: the bytes are not in the file, or not as many as the shape takes; as `size_of` and `spend`.
        """
        size = self.size_of(shape, dtype, name)
        buffer = self.data if data is None else data
        if end > len(buffer):
            raise self.error(f"{shown(name)} is cut: the file ends before its last value; copy it again")
        if end - at != size:
            raise self.damaged(f"{shown(name)} has {end - at:,} bytes where its shape takes {size:,}")
        if size == 0:
            return np.empty(shape, np.float32 if dtype == BFLOAT16 else np.dtype(dtype).newbyteorder("="))
        if dtype == BFLOAT16:
            self.spend(2 * size)
            halves = np.frombuffer(buffer, "<u2", size // 2, at)  # (values,)
            flat = np.empty(size // 2, np.uint32)
            flat = np.left_shift(halves, np.uint32(16), out=flat).view(np.float32)
        else:
            code = np.dtype(dtype)
            kept = isinstance(buffer, bytearray) and code.isnative and code.kind != "b"
            if not kept:
                self.spend(size)
            read = np.dtype(np.uint8) if code.kind == "b" else code  # a bool other than 0 and 1 is none of NumPy's
            flat = np.frombuffer(buffer, read, size // code.itemsize, at)  # (values,)
            if not kept:
                flat = flat.astype(code.newbyteorder("="))
        return flat.reshape(shape, order=order)
