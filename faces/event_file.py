"""Numbers of a run as TensorBoard reads them: files of events, written without TensorFlow and without TensorBoard.

A file is a row of TFRecords, each one event in protobuf's encoding; of TensorFlow's messages
Event and Summary these fields are written:

    TFRecord  length (uint64), masked CRC-32C of the length, bytes, masked CRC-32C of the bytes; little-endian
    Event     1 wall_time (double), 2 step (int64), 3 file_version (text), 5 summary, 7 session_log
    Summary   1 value: Value  1 tag (text), 2 simple_value (float)
    SessionLog  1 status: 1 for "start", by which TensorBoard drops what it has of this step and those after it

A resumed run begins another file in the same folder.

Not here: which numbers (`train_loop.py`), the log that everything of ours reads (`run_record.py`).
"""

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from faces.outputs import append_bytes, write_bytes

FOLDER = "tensorboard"
"""Within a run's folder."""


class Events:
    """A file of events, which begins at a step.

    Args:
        folder: where it lies, made if need be; None: nothing is written.
        from_step: the last step before.
    Raises:
        OutputError: the disk refuses it.
    """

    def __init__(self, folder: Path | None, from_step: int):
        self._path = None
        if folder is None:
            return
        now = time.time_ns()
        self._path = folder / f"events.out.tfevents.{now // 10**9}.{now % 10**9:09d}.{os.getpid()}"
        start = _event(0, _field(3, b"brain.Event:2")), _event(from_step + 1, _field(7, _key(1, 0) + _varint(1)))
        write_bytes(self._path, b"".join(map(record, start)))

    def add(self, step: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        """Append numbers of a step.

        Args:
            step: from 1.
            numbers: by their names; "step" among them, and what is no number, is left out.
            prefix: before each name; TensorBoard groups what stands before a slash.
        """
        if self._path is None:
            return
        values = b"".join(
            _field(1, _field(1, f"{prefix}{name}".encode()) + _key(2, 5) + _single(value))
            for name, value in numbers.items()
            if name != "step" and isinstance(value, int | float)
        )
        append_bytes(self._path, record(_event(step, _field(5, values))))


def record(data: bytes) -> bytes:
    """A TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, reflected), as iSCSI has it (RFC 3720)."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest = _TABLE[(rest ^ byte) & 0xFF] ^ (rest >> 8)
    return rest ^ 0xFFFFFFFF


def _remainder(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = [_remainder(byte) for byte in range(256)]


def _masked(data: bytes) -> bytes:
    """A checksum as TFRecords store it, so that one of data that hold checksums is another number."""
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _event(step: int, content: bytes) -> bytes:
    return _key(1, 1) + struct.pack("<d", time.time()) + _key(2, 0) + _varint(step) + content


def _single(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:  # beyond float32
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))


def _field(number: int, content: bytes) -> bytes:
    """A field of text, bytes or a message."""
    return _key(number, 2) + _varint(len(content)) + content


def _key(number: int, kind: int) -> bytes:
    return bytes([number << 3 | kind])


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
