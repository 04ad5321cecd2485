"""Models and detectors by name: what each is, where its files come from, and what is known of them (`models.toml`).

A name's files lie in a package that brings them, which is looked up and never imported, or have to be fetched. A file
is known by the SHA-256 of its bytes, wherever it lies and whatever it is called.

Not here: opening what was found (`model.py`, `detectors.py`), the list on the screen (`experiments.models`).
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from faces.detect.detections import Rule
from faces.errors import ConfigError, WeightsError, option
from faces.preprocessing import Preprocessing
from faces.ranges import Range
from faces.schema import Checked, build, nearest_of_all
from faces.schema import Rule as MustHold
from faces.toml_config import read_toml

MANIFEST = Path(__file__).with_name("models.toml")
DEFAULT_MODEL = "inception_resnet_v1"
"""Of every command and program that needs a model and is given none: the one that a package brings."""

Kind = Literal["model", "detector"]


@dataclass(frozen=True)
class Threshold:
    """A cosine that was chosen for a model."""

    threshold: Annotated[float, Range(-1, 1)]
    """From it on two faces, or two clusters in the mean, are taken for one person's."""
    how: str
    """On what, and by which rule."""


@dataclass(frozen=True)
class Detection:
    """How faces are looked for where a model's numbers were reached."""

    detector: str
    """Name of the detector, as `--detector` takes it."""
    select: Rule
    """Which face of several is meant, where one is."""
    undetected: Literal["refuse", "centre_crop"]
    """What a protocol makes of a photograph without a face."""


@dataclass(frozen=True)
class Entry(Checked):
    """A name of the manifest."""

    kind: Kind
    """A model embeds faces, a detector finds them."""
    what: str
    """Network, whose, trained on what; in words."""
    network: str
    """Name of a network of `recognizer.networks`, or of `detector_identity.NETWORKS`."""
    licence: str
    """Terms, in short."""
    files: tuple[str, ...]
    """Their names; within the package, where one brings them."""
    get: str
    """How to come by them."""
    published: tuple[str, ...]
    """Numbers that its makers give."""
    ours: tuple[str, ...]
    """Numbers that were reached here."""
    bytes: Annotated[int, Range(0, 2**50)] | None = None
    """Of all files together; None where that is not known here."""
    package: str | None = None
    """The package that brings the files; None where none does."""
    detector: str | None = None
    """Of a detector: as `--detector` takes it; one name may have several weights."""
    preprocessing: Preprocessing | None = None
    """Of a model: what the network sees."""
    detection: Detection | None = None
    """Of a model: how its faces are found."""
    verification: Threshold | None = None
    """Of a model: for two faces."""
    clustering: Threshold | None = None
    """Of a model: for average linkage."""

    def rules(self) -> list[MustHold]:
        """As `faces.schema.Checked.rules`."""
        return [
            (bool(self.files), "files: at least one is expected"),
            ((self.kind == "detector") == (self.detector is not None), "detector: is of kind detector alone"),
            ((self.kind == "model") == (self.preprocessing is not None), "preprocessing: is of kind model alone"),
            *(self.preprocessing.rules() if self.preprocessing is not None else []),
        ]

    def located(self) -> Path | None:
        """Its file in the package that brings it, of several their folder; None where they are not on this machine."""
        if self.package is None:
            return None
        spec = importlib.util.find_spec(self.package)
        for folder in (spec and spec.submodule_search_locations) or ():
            paths = [Path(folder) / file for file in self.files]
            if all(path.is_file() for path in paths):
                return paths[0] if len(paths) == 1 else paths[0].parent
        return None


@dataclass(frozen=True)
class Known:
    """What a hash says."""

    name: str
    """In the manifest."""
    entry: Entry


def read_manifest(path: Path = MANIFEST) -> dict[str, Entry]:
    """The entries by their names.

    Raises:
        ConfigError: the file cannot be read, or does not hold together.
    """
    return {name: build(Entry, table, f"{path}, {name}") for name, (table, _) in _tables(path).items()}


def known_files(path: Path = MANIFEST) -> dict[str, Known]:
    """What files are, by their SHA-256.

    Raises:
        ConfigError: as `read_manifest`.
    """
    entries = read_manifest(path)
    hashes = {name: of_files for name, (_, of_files) in _tables(path).items()}
    return {sha256: Known(name, entries[name]) for name, files in hashes.items() for sha256 in files.values()}


def is_known(file: Path, sha256: str, path: Path = MANIFEST) -> bool:
    """Whether a file's hash is that of a model, or it lies where a package brings one, which may be a newer version.

    Raises:
        ConfigError: as `read_manifest`.
    """
    if (known := known_files(path).get(sha256)) is not None:
        return known.entry.kind == "model"
    return any(entry.kind == "model" and entry.located() == file for entry in read_manifest(path).values())


def _tables(path: Path) -> dict[str, tuple[dict[str, Any], Mapping[str, str]]]:
    """Each entry's table as it stands, and its hashes by the files' names."""
    found = {}
    for name, table in read_toml(path).items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name}: a table [{name}] is expected.")
        hashes = table.get("sha256", {})
        if not isinstance(hashes, dict) or not all(_is_hash(value) for value in hashes.values()):
            raise ConfigError(f"{path}, {name}.sha256: a table of files with 64 hexadecimal digits each is expected.")
        found[name] = {key: value for key, value in table.items() if key != "sha256"}, hashes
    return found


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def find_model(given: Path | str, manifest: Path = MANIFEST) -> Path:
    """The path of a model that is given by its name; what is no name is the path that it is.

    Args:
        given: a path, or a name of the manifest where nothing lies at that path.
        manifest: the list of names.
    Raises:
        WeightsError: the name is a model's whose file is not on this machine, or a detector's; or a bare word that is
            neither a name nor a path.
        ConfigError: as `read_manifest`.
    """
    path, name = Path(given), str(given)
    if path.exists() or not is_word(path):
        return path
    entries = read_manifest(manifest)
    models = [known for known, entry in entries.items() if entry.kind == "model"]
    if name not in entries:
        raise WeightsError(
            f"{name}: nothing lies there, and no model has this name; {nearest_of_all(name, models)}. A file of "
            "weights, the folder of a converted model or of a training run, or a name is expected."
        )
    entry = entries[name]
    if entry.kind != "model":
        raise WeightsError(
            f"{name}: is a detector, which finds faces and embeds none; give it by "
            f"{option('detector', entry.detector)}."
        )
    return _located(name, entry)


def find_detector(detector: str, manifest: Path = MANIFEST) -> Path:
    """The path of the weights of a detector that is given by its name alone.

    Args:
        detector: as `--detector` takes it.
        manifest: the list of names.
    Raises:
        WeightsError: none of its files is on this machine.
        ConfigError: as `read_manifest`; or no detector has this name.
    """
    entries = read_manifest(manifest)
    of_detector = {name: entry for name, entry in entries.items() if entry.detector == detector}
    if not of_detector:
        names = sorted({entry.detector for entry in entries.values() if entry.detector is not None})
        raise ConfigError(f'there is no detector "{detector}"; {nearest_of_all(detector, names)}.')
    here = [path for entry in of_detector.values() if (path := entry.located()) is not None]
    return here[0] if here else _located(*next(iter(of_detector.items())))


def _located(name: str, entry: Entry) -> Path:
    path = entry.located()
    if path is not None:
        return path
    if entry.package is None:
        raise WeightsError(f"{name}: {entry.get}.")
    files = " and ".join(entry.files)
    raise WeightsError(f"{name}: {files} of the package {entry.package} is not on this machine; {entry.get}.")


def is_word(path: Path) -> bool:
    """Whether a path looks like a name: one part, without a suffix."""
    return len(path.parts) == 1 and not path.suffix and not path.is_absolute()
