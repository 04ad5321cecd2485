"""Protocol buffers as they lie in a file: numbered fields, of which this gives the numbers and the values.

A message is a row of fields; a field is its number, its kind, and a whole number, 4 or 8 bytes, or a length and so many
bytes. Which of those bytes are text, numbers or again a message, the format says that uses them. Every message of a
file is read in place; fields and whole numbers are counted, because an empty field takes two bytes of the file and a
hundred of memory.

Not here: the messages of TensorFlow (`graphdef.py`) and of ONNX (`onnx.py`).
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faces.unpickle.pickled_arrays import shown
from faces.weights.weights_file import BFLOAT16, WeightsFile

FIELD_LIMIT = 2**17
"""FaceNet's Inception-ResNet-v1 as TensorFlow writes it has 11,000 fields."""

NUMBER_LIMIT = 2**18
"""Whole numbers in rows, each of which takes 36 bytes; tensors of weights are written as bytes."""

_WHOLE = 0  # the kind of field that is a whole number
_KINDS = {_WHOLE: None, 1: 8, 2: None, 5: 4}  # bytes that each kind has; None where the field says it


class Span(NamedTuple):
    """The bytes of a field in the file, from `at` to before `end`."""

    at: int
    end: int


@dataclass
class Wire:
    """The fields of a file's messages.

    Args:
        file: the file.
    """

    file: WeightsFile
    fields_left: int = FIELD_LIMIT
    numbers_left: int = NUMBER_LIMIT

    def fields(self, message: Span) -> Iterator[tuple[int, int | Span]]:
        """Number and value of each field of a message: a whole number, or the span of its bytes.

        Raises:
            WeightsError: the bytes are no message, or the file has more than FIELD_LIMIT fields.
        """
        at, end = message
        while at < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                raise self.file.error(f"more than {FIELD_LIMIT:,} fields, the limit of a network")
            key, at = self._varint(at, end)
            number, kind = key >> 3, key & 7
            if number == 0 or kind not in _KINDS:
                raise self._no_message(at)
            if kind == _WHOLE:
                value, at = self._varint(at, end)
                yield number, value
                continue
            size = _KINDS[kind]
            if size is None:
                size, at = self._varint(at, end)
            if size > end - at:
                raise self._no_message(at)
            yield number, Span(at, at + size)
            at += size

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A whole number of 1 to 10 bytes, seven bits in each, the lowest first; and the byte after it."""
        value = 0
        for shift in range(0, 70, 7):
            if at == end:
                break
            byte = self.file.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (2**64 - 1), at
        raise self._no_message(at)

    def _no_message(self, at: int):
        return self.file.error(f"byte {at}: no field of a protocol buffer; the file was cut or damaged: copy it again")

    def text(self, span: Span) -> str:
        return self.file.text(self.file.data[span.at : span.end])

    def real(self, span: Span) -> float:
        """A 32-bit float."""
        if span.end - span.at != 4:
            raise self._no_message(span.at)
        return struct.unpack("<f", self.file.data[span.at : span.end])[0]

    def reals(self, span: Span) -> tuple[float, ...]:
        """32-bit floats in a row."""
        count, rest = divmod(span.end - span.at, 4)
        self._count_numbers(count)
        if rest:
            raise self._no_message(span.at)
        return struct.unpack(f"<{count}f", self.file.data[span.at : span.end])

    def whole(self, value: int | Span) -> tuple[int, ...]:
        """Signed whole numbers: one, or a row of them."""
        if isinstance(value, int):
            self._count_numbers(1)
            return (signed(value),)
        numbers = []
        at = value.at
        while at < value.end:
            self._count_numbers(1)
            number, at = self._varint(at, value.end)
            numbers.append(signed(number))
        return tuple(numbers)

    def _count_numbers(self, count: int) -> None:
        self.numbers_left -= count
        if self.numbers_left < 0:
            raise self.file.error(f"more than {NUMBER_LIMIT:,} whole numbers outside tensors; save weights as bytes")

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        raw: Sequence[Span],
        wholes: Sequence[int] = (),
        fill: bool = False,
    ) -> np.ndarray:
        """A tensor written as bytes, or as whole numbers.

        Args:
            name, shape, dtype: as `WeightsFile.size_of`.
            raw: where its values lie as they are, in one piece or many; nowhere if they are in `wholes`.
            wholes: its values, or for 16-bit floats their bits.
            fill: whether the last value stands for all that are missing, and 0 if all are.

        Raises:
            WeightsError: more or fewer values than the shape takes; as `WeightsFile.array`.
        """
        file = self.file
        if wholes:
            data = self._packed(name, dtype, wholes)
            at, end = 0, len(data)
        elif len(raw) == 1:
            data, (at, end) = None, raw[0]
        else:
            file.spend(sum(span.end - span.at for span in raw))
            data = bytearray().join(file.data[span.at : span.end] for span in raw)
            at, end = 0, len(data)
        size = file.size_of(shape, dtype, name)
        if fill and end - at < size:
            itemsize = size // math.prod(shape)
            given = file.array(((end - at) // itemsize,), dtype, name, at, end, data)  # (given values,)
            file.spend(math.prod(shape) * given.itemsize)
            values = np.zeros(math.prod(shape), given.dtype)  # (values,)
            values[: given.size] = given
            values[given.size :] = given[-1:] if given.size else 0
            return values.reshape(shape)
        return file.array(shape, dtype, name, at, end, data)

    def _packed(self, name: str, dtype: str, wholes: Sequence[int]) -> bytearray:
        stored = {"<f2": "<u2", BFLOAT16: "<u2", "b1": "u1"}.get(dtype, dtype)
        if stored == "<u8":
            wholes = [number & (2**64 - 1) for number in wholes]
        low, high = (0, -1) if np.dtype(stored).kind == "f" else (np.iinfo(stored).min, np.iinfo(stored).max)
        if not all(low <= number <= high for number in wholes):
            raise self.file.damaged(f"{shown(name)} has whole numbers that its dtype does not have")
        return bytearray(np.array(wholes, stored).tobytes())


def signed(value: int) -> int:
    """The whole number that 64 bits stand for."""
    return value - 2**64 if value >= 2**63 else value
