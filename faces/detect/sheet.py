"""A contact sheet: images side by side, with the boxes and points of their faces.

Not here: detection, and the figures of an evaluation (`faces.evaluate.plots`).
"""

import math
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from faces.data.images import encode_png
from faces.detect.detections import Detections
from faces.outputs import write_bytes

TILE = 240  # pixels a side of one image's place
GAP = 8
BOX = (0, 158, 115)  # colours of Okabe and Ito, RGB
POINTS = ((0, 114, 178), (86, 180, 233), (240, 228, 66), (213, 94, 0), (230, 159, 0))
SHIFT = 4  # bits after the point in OpenCV's drawing coordinates


def draw_sheet(images: Iterable[tuple[np.ndarray, Detections]], path: Path) -> int:
    """Draw images and their faces on one sheet, row by row; how many.

    Args:
        images: uint8 (height, width, 3), RGB, and what was found in it.
        path: the PNG to write.
    """
    tiles = [draw_tile(image, found) for image, found in images]
    columns = max(1, math.ceil(math.sqrt(1.5 * len(tiles))))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (TILE + GAP) + GAP, columns * (TILE + GAP) + GAP, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = (GAP + (TILE + GAP) * index for index in divmod(place, columns))
        sheet[top : top + TILE, left : left + TILE] = tile
    write_bytes(path, encode_png(sheet))
    return len(tiles)


def draw_tile(image: np.ndarray, found: Detections) -> np.ndarray:
    """One image, fitted into (TILE, TILE, 3) on white, with its faces' boxes, points and scores."""
    factor = TILE / max(image.shape[:2])
    width, height = (max(1, round(side * factor)) for side in (image.shape[1], image.shape[0]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    tile[:height, :width] = small
    for box, points, score in zip(found.boxes, found.points, found.scores, strict=True):
        left_top, right_bottom = _on_tile(box[:2], factor), _on_tile(box[2:], factor)
        cv2.rectangle(tile, left_top, right_bottom, BOX, 1, cv2.LINE_AA, SHIFT)
        for point, colour in zip(points, POINTS, strict=True):
            cv2.circle(tile, _on_tile(point, factor), 2 << SHIFT, colour, -1, cv2.LINE_AA, SHIFT)
        text = f"{score:.3f}"
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.35, 1)
        corner = (
            int(np.clip(left_top[0] >> SHIFT, 0, TILE - wide)),  # a box may reach beyond the image, its score not
            int(np.clip((left_top[1] >> SHIFT) - 3, high + 1, TILE - 2)),
        )
        cv2.putText(tile, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.35, BOX, 1, cv2.LINE_AA)
    return tile


def _on_tile(point: np.ndarray, factor: float) -> tuple[int, int]:
    """A point of the image in OpenCV's drawing coordinates on the tile."""
    x, y = np.round(((point + 0.5) * factor - 0.5) * (1 << SHIFT)).astype(int)
    return int(x), int(y)
