"""Any model that embeds faces, opened by its path: converted weights, a training run's folder, or another's file.

What comes out is the same in each case: parameters, the network's function, and the preprocessing that belongs to them.

    model folder    `checkpoints/` and `model.toml`: network, preprocessing, and the file that they came from
    run's folder    as `experiments.facenet` and `experiments.arcface` write it
    file            any format of `faces.weights` with names that are known here; converted in memory

Not here: the names in files (`published.py` in each paper's `models`), and the command (`experiments/convert.py`).
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh

import arcface_jax.models.published as of_arcface
import facenet_jax.models.published as of_facenet
from arcface_jax.models import onnx_names
from facenet_jax.models import slim_graph
from faces.backbone import Apply, Backbone, BatchStats, Params
from faces.checkpoint import load_weights, told_once
from faces.config import DataConfig, ModelConfig, RunConfig
from faces.embed import make_embedder
from faces.errors import CheckpointError, ConfigError, FacesError, WeightsError
from faces.mesh import replicated
from faces.outputs import results_folder, write_text
from faces.preprocessing import Preprocessing, check_pictures
from faces.refused import writing
from faces.toml_config import Checked, Rule, check, load_config, to_toml
from faces.weights import (
    is_graphdef,
    is_onnx,
    read_graphdef,
    read_onnx_graph,
    read_onnx_outputs,
    read_symbol,
    read_weights,
)
from faces.weights.layouts import Tensors, receive
from recognizer.mistaken import refuse_detector, refuse_detectors_in
from recognizer.networks import backbone_of
from recognizer.runs import open_run

DESCRIPTION, CHECKPOINTS = "model.toml", "checkpoints"
OF_MXNET = "mobilefacenet_y1"
"""The network whose weights come with a graph of their own."""


WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")
"""Of PyTorch's DataParallel, of its compiler, and what training programs call a network inside a module of theirs."""


@dataclass(frozen=True)
class NetworkConfig:
    """Which network."""

    name: str
    """Name in `facenet_jax.models` or `arcface_jax.models`."""
    embedding_dim: int
    """d."""


@dataclass(frozen=True)
class Origin:
    """Where weights come from."""

    file: str
    """Name of the file, or of the run's folder and its step."""
    sha256: str
    """Of the file's bytes, or of the run's weights."""


@dataclass(frozen=True)
class Description(Checked):
    """What `model.toml` holds."""

    network: NetworkConfig
    preprocessing: Preprocessing
    origin: Origin

    def rules(self) -> list[Rule]:
        """As `faces.toml_config.Checked.rules`."""
        return [*self.preprocessing.rules(), (self.network.embedding_dim > 0, "network.embedding_dim: not positive")]


@dataclass(frozen=True)
class Model:
    """A network with weights.

    Args:
        description: its name, what it must be given, and where it comes from.
        params, batch_stats: NumPy arrays.
        apply: as `faces.backbone.Backbone.apply`; whether embeddings are of length 1 the network says.
    """

    description: Description
    params: Params
    batch_stats: BatchStats
    apply: Apply

    @property
    def name(self) -> str:
        """Of the network."""
        return self.description.network.name

    @property
    def preprocessing(self) -> Preprocessing:
        """What the network must be given."""
        return self.description.preprocessing


def open_model(path: Path, network: str | None = None, symbol: Path | None = None) -> Model:
    """Open a model's folder, a run's folder, or a file of weights.

    Args:
        path: one of the three.
        network, symbol: as for `convert`; for files alone.
    Raises:
        CheckpointError: nothing lies there, or a folder that is neither or cannot be read.
        ConfigError: the TOML file of a folder does not hold together.
        WeightsError: as `convert`.
    """
    if (path / DESCRIPTION).is_file():
        return _open_converted(path)
    if path.is_dir():
        try:
            return _open_run(path)
        except FacesError:
            refuse_detectors_in(path)
            raise
    if not path.exists():
        raise CheckpointError(
            f"{path}: nothing lies there; a file of weights, or the folder of a converted model or of a training run "
            "is expected."
        )
    return convert(path, network, symbol)


def convert(
    file: Path, network: str | None = None, symbol: Path | None = None, state_dict: str | None = None
) -> Model:
    """A published file as a model, in memory.

    Args:
        file: of any format that `faces.weights` reads.
        network: that the file is of; None: recognised by its tensors.
        symbol: MXNet's graph; None: PREFIX-symbol.json where it lies beside PREFIX-0000.params.
        state_dict: its key in a checkpoint of PyTorch; None: found by the rule of `faces.weights.state_dicts`.
    Raises:
        WeightsError: the file cannot be read, is of no network here, or does not fit the one that it is of.
        ConfigError: an embedding of no values; a graph for weights that have none.
    """
    if file.is_dir():
        refuse_detectors_in(file)
        if (file / DESCRIPTION).is_file() or (file / "config.toml").is_file():
            raise WeightsError(f"{file}: a model of this project already; give it as it is, by --weights {file}.")
    tensors, pixels = _tensors_by_known_names(file, state_dict)
    graph_of = symbol or _symbol_beside(file)
    graph = read_symbol(graph_of) if graph_of else ()
    try:
        published = of_facenet.recognise(tensors, network) or of_arcface.recognise(tensors, network, graph)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None
    if published is None:
        raise WeightsError(_unknown(file, tensors, network))
    if published.network == of_facenet.NETWORK and is_graphdef(file):
        _follow(file, tensors)
    if pixels is not None:
        published = published._replace(preprocessing=_seen_by(published.preprocessing, *pixels, file))
    if symbol and published.network != OF_MXNET:
        raise ConfigError(
            f"--symbol {symbol} changes nothing: {file} is of {published.network}, not MXNet's; leave it out."
        )
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    name = file.name.encode("ascii", "backslashreplace").decode()  # TOML takes no halves of a character
    description = Description(
        NetworkConfig(published.network, published.embedding_dim), published.preprocessing, Origin(name, digest)
    )
    check(description, file)
    backbone = _backbone(published.network, published.embedding_dim, published.preprocessing.size)
    params, batch_stats = receive(published, tensors, backbone, str(file))
    return Model(description, params, batch_stats, backbone.apply)


def write_model(model: Model, folder: Path, overwrite: bool = False) -> None:
    """Write a model's folder, all of it or nothing.

    Raises:
        OutputError: something lies there already, and may not be replaced; or the disk refuses.
    """
    with results_folder(folder, overwrite) as partial, writing(folder), told_once():
        _save_weights(partial / CHECKPOINTS, model.params, model.batch_stats)
        write_text(partial / DESCRIPTION, to_toml(model.description))


def _save_weights(folder: Path, params: Params, batch_stats: BatchStats) -> None:
    """As the checkpoint of a run that has taken no step, for `faces.checkpoint.load_weights`."""
    options = ocp.CheckpointManagerOptions(create=True, enable_async_checkpointing=False)
    state = {"params": params, "batch_stats": batch_stats, "centres": {}}
    with ocp.CheckpointManager(folder.resolve(), options=options) as manager:
        manager.save(0, args=ocp.args.Composite(state=ocp.args.StandardSave(state)))  # pyright: ignore[reportCallIssue]


def embedder_of(model: Model, mesh: Mesh, unit: bool = True) -> Callable[[np.ndarray], np.ndarray]:
    """The model's evaluation form, with its own range of pixels, order of channels and flip.

    Args:
        model: any.
        mesh: images are divided over its devices.
        unit: bring embeddings to length 1; otherwise they keep the length that the network gives.
    Returns:
        Aligned pictures (`faces.preprocessing.align`), uint8 (n, rows, columns, 3), RGB -> float32 (n, d), or (n, 2d)
        with flip "concatenate". Other pictures are a ConfigError.
    """
    preprocessing = model.preprocessing

    def apply(
        params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, BatchStats]:
        ordered = images[..., ::-1] if preprocessing.channels == "bgr" else images
        return model.apply(params, batch_stats, ordered, train, key)

    data = DataConfig(images=0, mean=preprocessing.mean, scale=preprocessing.scale)
    embed = make_embedder(apply, data, preprocessing.flip == "sum", mesh, unit)
    params, batch_stats = jax.device_put((model.params, model.batch_stats), replicated(mesh))

    def embed_pictures(pictures: np.ndarray) -> np.ndarray:
        check_pictures(preprocessing, pictures)
        embeddings = embed(params, batch_stats, pictures)
        if preprocessing.flip != "concatenate":
            return embeddings
        mirrored = embed(params, batch_stats, pictures[:, :, ::-1])
        return np.concatenate([embeddings, mirrored], axis=1) / np.float32(np.sqrt(2))

    return embed_pictures


def _tensors_by_known_names(file: Path, state_dict: str | None) -> tuple[Tensors, tuple[float, float] | None]:
    """A file's tensors by names that are known, and what its graph does to pixels, (x - mean) * factor, if anything."""
    tensors = read_weights(file, state_dict)
    refuse_detector(file, tensors)
    if is_onnx(file):
        try:
            named = onnx_names.named(read_onnx_graph(file), tensors, read_onnx_outputs(file))
        except WeightsError as error:
            raise WeightsError(f"{file}: {error}") from None
        return named.tensors, None if (named.mean, named.factor) == (0, 1) else (named.mean, named.factor)
    return _unwrapped(tensors), None


def _unwrapped(tensors: Tensors) -> Tensors:
    """The tensors without what programs put before all names: one module around the network, or several."""
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in tensors):
            return _unwrapped({name.removeprefix(wrapper): tensor for name, tensor in tensors.items()})
    return tensors


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


def _symbol_beside(file: Path) -> Path | None:
    match = re.fullmatch(r"(.+)-\d{4}\.params", file.name)
    symbol = file.with_name(f"{match[1]}-symbol.json") if match else None
    return symbol if symbol and symbol.is_file() else None


def _unknown(file: Path, tensors: Tensors, network: str | None) -> str:
    known = (of_facenet.NETWORK, OF_MXNET, "mobilefacenet_mbf", *of_arcface.IRESNETS)
    if network is not None and network not in known:
        return f"{file}: no published weights of {network!r} are known here, only those of {', '.join(known)}."
    first = ", ".join(repr(name) for name in list(tensors)[:3])
    of_one = "none of the networks whose names are known here" if network is None else f"not {network}"
    return f"{file}: {of_one}; its {len(tensors)} tensors begin with {first}. Known: {', '.join(known)}."


def _backbone(name: str, embedding_dim: int, size: tuple[int, int]) -> Backbone:
    return backbone_of(ModelConfig(name, size, embedding_dim, "float32", "global"), "arcface")


def _open_converted(folder: Path) -> Model:
    description, _ = load_config(str(folder / DESCRIPTION), Description)
    _, weights = load_weights(folder / CHECKPOINTS)
    network = description.network
    backbone = _backbone(network.name, network.embedding_dim, description.preprocessing.size)
    params, batch_stats = weights["params"], weights["batch_stats"]
    wanted = jax.tree.map(lambda x: x.shape, jax.eval_shape(backbone.init, jax.random.key(0)))
    if jax.tree.map(np.shape, (params, batch_stats)) != wanted:
        raise CheckpointError(
            f"{folder}: its weights are not those of {network.name} with {network.embedding_dim} dimensions on "
            f"{description.preprocessing.size} pixels, which {DESCRIPTION} says; convert the file again."
        )
    return Model(description, params, batch_stats, backbone.apply)


def _open_run(folder: Path) -> Model:
    run = open_run(folder)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((run.params, run.batch_stats)):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    description = Description(
        NetworkConfig(run.config.model.name, run.config.model.embedding_dim),
        preprocessing_of(run.config),
        Origin(f"{folder.name}, step {run.step}", digest.hexdigest()),
    )
    return Model(description, run.params, run.batch_stats, backbone_of(run.config.model, run.trained_as).apply)


def preprocessing_of(config: RunConfig) -> Preprocessing:
    """What a run of ours evaluates with: pictures that show a face at the same place, cut to its box."""
    return Preprocessing(
        size=config.model.input_size,
        channels="rgb",
        mean=config.data.mean,
        scale=config.data.scale,
        alignment="fixed_box",
        margin=0.0,
        resized=0,
        box=config.evaluation.crop,
        flip="sum" if config.evaluation.flip else "none",
    )
