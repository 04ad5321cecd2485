"""Baselines: chance is a half, pixels forgive brightness and contrast, eigenfaces equal a plain SVD."""

import cv2
import numpy as np
import pytest

from faces.data.source import ArraySource
from faces.errors import EvaluationError
from faces.evaluate import baselines, verification


def pictures(seed: int, count: int = 12, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (count, side, side, 3), dtype=np.uint8)


def test_chance_is_a_half_by_the_protocol_itself():
    first, second = np.arange(0, 40, 2), np.arange(1, 40, 2)
    same, fold = np.tile([True, False], 10), np.repeat(np.arange(5), 4)
    embeddings = baselines.chance(40)
    result = verification.verify(embeddings, [str(n) for n in range(40)], first, second, same, fold)
    assert (result.accuracy, result.accuracy_se, result.val, result.auc, result.eer) == (0.5, 0, 0, 0.5, 0.5)


@pytest.mark.parametrize(("grey", "width"), [(True, 64), (False, 192)])
def test_raw_pixels_are_area_averages_without_mean_and_length(grey, width):
    images = pictures(0)
    vectors = baselines.raw_pixels(images, side=8, grey=grey)
    assert vectors.shape == (12, width)
    for image, vector in zip(images, vectors, strict=True):
        blocks = image.astype(np.float64).reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
        expected = (blocks @ [0.299, 0.587, 0.114] if grey else blocks).ravel()
        expected = expected - expected.mean()
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=2e-6)


def test_raw_pixels_ignore_brightness_and_contrast():
    image = pictures(1, count=1)[0]
    dimmed = (image // 2 + 30).astype(np.uint8)
    vectors = baselines.raw_pixels(np.stack([image // 2 * 2, dimmed]), side=8)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


def test_a_flat_picture_is_zero_not_nan():
    vectors = baselines.raw_pixels(np.full((1, 16, 16, 3), 77, np.uint8), side=8)
    np.testing.assert_array_equal(vectors, 0)


def test_raw_pixels_take_any_source_of_faces():
    images = pictures(2)
    source = ArraySource("made up", images, np.zeros(12, np.int32))
    np.testing.assert_array_equal(baselines.raw_pixels(source, side=8), baselines.raw_pixels(images, side=8))


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("faces", [9, 60])
def test_eigenfaces_equal_the_svd(whiten, faces):
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(20, 20)) * np.linspace(1, 3, 20)
    training = (rng.normal(size=(faces, 20)) @ mixing + 5).astype(np.float32)
    tested = (rng.normal(size=(7, 20)) @ mixing + 5).astype(np.float32)
    got = baselines.fit_eigenfaces(training, 4, whiten).embed(tested)

    mean = training.astype(np.float64).mean(axis=0)
    _, singular, directions = np.linalg.svd(training - mean, full_matrices=False)
    for row, vector in enumerate(tested):
        projected = directions[:4] @ (vector - mean)
        if whiten:
            projected = projected / (singular[:4] / np.sqrt(faces - 1))
        projected /= np.linalg.norm(projected)
        np.testing.assert_allclose(np.abs(got[row]), np.abs(projected), atol=1e-5)


def test_whitened_training_faces_have_variance_one_in_every_direction():
    training = np.random.default_rng(4).normal(size=(200, 6)) * [5, 3, 1, 0.5, 0.2, 0.1]
    fitted = baselines.fit_eigenfaces(training, 6)
    projected = (training - fitted.mean) @ fitted.directions
    np.testing.assert_allclose(np.cov(projected.T), np.eye(6), atol=1e-10)


@pytest.mark.parametrize(("faces", "components"), [(5, 5), (100, 21), (100, 0), (1, 1)])
def test_more_components_than_the_faces_span_are_refused(faces, components):
    training = np.random.default_rng(5).normal(size=(faces, 20))
    with pytest.raises(EvaluationError, match=f"{components} principal components were asked for, but {faces}"):
        baselines.fit_eigenfaces(training, components)


@pytest.mark.realdata
def test_raw_pixels_on_real_faces_are_better_than_chance(faces_data):
    rows = [line.split("\t") for line in (faces_data / "lfw" / "pairs.txt").read_text().splitlines()[1:601]]  # fold 1
    couples = [(r[0], r[1], r[0], r[2]) if len(r) == 3 else tuple(r) for r in rows]
    names = sorted({f"{n}_{int(k):04d}" for a, i, b, j in couples for n, k in ((a, i), (b, j))})
    row_of = {name: row for row, name in enumerate(names)}
    first = np.array([row_of[f"{a}_{int(i):04d}"] for a, i, _, _ in couples])
    second = np.array([row_of[f"{b}_{int(j):04d}"] for _, _, b, j in couples])
    crops = []
    for name in names:
        path = faces_data / "lfw" / "lfw-deepfunneled" / name[:-5] / f"{name}.jpg"
        crops.append(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)[67:183, 67:183])
    same = np.array([len(r) == 3 for r in rows])
    fold = np.arange(600) % 10
    result = verification.verify(baselines.raw_pixels(np.stack(crops)), names, first, second, same, fold)
    assert 0.55 < result.accuracy < 0.75
    assert result.coverage == 1.0
