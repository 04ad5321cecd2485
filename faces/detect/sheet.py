"""Images with what was found in them: side by side on a contact sheet, or one with the names of its faces.

Not here: detection, and the figures of an evaluation (`faces.evaluate.plots`).
"""

import math
from collections.abc import Iterable, Sequence
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


NAME_COLOURS = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (240, 228, 66),
)  # fmt: skip


def draw_named(
    image: np.ndarray, boxes: np.ndarray, names: Sequence[str], numbers: Sequence[int], longest: int
) -> np.ndarray:
    """A photograph with boxes and the names that belong to them, uint8 (height, width, 3), RGB.

    Args:
        image: uint8 (height, width, 3), RGB.
        boxes: left, top, right, bottom in pixels of the image, (faces, 4).
        names: of each.
        numbers: the same number has the same colour, of which there are few.
        longest: the longer side is brought down to so many pixels.
    """
    factor = min(1.0, longest / max(image.shape[:2]))
    if factor < 1:
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    drawn = image.copy()
    height, width = drawn.shape[:2]
    thick = max(1, round(max(height, width) / 400))
    size = max(0.4, max(height, width) / 1400)
    taken: list[tuple[int, int, int, int]] = []
    for box, number in zip(boxes, numbers, strict=True):
        colour = NAME_COLOURS[number % len(NAME_COLOURS)]
        left_top, right_bottom = _on_tile(box[:2], factor), _on_tile(box[2:], factor)
        cv2.rectangle(drawn, left_top, right_bottom, colour, thick, cv2.LINE_AA, SHIFT)
    for box, name, number in zip(boxes, names, numbers, strict=True):  # over all boxes
        colour = NAME_COLOURS[number % len(NAME_COLOURS)]
        left, top = (value >> SHIFT for value in _on_tile(box[:2], factor))
        (wide, high), below = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        place = _free((left, top - high - below - thick, wide + 4, high + below + 2), taken, (height, width))
        taken.append(place)
        x, y = place[0], place[1]
        cv2.rectangle(drawn, (x, y), (x + place[2], y + place[3]), colour, -1)
        ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 130 else (255, 255, 255)
        cv2.putText(drawn, name, (x + 2, y + high + 1), cv2.FONT_HERSHEY_SIMPLEX, size, ink, thick, cv2.LINE_AA)
    return drawn


def _free(
    place: tuple[int, int, int, int], taken: list[tuple[int, int, int, int]], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, top, width and height of a name, within the image and, if there is room, below those that are written."""
    x, y, wide, high = place
    x, y = max(0, min(x, size[1] - wide - 1)), max(0, min(y, size[0] - high - 1))
    for _ in taken:
        over = [t for t in taken if x < t[0] + t[2] and t[0] < x + wide and y < t[1] + t[3] and t[1] < y + high]
        if not over or over[0][1] + over[0][3] + high >= size[0]:
            break
        y = over[0][1] + over[0][3] + 1
    return x, y, wide, high


def _on_tile(point: np.ndarray, factor: float) -> tuple[int, int]:
    """A point of the image in OpenCV's drawing coordinates on the tile."""
    x, y = np.round(((point + 0.5) * factor - 0.5) * (1 << SHIFT)).astype(int)
    return int(x), int(y)
