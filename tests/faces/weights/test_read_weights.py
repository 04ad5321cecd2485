"""Every format against the arrays it was written from, and what is none of them."""

import json
import re

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
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
        (b"\x1f\x8b\x08" + bytes(99), "compressed with gzip; unpack it first"),
        (json.dumps(makers.symbol()).encode(), "JSON, perhaps a network without its weights"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"\x80\x04}\x94.", "a pickle that PyTorch did not write"),
        (b"\xff\xd8\xff\xe0" + bytes(99), "none of the formats that are read"),
        (b"PK\x03\x04" + bytes(99), "a zip file without its directory"),
        (makers.mxnet({}), "it holds no arrays"),
        (makers.zipped({}), "a zip file without its directory|it holds no arrays"),
    ],
)
def test_foreign_files(tmp_path, data, message):
    with pytest.raises(WeightsError, match=f"^{re.escape(str(tmp_path))}.*: ({message}).*\\.$"):
        read_weights(written(tmp_path, data))


def test_no_file(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(WeightsError, match="there is no such file"):
            read_weights(path)
