"""Faces that show too little: small boxes, and blurred pictures."""

import cv2
import numpy as np

from faces.sharpness import LEAST_DETAIL, SMALLEST, detail, too_blurred, too_small


def test_a_box_counts_by_its_shorter_side():
    sides = np.array([[40, 40], [40, SMALLEST - 1], [SMALLEST, SMALLEST], [np.nan, np.nan]], np.float32)
    boxes = np.concatenate([np.full((4, 2), 7, np.float32), 7 + sides], axis=1)
    assert too_small(boxes).tolist() == [False, True, False, False]


def test_a_blurred_face_shows_less_however_large_it_is():
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (160, 160), interpolation=cv2.INTER_CUBIC)
    fine = np.clip(coarse.astype(int) + rng.normal(0, 30, (160, 160, 1)), 0, 255).astype(np.uint8)
    assert detail(coarse) < LEAST_DETAIL < detail(fine)
    assert detail(np.zeros((20, 20, 3), np.uint8)) == 0
    assert too_blurred(np.stack([coarse, fine])).tolist() == [True, False]


def test_contrast_does_not_matter():
    face = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    assert np.isclose(detail(face), detail((face * 0.5 + 60).astype(np.uint8)), rtol=0.02)
