"""What is peculiar to MXNet, safetensors and NumPy: versions, headers, order, and what their writers never write."""

import json
import struct

import numpy as np
import pytest

from faces.errors import WeightsError
from faces.weights import Node, read_symbol, read_weights
from tests.faces.weights import makers
from tests.faces.weights.test_read_weights import written

W = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.mark.parametrize("version", range(4))
@pytest.mark.parametrize("prefix", ["arg:", "aux:", ""])
def test_mxnet_versions(tmp_path, version, prefix):
    tensors = W | {"b": np.array([True, False])}
    read = read_weights(written(tmp_path, makers.mxnet(tensors, version, prefix)))
    assert list(read) == ["w", "b"]
    for name, array in tensors.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_mxnet_worked_bytes(tmp_path):
    """The first array of InsightFace's files, written down byte by byte."""
    data = bytes.fromhex(
        "1201000000000000 0000000000000000 0100000000000000"  # magic, reserved, one array
        "c9fa93f9 00000000 02000000 0100000000000000 0200000000000000"  # V2, dense, two sides: 1, 2
        "01000000 00000000 00000000 0000803f 000000c0"  # CPU 0, float32: 1, -2
        "0100000000000000 0500000000000000 6172673a77"  # one name of five bytes: arg:w
    )
    np.testing.assert_array_equal(
        read_weights(written(tmp_path, data))["w"], np.array([[1, -2]], np.float32), strict=True
    )


def test_mxnet_scalar_of_numpy_shapes(tmp_path):
    read = read_weights(written(tmp_path, makers.mxnet({"s": np.array(3, np.int32)}, version=3)))
    np.testing.assert_array_equal(read["s"], np.array(3, np.int32), strict=True)


def changed(data, at, form, value):
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


def test_mxnet_damage(tmp_path):
    good = makers.mxnet(W)
    for data, message in [
        (changed(good, 28, "<i", 1), "array 0 is sparse"),
        (changed(good, 32, "<i", 0), "array 0 has no values"),
        (changed(good, 32, "<i", 99), "an impossible number of sides"),
        (changed(good, 36, "<q", -2), "an impossible shape"),
        (changed(good, 60, "<i", 99), "an unknown dtype"),
        (changed(good, 16, "<Q", 2), "the file was cut|array 1"),
        (good + b"\0", "1 bytes follow the last name"),
        (makers.mxnet({"w": W["w"], "arg:w": W["w"]}, prefix=""), "two tensors have the name w"),
        (good[:-1] + b"\xff", "a name that is not Unicode"),
    ]:
        with pytest.raises(WeightsError, match=message):
            read_weights(written(tmp_path, data))


def test_symbol(tmp_path):
    symbol = makers.symbol()
    nodes = read_symbol(written(tmp_path, json.dumps(symbol).encode()))
    assert nodes[1] == Node("cut", "SliceChannel", ("data",), ("cut",), {"num_outputs": "2"})
    assert nodes[3] == Node("conv", "Convolution", ("cut:1", "w"), ("conv",), {"kernel": "(3, 3)"})
    assert [node.op for node in nodes] == ["null", "SliceChannel", "null", "Convolution"]
    node = symbol["nodes"][3]
    node["param"], node["attr"] = node.pop("attrs"), {"lr_mult": "2"}  # as the first versions wrote it
    assert read_symbol(written(tmp_path, json.dumps(symbol).encode()))[3].attributes == {
        "kernel": "(3, 3)",
        "lr_mult": "2",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": [[3, 0, 0]]}, "conv takes an input from no node before it"),
        ({"inputs": [[-1, 0, 0]]}, "conv takes an input from no node before it"),
        ({"inputs": [0]}, "conv takes an input from no node before it"),
        ({"inputs": None}, "node 3 lacks"),
        ({"name": 5}, "node 3 lacks"),
        ({"attrs": {"kernel": 3}}, "attributes that are no text"),
        ({"attrs": []}, "attributes that are no text"),
    ],
)
def test_symbol_damage(tmp_path, change, message):
    symbol = makers.symbol()
    symbol["nodes"][3].update(change)
    with pytest.raises(WeightsError, match=message):
        read_symbol(written(tmp_path, json.dumps(symbol).encode()))


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([], "does not say which node gives its output"),
        (3, "does not say which node"),
        ([[4, 0, 0]], "does not say which node"),
        ([[3, 1, 0]], "does not say which node"),
        ([[2, 0, 0], [3, 0, 0]], "it gives 2 outputs"),
    ],
)
def test_a_symbol_gives_one_output(tmp_path, heads, message):
    with pytest.raises(WeightsError, match=message):
        read_symbol(written(tmp_path, json.dumps(makers.symbol() | {"heads": heads}).encode()))


def test_what_stands_behind_a_symbols_output_is_no_part_of_it(tmp_path):
    whole = read_symbol(written(tmp_path, json.dumps(makers.symbol()).encode()))
    assert read_symbol(written(tmp_path, json.dumps(makers.symbol() | {"heads": [[2, 0, 0]]}).encode())) == whole[:3]


def test_no_symbol(tmp_path):
    for data, message in [
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 99_999, "no JSON"),
        (b"[]", "no list of nodes"),
        (b'{"nodes": 3}', "no list of nodes"),
        (b'{"nodes": [], "heads": []}', "does not say which node gives its output"),
        (b'{"nodes": []}', "does not say which node gives its output"),
        (b" " * 2_000_000, "the limit"),
        (makers.mxnet(W), "MXNet's weights and not its network; give the -symbol.json"),
    ]:
        with pytest.raises(WeightsError, match=message):
            read_symbol(written(tmp_path, data))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]}, "24|bytes where its shape takes"),
        ({"dtype": "F32", "shape": [2, 3], "data_offsets": [4, 28]}, "do not follow"),
        ({"dtype": "F8_E4M3", "shape": [2, 3], "data_offsets": [0, 24]}, "has the dtype F8_E4M3"),
        ({"dtype": "F32", "shape": [2, 3.0], "data_offsets": [0, 24]}, "entry of w is malformed"),
        ({"dtype": "F32", "shape": [2, -3], "data_offsets": [0, 24]}, "an impossible shape"),
        ({"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 0]}, "entry of w is malformed"),
        ({"dtype": "F32", "shape": [2, 3], "data_offsets": [0]}, "entry of w is malformed"),
        ([], "entry of w is malformed"),
    ],
)
def test_safetensors_damage(tmp_path, entry, message):
    with pytest.raises(WeightsError, match=message):
        read_weights(written(tmp_path, makers.safetensors(W, w=entry)))


def test_safetensors_hides_nothing(tmp_path):
    """Bytes that belong to no tensor, and two tensors in one place."""
    with pytest.raises(WeightsError, match="8 bytes follow the last tensor"):
        read_weights(written(tmp_path, makers.safetensors(W) + bytes(8)))
    again = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    with pytest.raises(WeightsError, match="do not follow"):
        read_weights(written(tmp_path, makers.safetensors(W, v=again)))
    with pytest.raises(WeightsError, match="its header is no JSON"):
        read_weights(written(tmp_path, makers.safetensors(W).replace(b'"w"', b"'w'")))


def test_against_safetensors(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    arrays = makers.arrays()
    save_file(arrays, tmp_path / "model.safetensors")
    read = read_weights(tmp_path / "model.safetensors")
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


@pytest.mark.parametrize("array", [
    np.arange(6, dtype=">f4").reshape(2, 3), np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)), np.array(2.5),
    np.arange(5, dtype=">i8"), np.zeros((3, 0), np.float16), np.array([True, False]), np.arange(7, dtype=np.uint8),
])  # fmt: skip
def test_npy(tmp_path, array):
    (read,) = read_weights(written(tmp_path, makers.npy(array))).values()
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array.astype(array.dtype.newbyteorder("=")), strict=True)
    inside = read_weights(written(tmp_path, makers.npz({"a": array}, compressed=True)))["a"]
    np.testing.assert_array_equal(inside, read, strict=True)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\n",
        b"{'descr':'<f4','fortran_order':False,'shape':(2,3),}   \n",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
    ],
)
def test_npy_headers_of_other_writers(tmp_path, header):
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + W["w"].tobytes()
    np.testing.assert_array_equal(read_weights(written(tmp_path, data))[""], W["w"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array(["text"]), "has the dtype U4"),
        (np.array([1 + 2j]), "has the dtype c16"),
        (np.zeros(2, "i4,f4"), "no plain array of numbers"),
        (np.array([1, None]), "no dict of arrays"),
        (np.array({"a": {"b": {}}}), "its entry a/b is no array"),
        (np.array({"a": [1, 2]}), "its entry a is no array"),
        (np.array({3: np.zeros(2)}), "a key that is no text"),
        (np.array({"a/b": np.zeros(2), "a": {"b": np.zeros(2)}}), "two tensors have the name a/b"),
        (np.array({"a": {1, 2}}), "asks for a set|builtins.set"),
    ],
)
def test_npy_of_something_else(tmp_path, value, message):
    with pytest.raises(WeightsError, match=message):
        read_weights(written(tmp_path, makers.npy(value)))


def test_npy_with_a_dict(tmp_path):
    layers = makers.layers() | {"bare": np.arange(3, dtype=">f4")}
    read = read_weights(written(tmp_path, makers.npy(np.array(layers))))
    assert list(read) == ["conv1/weights", "conv1/biases", "PReLU1/alpha", "bare"]
    np.testing.assert_array_equal(read["conv1/weights"], layers["conv1"]["weights"], strict=True)
    np.testing.assert_array_equal(read["bare"], np.arange(3, dtype=np.float32), strict=True)


def test_npz_of_something_else(tmp_path):
    for members, message in [
        ({"a.npy": makers.npy(np.array({"a": 1}))}, "holds Python objects"),
        ({"a.npy": makers.npy(np.zeros(3)), "a.txt": b"text"}, "whose member a.txt is no .npy file; unpack it"),
        ({"a.npy": makers.npy(np.zeros(3)) + b"\0"}, "has 25 bytes where its shape takes 24"),
        ({"a.npy": makers.npy(np.zeros(3)), "a": makers.npy(np.zeros(3))}, "two tensors have the name a"),
    ]:
        with pytest.raises(WeightsError, match=message):
            read_weights(written(tmp_path, makers.zipped(members)))
