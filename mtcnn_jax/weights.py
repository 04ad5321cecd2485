"""Published weights of MTCNN (Zhang et al. 2016, Sec. II-B) under our names: davidsandberg's and facenet-pytorch's.

davidsandberg's `det1.npy` to `det3.npy` and facenet-pytorch's state dicts both come from the authors' Caffe models,
whose networks see images transposed. davidsandberg transposes the images; here the kernels are turned instead, rows for
columns, and so are the rows of the dense layer, which stand for the places of the last map. facenet-pytorch has turned
its kernels already, but not its dense layers.

The ten outputs for the points are five x, then five y; ours are five pairs (x, y).

Not here: other programs' names for the same weights (`other_names.py`), and reading files (`faces.weights`).
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from faces.errors import DataError
from mtcnn_jax import other_names
from mtcnn_jax.networks import Name, Params, make_net

Arrays = Mapping[str, np.ndarray]

# Our layer: davidsandberg's, facenet-pytorch's.
_LAYERS: dict[Name, dict[str, tuple[str, str]]] = {
    "p": {
        **{f"conv{i}": (f"conv{i}", f"conv{i}") for i in (1, 2, 3)},
        **{f"prelu{i}": (f"PReLU{i}", f"prelu{i}") for i in (1, 2, 3)},
        "heads/face": ("conv4-1", "conv4_1"),
        "heads/box": ("conv4-2", "conv4_2"),
    },
    "r": {
        **{f"conv{i}": (f"conv{i}", f"conv{i}") for i in (1, 2, 3)},
        **{f"prelu{i}": (f"prelu{i}", f"prelu{i}") for i in (1, 2, 3, 4)},
        "dense": ("conv4", "dense4"),
        "heads/face": ("conv5-1", "dense5_1"),
        "heads/box": ("conv5-2", "dense5_2"),
    },
    "o": {
        **{f"conv{i}": (f"conv{i}", f"conv{i}") for i in (1, 2, 3, 4)},
        **{f"prelu{i}": (f"prelu{i}", f"prelu{i}") for i in (1, 2, 3, 4, 5)},
        "dense": ("conv5", "dense5"),
        "heads/face": ("conv6-1", "dense6_1"),
        "heads/box": ("conv6-2", "dense6_2"),
        "heads/points": ("conv6-3", "dense6_3"),
    },
}
# Our parameter: its name after the layer's, in the same two.
_PARAMETERS = {"kernel": ("/weights", ".weight"), "bias": ("/biases", ".bias"), "slope": ("/alpha", ".weight")}
_LAST_MAP = 3  # rows and columns of the map that R-net's and O-net's dense layers see
_FILES = (
    "det1.npy, det2.npy and det3.npy of davidsandberg, pnet.pt, rnet.pt and onet.pt of facenet-pytorch, or one of the "
    "others that DATA.md lists"
)


def to_params(files: Mapping[str, Arrays]) -> dict[Name, Params]:
    """Parameters of the three networks from the arrays of three files.

    Args:
        files: the arrays of each file by their names there ("conv1/weights" or "conv1.weight"), by the file's name;
            which file is which network, or holds several, and whose names it has, its arrays tell.

    Returns:
        Float32 parameters for `make_net` under "p", "r" and "o".

    Raises:
        DataError: a file that is none of these networks, an array too many, missing, or of another shape; a network
            that is missing or there twice.
    """
    found: dict[Name, Params] = {}
    known = [one for file, arrays in files.items() for one in other_names.davidsandbergs(file, arrays).items()]
    for file, arrays in known:
        name, style = _recognise(file, arrays)
        if name in found:
            raise DataError(f"{file}: a second {name.upper()}-net; one file of each of P-, R- and O-net is needed.")
        found[name] = _convert(file, arrays, name, style)
    for name in _LAYERS:
        if name not in found:
            given = ", ".join(files) or "no file"
            raise DataError(f"{given}: {name.upper()}-net is missing; give {_FILES}.")
    return {name: found[name] for name in _LAYERS}


def to_facenet_pytorch(params: Mapping[Name, Params]) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of three files by the names of facenet-pytorch, the inverse of `to_params`.

    Args:
        params: of the three networks; a head for points that the published network does not have is left out.

    Returns:
        Float32 arrays of "pnet", "rnet" and "onet".
    """
    files = {}
    for name, layers in _LAYERS.items():
        arrays = {}
        for layer, (_, theirs) in layers.items():
            tree: Any = params[name]
            for part in layer.split("/"):
                tree = tree[part]
            for parameter, value in tree.items():
                value = np.asarray(value, np.float32)
                if layer == "dense" and parameter == "kernel":
                    places = value.reshape(_LAST_MAP, _LAST_MAP, -1, value.shape[-1])  # (rows, columns, channels, ...)
                    value = places.transpose(1, 0, 2, 3).reshape(value.shape)
                elif layer == "heads/points":
                    value = value.reshape(-1, 5, 2).transpose(0, 2, 1).reshape(value.shape)
                if value.ndim == 4:
                    value = value.transpose(3, 2, 0, 1)
                elif value.ndim == 2:
                    value = value.T
                    if name == "p":  # its heads are convolutions of one place
                        value = value[:, :, None, None]
                arrays[theirs + _PARAMETERS[parameter][1]] = np.ascontiguousarray(value)
        files[f"{name}net"] = arrays
    return files


def network_of(names: Collection[str]) -> Name | None:
    """Which of the three networks has all its arrays under such names; None where none has."""
    for name, layers in _LAYERS.items():
        for style in (0, 1):
            parameters = {layer: ("slope",) if "prelu" in layer else ("kernel", "bias") for layer in layers}
            wanted = {
                layers[layer][style] + _PARAMETERS[parameter][style]
                for layer, of_layer in parameters.items()
                for parameter in of_layer
            }
            if wanted <= set(names):
                return name
    return other_names.network_of(names)


def _recognise(file: str, arrays: Arrays) -> tuple[Name, int]:
    for name, layers in _LAYERS.items():
        for style in (0, 1):
            if layers["heads/face"][style] + _PARAMETERS["bias"][style] in arrays:
                return name, style
    raise DataError(f"{file}: no network of MTCNN, whose files are {_FILES}.")


def _convert(file: str, arrays: Arrays, name: Name, style: int) -> Params:
    expected = jax.eval_shape(make_net(name).init, jax.random.key(0))
    left = set(arrays)

    net = f"{name.upper()}-net"

    def convert(path: Iterable[Any], like: jax.ShapeDtypeStruct) -> np.ndarray:
        *parts, parameter = (step.key for step in path)
        layer = "/".join(parts)
        theirs = _LAYERS[name][layer][style] + _PARAMETERS[parameter][style]
        if theirs not in arrays:
            raise DataError(f'{file}: "{theirs}" is missing from this {net}; fetch the file again.')
        left.remove(theirs)
        array = _inputs_before_outputs(np.asarray(arrays[theirs], np.float32), style, len(like.shape))
        if array.shape != like.shape:
            shape = arrays[theirs].shape
            raise DataError(f'{file}: "{theirs}" of shape {shape} does not fit {net}; fetch the file again.')
        if layer == "dense" and parameter == "kernel":
            places = array.reshape(_LAST_MAP, _LAST_MAP, -1, array.shape[-1])  # (columns, rows, channels, features)
            array = places.transpose(1, 0, 2, 3).reshape(array.shape)
        elif layer == "heads/points":
            array = array.reshape(-1, 2, 5).transpose(0, 2, 1).reshape(array.shape)
        return np.ascontiguousarray(array)

    params = jax.tree_util.tree_map_with_path(convert, expected)
    if left:
        raise DataError(f'{file}: "{min(left)}" is no array of {net}; give a file of that network alone.')
    return params


def _inputs_before_outputs(array: np.ndarray, style: int, dimensions: int) -> np.ndarray:
    """A kernel as (rows, columns, inputs, outputs), or (inputs, outputs) where it has only one place."""
    if array.ndim == 4:
        array = array.transpose((1, 0, 2, 3) if style == 0 else (2, 3, 1, 0))
        return array[0, 0] if dimensions == 2 and array.shape[:2] == (1, 1) else array
    return array.T if style == 1 else array
