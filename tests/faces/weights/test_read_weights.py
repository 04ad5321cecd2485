"""Every format against the arrays it was written from, and what is none of them."""

import json
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from faces.errors import WeightsError
from faces.weights import read_weights
from tests.faces.weights import makers

WRITERS = {
    "mxnet": makers.mxnet,
    "zip": lambda tensors: makers.torch_zip(makers.tensors_of(tensors)),
    "legacy": lambda tensors: makers.torch_legacy(makers.tensors_of(tensors)),
    "graphdef": makers.graphdef,
    "onnx": makers.onnx,
    "safetensors": makers.safetensors,
    "npz": makers.npz,
    "compressed npz": lambda tensors: makers.npz(tensors, compressed=True),
}
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
TORCH_HAS_NOT = ("uint16", "uint32", "uint64")


def written(tmp_path, data, name="weights"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("form", WRITERS)
def test_arrays_come_back(tmp_path, form):
    rng = np.random.default_rng(1)
    for dtype in DTYPES + (() if form in ("zip", "legacy") else TORCH_HAS_NOT):
        if dtype == "bfloat16" and "npz" in form:
            continue  # NumPy has no such dtype
        values = rng.integers(0, 2 if dtype == "bool" else 100, (3, 2, 4))
        if dtype.startswith(("f", "bf")):
            values = values + 1 / 3
        stored = values.astype(getattr(ml_dtypes, dtype, None) or dtype)
        tensors = {"a.weight": stored, "b": stored[0, 0, :1], "c": stored[:, :0]}
        read = read_weights(written(tmp_path, WRITERS[form](tensors)))
        assert list(read) == list(tensors)
        for name, array in tensors.items():
            expected = array.astype(np.float32) if dtype == "bfloat16" else array
            assert read[name].dtype == expected.dtype and read[name].dtype.isnative
            np.testing.assert_array_equal(read[name], expected, strict=True)


@pytest.mark.parametrize("form", [form for form in WRITERS if form != "mxnet"])
def test_a_single_number(tmp_path, form):
    read = read_weights(written(tmp_path, WRITERS[form]({"steps": np.array(-7, np.int64)})))
    np.testing.assert_array_equal(read["steps"], np.array(-7, np.int64), strict=True)


@pytest.mark.parametrize("form", WRITERS)
def test_every_cut_is_refused(tmp_path, form):
    """Byte by byte, but for protocol buffers, where a cut between two fields leaves a sound shorter file."""
    data = WRITERS[form]({"a": np.arange(6, dtype=np.float32), "b": np.arange(4, dtype=np.int64)})
    whole = read_weights(written(tmp_path, data))
    for length in range(0, len(data), 1 if len(data) < 900 else 3):
        path = written(tmp_path, data[:length])
        try:
            part = read_weights(path)
        except WeightsError as error:
            assert re.fullmatch(f"{re.escape(str(path))}[:,] [^\n]*\\.", str(error))
        else:
            assert form in ("graphdef", "onnx")
            assert all(np.array_equal(array, whole[name]) for name, array in part.items())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\x00", "none of the formats that are read"),
        (b"PK\x03\x04" + bytes(99), "a zip file without its directory"),
        (makers.mxnet({}), "it holds no arrays"),
        (makers.zipped({}), "a zip file without its directory|it holds no arrays"),
    ],
)
def test_foreign_files(tmp_path, data, message):
    with pytest.raises(WeightsError, match=f"^{re.escape(str(tmp_path))}.*: ({message}).*\\.$"):
        read_weights(written(tmp_path, data))


def test_no_file(tmp_path):
    for path, message in (
        (tmp_path / "none.npz", "there is no such file"),
        (tmp_path, "a folder, where a file of weights is expected; give the file in it that holds them"),
        (Path("/dev/null"), r"cannot be read \(a device and no file\); give a file of weights"),
    ):
        with pytest.raises(WeightsError, match=f"^{re.escape(str(path))}: {message}\\.$"):
            read_weights(path)


PAGE = "<!DOCTYPE html>\n<html><title>Virus scan warning</title>"
ONNX = makers.onnx({"w": np.ones(3, np.float32)})
FOREIGN = [
    # name, bytes, what it is, what to do
    ("a.pth", PAGE.encode(), "a web page", "download"),
    ("a.pth", b"\n\n  " + PAGE.encode(), "a web page", "download"),
    ("a.pb", b"\n<html lang=en>" + bytes([0xE9]), "a web page", "download"),
    ("a.onnx", b"\xef\xbb\xbf\r\n" + PAGE.lower().encode(), "a web page", "download"),
    ("a.onnx", PAGE.encode("utf-16"), "a web page", "download"),
    ("a.params", b'<?xml version="1.0"?>\n' + PAGE.encode(), "a web page", "download"),
    ("a.params", b"<!-- saved -->" + PAGE.encode(), "a web page", "download"),
    ("a.params", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML", "download"),
    ("a.pth", b"Not Found\n", "text", "download"),
    ("a.pth", b"\n{\"error\": \"not found\"}", "JSON", "give the file of weights beside it"),
    ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS", "git lfs pull"),
    ("a.json", json.dumps(makers.symbol()).encode(), "MXNet's network without its weights", "give the .params file"),
    ("m.safetensors.index.json", b'{"metadata": {}, "weight_map": {"w": "a"}}', "the index of a model", "join"),
    ("model.json", b'{"modelTopology": {}, "weightsManifest": []}', "TensorFlow.js", "give the network as ONNX"),
    ("a.xml", b'<?xml version="1.0"?>\n<net name="r50" version="11">', "OpenVINO's network", "as ONNX"),
    ("a.bin", bytes(99), "no format that is read", "OpenVINO's .xml or ncnn's .param, give the network as ONNX"),
    ("a.param", b"7767517\n75 83\nInput data 0 1", "ncnn's network", "as ONNX"),
    ("a.prototxt", b'# R\nname: "r50"\nlayer {', "Caffe's network without its weights", "as ONNX"),
    ("a.caffemodel", b"\x0a\x03r50\xa2\x06" + bytes(9), "Caffe's weights", "as ONNX"),
    ("a.pbtxt", b'node {\n  name: "x"', "TensorFlow's graph as text", "give the frozen graph"),
    ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file", "as ONNX"),
    ("weights", b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file", "as ONNX"),
    ("a.keras", makers.zipped({"config.json": b"{}", "model.weights.h5": b""}), "a model of Keras", "as ONNX"),
    ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(99), "a TensorFlow Lite model", "as ONNX"),
    ("a.tflite", b"\x1c" + bytes(99), "a TensorFlow Lite model by its name", "as ONNX"),
    ("a.ort", b"\x1c\0\0\0ORTM" + bytes(99), "ONNX Runtime", "as ONNX"),
    ("a.t7", b"\4\0\0\0\1\0\0\0\3\0\0\0V 1\x0d\0\0\0nn.Sequential", "a file of Torch 7", "as ONNX"),
    ("a.t7", b"4\n1\n3\nV 1\n13\nnn.Sequential\n", "a file of Torch 7", "as ONNX"),
    ("a.t7", b"\3\0\0\0\1\0\0\0" + bytes(9), "a file of Torch 7 (Lua) by its name", "as ONNX"),
    ("a.pdparams", b"\x80\4}q\0X\x1b\0\0\0StructuredToParameterName@@", "Paddle's weights", "as ONNX"),
    ("a.pdparams", b"\x80\2}q\0.", "Paddle's weights", "as ONNX"),
    ("a.pdmodel", b"\x0a\x8f\1\x08\0\x10\0" + bytes(9), "Paddle's network", "as ONNX"),
    ("a.pdiparams", bytes(99), "Paddle's weights", "as ONNX"),
    ("a.mlmodel", b"\x08\3\x12" + bytes(9), "a model of Core ML", "as ONNX"),
    ("saved_model.pb", b"\x08\1\x12\x20\x0a\x04" + bytes(30), "TensorFlow's SavedModel", "give the frozen graph"),
    ("model.ckpt.index", bytes(99) + bytes.fromhex("57fb808b247547db"), "a TensorFlow checkpoint", "frozen graph"),
    ("model.ckpt.data-00000-of-00001", bytes(99), "a TensorFlow checkpoint", "frozen graph"),
    ("model.ckpt.meta", b"\x0a\x04\x0a\x02" + bytes(9), "a TensorFlow checkpoint", "frozen graph"),
    ("a.engine", b"ptrt" + bytes(99), "an engine of TensorRT", "as ONNX"),
    ("a.mat", b"MATLAB 5.0 MAT-file" + bytes(99), "MATLAB", "save its arrays as .npz"),
    ("a.pkl", b"\x80\4}\x94.", "a pickle that PyTorch did not write", "save the arrays as .npz"),
    ("a.pth.gz", b"\x1f\x8b\x08" + bytes(99), "compressed with gzip", "unpack it"),
    ("a.bz2", b"BZh9" + bytes(99), "compressed with bzip2", "unpack it"),
    ("a.xz", b"\xfd7zXZ\0" + bytes(99), "compressed with xz", "unpack it"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive", "unpack it"),
    ("a.rar", b"Rar!\x1a\7\0" + bytes(99), "a RAR archive", "unpack it"),
    ("a.tar", b"det1.npy".ljust(257, b"\0") + b"ustar\0" + bytes(999), "a tar archive", "unpack it"),
    ("a.pth", b"sys_info".ljust(257, b"\0") + b"ustar\0" + bytes(999), "PyTorch before 0.2", "save it again"),
    ("a.zip", makers.zipped({"r/": b"", "r/a.txt": b"", "r/w600k_r50.onnx": ONNX}), "a zip archive",
     "unpack it and give the file in it that holds the weights, such as r/w600k_r50.onnx"),
    ("a.zip", makers.zipped({"read.me": b""}), "a zip archive", "unpack it"),
    ("a.zip", makers.zipped({"m/saved_model.pb": b"", "m/variables/v": b""}), "SavedModel", "give the frozen graph"),
    ("a.pt2", makers.zipped({"m/archive_format": b"pt2"}), "a program of torch.export", "save the network's"),
    ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(99), "a photograph", "give the file of weights"),
    ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(99), "a picture", "give the file of weights"),
    ("a.rec", b"\x0a\x23\xd7\xce" + bytes(99), "MXNet's RecordIO", "give the .params file"),
]  # fmt: skip


def test_what_is_not_read_is_told(tmp_path):
    """What the file is, by its bytes where they say it, and what to do, in one sentence."""
    for name, data, what, remedy in FOREIGN:
        path = written(tmp_path, data, name)
        with pytest.raises(WeightsError) as caught:
            read_weights(path)
        assert str(caught.value).startswith(f"{path}: "), caught.value
        assert what in str(caught.value) and remedy in str(caught.value), (name, data[:20], caught.value)
        assert re.fullmatch(r"[^\n]*[^.]\.", str(caught.value))
