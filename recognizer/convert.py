"""Published weights as a model, in memory: which network a file is of, and what that was trained to see.

Not here: the names in files (`published.py` in each paper's `models`), reading files (`faces.weights`), the command
(`experiments.convert`).
"""

import dataclasses
import hashlib
import re
from pathlib import Path

import jax
import numpy as np

import arcface_jax.models.published as of_arcface
import facenet_jax.models.published as of_facenet
from arcface_jax.models import onnx_names
from facenet_jax.models import slim_graph
from faces.errors import ConfigError, WeightsError
from faces.opening import open_regular
from faces.preprocessing import PIXELS, Preprocessing
from faces.schema import check
from faces.weights import (
    is_graphdef,
    is_onnx,
    read_graphdef,
    read_onnx_graph,
    read_onnx_locations,
    read_onnx_outputs,
    read_symbol,
    read_weights,
)
from faces.weights.layouts import Published, Tensors, receive
from faces.weights.wrappers import unwrapped
from recognizer.description import (
    DESCRIPTION,
    Description,
    Model,
    NetworkConfig,
    Origin,
    backbone_at,
    backbone_in,
    with_known,
)
from recognizer.given import as_path
from recognizer.manifest import MANIFEST, is_known
from recognizer.mistaken import refuse_detector, refuse_detectors_graph, refuse_detectors_in
from recognizer.told import NOTHING, Told, heard


def convert(
    file: Path,
    network: str | None = None,
    symbol: Path | None = None,
    state_dict: str | None = None,
    manifest: Path = MANIFEST,
    told: Told = NOTHING,
) -> Model:
    """A published file as a model, in memory.

    Args:
        file: of any format that `faces.weights` reads.
        network: that the file is of, or the program of `of_arcface.WHOSE` that trained it; None: recognised by its
            tensors.
        symbol: MXNet's graph; None: PREFIX-symbol.json where it lies beside PREFIX-0000.params.
        state_dict: its key in a checkpoint of PyTorch; None: found by the rule of `faces.weights.state_dicts`.
        manifest: the files that are known by their hash.
        told: what a person says of the pixels that the network takes. What the file says itself, by its graph or by
            being known, it may contradict only where it insists.
    Returns:
        The model; `description.origin.recognised_by` says whether its hash is known, or only its tensors fit.
    Raises:
        WeightsError: the file cannot be read, is of no network here, or does not fit the one that it is of.
        ConfigError: an embedding of no values; a graph for weights that have none; a size that is none of these
            weights'; what the file says is otherwise.
    """
    file = as_path(file, "file", WeightsError)
    if file.is_dir():
        refuse_detectors_in(file)
        if (file / DESCRIPTION).is_file() or (file / "config.toml").is_file():
            raise WeightsError(f"{file}: a model of this project already; give it as it is where one is asked for.")
    tensors, wrapper, pixels = _tensors_by_known_names(file, state_dict)
    graph_of = symbol or _symbol_beside(file)
    graph = read_symbol(graph_of) if graph_of else ()
    try:
        published = of_facenet.recognise(tensors, network) or of_arcface.recognise(tensors, network, graph, wrapper)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None
    if published is None:
        raise WeightsError(_unknown(file, tensors, network))
    if published.network == of_facenet.NETWORK and is_graphdef(file):
        _follow(file, tensors)
    if pixels is not None:
        published = published._replace(preprocessing=_seen_by(published.preprocessing, *pixels, file))
    if symbol and not published.has_symbol:
        raise ConfigError(
            f"symbol {symbol} changes nothing: {file} is of {published.network}, not MXNet's; leave it out."
        )
    digest = _sha256(file)
    stated: dict[str, str] = {}
    if pixels is not None or graph:
        stated |= dict.fromkeys(("mean", "scale"), "its graph says")
    if is_known(file, digest, manifest):
        stated |= dict.fromkeys(PIXELS, "it is known, and the list of models says")
    seen = heard(published.preprocessing, told, stated, file)
    published = published._replace(preprocessing=_at_size(published, seen, file))
    name = file.name.encode("ascii", "backslashreplace").decode()  # TOML takes no halves of a character
    description = Description(
        NetworkConfig(published.network, published.embedding_dim),
        published.preprocessing,
        Origin(name, digest, "tensors" if network is None else "network"),
    )
    description = with_known(description, manifest)
    check(description, file)
    backbone = backbone_in(description)
    params, batch_stats = receive(published, tensors, backbone, str(file))
    return Model(description, params, batch_stats, backbone.apply)


def _tensors_by_known_names(file: Path, state_dict: str | None) -> tuple[Tensors, str, tuple[float, float] | None]:
    """A file's tensors by names that are known, what stood before these, and what its graph does to pixels,
    (x - mean) * factor, if anything."""
    tensors = read_weights(file, state_dict)
    refuse_detector(file, tensors)
    graph, outputs = (read_onnx_graph(file), read_onnx_outputs(file)) if is_onnx(file) else ((), ())
    refuse_detectors_graph(file, outputs)
    try:
        if is_onnx(file):
            named = onnx_names.named(graph, tensors, outputs)
            return named.tensors, "", None if (named.mean, named.factor) == (0, 1) else (named.mean, named.factor)
        own, wrapper = unwrapped(tensors, (*of_facenet.FIRST, *of_arcface.FIRST))
        return own, wrapper, None
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None


def _sha256(file: Path) -> str:
    """Of a file's bytes, and of those beside an ONNX model that hold its values, in the model's order."""
    total = hashlib.sha256()
    for part in (file, *(read_onnx_locations(file) if is_onnx(file) else ())):
        with open_regular(part) as opened:
            while piece := opened.read(_PIECE):
                total.update(piece)
    return total.hexdigest()


_PIECE = 2**20


def _follow(file: Path, tensors: Tensors) -> None:
    try:
        slim_graph.follow(read_graphdef(file), tensors)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None


def _seen_by(usual: Preprocessing, mean: float, factor: float, file: Path) -> Preprocessing:
    """The preprocessing of a graph that begins with (x - mean) * factor, x being pixels of 0 to 255 or of 0 to 1.

    Raises:
        WeightsError: neither gives the network about the range that faces are trained in.
    """
    for largest in (255.0, 1.0):
        black, white = -mean * factor, (largest - mean) * factor
        if _LEAST_END <= -black <= _MOST_END and _LEAST_END <= white <= _MOST_END:
            return dataclasses.replace(usual, mean=255 / largest * mean, scale=255 / largest / factor)
    raise WeightsError(
        f"{file}: its graph begins with (x - {mean:g}) * {factor:g}, which brings neither pixels of 0 to 255 nor those "
        "of 0 to 1 to a range about 0; export the network without it."
    )


_LEAST_END, _MOST_END = 0.3, 3.0
"""Of black, below 0, and of white, above: so it is for every network whose training is known here."""


def _at_size(published: Published, seen: Preprocessing, file: Path) -> Preprocessing:
    """The preprocessing, unless the weights are not those of the network at its size.

    Raises:
        ConfigError: the last matrix or kernel is of another size, or so few pixels leave nothing.
    """
    if seen.size == published.preprocessing.size:
        return seen
    asked, own = (f"{rows}x{columns}" for rows, columns in (seen.size, published.preprocessing.size))
    try:
        at_asked, at_own = (
            jax.eval_shape(backbone_at(published.network, size, published.embedding_dim).init, jax.random.key(0))
            for size in (seen.size, published.preprocessing.size)
        )
    except ZeroDivisionError:  # of a mean over no pixels
        raise ConfigError(f"{file}: size {asked} is too small for {published.network}; {own} is usual.") from None
    if jax.tree.map(np.shape, at_asked) != jax.tree.map(np.shape, at_own):
        raise ConfigError(
            f"{file}: size {asked} is none of these weights, whose last layer is of {published.network} on images of "
            f"{own}; leave it out."
        )
    return seen


def _symbol_beside(file: Path) -> Path | None:
    match = re.fullmatch(r"(.+)-\d{4}\.params", file.name)
    symbol = file.with_name(f"{match[1]}-symbol.json") if match else None
    return symbol if symbol and symbol.is_file() else None


def _unknown(file: Path, tensors: Tensors, network: str | None) -> str:
    known = (*of_facenet.NETWORKS, *of_arcface.NETWORKS)
    if network is not None and network not in (*known, *of_arcface.WHOSE):
        return f"{file}: no published weights of {network!r} are known here, only those of {', '.join(known)}."
    first = ", ".join(repr(name) for name in list(tensors)[:3])
    of_one = "none of the networks whose names are known here" if network is None else f"not {network}"
    return f"{file}: {of_one}; its {len(tensors)} tensors begin with {first}. Known: {', '.join(known)}."
