"""Kinds of arguments that several mains take: configs, places, and sets of images by name.

Not here: what a main does with them.
"""

import argparse
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faces.errors import ConfigError
from faces.schema import AnyConfig, nearest_of_all
from faces.toml_config import load_config, paper_of, shipped_configs
from recognizer.detector_identity import DETECTORS
from recognizer.manifest import MANIFEST
from recognizer.told import Told

NONE = "none"
WEIGHTS_HELP = "file, or folder of mtcnn's three; default: those that an installed package brings"
NETWORK_HELP = "what the detector's weights are of, where neither they nor their hash say so"
LONGEST_NAME = 100
"""Bytes of a set's name: files are called after it."""


def config_of(main: str, name: str, schema: type[AnyConfig]) -> AnyConfig:
    """The config that `--config` names.

    Args:
        main: that is run, and whose paper the config must be of.
        name: in `paper_configs/`, or the path of a TOML file.
        schema: the paper's `Config`.
    Raises:
        ConfigError: there is none, it is another paper's, or it is damaged.
    """
    if name in shipped_configs() and (paper := paper_of(name)) != main:
        raise ConfigError(f"{name}: a config of another paper; run it with python -m experiments.{paper}.")
    return load_config(name, schema)[0]


def place(text: str) -> Path:
    """A path, for argparse; an empty one would mean the folder that the command runs in."""
    if not text:
        raise argparse.ArgumentTypeError("a path is expected, and this one is empty")
    return Path(text)


def add_pixels(parser: argparse.ArgumentParser) -> None:
    """Options of what a file's network takes, where the file does not say so itself."""
    group = parser.add_argument_group(
        "pixels of a file's network",
        "(x - mean) / scale of values x of 0 to 255; three numbers are of its first, second and third channel. For a "
        "file that does not say so itself; experiments.convert stores them with the weights",
    )
    group.add_argument("--channels", choices=("rgb", "bgr"), help="their order: red or blue first")
    group.add_argument("--mean", type=float, nargs="+", metavar="M", help="subtracted from each")
    group.add_argument("--scale", type=float, nargs="+", metavar="S",
                       help="divides them then; of a factor f that multiplies, 1 / f")  # fmt: skip
    group.add_argument("--size", type=int, nargs="+", metavar="PIXELS", help="rows and columns, or a square's side")
    group.add_argument("--insist", action="store_true", help="even where the file says otherwise")


def told_in(options: argparse.Namespace) -> Told:
    """What the options of `add_pixels` say.

    Raises:
        ConfigError: as `Told`.
    """
    return Told(options.channels, options.mean, options.scale, options.size, options.insist)


def add_manifest(parser: "argparse._ActionsContainer") -> None:
    """The option of every main that knows models or detectors by name."""
    parser.add_argument("--manifest", type=Path, default=MANIFEST, metavar="TOML",
                        help="another list of names and known files than the one that comes along")  # fmt: skip


def detector(text: str) -> str:
    """A detector's name, for argparse."""
    if text not in DETECTORS:
        raise argparse.ArgumentTypeError(f'there is no detector "{text}"; {nearest_of_all(text, DETECTORS)}')
    return text


def detector_or_none(text: str) -> str:
    """A detector's name, or "none" for pictures in which no face is looked for, for argparse."""
    return text if text == NONE else detector(text)


def named_path(text: str) -> tuple[str, Path]:
    """NAME=PATH of the command line, for argparse; NAME must be fit for the name of a file."""
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"NAME=PATH is expected, such as lfw=DIR; {text!r} found")
    if why := _unfit(name):
        raise argparse.ArgumentTypeError(f"{name!r}: files are called after this name, and it {why}; choose another")
    return name, Path(path)


def _unfit(name: str) -> str:
    """Why a name cannot be a part of a file's name; "" if it can."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "holds a character that cannot be printed"
    if any(character in name for character in "/\\"):
        return "holds a slash"
    if name.startswith("."):
        return "begins with a dot"
    if name != name.strip():
        return "begins or ends with a space"
    if len(name.encode()) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    return ""


class AppendNamed(argparse.Action):
    """Collects NAME=PATH of an option that may be repeated; a name stands for one path.

    Names that differ in case alone, or in how Unicode spells them, are one: so they are to some file systems.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add a pair to what the option has already."""
        assert values is not None
        before: list[tuple[str, Path]] = getattr(namespace, self.dest) or []
        name, path = values
        for other, there in before:
            if _folded(other) == _folded(name):
                both = f"{option_string} {other}={there} and {name}={path}"
                parser.error(f"{both} have one name; give each a name of its own")
        setattr(namespace, self.dest, [*before, (name, path)])


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def add_log(parser: argparse.ArgumentParser) -> None:
    """`--log`, of a main that trains."""
    parser.add_argument("--log", choices=("jsonl", "tensorboard"), default="jsonl", help="jsonl: log.jsonl and "
                        "evaluations.jsonl alone (default); tensorboard: their numbers as TensorBoard's events too, in "
                        "the run's folder")  # fmt: skip
