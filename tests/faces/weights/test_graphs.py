"""GraphDef and ONNX, as Google's own package writes them: every way to write a tensor, and the graphs."""

import numpy as np
import pytest

from faces.errors import WeightsError
from faces.weights import Node, read_graphdef, read_onnx_graph, read_onnx_outputs, read_weights
from tests.faces.weights import makers
from tests.faces.weights.bombs import nested, varint
from tests.faces.weights.test_read_weights import written

HALVES = np.array([0.5, -2.0, 65504.0], np.float16)
BRAIN = [0x3F80, 0xC020]  # the upper halves of 1.0 and -2.5


@pytest.mark.parametrize("packed", [True, False])
def test_tensorflow_rows(tmp_path, packed):
    rows = {
        "floats": ((2, 2), "float32", {"float_val": [1.5, -2, 3, 4]}),
        "doubles": ((2,), "float64", {"double_val": [0.1, -7]}),
        "wholes": ((3,), "int32", {"int_val": [1, -2, 2**31 - 1]}),
        "small": ((2,), "uint8", {"int_val": [0, 255]}),
        "longs": ((2,), "int64", {"int64_val": [-(2**63), 2**63 - 1]}),
        "unsigned": ((2,), "uint64", {"uint64_val": [0, 2**64 - 1]}),
        "truth": ((2,), "bool", {"bool_val": [True, False]}),
        "halves": ((3,), "float16", {"half_val": HALVES.view(np.uint16).tolist()}),
        "brain": ((2,), "bfloat16", {"half_val": BRAIN}),
        "scalar": ((), "float32", {"float_val": [0.25]}),
        "filled": ((2, 3), "float32", {"float_val": [7.0]}),
        "tail": ((4,), "int32", {"int_val": [1, 2]}),
        "zeros": ((2, 2), "float32", {}),
        "none": ((0, 5), "float32", {}),
        "text": ((1,), 7, {"string_val": [b"skipped"]}),
    }
    read = read_weights(written(tmp_path, makers.graphdef({}, packed, **rows)))
    expected = {
        "floats": np.array([[1.5, -2], [3, 4]], np.float32),
        "doubles": np.array([0.1, -7]),
        "wholes": np.array([1, -2, 2**31 - 1], np.int32),
        "small": np.array([0, 255], np.uint8),
        "longs": np.array([-(2**63), 2**63 - 1]),
        "unsigned": np.array([0, 2**64 - 1], np.uint64),
        "truth": np.array([True, False]),
        "halves": HALVES,
        "brain": np.array([1, -2.5], np.float32),
        "scalar": np.array(0.25, np.float32),
        "filled": np.full((2, 3), 7, np.float32),
        "tail": np.array([1, 2, 2, 2], np.int32),
        "zeros": np.zeros((2, 2), np.float32),
        "none": np.zeros((0, 5), np.float32),
    }
    assert list(read) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


@pytest.mark.parametrize("packed", [True, False])
def test_onnx_rows(tmp_path, packed):
    rows = {
        "floats": ((2, 2), "float32", {"float_data": [1.5, -2, 3, 4]}),
        "doubles": ((2,), "float64", {"double_data": [0.1, -7]}),
        "wholes": ((3,), "int32", {"int32_data": [1, -2, 2**31 - 1]}),
        "longs": ((2,), "int64", {"int64_data": [-(2**63), 2**63 - 1]}),
        "unsigned": ((2,), "uint64", {"uint64_data": [0, 2**64 - 1]}),
        "truth": ((2,), "bool", {"int32_data": [1, 0]}),
        "halves": ((3,), "float16", {"int32_data": HALVES.view(np.uint16).tolist()}),
        "brain": ((2,), "bfloat16", {"int32_data": BRAIN}),
        "scalar": ((), "float32", {"float_data": [0.25]}),
        "text": ((1,), 8, {"string_data": [b"skipped"]}),
    }
    read = read_weights(written(tmp_path, makers.onnx(makers.arrays(), packed, **rows)))
    expected = makers.arrays() | {
        "floats": np.array([[1.5, -2], [3, 4]], np.float32),
        "doubles": np.array([0.1, -7]),
        "wholes": np.array([1, -2, 2**31 - 1], np.int32),
        "longs": np.array([-(2**63), 2**63 - 1]),
        "unsigned": np.array([0, 2**64 - 1], np.uint64),
        "truth": np.array([True, False]),
        "halves": HALVES,
        "brain": np.array([1, -2.5], np.float32),
        "scalar": np.array(0.25, np.float32),
    }
    assert list(read) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


@pytest.mark.parametrize("packed", [True, False])
def test_tensorflow_graph(tmp_path, packed):
    nodes = read_graphdef(written(tmp_path, makers.graphdef(makers.arrays(), packed)))
    assert [node.op for node in nodes] == ["Placeholder", *["Const"] * 5, "Conv2D"]
    assert nodes[0] == Node("input", "Placeholder", (), ("input",), {})
    assert nodes[1] == Node("conv.weight", "Const", (), ("conv.weight",), {"dtype": 1})
    assert nodes[-1] == Node(
        "conv",
        "Conv2D",
        ("input", "conv.weight", "cut:1", "^norm"),
        ("conv",),
        {
            "strides": (1, 2, 2, -1),
            "padding": "VALID",
            "epsilon": 0.5,
            "use_cudnn": True,
            "T": 1,
            "axis": -3,
            "scales": (0.5, 0.25),
            "words": ("a", "bc"),
            "shape": (-1, 160),
        },
    )


def test_somebody_elses_operation_of_an_onnx_name_is_none_of_onnx(tmp_path):
    for domain, op in (("ai.onnx", "Conv"), ("somebody", "somebody.Conv"), (None, "Conv")):
        file = written(tmp_path, makers.onnx(makers.arrays(), domain=domain))
        assert read_onnx_graph(file)[0].op == op
        assert read_onnx_outputs(file) == ("y",)


@pytest.mark.parametrize("packed", [True, False])
def test_onnx_graph(tmp_path, packed):
    (node,) = read_onnx_graph(written(tmp_path, makers.onnx(makers.arrays(), packed)))
    np.testing.assert_array_equal(node.attributes.pop("value"), makers.arrays()["conv.weight"], strict=True)
    assert node == Node(
        "conv",
        "Conv",
        ("x", "conv.weight"),
        ("y", "z"),
        {"strides": (1, -2), "epsilon": 0.5, "group": 0, "mode": "same", "scales": (0.5, 0.25), "words": ("a", "bc")},
    )


def test_refused(tmp_path):
    floats = {"float_val": [1.0, 2.0]}
    for data, message in [
        (makers.graphdef({}, w=((1,), "float32", floats)), "w has 8 bytes where its shape takes 4"),
        (makers.graphdef({}, w=((-1,), "float32", floats)), "an impossible shape"),
        (makers.graphdef({}, w=((2,), 8, floats)), "TensorFlow's dtype 8"),
        (makers.graphdef({}, w=((1,), "uint8", {"int_val": [256]})), "whole numbers that its dtype does not have"),
        (makers.graphdef({"w": np.zeros(3)}) * 2, "two tensors have the name w"),
        (makers.graphdef({}), "it holds no arrays"),
        (makers.onnx({}, w=((3,), "float32", {"float_data": [1.0]})), "w has 4 bytes where its shape takes 12"),
        (makers.onnx({}, w=((1,), 20, {"float_data": [1.0]})), "ONNX's dtype 20"),
        (b"\x08\x08\x3a\x02\x2a\x00", "ONNX's dtype 0"),
        (b"\x08\x08\x3a\x04\x2a\x02\x70\x01", "its weights lie in another file"),
        (b"\x0a\x05\x0a", "byte 2: no field of a protocol buffer"),
        (b"\x0a" + b"\xff" * 11, "no field of a protocol buffer"),
        (b"\x0a\x01\x03", "no field of a protocol buffer"),
        (b"\x0a\x00\x00\x01", "no field of a protocol buffer"),
        (b"\x0a\x00" * 140_000, "more than 131,072 fields"),
        (nested(2_000), "it holds no arrays|not Unicode|no field"),
    ]:
        with pytest.raises(WeightsError, match=message):
            read_weights(written(tmp_path, data))


def test_whole_numbers_are_counted(tmp_path):
    def node(count):
        row = b"\x1a" + varint(count) + b"\x01" * count
        entry = b"\x0a\x01a\x12" + varint(len(row) + 1 + len(varint(len(row)))) + b"\x0a" + varint(len(row)) + row
        data = b"\x2a" + varint(len(entry)) + entry
        return b"\x0a" + varint(len(data)) + data

    assert len(read_graphdef(written(tmp_path, node(1000)))[0].attributes["a"]) == 1000
    with pytest.raises(WeightsError, match="more than 262,144 whole numbers"):
        read_graphdef(written(tmp_path, node(262_145)))


def test_against_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    arrays = makers.arrays()
    initialisers = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    initialisers.append(onnx.helper.make_tensor("rows", onnx.TensorProto.FLOAT16, [3], HALVES))
    initialisers.append(onnx.helper.make_tensor("brain", onnx.TensorProto.BFLOAT16, [2], [1.0, -2.5]))
    node = onnx.helper.make_node("Conv", ["x", "conv.weight"], ["y"], "conv", strides=[2, 2], auto_pad="VALID", group=1)
    graph = onnx.helper.make_graph([node], "g", [], [], initialisers)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    read = read_weights(tmp_path / "model.onnx")
    for name, array in (arrays | {"rows": HALVES, "brain": np.array([1, -2.5], np.float32)}).items():
        np.testing.assert_array_equal(read[name], array, strict=True)
    attributes = {"strides": (2, 2), "auto_pad": "VALID", "group": 1}
    assert read_onnx_graph(tmp_path / "model.onnx") == (Node("conv", "Conv", ("x", "conv.weight"), ("y",), attributes),)
