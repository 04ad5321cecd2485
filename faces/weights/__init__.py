"""Weights that other frameworks wrote, read as arrays: needing neither the framework nor trust in the file.

`read_weights` gives the arrays of any format below by name; `read_symbol`, `read_graphdef` and `read_onnx_graph` give
the network, where the file has it. No code in a file is run: pickles are read by `faces/unpickle/restricted_pickle.py`,
which looks nothing up. Sizes are compared with the file before anything is allocated (`weights_file.py`), and a file
that is cut, damaged or of another kind is an error of one sentence.

Not here: what the arrays are for.
"""

from pathlib import Path

import numpy as np

from faces.errors import WeightsError
from faces.weights import foreign, graphdef, mxnet, numpy_files, onnx, pytorch, safetensors
from faces.weights.graph import Node
from faces.weights.graphdef import read_graphdef
from faces.weights.mxnet import read_symbol
from faces.weights.onnx import read_onnx_graph, read_onnx_locations, read_onnx_outputs
from faces.weights.weights_file import WeightsFile
from faces.weights.zip_members import members

__all__ = [
    "Node",
    "is_graphdef",
    "is_onnx",
    "read_graphdef",
    "read_onnx_graph",
    "read_onnx_locations",
    "read_onnx_outputs",
    "read_symbol",
    "read_weights",
]

_FORMATS = "MXNet's .params, PyTorch's .pt or .pth, TensorFlow's frozen .pb, .onnx, .safetensors, .npy or .npz"
_GRAPH, _MODEL = b"\x0a", b"\x08"  # keys of the first field: a graph's node, and the version of ONNX


def read_weights(path: Path | str, state_dict: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file of weights, by the names they have in it.

    The format is told by the content, whatever the file's suffix:

        MXNet .params         without "arg:" and "aux:" before the names
        PyTorch zip, legacy   the state dict, itself or in a checkpoint, by the rule of `state_dicts.py`
        TensorFlow GraphDef   the constants
        ONNX                  the initialisers and constants
        safetensors, .npz     all
        .npy                  one array by the name "", or those of a pickled dict by "layer/name"

    Args:
        path: the file.
        state_dict: the key of the state dict in a checkpoint of PyTorch; None to find out.

    Returns:
        At least one array, in the order of the file, of the shape and dtype it was saved with, bfloat16 as float32.
        Tensors that share values in a PyTorch file share them here. All arrays together take at most twice the file's
        size plus 16 MiB, those in a file beside an ONNX model that of this file.

    Raises:
        WeightsError: the file is absent, cut, damaged, of another format, or holds more than data.
    """
    if Path(path).is_dir():
        raise WeightsError(f"{path}: {foreign.told_by_folder(Path(path))}.")
    file = WeightsFile(path)
    tensors = _read(file, state_dict)
    if not tensors:
        raise file.error("it holds no arrays; give the file that holds the weights")
    return tensors


def is_onnx(path: Path | str) -> bool:
    """Whether a file, which `read_weights` has read, is an ONNX model."""
    return _begins(path, _MODEL)


def is_graphdef(path: Path | str) -> bool:
    """Whether a file, which `read_weights` has read, is a frozen graph of TensorFlow's."""
    return _begins(path, _GRAPH)


def _begins(path: Path | str, sign: bytes) -> bool:
    file = WeightsFile(path)
    return bytes(file.data[:1]) == sign and not safetensors.is_one(file)


def _read(file: WeightsFile, state_dict: str | None) -> dict[str, np.ndarray]:
    start = file.data[:32]
    if start.startswith(b"\x80") and pytorch.LEGACY_MAGIC in start:
        return pytorch.read_legacy(file, state_dict)
    entries = members(file) if start.startswith(b"PK") else {}
    if any(name.endswith("/data.pkl") for name in entries):
        return pytorch.read_zip(file, entries, state_dict)
    if state_dict is not None:
        raise file.error("no checkpoint of PyTorch, and the key of a state dict is for those alone; leave it out")
    if start.startswith(b"PK"):
        if what := foreign.told_by_members(entries):
            raise file.error(what)
        return numpy_files.read_npz(file, entries)
    if start.startswith(mxnet.MAGIC):
        return mxnet.read(file)
    if start.startswith(numpy_files.MAGIC):
        return numpy_files.read_npy(file)
    if safetensors.is_one(file):
        return safetensors.read(file)
    if what := foreign.told_by_bytes(file):
        raise file.error(what)
    if start.startswith(_GRAPH):
        return graphdef.read(file)
    if start.startswith(_MODEL):
        return onnx.read(file)
    raise file.error(foreign.told_by_name(file) or f"none of the formats that are read; give {_FORMATS}")
