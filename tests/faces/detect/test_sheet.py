"""The sheet of a detection: what is drawn on a tile stays on it."""

import cv2
import numpy as np
import pytest

from faces.detect.detections import Detections
from faces.detect.sheet import TILE, draw_tile


@pytest.mark.parametrize(("rows", "columns"), [(100, 100), (100, 40), (40, 100)])
def test_the_score_of_a_box_beyond_the_picture_is_drawn_whole(monkeypatch, rows, columns):
    drawn = []
    monkeypatch.setattr(cv2, "putText", lambda tile, text, corner, *rest: drawn.append((text, corner)))
    boxes = np.array([[-30, -20, 50, 60], [95, 95, 130, 120], [20, 30, 40, 60]], np.float32)
    found = Detections(boxes, np.full((3, 5, 2), 9, np.float32), np.array([0.999, 0.9, 0.8], np.float32))
    tile = draw_tile(np.full((rows, columns, 3), 99, np.uint8), found)
    assert tile.shape == (TILE, TILE, 3)
    for text, (left, bottom) in drawn:
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.35, 1)
        assert left >= 0 and left + wide <= TILE and bottom - high >= 0 and bottom < TILE
    assert [text for text, _ in drawn] == ["0.999", "0.900", "0.800"]
