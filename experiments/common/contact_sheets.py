"""Contact sheets of clusters of faces: all of them, however many.

A cluster of several faces begins a row, with its name and size before it, and takes as many rows as it needs. Faces
that are alone share rows at the end, each with its name under it.

Not here: the clusters (`faces.cluster`), photographs with what was found in them (`faces.detect.sheet`).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from experiments.common.photographs import counted
from faces.data.images import encode_png
from faces.outputs import write_bytes

TILE, GAP, COLUMNS, ROWS = 72, 4, 12, 24
"""A sheet: side of a face and space between faces in pixels, faces of a row, rows."""
NAME, CAPTION = 88, 14
"""Width of the names before rows, height of those under faces, in pixels."""


def draw_clusters(
    pictures: np.ndarray, labels: np.ndarray, out: Path, noun: str = "faces", name_of: Callable[[int], str] = str
) -> str:
    """Draw every face of every cluster, on one sheet or several.

    Args:
        pictures: uint8 (faces, rows, columns, 3), RGB.
        labels: each face's cluster, 0 the largest.
        out: folder that receives `sheet.png`, or `sheet_1.png`, `sheet_2.png`, ...
        noun: what the faces are called.
        name_of: a cluster's name.
    Returns:
        A sentence on what is drawn.
    """
    rows = list(_rows(labels))
    sheets = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    names = ["sheet.png"] if len(sheets) == 1 else [f"sheet_{n}.png" for n in range(1, len(sheets) + 1)]
    sizes = np.bincount(labels)
    columns = max(len(faces) for faces in rows)
    for name, sheet in zip(names, sheets, strict=True):
        strips = [_strip(pictures, labels, sizes, faces, columns, noun, name_of) for faces in sheet]
        write_bytes(out / name, encode_png(np.concatenate([np.full_like(strips[0][:GAP], 255), *strips])))
    return f"{names[0] if len(names) == 1 else f'{names[0]} to {names[-1]}'}: all {counted(sizes.size, 'clusters')}"


def _rows(labels: np.ndarray) -> Iterator[np.ndarray]:
    """The faces of each row, in the order of their clusters."""
    sizes = np.bincount(labels)
    order = np.argsort(labels, kind="stable")
    start = 0
    for size in sizes[sizes > 1].tolist():
        yield from _cut(order[start : start + size])
        start += size
    yield from _cut(order[start:])


def _cut(faces: np.ndarray) -> Iterator[np.ndarray]:
    return (faces[start : start + COLUMNS] for start in range(0, len(faces), COLUMNS))


def _strip(
    pictures: np.ndarray,
    labels: np.ndarray,
    sizes: np.ndarray,
    faces: np.ndarray,
    columns: int,
    noun: str,
    name_of: Callable[[int], str],
) -> np.ndarray:
    """One row with its names, uint8 (height, width, 3), RGB."""
    cluster = int(labels[faces[0]])
    are_alone = sizes[cluster] == 1
    height = TILE + GAP + (CAPTION if are_alone else 0)
    strip = np.full((height, NAME + columns * (TILE + GAP) + GAP, 3), 255, np.uint8)
    if are_alone:
        lines = ["alone"] if cluster == 0 or sizes[cluster - 1] > 1 else []
    else:
        begins = faces[0] == np.flatnonzero(labels == cluster)[0]
        lines = [name_of(cluster), counted(sizes[cluster], noun)] if begins else []
    for line, text in enumerate(lines):
        write_line(strip, text, (GAP, 24 + 18 * line), 0.42)
    for column, face in enumerate(faces.tolist()):
        left = NAME + column * (TILE + GAP)
        small = cv2.resize(pictures[face], (TILE, TILE), interpolation=cv2.INTER_AREA)
        strip[:TILE, left : left + TILE] = small
        if are_alone:
            write_line(strip, name_of(int(labels[face])), (left, TILE + CAPTION - 3), 0.36)
    return strip


def write_line(strip: np.ndarray, text: str, corner: Sequence[int], size: float) -> None:
    """Write a word or two on a sheet, in black, from the left end of their base line."""
    cv2.putText(strip, text, (corner[0], corner[1]), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
