"""What the configs of both papers share, and the one way from a TOML file and the command line to a frozen config.

Nothing that a paper states has a default here: a missing key is an error, an unknown key is an error that names the
nearest one, and every value of `paper_configs/` carries its origin in a `[source]` table of the same shape. A file may
name a `base` beside it and then holds only what differs, so that two rows of a paper's table differ by the lines in
which they differ.

Not here: what is one paper's alone (`config.py` of each, which extends `RunConfig`), what the values do (each package),
and the papers' values (`paper_configs/`).
"""

import dataclasses
import difflib
import importlib.util
import json
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from faces.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """The backbone f(x)."""

    name: str
    """Name in `facenet_jax.models` or `arcface_jax.models`."""
    input_size: tuple[int, int]
    """Rows and columns of the input in pixels."""
    embedding_dim: int
    """d: number of values in an embedding."""
    dtype: Literal["float32", "bfloat16"]
    """Type of the backbone's arithmetic; parameters, distances and losses are float32 in either case."""
    batch_norm: Literal["none", "global", "per_device"]
    """Statistics over the whole batch, or over each device's part of it; "none" where the network has no batch norm."""


@dataclass(frozen=True)
class BatchConfig:
    """Size of a batch: of the GLOBAL batch, over all devices."""

    images: int
    """B: images in a batch."""


@dataclass(frozen=True)
class OptimiserConfig:
    """The update rule and the schedule of its learning rate."""

    name: Literal["adagrad", "sgd", "adam", "muon"]
    """Update rule. "sgd" and "muon" use `momentum`; "muon" is for a network, and class centres go by "sgd" under it."""
    learning_rate: float
    """Learning rate after warm-up."""
    momentum: float
    """Momentum of "sgd" and, as Nesterov's, of "muon"; 0 with the others."""
    weight_decay: float
    """L2 penalty on kernels (not on biases, scales and slopes), added to the gradient as SGD's authors do."""
    initial_accumulator: float
    """Start of AdaGrad's sum of squared gradients; 0 with the others."""
    warmup_steps: int
    """Steps of linear growth from 0 to `learning_rate`."""
    schedule: Literal["constant", "steps", "cosine"]
    """After warm-up: constant; divided by `decay` at each of `decay_steps`; or half a cosine to 0 at the last step."""
    decay_steps: tuple[int, ...]
    """Steps at which "steps" lowers the rate; empty with the others."""
    decay: float
    """Divisor of "steps"; 1 with the others."""
    clip_norm: float
    """Gradients of a larger global norm are scaled to it; 0: never."""


@dataclass(frozen=True)
class DataConfig:
    """The training set and its pixels."""

    images: int
    """Train on so many images, whole identities in random order; 0: all."""
    mean: float
    """Subtracted from RGB values of 0..255."""
    scale: float
    """Divides them afterwards."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of each training image (`faces.data.augment`)."""

    flip: bool
    """Mirror half of the images."""
    shift: float
    """Crop shifted by up to this fraction of the side, either way."""
    zoom: float
    """Side of the crop changed by up to this fraction, either way."""
    rotate: float
    """Rotation by up to so many degrees, either way."""
    colour: float
    """Brightness, contrast and saturation changed by up to this fraction each."""
    jpeg_quality: int
    """Re-encode half of the images as JPEG at a quality drawn from here to 95; 0: never."""


@dataclass(frozen=True)
class TrainConfig:
    """Length of the run and what happens on the way."""

    steps: int
    """Batches in all."""
    seed: int
    """The only source of randomness, of weights and of data order."""
    log_every: int
    """Steps between two lines of the log."""
    evaluate_every: int
    """Steps between two evaluations on the way; 0: only before and after."""
    checkpoint_every: int
    """Steps between two checkpoints; 0: only at the end."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is done to the test images and with the embeddings."""

    crop: tuple[float, float, float, float]
    """Left, top, right and bottom of the face's box in a test image, as fractions of its width and height."""
    flip: bool
    """Add the mirrored image's embedding, then normalise."""
    jpeg_quality: int
    """Re-encode test images at this JPEG quality first (Table 4); 0: as they are."""
    pixels: int
    """Shrink test images to so many pixels first (Table 4); 0: as they are."""
    far: float
    """False accept rate at which VAL is read."""


Rule = tuple[bool, str]
"""Whether a condition holds, and the sentence for where it does not."""


@dataclass(frozen=True)
class RunConfig:
    """What defines a run but its data's place, as far as both papers share it."""

    model: ModelConfig
    batch: BatchConfig
    optimiser: OptimiserConfig
    data: DataConfig
    augment: AugmentConfig
    train: TrainConfig
    evaluation: EvaluationConfig

    def rules(self) -> list[Rule]:
        """What values that fit the schema must fulfil to make sense together."""
        optimiser, augment, evaluation = self.optimiser, self.augment, self.evaluation
        return [
            (self.batch.images >= 2, "batch.images: at least 2 are needed"),
            (min(self.model.input_size) > 0 and self.model.embedding_dim > 0, "model: sizes must be positive"),
            (self.train.steps > 0 and self.train.log_every > 0, "train: steps and log_every must be positive"),
            (self.data.scale > 0, "data.scale: must be positive"),
            (optimiser.learning_rate > 0, "optimiser.learning_rate: must be positive"),
            (optimiser.warmup_steps >= 0, "optimiser.warmup_steps: must not be negative"),
            (optimiser.decay > 0, "optimiser.decay: must be positive"),
            (0 <= augment.zoom < 1 and 0 <= augment.shift < 1, "augment: zoom and shift lie between 0 and 1"),
            (
                0 <= augment.jpeg_quality <= 95 and 0 <= evaluation.jpeg_quality <= 100,
                "jpeg_quality: 0 for none, or up to 95 in augment and 100 in evaluation",
            ),
            (
                evaluation.crop[0] < evaluation.crop[2] and evaluation.crop[1] < evaluation.crop[3],
                "evaluation.crop: left, top, right, bottom are expected, in this order",
            ),
            (self.train.seed >= 0, "train.seed: must not be negative"),
            (0 < evaluation.far < 1, "evaluation.far: must lie between 0 and 1"),
        ]


AnyConfig = TypeVar("AnyConfig", bound=RunConfig)


def shipped_configs() -> list[str]:
    """Names of all files in `paper_configs/`, such as "facenet/nn2"."""
    root = _shipped_folder()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.toml"))


def find_config(name: str) -> Path:
    """The file of a shipped config ("facenet/nn2"), or the path itself where it is a TOML file of the user's.

    Raises:
        ConfigError: there is neither; the nearest shipped name is given.
    """
    if name.endswith(".toml"):
        if Path(name).is_file():
            return Path(name)
        raise ConfigError(f"{name}: no such config file.")
    shipped = shipped_configs()
    if name not in shipped:
        raise ConfigError(f"config {name!r}: not in paper_configs/{_nearest(name, shipped)}")
    return _shipped_folder() / f"{name}.toml"


def _shipped_folder() -> Path:
    """`paper_configs/`: a folder of files without Python, beside the packages both in the source tree and installed."""
    spec = importlib.util.find_spec("paper_configs")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("paper_configs/ is not installed; run `pip install .` again in the source tree.")
    return Path(next(iter(spec.submodule_search_locations)))


def load_config(name: str, schema: type[AnyConfig]) -> tuple[AnyConfig, dict[str, Any]]:
    """Read a config and the sources of its values.

    Args:
        name: a shipped config's name or the path of a TOML file.
        schema: the paper's `Config`.
    Returns:
        The config, and the `[source]` tables as nested dictionaries ({} where the file, not one of ours, has none).
    Raises:
        ConfigError: not TOML, an unknown or missing key, or a value of another type; the message names file and key.
    """
    path = find_config(name)
    tables = _read_with_base(path, seen=())
    sources = tables.pop("source", {})
    config = check(_build(schema, tables, path, ()), path)
    if isinstance(sources, str):  # one origin for all values
        sources = {section: dict.fromkeys(values, sources) for section, values in tables.items()}
    elif not isinstance(sources, dict):
        raise ConfigError(f"{path}: source: a sentence or a table is expected, {sources!r} found.")
    return config, sources


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    tables = read_toml(path)
    base = tables.pop("base", None)
    if base is None:
        return tables
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: the name of a file beside this one is expected, {base!r} found.")
    parent = path.parent / f"{base}.toml"
    seen = (*seen, path.resolve())  # resolved, since one file has many paths
    if parent.resolve() in seen:
        raise ConfigError(f"{path}: base {base!r} leads back to this file.")
    return _merge(_read_with_base(parent, seen), tables)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}."


def _build(kind: Any, table: Mapping[str, Any], path: Path, place: tuple[str, ...]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in fields:
            raise ConfigError(f"{path}: unknown key {'.'.join((*place, key))!r}{_nearest(key, list(fields))}")
    values = {}
    for key in fields:
        full = (*place, key)
        if key not in table:
            raise ConfigError(f"{path}: key {'.'.join(full)!r} is missing.")
        hint, value = hints[key], table[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{path}: {'.'.join(full)}: a table [{'.'.join(full)}] is expected.")
            values[key] = _build(hint, value, path, full)
        else:
            values[key] = _convert(hint, value, path, ".".join(full))
    return kind(**values)


def _convert(hint: Any, value: Any, path: Path, place: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{path}: {place} = {value!r}{_nearest(str(value), [str(a) for a in arguments])}")
    if origin is tuple:
        length_fits = arguments[-1] is Ellipsis or (isinstance(value, list) and len(value) == len(arguments))
        if isinstance(value, list) and length_fits:
            return tuple(_convert(arguments[0], element, path, place) for element in value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is hint:
        return value
    a_list = "a list" if origin is not tuple or arguments[-1] is Ellipsis else f"a list of {len(arguments)} values"
    expected = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}.get(hint, a_list)
    raise ConfigError(f"{path}: {place}: {expected} is expected, {value!r} found.")


def check(config: AnyConfig, where: Path | str) -> AnyConfig:
    """The config itself, unless its values make no sense together.

    Args:
        config: any config, from a file or with overrides.
        where: named in the message.
    Raises:
        ConfigError: which value, and why.
    """
    for holds, sentence in config.rules():
        if not holds:
            raise ConfigError(f"{where}: {sentence}.")
    return config


def flatten(config: Any, place: str = "") -> dict[str, Any]:
    """A config (or nested dictionary) as {"model.name": value, ...}."""
    table: Mapping[str, Any] = config if isinstance(config, Mapping) else dataclasses.asdict(config)
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat.update(flatten(value, f"{place}{key}.") if isinstance(value, Mapping) else {f"{place}{key}": value})
    return flat


def difference(config: RunConfig, other: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, as {"optimiser.learning_rate": (value in config, value in other)}."""
    ours, theirs = flatten(config), flatten(other)
    return {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}


def to_toml(config: RunConfig) -> str:
    """The config as TOML text that `load_config` reads back to an equal config."""
    lines: list[str] = []
    for section, values in dataclasses.asdict(config).items():
        lines.append(f"[{section}]")
        for key, value in values.items():
            lines.append(f"{key} = {json.dumps(value)}")
        lines.append("")
    return "\n".join(lines)
