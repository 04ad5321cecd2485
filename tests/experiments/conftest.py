"""What the tests of the mains share: faces on disk, and a network that compiles at once."""

from pathlib import Path

import cv2
import numpy as np
import pytest

PEOPLE, PICTURES = 12, 6


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train/` and `lfw/`, twelve people of flat colour and noise in each, with a list of two folds in the second."""
    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for name in ("train", "lfw"):
        for person in range(PEOPLE):
            colour = rng.integers(40, 216, size=3)
            folder = root / name / f"Person_{person}"
            folder.mkdir(parents=True)
            for picture in range(1, PICTURES + 1):
                pixels = np.clip(colour + rng.integers(-40, 40, size=(24, 24, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"Person_{person}_{picture:04d}.png"), pixels)
    lines = ["2\t12"]
    for fold in range(2):
        people = [6 * fold + n % 6 for n in range(12)]
        lines += [f"Person_{p}\t{1 + n // 6}\t{3 + n // 6}" for n, p in enumerate(people)]
        lines += [
            f"Person_{p}\t{1 + n // 6}\tPerson_{6 * fold + (p + 1) % 6}\t{1 + n // 6}" for n, p in enumerate(people)
        ]
    (root / "lfw" / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root
