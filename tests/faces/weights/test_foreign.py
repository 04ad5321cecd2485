"""Folders and archives where a file of weights belongs, and other things that people have: what each is, what to do."""

import re
from pathlib import Path

import pytest

from faces.errors import WeightsError
from faces.weights import read_weights
from tests.faces.weights import makers

PACK = ("1k3d68.onnx", "2d106det.onnx", "det_10g.onnx", "genderage.onnx", "w600k_r50.onnx")
EXPORT = "give the network as ONNX"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"a folder, where a file of weights is expected; give the file in it that holds them\."),
        (("notes.txt",), r"a folder, where a file of weights is expected; give the file in it that holds them\."),
        (PACK, r"give the file in it that holds them, such as w600k_r50\.onnx\."),
        (("det_10g.onnx",), r"such as det_10g\.onnx\."),
        (("a.pth", "b.pth", "c.pth", "d.pth"), r"such as a\.pth or b\.pth or c\.pth\."),
        (("saved_model.pb", "variables"), "the folder of TensorFlow's SavedModel, .*give the frozen graph, .pb"),
        (("face.xml", "face.bin"), f"a folder with OpenVINO's network, .*{EXPORT}"),
        (("m.ckpt-3.data-00000-of-00001", "m.ckpt-3.index", "checkpoint"), "TensorFlow's checkpoint, .*frozen graph"),
        (("m.ckpt-3.data-00000-of-00001", "20180402.pb"), r"such as 20180402\.pb\."),
    ],
)
def test_folders(names: tuple[str, ...], message: str, tmp_path: Path):
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match=f"^{re.escape(str(tmp_path))}: .*{message}"):
        read_weights(tmp_path)


def test_a_folder_of_core_ml(tmp_path: Path):
    (tmp_path / "face.mlpackage").mkdir()
    (tmp_path / "face.mlpackage" / "Manifest.json").write_text("{}")
    with pytest.raises(WeightsError, match=f"a model of Core ML, .*{EXPORT}"):
        read_weights(tmp_path / "face.mlpackage")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (PACK, r"a zip archive and no weights itself; unpack it and give .*, such as w600k_r50\.onnx\."),
        (("buffalo_l/det_10g.onnx", "buffalo_l/w600k_r50.onnx"), r"such as buffalo_l/w600k_r50\.onnx\."),
        (("a.tflite", "labels.txt"), r"give the file in it that holds the weights\."),
        (("Manifest.json", "Data/com.apple.CoreML/model.mlmodel"), f"zip archive with a model of Core ML, .*{EXPORT}"),
    ],
)
def test_archives(members: tuple[str, ...], message: str, tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(makers.zipped(dict.fromkeys(members, b"x")))
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("m.onnx.data", bytes(range(99)), r"if it holds the values of an ONNX model, give the \.onnx beside it"),
        ("model.onnx_data", bytes(range(99)), "the values of an ONNX model"),
        ("haar.xml", b'<?xml version="1.0"?>\n<opencv_storage>\n<cascade>', f"OpenCV's own storage, .*{EXPORT}"),
        ("lbp.yml", b"%YAML:1.0\n---\nopencv_lbphfaces:\n", f"YAML, as OpenCV stores its models, .*{EXPORT}"),
        ("checkpoint", b'model_checkpoint_path: "model.ckpt-275"\n', "the list of TensorFlow's checkpoints, .*frozen"),
    ],
)
def test_files(name: str, data: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / name)
