"""What was found in photographs, kept on disk bit by bit, so that a command that was stopped looks at none twice.

A folder holds two files that only grow. `faces.bin` has the faces that were cut out, as PNG, and their embeddings, one
after the other. `looks.jsonl` has a line for each group of photographs that were looked at together, written when all
of the group is in the other file: so a command that goes on, goes on between the same groups, and a detector sees the
same batches. What a kill leaves behind the last whole line is cut off.

Not here: finding faces (`recognizer.aligning`), which are left out (`judging.py`).
"""

import dataclasses
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from faces.errors import DataError
from faces.opening import open_regular, parse_json
from faces.outputs import append_text
from faces.private import open_to_append
from faces.refused import writing

LINES, FACES = "looks.jsonl", "faces.bin"
Span = tuple[int, int]
"""Where something lies in `faces.bin`: first byte, and how many."""


@dataclass(frozen=True)
class CutFace:
    """A face that was cut out of a photograph, or the middle of one in which there is none.

    Args:
        found: row of the detection in its photograph; None for the middle.
        picture: its PNG.
        detail: as `faces.sharpness.detail`.
        embedding: float32, of length 1; None without a model.
    """

    found: int | None
    picture: Span
    detail: float
    embedding: Span | None


@dataclass(frozen=True)
class Look:
    """One photograph that was looked at.

    Args:
        sha256: of its bytes; "" where they cannot be read.
        pixels: a hash of its pixels; "" where it cannot be decoded.
        unreadable: why not; "" where it can.
        boxes: left, top, right, bottom of the faces found, in pixels, the best first.
        cut: those that were cut out; the middle of a photograph where none was found.
        uncut: why faces that are meant could not be cut out.
    """

    sha256: str
    pixels: str = ""
    unreadable: str = ""
    boxes: tuple[tuple[float, ...], ...] = ()
    cut: tuple[CutFace, ...] = ()
    uncut: tuple[str, ...] = ()

    def box(self, face: CutFace) -> np.ndarray:
        """Box of a face, float64 (4,); NaN of the middle."""
        return np.full(4, np.nan) if face.found is None else np.array(self.boxes[face.found])


class Looks:
    """The photographs that were looked at, in their order, in a folder that this command alone writes to.

    Args:
        folder: which holds nothing yet, or what an earlier part of the same work left.
    Raises:
        DataError: the files in it are damaged, and not by having been cut off.
    """

    def __init__(self, folder: Path):
        self._lines, self._faces = folder / LINES, folder / FACES
        self.looks: list[Look] = []
        self._end = self._read()
        self._content: BinaryIO | None = None
        self._opening = threading.Lock()
        if self._faces.exists():
            with writing(self._faces):
                os.truncate(self._faces, self._end)

    def __len__(self) -> int:
        return len(self.looks)

    def close(self) -> None:
        """Let go of the files."""
        if self._content is not None:
            self._content.close()

    def place(self, content: bytes) -> Span:
        """Add bytes to the faces; they count when `end_group` has been called."""
        with writing(self._faces), open_to_append(self._faces) as file:
            file.write(content)
        span = self._end, len(content)
        self._end += len(content)
        return span

    def end_group(self, looks: Sequence[Look]) -> None:
        """Add photographs that were looked at together, whose faces are all there."""
        line = {"end": self._end, "looks": [dataclasses.asdict(look) for look in looks]}
        append_text(self._lines, json.dumps(line) + "\n")
        self.looks += looks

    def read(self, span: Span) -> bytes:
        """What lies there.

        Raises:
            DataError: the file is cut, or cannot be read.
        """
        with self._opening:
            if self._content is None:
                try:
                    self._content = open_regular(self._faces)
                except OSError as error:
                    raise DataError(f"{self._faces}: cannot be read ({error.strerror}).") from None
        content = os.pread(self._content.fileno(), span[1], span[0])  # safe for many threads
        if len(content) != span[1]:
            raise DataError(f"{self._faces}: ends too early; delete its folder and look anew.")
        return content

    def embedding(self, face: CutFace) -> np.ndarray:
        """Of a face that has one, float32 (d,)."""
        assert face.embedding is not None
        return np.frombuffer(self.read(face.embedding), np.float32)

    def _read(self) -> int:
        """Take in the whole lines, and cut off what comes after them; how far the faces go."""
        end = whole = 0
        try:
            with open_regular(self._lines) as file:
                room = self._faces.stat().st_size if self._faces.exists() else 0
                for number, text in enumerate(file, start=1):
                    if not text.endswith(b"\n"):  # cut off, even where it can be read: another line would follow on it
                        break
                    looks, end = self._group(number, text, end, room)
                    self.looks += looks
                    whole += len(text)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise DataError(f"{self._lines}: cannot be read ({error.strerror}).") from None
        with writing(self._lines):
            os.truncate(self._lines, whole)
        return end

    def _group(self, number: int, text: bytes, end: int, room: int) -> tuple[list[Look], int]:
        """The photographs of a line, and how far their faces go; those before them go to `end`."""
        try:
            line = parse_json(text)
            looks, new_end = [_look(one) for one in line["looks"]], int(line["end"])
            spans = [span for look in looks for face in look.cut for span in (face.picture, face.embedding) if span]
            if not end <= new_end <= room or any(not 0 <= first <= first + size <= new_end for first, size in spans):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{self._lines}, line {number}: is damaged, or the faces that it is about are not in "
                f"{self._faces.name}; delete the folder, or begin anew with --overwrite."
            ) from None
        return looks, new_end


def _look(content: dict[str, Any]) -> Look:
    """What `end_group` wrote."""
    cut = tuple(
        CutFace(face["found"], _span(face["picture"]), float(face["detail"]),
                None if face["embedding"] is None else _span(face["embedding"]))
        for face in content["cut"]
    )  # fmt: skip
    boxes = tuple(_box(*map(float, box)) for box in content["boxes"])
    if not all(face.found is None or face.found in range(len(boxes)) for face in cut):
        raise ValueError
    sha256, pixels, unreadable = (str(content[name]) for name in ("sha256", "pixels", "unreadable"))
    return Look(sha256, pixels, unreadable, boxes, cut, tuple(map(str, content["uncut"])))


def _box(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
    return left, top, right, bottom


def _span(content: Any) -> Span:
    first, size = content
    return int(first), int(size)
