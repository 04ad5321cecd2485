"""Detectors by name, from files."""

import numpy as np
import pytest

from faces.detect.published import open_detector
from faces.errors import ConfigError, FacesError
from tests.faces.detect.retinaface_oracle import random_tensors


def test_names_and_files(tmp_path):
    np.savez(tmp_path / "weights.npz", **random_tensors(0))
    assert callable(open_detector("retinaface", tmp_path / "weights.npz"))
    with pytest.raises(ConfigError, match='no detector "retina": one of retinaface, mtcnn'):
        open_detector("retina", tmp_path / "weights.npz")
    with pytest.raises(ConfigError, match="longest side 0"):
        open_detector("retinaface", tmp_path / "weights.npz", longest_side=0)
    for absent_or_foreign in (tmp_path / "weights.npz", tmp_path / "absent", tmp_path):
        with pytest.raises(FacesError):
            open_detector("mtcnn", absent_or_foreign)
