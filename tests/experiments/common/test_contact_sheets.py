"""Sheets of clusters: every face of every cluster is on one."""

from pathlib import Path

import cv2
import numpy as np

from experiments.common.contact_sheets import CAPTION, COLUMNS, GAP, NAME, ROWS, TILE, draw_clusters


def test_all_faces_of_all_clusters_are_drawn(tmp_path: Path):
    """Each face is of a grey value of its own; it is found again where it must stand."""
    sizes = [15, *[2] * 40, *[1] * 30]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = labels[np.random.default_rng(0).permutation(len(labels))]
    greys = 20 + np.arange(len(labels), dtype=np.uint8)
    pictures = np.broadcast_to(greys[:, None, None, None], (len(labels), 16, 16, 3))
    said = draw_clusters(pictures, labels, tmp_path, name_of=lambda label: f"person {label + 1}")
    assert said == "sheet_1.png to sheet_2.png: all 71 clusters"
    seen = []
    for n, rows in ((1, ROWS), (2, 2 + 40 - ROWS + 3)):
        sheet, top = cv2.imread(str(tmp_path / f"sheet_{n}.png")), GAP
        assert sheet.shape[1] == NAME + COLUMNS * (TILE + GAP) + GAP
        for row in range(rows):
            middle = sheet[top + TILE // 2, NAME + TILE // 2 :: TILE + GAP, 0]
            seen += [int(value) for value in middle if value != 255]
            top += TILE + GAP + (CAPTION if n == 2 and row >= 2 + 40 - ROWS else 0)
        assert top == sheet.shape[0]
    assert seen == greys[np.argsort(labels, kind="stable")].tolist()


def test_one_sheet_has_no_number(tmp_path: Path):
    assert draw_clusters(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 0]), tmp_path) == "sheet.png: all 1 cluster"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
