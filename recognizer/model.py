"""Any model that embeds faces, opened by name or path: converted weights, a training run's folder, or another's file.

What comes out is the same in each case: parameters, the network's function, and the preprocessing that belongs to them.

    name            of `models.toml`, whose file an installed package brings
    model folder    `checkpoints/` and `model.toml`: network, preprocessing, and the file that they came from
    run's folder    as `experiments.facenet` and `experiments.arcface` write it
    file            any format of `faces.weights` with names that are known here; converted in memory

Not here: what a file of others holds (`convert.py`), embeddings that are kept (`cached_embedder.py`).
"""

import dataclasses
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from faces import ops, room
from faces.backbone import Apply, BatchStats, Params
from faces.checkpoint_folder import load_weights, told_once, write_weights
from faces.config import DataConfig, RunConfig
from faces.data import augment
from faces.data.source import FaceSource
from faces.embed import make_embedder
from faces.errors import CheckpointError, ConfigError, FacesError
from faces.mesh import replicated
from faces.outputs import results_folder, write_text
from faces.preprocessing import Preprocessing, check_pictures
from faces.refused import writing
from faces.terminal import make_progress
from faces.toml_config import load_config, to_toml
from recognizer.convert import convert
from recognizer.description import DESCRIPTION, Description, Model, NetworkConfig, Origin, backbone_in, with_known
from recognizer.given import as_path
from recognizer.manifest import MANIFEST, find_model
from recognizer.mistaken import refuse_detectors_in
from recognizer.networks import backbone_of
from recognizer.runs import Run, open_run
from recognizer.told import NOTHING, Told, plain

CHECKPOINTS = "checkpoints"
BLOCK = 1024
"""Images of a source read at a time."""


def open_model(
    path: Path | str,
    network: str | None = None,
    symbol: Path | str | None = None,
    manifest: Path | str = MANIFEST,
    told: Told = NOTHING,
) -> Model:
    """Open a model by its name, a model's folder, a run's folder, or a file of weights.

    Args:
        path: one of the four; a name where nothing lies at that path.
        network, symbol: as for `convert`; for files alone.
        manifest: names, and files that are known by their hash (`recognizer.manifest`).
        told: as for `convert`; of a folder it may only repeat what is stored there.
    Raises:
        CheckpointError: nothing lies there, or a folder that is neither or cannot be read.
        ConfigError: the TOML file of a folder does not hold together, or `network` or `symbol` is given for a folder;
            `told` says otherwise than the folder or the file.
        WeightsError: as `convert`; a name whose file is not on this machine, or a word that is no name.
    """
    manifest = as_path(manifest, "manifest")
    path = find_model(as_path(path, "model"), manifest)
    symbol = None if symbol is None else as_path(symbol, "symbol")
    if network is not None and not isinstance(network, str):
        raise ConfigError(f"network: a name is expected, {type(network).__name__} is given.")
    if path.is_dir() and (network or symbol):
        raise ConfigError(f"{path}: is a folder and says itself what it holds; leave network and symbol out.")
    if (path / DESCRIPTION).is_file():
        return _as_stored(_open_converted(path, manifest), told, path, "convert the file anew with it")
    if path.is_dir():
        try:
            model = model_of(open_run(path), path.name)
            return _as_stored(model, told, path, "it was trained so")
        except FacesError:
            refuse_detectors_in(path)
            raise
    if not path.exists():
        raise CheckpointError(
            f"{path}: nothing lies there; a file of weights, or the folder of a converted model or of a training run "
            "is expected."
        )
    return convert(path, network, symbol, manifest=manifest, told=told)


def _as_stored(model: Model, told: Told, folder: Path, instead: str) -> Model:
    """The model, unless it is told to be otherwise than it is stored."""
    for key, value in told.said.items():
        own = getattr(model.preprocessing, key)
        if value != own:
            raise ConfigError(
                f"{folder}: is stored with {key} {plain(own)}, and {plain(value)} is asked for; leave that out: "
                f"{instead}."
            )
    return model


def write_model(model: Model, folder: Path, overwrite: bool = False) -> None:
    """Write a model's folder, all of it or nothing.

    Raises:
        OutputError: something lies there already, and may not be replaced; or the disk refuses.
    """
    with results_folder(folder, overwrite) as partial, writing(folder), told_once():
        room.check(folder, room.size_of((model.params, model.batch_stats)), "the weights need")
        write_weights(partial / CHECKPOINTS, model.params, model.batch_stats)
        write_text(partial / DESCRIPTION, to_toml(model.description))


def as_trained(model: Model) -> tuple[Apply, DataConfig, bool]:
    """What the forms of `faces.embed` need of a model: its function of RGB, its pixels' range, if mirrors add."""
    preprocessing = model.preprocessing

    mean, scale, by_channel = preprocessing.mean, preprocessing.scale, None
    light = preprocessing.illumination
    if isinstance(mean, tuple) or isinstance(scale, tuple):
        data = DataConfig(images=0, mean=0.0, scale=1.0, illumination=light)
        by_channel = partial(ops.normalise, mean=mean, scale=scale)
    else:
        data = DataConfig(images=0, mean=mean, scale=scale, illumination=light)

    def apply(
        params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, BatchStats]:
        ordered = images[..., ::-1] if preprocessing.channels == "bgr" else images
        if by_channel is not None:  # in the network's order of channels, and so after that
            ordered = by_channel(ordered)
        return model.apply(params, batch_stats, ordered, train, key)

    return apply, data, preprocessing.flip == "sum"


def embedder_of(
    model: Model, mesh: Mesh, unit: bool = True, block: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """The model's evaluation form, with its own range of pixels, order of channels and flip.

    Args:
        model: any.
        mesh: images are divided over its devices.
        unit: bring embeddings to length 1; otherwise they keep the length that the network gives.
        block: images that a device embeds at a time; None for what suits many images.
    Returns:
        Aligned images (`faces.preprocessing.align`), uint8 (n, rows, columns, 3), RGB -> float32 (n, d), or (n, 2d)
        with flip "concatenate". Other images are a ConfigError.
    """
    preprocessing = model.preprocessing
    embed = make_embedder(*as_trained(model), mesh, unit, block)
    params, batch_stats = jax.device_put((model.params, model.batch_stats), replicated(mesh))

    def embed_pictures(pictures: np.ndarray) -> np.ndarray:
        check_pictures(preprocessing, pictures)
        embeddings = embed(params, batch_stats, pictures)
        if preprocessing.flip != "concatenate":
            return embeddings
        mirrored = embed(params, batch_stats, pictures[:, :, ::-1])
        return np.concatenate([embeddings, mirrored], axis=1) / np.float32(np.sqrt(2))

    return embed_pictures


def without_mirror(model: Model) -> Model:
    """The model, embedding images alone and not their mirror images."""
    preprocessing = dataclasses.replace(model.preprocessing, flip="none")
    return dataclasses.replace(model, description=dataclasses.replace(model.description, preprocessing=preprocessing))


def embed_faces(
    embed: Callable[[np.ndarray], np.ndarray], source: FaceSource, size: tuple[int, int], console: Console
) -> np.ndarray:
    """Embeddings of all images of a source, whole and without random changes, in blocks, with a bar of progress.

    Args:
        embed: as `embedder_of` returns.
        source: the images.
        size: rows and columns of the network's input.
        console: where the bar is drawn, if it is a terminal.
    Returns:
        float32 (images, d), of length 1.
    """
    rows = []
    with make_progress(console) as bar:
        task = bar.add_task("embedding", total=len(source))
        for start in range(0, len(source), BLOCK):
            part = range(start, min(start + BLOCK, len(source)))
            rows.append(embed(np.stack([augment.crop(source[index], size) for index in part])))
            bar.advance(task, len(part))
    return np.concatenate(rows)


def _open_converted(folder: Path, manifest: Path) -> Model:
    description, _ = load_config(str(folder / DESCRIPTION), Description)
    if not (folder / CHECKPOINTS).is_dir():
        raise CheckpointError(
            f"{folder}: holds {DESCRIPTION} without {CHECKPOINTS}; what experiments.export writes is for other "
            "programs: give the model that it was made from."
        )
    _, weights = load_weights(folder / CHECKPOINTS)
    network = description.network
    backbone = backbone_in(description)
    params, batch_stats = weights["params"], weights["batch_stats"]
    wanted = jax.tree.map(lambda x: x.shape, jax.eval_shape(backbone.init, jax.random.key(0)))
    if jax.tree.map(np.shape, (params, batch_stats)) != wanted:
        raise CheckpointError(
            f"{folder}: its weights are not those of {network.name} with {network.embedding_dim} dimensions on "
            f"{description.preprocessing.size} pixels, which {DESCRIPTION} says; convert the file again."
        )
    description = with_known(description, manifest)  # the weights may have been converted before they were known
    return Model(description, params, batch_stats, backbone.apply)


def model_of(run: Run, name: str) -> Model:
    """A run's network as a model.

    Args:
        run: what `open_run` read.
        name: of its folder.
    """
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((run.params, run.batch_stats)):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    description = Description(
        NetworkConfig(run.config.model.name, run.config.model.embedding_dim),
        preprocessing_of(run.config),
        Origin(f"{name}, step {run.step}", digest.hexdigest(), "run"),
    )
    return Model(description, run.params, run.batch_stats, backbone_of(run.config.model, run.trained_as).apply)


def preprocessing_of(config: RunConfig) -> Preprocessing:
    """What a run of ours evaluates with: images that show a face at the same place, cut to its box."""
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
        illumination=config.data.illumination,
    )
