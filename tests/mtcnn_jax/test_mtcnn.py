"""MTCNN from images to faces, against the published pipeline in plain loops."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.mtcnn import FILES, Nets, published_detect, torch_nets
from faces.detect.detections import Detections
from faces.errors import ConfigError
from faces.weights import read_weights
from mtcnn_jax import Options, make_detector
from mtcnn_jax.weights import to_params
from tests.mtcnn_jax.test_networks import files, run_published

OPTIONS = Options(min_face=23, factor=0.6, thresholds=(0.53, 0.33, 0.5), suppression=(0.6, 0.8, 0.7, 0.8))


def test_equals_the_published_pipeline():
    """Networks that know nothing of faces: many boxes of every kind pass, at all edges of images of three sizes."""
    arrays = files()
    numpy_nets = Nets(
        *(
            lambda images, name=name, file=file: run_published(name, arrays[file], images)
            for name, file in zip("pro", FILES, strict=True)
        )
    )
    rng = np.random.default_rng(3)  # of other random pictures some have a face that hangs on the last bit
    images = [cv2.resize(rng.integers(0, 256, (9, 7, 3), np.uint8), size) for size in [(64, 51), (45, 60), (40, 37)]]
    detect = make_detector(to_params(arrays), OPTIONS)
    given = detect([images[0], np.zeros((20, 64, 3), np.uint8), *images[1:]])
    assert len(given.pop(1)) == 0  # too small for a face of 23 pixels
    for ours, image in zip(given, images, strict=True):
        expected = published_detect(image, numpy_nets, OPTIONS)
        assert len(expected) > 2
        assert_same(ours, expected, 1e-3)


def test_images_without_a_window():
    detect = make_detector(to_params(files()), Options(min_face=80))
    assert [len(found) for found in detect([np.zeros((60, 50, 3), np.uint8)])] == [0]
    assert detect([]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_face": 0}, "min_face = 0: a number of pixels above 0"),
        ({"factor": 1}, "factor = 1: a number between 0 and 1"),
        ({"thresholds": (0.6, 0.7, 1)}, r"thresholds = \(0.6, 0.7, 1\): numbers between 0 and 1"),
        ({"suppression": (0.5, 0.7, 0.7, -1)}, "suppression = .*: numbers from 0 to 1"),
    ],
)
def test_options_out_of_range(options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        Options(**options)


@pytest.mark.realdata
def test_published_weights_equal_torch(faces_data: Path):
    """A few LFW images, and photographs of other sizes; `benchmarks/mtcnn.py` has two hundred."""
    pytest.importorskip("torch")
    folder = faces_data.parent / "weights" / "mtcnn"
    if not folder.is_dir():
        pytest.skip(f"needs det1.npy, det2.npy and det3.npy in {folder}")
    weights = [read_weights(folder / name) for name in FILES]
    paths = sorted((faces_data / "lfw").rglob("*.jpg"))[::1000]
    images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    nets, options = torch_nets(*weights), Options()
    given = make_detector(to_params(dict(zip(FILES, weights, strict=True))), options)(images)
    assert sum(map(len, given)) >= len(images)
    for ours, image in zip(given, images, strict=True):
        assert_same(ours, published_detect(image, nets, options), 0.1)


def assert_same(ours: Detections, expected: Detections, pixels: float) -> None:
    assert len(ours) == len(expected)
    np.testing.assert_allclose(ours.scores, expected.scores, atol=1e-3)
    np.testing.assert_allclose(ours.boxes, expected.boxes, atol=pixels)
    np.testing.assert_allclose(ours.points, expected.points, atol=pixels)
