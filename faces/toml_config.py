"""The one way from a TOML file to a frozen config and back, whatever the config is of.

A schema is a frozen dataclass whose fields are tables, dataclasses again. A missing key is an error, an unknown key is
an error that names the nearest one, and every value of `paper_configs/` carries its origin in a `[source]` table of the
same shape. A file may name a `base` beside it and then holds only what differs, so that two rows of a paper's table
differ by the lines in which they differ.

Not here: any schema (`faces.config` has that of a training run).
"""

import dataclasses
import difflib
import importlib.util
import json
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from faces.errors import ConfigError

Rule = tuple[bool, str]
"""Whether a condition holds, and the sentence for where it does not."""


class Checked(Protocol):
    """A frozen dataclass of tables, one for each of a file, whose values must make sense together.

    Schemas inherit from it.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def rules(self) -> list[Rule]:
        """What values that fit the schema must fulfil to make sense together."""
        return []


AnyConfig = TypeVar("AnyConfig", bound=Checked)


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
        schema: the dataclass of its tables.
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


def flatten(config: Checked | Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """A config (or nested dictionary) as {"model.name": value, ...}."""
    table: Mapping[str, Any] = config if isinstance(config, Mapping) else dataclasses.asdict(config)
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat.update(flatten(value, f"{place}{key}.") if isinstance(value, Mapping) else {f"{place}{key}": value})
    return flat


def difference(config: Checked, other: Checked) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, as {"optimiser.learning_rate": (value in config, value in other)}."""
    ours, theirs = flatten(config), flatten(other)
    return {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}


def to_toml(config: Checked) -> str:
    """The config as TOML text that `load_config` reads back to an equal config."""
    lines: list[str] = []
    for section, values in dataclasses.asdict(config).items():
        lines.append(f"[{section}]")
        for key, value in values.items():
            lines.append(f"{key} = {json.dumps(value)}")
        lines.append("")
    return "\n".join(lines)
