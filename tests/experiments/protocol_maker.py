"""LFW, IJB and MegaFace in small, on disk in their layouts.

Not here: what is asked of the mains (`test_protocols.py`).
"""

from pathlib import Path

import cv2
import numpy as np

PEOPLE, PICTURES = 12, 6
POINTS = np.float32([[8, 9], [15, 9], [12, 13], [9, 17], [14, 17]])


def picture(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    return np.clip(colour + rng.integers(-60, 60, size=(24, 24, 3)), 0, 255).astype(np.uint8)


def ijbc(root: Path) -> Path:
    """Six people with two templates each, a gallery's and a probe's, of up to three faces in two media."""
    rng = np.random.default_rng(2)
    for name in ("meta", "loose_crop"):
        (root / name).mkdir(parents=True)
    members, landmarks = [], []
    for person in range(6):
        colour = rng.integers(60, 196, size=3)
        for template in (person, 10 + person):
            for face in range(1 + rng.integers(3)):
                name = f"{len(members)}.png"
                cv2.imwrite(str(root / "loose_crop" / name), picture(rng, colour))
                members.append(f"{name} {template} {100 * template + face // 2}")
                points = POINTS + rng.uniform(-1, 1, (5, 2))
                landmarks.append(f"{name} {' '.join(f'{v:.3f}' for v in points.ravel())} {rng.uniform(0.3, 1):.4f}")
    csv = {"1N_gallery_G1": [0, 1, 2], "1N_gallery_G2": [3, 4, 5], "1N_probe_mixed": [10, 11, 12, 13, 14, 15]}
    texts = {f"{name}.csv": ["T,S", *(f"{t},{t % 10}" for t in templates)] for name, templates in csv.items()}
    texts |= {"face_tid_mid.txt": members, "name_5pts_score.txt": landmarks}
    texts["template_pair_label.txt"] = [f"{g} {p} {int(p == 10 + g)}" for g in range(6) for p in range(10, 16)]
    for name, lines in texts.items():
        (root / "meta" / f"ijbc_{name}").write_text("\n".join(lines) + "\n")
    return root


def megaface(root: Path) -> Path:
    """Three people with three pictures and ten distractors, in MegaFace's layout; one of each is listed as wrong."""
    rng = np.random.default_rng(3)
    colours = rng.integers(60, 196, size=(13, 3))
    known = [(f"P_{p}/P_{p}_{n}.png", colours[p]) for p in range(3) for n in range(3)]
    distractors = [(f"01/{s}@N/0.png", colours[3 + s]) for s in range(10)]
    for part, rows in {"facescrub": known, "megaface": distractors}.items():
        for name, colour in rows:
            path = root / f"{part}_images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture(rng, colour))
        (root / f"{part}_lst").write_text("".join(f"data/{part}_images/{name}\n" for name, _ in rows))
    (root / "facescrub_noises.txt").write_text("P_1_2.png\n")
    (root / "megaface_noises.txt").write_text("01/4@N/0.png\n")
    return root


def faces(root: Path) -> Path:
    """`train/` and `lfw/`, twelve people of flat colour and noise in each, with a list of two folds in the second."""
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
