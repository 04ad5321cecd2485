"""WIDER FACE in its official layout, of noise: three faces in every picture, one of them marked as invalid."""

from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

EVENT = "0--Parade"
BOXES = ((10, 12, 24, 28), (40, 9, 20, 22), (2, 2, 5, 6))  # x, y, width, height
SUBSETS = {"easy": [1], "medium": [1, 2], "hard": [1, 2, 3]}
"""Which faces of every picture each subset counts, from 1."""


def write_wider(root: Path, train: int = 9, val: int = 3) -> None:
    """Pictures, boxes, RetinaFace's label.txt of the first face's points, and the subsets."""
    rng = np.random.default_rng(0)
    (root / "wider_face_split").mkdir(parents=True)
    for part, images in (("train", train), ("val", val)):
        folder = root / f"WIDER_{part}" / "images" / EVENT
        folder.mkdir(parents=True)
        lines = []
        for number in range(images):
            cv2.imwrite(str(folder / f"{number}.jpg"), rng.integers(0, 255, (50 + number, 70, 3), np.uint8))
            faces = [f"{x} {y} {w} {h} 0 0 0 {int(w < 10)} 0 0" for x, y, w, h in BOXES]
            lines += [f"{EVENT}/{number}.jpg", str(len(faces)), *faces]
        (root / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt").write_text("\n".join(lines) + "\n")
    face = "10 12 24 28 15 20 0 28 20 0 21 27 0 16 33 0 27 33 0 0.9"
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "label.txt").write_text(
        "".join(f"# {EVENT}/{number}.jpg\n{face}\n" for number in range(train))
    )
    (root / "ground_truth").mkdir()
    listed = {"event_list": _cell([EVENT]), "file_list": _cell([_cell([str(number) for number in range(val)])])}
    for name, places in SUBSETS.items():
        column = np.array(places, np.float64).reshape(-1, 1)
        counted = {"gt_list": _cell([_cell([column] * val)])}
        savemat(root / "ground_truth" / f"wider_{name}_val.mat", counted | listed)


def _cell(items: list) -> np.ndarray:
    box = np.empty((len(items), 1), object)
    box[:, 0] = items
    return box
