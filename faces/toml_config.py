"""The one way from a TOML file to a frozen config and back, whatever the config is of.

A missing key is an error, an unknown key is an error that names the nearest one, and every value of `paper_configs/`
carries its origin in a `[source]` table of the same shape. A file may name a `base` beside it and then holds only what
differs, so that two rows of a paper's table differ by the lines in which they differ.

Not here: what a schema is and how tables become one (`faces.schema`).
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
import posixpath
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faces.errors import ConfigError
from faces.opening import check_depth, read_bytes
from faces.schema import AnyConfig, Checked, build, flatten, merged, nearest, turns

LARGEST = 256 * 1024
"""Bytes of a config; ours have up to 12,000."""
_DEEPEST = 32
_MOST_BASES = 16
_LONGEST_NAME = 4096
_SUM = "# sha256 of the lines above: "
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_NOT_IN_KEYS = re.compile(r"[^\w.\s-]+")


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
    if name not in shipped and Path(name).is_file():
        raise ConfigError(f"{name}: a config file's name ends in .toml; rename it to {Path(name).name}.toml.")
    if name not in shipped:
        raise ConfigError(f"config {name!r}: not in paper_configs/{nearest(name, shipped)}")
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
        schema: the dataclass of its tables.
    Returns:
        The config, and the `[source]` tables as nested dictionaries ({} where the file, not one of ours, has none).
    Raises:
        ConfigError: not TOML, an unknown or missing key, or a value of another type; the message names file and key.
    """
    path = find_config(name)
    tables = _read_with_base(path, seen=())
    sources = tables.pop("source", {})
    try:
        config = build(schema, tables, path)
    except ConfigError as error:
        ours = schema.__module__.removesuffix("_jax.config")
        if (paper := _paper_of(tables, ours)) != ours:
            both = f"python -m experiments.{paper}"
            other = f"{path}: a config of another paper ({paper}, not {ours}); run it with {both}."
            raise ConfigError(other) from error
        raise
    if isinstance(sources, str):  # one origin for all values
        sources = _for_all(tables, sources)
    elif not isinstance(sources, dict):
        raise ConfigError(f"{path}: source: a sentence or a table is expected, {sources!r} found.")
    return config, sources


def paper_of(name: str) -> str:
    """The folder of the shipped config that one builds on in the end, which names its paper, "facenet" of
    "facenet/nn2", and of one in `paper_configs/related/` that builds on "../facenet/tiny"."""
    while base := read_toml(_shipped_folder() / f"{name}.toml").get("base"):
        name = posixpath.normpath(posixpath.join(posixpath.dirname(name), base))
    return name.partition("/")[0]


def _paper_of(tables: Mapping[str, Any], ours: str) -> str:
    """The folder of `paper_configs/` whose configs have the most keys in common with some tables; `ours` of a draw."""
    keys = set(flatten(tables))

    def likeness(name: str) -> float:
        others = read_toml(_shipped_folder() / f"{name}.toml")
        others = set() if "base" in others else set(flatten({k: v for k, v in others.items() if k != "source"}))
        return len(keys & others) / len(keys | others) if others else 0.0

    best: dict[str, float] = {}
    for name in shipped_configs():
        paper = paper_of(name)
        best[paper] = max(best.get(paper, 0.0), likeness(name))
    return max(best, key=lambda paper: (best[paper], paper == ours)) if ours in best else ours


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: it cannot be read, is none, is larger or deeper than a config can be, or is not what its checksum
            is of.
    """
    try:
        text = read_bytes(path, LARGEST).decode("utf-8")
        above, has_sum, _ = text.rpartition(_SUM)
        if has_sum and text != with_sum(above):
            raise ConfigError(
                f"{path}: is not as it was written, by the checksum in its last line; restore the file, or take that "
                "line out if you have changed it yourself."
            )
        if line := _long_key(text):
            raise ConfigError(f"{path}, line {line}: a key of more than {_DEEPEST} names joined by dots; ours have 3.")
        tables = tomllib.loads(text)
        check_depth(tables, _DEEPEST)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: lists or tables within each other without end.") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are, and a number of too many digits
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error
    return tables


def _long_key(text: str) -> int | None:
    """Line of the first key that names more tables within each other than any config has; reading a key of n names
    takes time that grows with n squared."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _DEEPEST:
            plain = _QUOTED.sub("q", line).partition("#")[0]
            if any(run.count(".") > _DEEPEST for run in _NOT_IN_KEYS.split(plain)):
                return number
    return None


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    tables = read_toml(path)
    base = tables.pop("base", None)
    if base is None:
        return tables
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: the name of a file beside this one is expected, {base!r} found.")
    parent = path.parent / f"{base}.toml"
    if set(base) & set("\0\n\r") or len(base) > _LONGEST_NAME:
        raise ConfigError(f"{path}: base: the name of a file beside this one is expected, {base[:80]!r} found.")
    seen = (*seen, Path(os.path.realpath(path)))  # since one file has many paths
    if Path(os.path.realpath(parent)) in seen:
        raise ConfigError(f"{path}: base {base!r} leads back to this file.")
    if len(seen) == _MOST_BASES:
        raise ConfigError(f"{path}: the {_MOST_BASES}th file that builds on another; put their values into one.")
    below = _read_with_base(parent, seen)
    sources = below.pop("source", {})
    more = tables.pop("source", {} if isinstance(sources, Mapping) else sources)
    if isinstance(sources, str) and isinstance(more, Mapping):
        sources = _for_all(below, sources)
    if isinstance(sources, Mapping) and isinstance(more, Mapping):
        more = merged(_still_meant(sources, below, tables), more, lambda old, new: False)
    return merged(below, tables) | {"source": more}


def _still_meant(sources: Mapping[str, Any], base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The sources of a base's values without those of tables that turn to another kind."""
    kept = {}
    for key, source in sources.items():
        old, new = base.get(key), over.get(key)
        if isinstance(source, Mapping) and isinstance(old, Mapping) and isinstance(new, Mapping):
            kept |= {} if turns(old, new) else {key: _still_meant(source, old, new)}
        else:
            kept[key] = source
    return kept


def _for_all(tables: Mapping[str, Any], sentence: str) -> dict[str, Any]:
    return {key: _for_all(value, sentence) if isinstance(value, Mapping) else sentence for key, value in tables.items()}


def with_sum(text: str) -> str:
    """A TOML text with a last line by which `read_toml` sees that nothing above it has changed."""
    return f"{text}{_SUM}{hashlib.sha256(text.encode()).hexdigest()}\n"


def to_toml(config: Checked) -> str:
    """The config as TOML text that `load_config` reads back to an equal config."""
    lines: list[str] = []

    def write(table: Mapping[str, Any], place: str) -> None:
        tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
        if place:
            lines.append(f"[{place}]")
            lines.extend(f"{key} = {json.dumps(value)}" for key, value in table.items()
                         if key not in tables and value is not None)  # fmt: skip
            lines.append("")
        for key, value in tables.items():
            write(value, f"{place}.{key}" if place else key)

    write(dataclasses.asdict(config), "")
    return "\n".join(lines)
