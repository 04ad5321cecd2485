"""SCRFD as a detector by its name: files of several kinds, what is said of them, and what belongs elsewhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from experiments import convert, detect
from faces.detect.looks import Sizes
from faces.errors import ConfigError, WeightsError
from recognizer import detectors as published
from recognizer.detector_identity import NETWORKS, detector_in, make_record, remark
from recognizer.detectors import open_detector
from recognizer.model import open_model
from scrfd_jax.architectures import ARCHITECTURES
from scrfd_jax.decode import make_places
from tests.experiments import setting
from tests.faces.weights import makers
from tests.recognizer.manifest_maker import detector_entry, write_manifest
from tests.retinaface_jax.oracle import random_tensors, suppress
from tests.scrfd_jax import published as theirs

NAME = "tiny_basic"


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    """A network of few layers among those that are known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, NAME, theirs.TINY[NAME])
        patch.setitem(NETWORKS, NAME, NETWORKS["scrfd_500m"])
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same random weights as an ONNX file, one without points, and a state dict."""
    folder = tmp_path_factory.mktemp("scrfd")
    tensors = theirs.state_dict(NAME)
    graph = theirs.Graph(tensors)
    outputs = theirs.outputs_of(graph, NAME, "input.1")
    (folder / "det_500m.onnx").write_bytes(theirs.onnx_file(graph.nodes, graph.tensors, outputs))
    (folder / "no_points.onnx").write_bytes(theirs.onnx_file(graph.nodes, graph.tensors, outputs[:6]))
    state = makers.tensors_of({name: one for name, one in tensors.items() if one.ndim})
    (folder / "model.pth").write_bytes(makers.torch_zip({"meta": {}, "state_dict": state}))
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Sizes]:
    seen = list[Sizes]()
    monkeypatch.setattr(published, "of_any_size", lambda detect, sizes: seen.append(sizes) or detect)
    return seen


def test_a_file_says_itself_what_it_is(files: Path, opened: list[Sizes], tmp_path: Path):
    for name in ("det_500m.onnx", "model.pth"):
        assert callable(open_detector("scrfd", files / name))
        assert callable(open_detector("scrfd", files / name, confidence=0.3, network=NAME))
        with pytest.raises(ConfigError, match=f"its weights fit {NAME}; scrfd_10g, which they are said to be of"):
            open_detector("scrfd", files / name, network="scrfd_10g")
    assert opened == [Sizes(16, 512)] * 4
    entries = {"other": detector_entry(detector="scrfd", network="scrfd_10g")}
    known = write_manifest(tmp_path / "known.toml", entries, {"other": files / "model.pth"})
    assert remark("scrfd", files / "model.pth", None, known) is None
    assert remark("scrfd", files / "model.pth", NAME) is remark("mtcnn", files / "absent", None) is None
    with pytest.raises(WeightsError, match="says that it is of scrfd_10g, and its weights fit tiny_basic"):
        open_detector("scrfd", files / "model.pth", manifest=known)


def test_a_record_is_kept_to(opened: list[Sizes], tmp_path: Path):
    tensors = theirs.state_dict(NAME)
    np.savez(tmp_path / "scrfd.npz", **tensors, **make_record(NAME, Sizes(20, 300)))
    open_detector("scrfd", tmp_path / "scrfd.npz")
    assert opened == [Sizes(20, 300)]


def test_what_is_missing_or_foreign_is_told(files: Path, tmp_path: Path):
    with pytest.raises(WeightsError, match=r"scrfd_10g: no package brings it: fetch the pack buffalo_l"):
        open_detector("scrfd")
    with pytest.raises(WeightsError, match=r"no_points\.onnx: its graph gives 6 outputs, as SCRFD without the five po"):
        open_detector("scrfd", files / "no_points.onnx")
    with pytest.raises(WeightsError, match=r"a folder; give the detector's file in it, det_500m\.onnx\."):
        open_detector("scrfd", files)
    np.savez(tmp_path / "retinaface.npz", **random_tensors(0))
    with pytest.raises(WeightsError, match="weights of retinaface and not of scrfd; name --detector retinaface"):
        open_detector("scrfd", tmp_path / "retinaface.npz")
    for name, other in (("det_500m.onnx", "retinaface"), ("det_500m.onnx", "mtcnn"), ("model.pth", "retinaface")):
        with pytest.raises(WeightsError, match=f"weights of scrfd and not of {other}; name --detector scrfd"):
            open_detector(other, files / name)


def test_where_a_recogniser_belongs(files: Path, capsys: Any, tmp_path: Path):
    for name in ("det_500m.onnx", "model.pth"):
        path = files / name
        words = f"{path}: weights of the detector scrfd, which finds faces and embeds none; give them by --detector scr"
        with pytest.raises(WeightsError) as error:
            open_model(path)
        assert str(error.value).startswith(words) and f"--detector-weights {path}" in str(error.value)
        setting.refused(convert.main, capsys, [str(path), "--to", str(tmp_path / "to")], words)
    with pytest.raises(WeightsError, match="a graph of 6 outputs, most likely of a detector"):
        open_model(files / "no_points.onnx")
    assert detector_in(files / "no_points.onnx", {}) is None


def test_a_command_finds_what_plain_numpy_finds(files: Path, tmp_path: Path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    given = ["--detector", "scrfd", "--detector-weights", str(files / "det_500m.onnx"), "--sheet", "0"]
    printed = setting.run(
        detect.main, [str(tmp_path / "a.png"), *given, "--confidence", "0.45", "--out", str(tmp_path / "out")]
    )
    said = f"{files / 'det_500m.onnx'}: taken for scrfd by its graph or its tensors' names alone; its hash is not known"
    assert f"{said} here" in printed
    (line,) = (tmp_path / "out" / "detections.jsonl").read_text().splitlines()
    found = json.loads(line)["faces"]

    black = np.pad(picture, ((0, 24), (0, 4), (0, 0)))
    boxes, points, scores = theirs.decode(theirs.forward(theirs.state_dict(NAME), NAME, black), 64, 64)
    inside = (make_places(64, 64)[:, 1::-1] < picture.shape[:2]).all(axis=1) & (scores >= 0.45)
    rows = np.flatnonzero(inside)[np.argsort(-scores[inside], kind="stable")]
    rows = rows[suppress(boxes[rows], scores[rows], 0.4, pixel=1.0)]
    assert len(found) == len(rows) > 3
    np.testing.assert_allclose([face["box"] for face in found], boxes[rows], rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose([face["points"] for face in found], points[rows], rtol=1e-4, atol=2e-3)
