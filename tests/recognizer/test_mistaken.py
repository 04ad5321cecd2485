"""A detector's weights where a recogniser's belong, and the other way round: each is told what it is."""

import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments import convert
from faces.errors import FacesError, WeightsError
from mtcnn_jax.networks import make_net
from mtcnn_jax.weights import network_of, to_facenet_pytorch
from recognizer.detectors import open_detector
from recognizer.model import open_model
from tests.experiments import setting
from tests.faces.weights import makers
from tests.recognizer.test_model import TENSORS, know_iresnet4
from tests.recognizer.test_model import converted as converted
from tests.retinaface_jax.oracle import random_tensors


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of each detector, of an IResNet, and of a detector that is not known here."""
    folder = tmp_path_factory.mktemp("weights")
    np.savez(folder / "retinaface.npz", **{f"module.{name}": one for name, one in random_tensors(0).items()})
    shapes = {name: jax.eval_shape(make_net(name).init, jax.random.key(0)) for name in ("p", "r", "o")}
    nets = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    (folder / "mtcnn").mkdir()
    for net, arrays in to_facenet_pytorch(nets).items():
        np.savez(folder / "mtcnn" / f"{net}.npz", **arrays)
    np.savez(folder / "r4.npz", **TENSORS)
    for file, name in (("scrfd", "bbox_head.scales.0.scale"), ("rpn", "face_rpn_bbox_pred_stride32_weight")):
        np.savez(folder / f"{file}.npz", **{name: np.ones(1, np.float32)})
    return folder


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("retinaface.npz", ("of the detector retinaface", "program) and --detector-weights {path} (")),
        ("mtcnn/pnet.npz", ("--detector mtcnn (detector=", " and --detector-weights {folder}/mtcnn (")),
        ("mtcnn/onet.npz", ("--detector mtcnn (detector=", " and --detector-weights {folder}/mtcnn (")),
        ("mtcnn", ("--detector mtcnn (detector=", " and --detector-weights {folder}/mtcnn (")),
        ("scrfd.npz", ("of a detector, which embeds no faces", "Detectors: retinaface, mtcnn, scrfd")),
        ("rpn.npz", ("of a detector, which embeds no faces", "Detectors: retinaface, mtcnn, scrfd")),
        ("empty", ("a folder, where a file of weights is expected; give the file in it that holds them.",)),
        ("absent.pth", ("there is no such file",)),
    ],
)
def test_detectors_that_are_to_be_converted(weights: Path, given: str, words: tuple[str, ...], capsys: Any):
    path = weights / given
    (weights / "empty").mkdir(exist_ok=True)
    filled = [word.format(path=path, folder=weights) for word in words]
    setting.refused(convert.main, capsys, [str(path), "--to", str(weights / "to")], str(path), *filled)
    assert not (weights / "to").exists()


def test_runs_of_detectors_that_are_to_embed_faces(weights: Path, tmp_path: Path, capsys: Any):
    (tmp_path / "config.toml").write_text("[data]\n")
    shutil.copytree(weights / "mtcnn", tmp_path / "weights")
    words = f"and --detector-weights {tmp_path}/weights (detector_weights="
    setting.refused(convert.main, capsys, [str(tmp_path), "--to", str(tmp_path / "to")], words)
    with pytest.raises(WeightsError, match=re.escape(words)):
        open_model(tmp_path)
    shutil.rmtree(tmp_path / "weights")
    setting.refused(convert.main, capsys, [str(tmp_path), "--to", str(tmp_path / "to")], "a model of this project")


def test_models_that_are_to_be_converted(converted: Path, tmp_path: Path, capsys: Any):
    words = "a model of this project already; give it as it is where one is asked for."
    setting.refused(convert.main, capsys, [str(converted), "--to", str(tmp_path / "to")], words)


def test_recognisers_that_are_to_find_faces(weights: Path, converted: Path, monkeypatch: pytest.MonkeyPatch):
    know_iresnet4(monkeypatch)
    words = "weights of iresnet4, which embeds faces and finds none; give them as those of the model"
    for name in ("retinaface", "mtcnn"):
        for path in (weights / "r4.npz", converted):
            with pytest.raises(WeightsError) as caught:
                open_detector(name, path)
            assert str(caught.value).startswith(f"{path}: {words}")


def test_the_other_detector(weights: Path, tmp_path: Path):
    for name, path, message in (
        ("retinaface", weights / "mtcnn" / "pnet.npz", "pnet.npz: weights of mtcnn and not of retinaface; name --det"),
        ("mtcnn", weights / "retinaface.npz", "retinaface.npz: weights of retinaface and not of mtcnn; name --det"),
        ("retinaface", weights / "scrfd.npz", "scrfd.npz: the weights are none of RetinaFace"),
        ("retinaface", weights / "mtcnn", "mtcnn: a folder, where a file of weights is expected"),
        ("retinaface", tmp_path / "absent", "absent: there is no such file"),
        ("mtcnn", tmp_path, "a folder without files of weights"),
    ):
        with pytest.raises(FacesError, match=message):
            open_detector(name, path)


def test_networks_of_mtcnn_by_their_names(weights: Path):
    vgg = {f"conv{stage}_{unit}.{kind}" for stage in range(1, 6) for unit in (1, 2, 3) for kind in ("weight", "bias")}
    assert network_of(vgg) is None and network_of(TENSORS) is None
    for net in ("pnet", "rnet", "onet"):
        with np.load(weights / "mtcnn" / f"{net}.npz") as file:
            assert network_of(file.files) == net[0]
            assert network_of(file.files[1:]) is None


def test_a_graph_of_many_outputs_is_a_detectors(tmp_path: Path):
    model = makers.message("ModelProto")(ir_version=8, producer_name="test")
    for number in range(9):  # as SCRFD's
        model.graph.node.add(op_type="Conv", input=["x", "w"], output=[f"y{number}"])
        model.graph.output.add(name=f"y{number}")
    model.graph.initializer.add(name="w", dims=(1,), data_type=1, raw_data=bytes(4))
    (tmp_path / "det_10g.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"det_10g\.onnx: a graph of 9 outputs, most likely of a detector"):
        open_model(tmp_path / "det_10g.onnx")
