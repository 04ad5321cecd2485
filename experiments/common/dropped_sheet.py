"""A contact sheet of the photographs that were left out of a set of faces, by reason.

A photograph without a face that could be cut out is drawn whole, with the boxes of what was found; a face that shows
too little as it was cut out; a copy beside the face that it is a copy of. Of many some are drawn, evenly from all.

Not here: sheets of clusters (`contact_sheets.py`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from experiments.common.contact_sheets import CAPTION, COLUMNS, GAP, TILE, write_line
from experiments.common.pair_sheets import drawable
from faces.aligned.judging import KINDS, Across, Judged, LeftOut
from faces.aligned.looks import Looks
from faces.data.images import decode_image, decode_stored, encode_png
from faces.data.prepared import EncodedSource
from faces.errors import ImageError
from faces.outputs import write_bytes

NAME = 124
"""Width of the reasons before the rows, in pixels."""
MOST = 4
"""Rows of a reason."""
BOX = (230, 30, 30)
LETTERS = 12
"""Of a photograph's name under its picture, the last ones."""
ACROSS = "two names"
One = TypeVar("One", LeftOut, Across)


def draw_dropped(source: EncodedSource, looks: Looks, judged: Judged, path: Path) -> None:
    """Draw what is left out; nothing where all stay.

    Args:
        source: the photographs.
        looks: what was found in them.
        judged: what was left out.
        path: the PNG to write.
    """
    pictures = _Pictures(source, looks, judged)
    strips = list[np.ndarray]()
    for kind in KINDS:
        of_kind = [one for one in judged.left_out if one.kind == kind]
        by_two = any(one.other is not None for one in of_kind)
        shown = _some(of_kind, MOST * COLUMNS // (2 if by_two else 1))
        tiles = [tile for one in shown for tile in pictures.of(one)]
        strips += _strips(kind, len(of_kind), len(shown), tiles)
    shown = _some(judged.across, MOST * COLUMNS // 2)
    tiles = [tile for pair in shown for tile in (pictures.face(pair.first), pictures.face(pair.second))]
    strips += _strips(ACROSS, len(judged.across), len(shown), tiles)
    if strips:
        write_bytes(path, encode_png(np.concatenate([np.full_like(strips[0][:GAP], 255), *strips])))


Tile = tuple[np.ndarray | None, str]
"""A picture of TILE pixels a side, and what stands under it."""


class _Pictures:
    """What is drawn of a photograph."""

    def __init__(self, source: EncodedSource, looks: Looks, judged: Judged):
        self._source, self._looks, self._judged = source, looks, judged

    def of(self, one: LeftOut) -> list[Tile]:
        """Of one that is left out; where it is a copy, of the other as well."""
        if one.kind == "unreadable":
            return [(None, self._caption(one.row))]
        if one.kind in ("no face", "cannot be cut"):
            return [(self._whole(one.row), self._caption(one.row))]
        return [self.face(one.row), *([] if one.other is None else [self.face(one.other)])]

    def face(self, row: int) -> Tile:
        """The face that is meant."""
        face = decode_stored(self._looks.read(self._judged.meant[row].picture))
        return cv2.resize(face, (TILE, TILE), interpolation=cv2.INTER_AREA), self._caption(row)

    def _whole(self, row: int) -> np.ndarray | None:
        """The photograph with its boxes, fitted in; None where it is gone by now."""
        name = self._source.source_name(row)
        try:
            image = decode_image(self._source.encoded(row), name)
        except ImageError:
            return None
        scale = TILE / max(image.shape[:2])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        tile = np.full((TILE, TILE, 3), 255, np.uint8)
        tile[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for box in self._looks.looks[row].boxes:
            left, top, right, bottom = (int(np.clip(edge * scale, -TILE, 2 * TILE)) for edge in box)
            cv2.rectangle(tile, (left, top), (right, bottom), BOX, 1)
        return tile

    def _caption(self, row: int) -> str:
        name = str(Path(self._source.source_name(row)).with_suffix(""))
        return drawable(name[-LETTERS:])


def _some(of_all: list[One], most: int) -> list[One]:
    if len(of_all) <= most:
        return of_all
    return [of_all[at] for at in np.linspace(0, len(of_all) - 1, most).round().astype(int).tolist()]


def _strips(reason: str, count: int, shown: int, tiles: list[Tile]) -> Iterator[np.ndarray]:
    """Rows of one reason, uint8 (height, width, 3), RGB."""
    for start in range(0, len(tiles), COLUMNS):
        strip = np.full((TILE + GAP + CAPTION, NAME + COLUMNS * (TILE + GAP) + GAP, 3), 255, np.uint8)
        if start == 0:
            lines = [reason, f"{count:,}" if shown == count else f"{shown} of {count:,}"]
            for line, text in enumerate(lines):
                write_line(strip, text, (GAP, 24 + 18 * line), 0.42)
        for column, (picture, caption) in enumerate(tiles[start : start + COLUMNS]):
            left = NAME + column * (TILE + GAP)
            strip[:TILE, left : left + TILE] = 224 if picture is None else picture
            write_line(strip, caption, (left, TILE + CAPTION - 3), 0.32)
        yield strip
