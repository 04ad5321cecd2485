"""Detectors by name, from files."""

import jax
import numpy as np
import pytest

import mtcnn_jax as mtcnn
from faces.detect.looks import Sizes
from faces.errors import ConfigError, FacesError
from mtcnn_jax.networks import make_net
from mtcnn_jax.weights import to_facenet_pytorch
from recognizer.detector_identity import make_record
from recognizer.detectors import open_detector
from tests.retinaface_jax.oracle import random_tensors


def test_names_and_files(tmp_path):
    np.savez(tmp_path / "weights.npz", **random_tensors(0), **make_record("retinaface_mobilenet025", Sizes(16, 512)))
    assert callable(open_detector("retinaface", tmp_path / "weights.npz"))
    with pytest.raises(ConfigError, match='no detector "retina"; the nearest is "retinaface"'):
        open_detector("retina", tmp_path / "weights.npz")
    with pytest.raises(ConfigError, match=r"confidence 1\.5: at least 0 and less than 1"):
        open_detector("retinaface", tmp_path / "weights.npz", confidence=1.5)
    with pytest.raises(ConfigError, match="longest side 0"):
        open_detector("retinaface", tmp_path / "weights.npz", longest_side=0)
    for absent_or_foreign in (tmp_path / "weights.npz", tmp_path / "absent", tmp_path):
        with pytest.raises(FacesError):
            open_detector("mtcnn", absent_or_foreign)


def test_least_scores(tmp_path, monkeypatch):
    """Of trained weights, as the main writes them."""
    params = {name: jax.device_get(make_net(name).init(jax.random.key(3))) for name in ("p", "r", "o")}
    folder = tmp_path / "weights"
    folder.mkdir()
    for net, arrays in to_facenet_pytorch(params).items():
        np.savez(folder / f"{net}.npz", **arrays, **make_record("mtcnn", Sizes(20, 500)))
    asked = []
    monkeypatch.setattr(mtcnn, "make_detector", lambda params, options: asked.append(options.thresholds))
    open_detector("mtcnn", folder)
    open_detector("mtcnn", folder, confidence=0.02)
    assert asked == [(0.6, 0.7, 0.7), (0.6, 0.7, 0.02)]
    with pytest.raises(ConfigError, match=r"thresholds = \(0.6, 0.7, 0.0\): numbers between 0 and 1"):
        open_detector("mtcnn", folder, confidence=0.0)
