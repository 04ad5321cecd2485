"""Training in one call of a program: faces in, a trained network out, by the loop, loader and steps of the mains.

Not here: what is a paper's own, which calls this (`fitting.py` of each package); evaluation by a protocol
(`faces.evaluate`); going on with what was interrupted, and several processes (the mains of `experiments`).
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from faces import outputs
from faces.backbone import Backbone, Network, check_size, check_statistics
from faces.checkpoint import Checkpoints
from faces.config import ModelConfig, RunConfig
from faces.data.augment import crop
from faces.data.fingerprint import fingerprint
from faces.data.loader import make_loader
from faces.data.open import open_source
from faces.data.source import ArraySource, FaceSource, selected
from faces.embed import make_embedder
from faces.errors import ConfigError, DataError
from faces.mesh import DATA, make_mesh
from faces.run_record import LOGS, read_log, write_start
from faces.schema import check
from faces.terminal import make_console
from faces.train_loop import Monitor, Step, train
from faces.train_state import TrainState

Source = str | Path | tuple[Any, Any] | FaceSource
"""A path that `faces.data.open` knows; arrays (images, labels); or anything with the methods of a `FaceSource`."""

AnyRunConfig = TypeVar("AnyRunConfig", bound=RunConfig)


@dataclass(frozen=True, eq=False, repr=False)
class Fitted:
    """A trained network.

    Args:
        params, batch_stats: of the backbone, as in `TrainState`.
        centres: a row for each of `people`; {} where the loss has none.
        people: names of the training set's people, in the order of their labels.
        config: of the training.
        history: the metrics of the logged steps, numbers by name, with "step", "minutes" and "images_per_second".
        embed: uint8 images (n, rows, columns, 3), RGB, cut as those of the training were -> embeddings, float32 (n, d)
            of length 1. Another size than the network's is stretched to it, as in training; without its random
            changes.
    """

    params: Any
    batch_stats: Any
    centres: Any
    people: list[str]
    config: RunConfig
    history: list[dict[str, float]]
    embed: Callable[[Any], np.ndarray]


def config_of(config: AnyRunConfig | Path | str, schema: type[AnyRunConfig]) -> AnyRunConfig:
    """A checked config, or the shipped one of a name, or that of a TOML file.

    Raises:
        ConfigError: there is none of the name, or it is another paper's, or its values make no sense together.
    """
    if isinstance(config, str | Path):
        return schema.load(str(config))
    if not isinstance(config, schema):
        expected = f"a {schema.__module__}.{schema.__name__}, or the name of one in paper_configs/"
        given = f"{type(config).__module__}.{type(config).__name__}"
        raise ConfigError(f"config: {expected}, is expected, and {given} given.")
    return check(config, "config")


def mesh_of(mesh: Mesh | None) -> Mesh:
    """The mesh itself, or one over all devices.

    Raises:
        ConfigError: it is none of `faces.mesh.make_mesh`; or there are several processes.
    """
    if jax.process_count() > 1:
        raise ConfigError("fit trains in one process; `python -m experiments` has the commands that train in several.")
    mesh = mesh or make_mesh()
    if mesh.axis_names != (DATA,):
        raise ConfigError(f"mesh: one axis, {DATA!r}, is expected, and {mesh.axis_names} given; faces.mesh makes one.")
    return mesh


def network_of(
    given: Backbone | None, own: Callable[[], Backbone], model: ModelConfig, networks: Mapping[str, Network]
) -> Backbone:
    """The caller's network, or the one that a config names, which is refused where the mains refuse it.

    Args:
        given: by the caller; None for the config's.
        own: makes that of the config.
        model: of the config.
        networks: of the paper's package.
    Raises:
        ConfigError: there is none of its name, or its layers cannot divide images of its size; or statistics of batch
            norm are to stay as they came, and none came.
    """
    check_statistics(model.batch_norm, has_weights=given is not None)
    if given is not None:
        return given
    made = own()
    check_size(made, model.name, networks)
    return made


def check_folder(folder: Path | str | None, backbone: Backbone | None) -> None:
    """Refuse to write a run whose config does not name its network.

    Raises:
        ConfigError: as said.
    """
    if folder is not None and backbone is not None:
        raise ConfigError(
            "folder: a run is opened by the network that its config names, so that one of another backbone could not "
            "be; leave folder out, and store what fit returns."
        )


def faces_of(
    source: Source, images: int, min_images: int = 0, wrong_labels: float = 0.0, seed: int = 0, quiet: bool = True
) -> FaceSource:
    """Labelled faces at a path, in two arrays, or as they are; and of those what a config trains on.

    Args:
        source: see `Source`. Arrays: images uint8 (n, rows, columns, 3), RGB, and labels, any whole numbers (n,), which
            are numbered anew in ascending order.
        images, min_images, wrong_labels, seed: as for `faces.data.source.selected`.
        quiet: do not say what was passed over at a path.
    Raises:
        DataError: no faces, arrays that do not fit, or one person alone.
    """
    faces = _faces_of(source, quiet)
    labels, people = faces.identities, len(faces.identity_names)
    if labels.min() < 0 or labels.max() >= people:
        span = f"{labels.min()} .. {labels.max()}"
        raise DataError(f"{faces.name}: identities must lie in 0 .. {people - 1}, and lie in {span}.")
    faces = selected(faces, images, min_images, wrong_labels, seed)
    if len(shown := np.unique(faces.identities)) < 2:
        raise DataError(f"{faces.name}: shows {len(shown)} person; training compares people, so give two or more.")
    return faces


def _faces_of(source: Source, quiet: bool) -> FaceSource:
    if isinstance(source, str | Path):
        opened = open_source(source)
        if opened.ignored:
            name, reason = next(iter(opened.ignored.items()))
            number = f"{len(opened.ignored):,} passed over"
            make_console(quiet=quiet).print(f"{source}: {number}, the first: {name}: {reason}")
        return opened.source
    if isinstance(source, tuple | list):
        if len(source) != 2:
            raise DataError(f"source: two arrays, images and labels, are expected, and {len(source)} given.")
        return _array_source(_images(source[0]), source[1])
    if not all(hasattr(source, name) for name in ("identities", "identity_names", "__getitem__", "__len__")):
        kinds = "a path, a pair of arrays (images, labels) or a FaceSource"
        raise DataError(f"source: {kinds} is expected, and {type(source).__name__} given.")
    return source


def _array_source(images: np.ndarray, labels: Any) -> ArraySource:
    labels = np.asarray(labels)
    if labels.shape != images.shape[:1]:
        raise DataError(f"labels: one for each of {len(images):,} images is expected, and {labels.shape} given.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels: whole numbers are expected, and {labels.dtype} given.")
    people, identities = np.unique(labels, return_inverse=True)
    return ArraySource("arrays", images, identities.astype(np.int32), names=tuple(map(str, people.tolist())))


def _images(given: Any) -> np.ndarray:
    """Uint8 (n, rows, columns, 3), n at least 1, or a DataError."""
    expected = "images: uint8 (n, rows, columns, 3), RGB, all of one size, are expected"
    try:
        images = np.asarray(given)
    except ValueError:
        raise DataError(f"{expected}, and a {type(given).__name__} of several sizes given.") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise DataError(f"{expected}, and {images.dtype} {images.shape} given.")
    return images


def run(
    config: RunConfig,
    mesh: Mesh,
    faces: FaceSource,
    order: Callable[[int], np.ndarray],
    backbone: Backbone,
    state: TrainState,
    step: Step,
    by_layer: Callable[[], Step],
    monitor: Monitor,
    folder: Path | str | None = None,
    quiet: bool = False,
) -> Fitted:
    """Train from a first state to the config's last step.

    Args:
        config, mesh: of the training.
        faces: what it sees, in the `order` of `make_loader`.
        backbone: its network; `state` holds the weights, and is donated.
        step: as `make_train_step` gives it.
        by_layer, monitor: as for `faces.train_loop.train`.
        folder: where a run's folder is written when training has ended, with config, log and checkpoint; None: nowhere.
        quiet: show no progress.
    Raises:
        DataError: as `order`.
        OutputError: the folder holds something already, or cannot be written.
        TrainingStopped: the monitor says that training is lost, or too many steps in a row were not finite.
    """
    loader = make_loader(faces, order, config.train.steps, backbone.input_size, config.augment, config.train.seed)
    with contextlib.ExitStack() as stack:
        checkpoints, place = None, None
        if folder is not None:
            place = stack.enter_context(outputs.results_folder(Path(folder)))
            write_start(place, config, fingerprint(faces))
            checkpoints = stack.enter_context(Checkpoints(place / "checkpoints"))
            checkpoints.check_room(state, config.train.steps)
        console = make_console(quiet=quiet)
        trained = train(
            step,
            state,
            loader,
            config,
            mesh,
            place,
            checkpoints,
            lambda state: {},
            monitor,
            console,
            by_layer,
            reports=False,
        )
        history = trained.history if place is None else read_log(place / LOGS[0])
    params, batch_stats = trained.state.params, trained.state.batch_stats
    embedder = make_embedder(backbone.apply, config.data, config.evaluation.flip, mesh)

    def embed(images: Any) -> np.ndarray:
        cut = np.stack([crop(image, backbone.input_size) for image in _images(images)])  # (n, rows, columns, 3)
        return embedder(params, batch_stats, cut)

    people = faces.identity_names
    centres = trained.state.centres
    rows = centres[: len(people)] if hasattr(centres, "shape") else centres  # the rest pads them
    return Fitted(params, batch_stats, rows, people, config, history, embed)
