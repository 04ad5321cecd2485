"""A config as a frozen dataclass of tables: built from plain values, checked, changed by the paths of its values.

A field of a table is a number, a word, a truth value, a list of such, another table, or a union of tables. The tables
of a union tell themselves apart by `kind`, a field of one literal, and each holds only what means something with it:

    @dataclass(frozen=True)
    class Softmax:
        kind: Literal["softmax"] = field(default="softmax", kw_only=True)

A table or a value that may be left out says so by `| None`. A number says between which it lies (`faces.ranges`).

Not here: files (`faces.toml_config`), and any schema (`faces.config` has that of a training run).
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar, Union

import numpy as np

from faces.errors import ConfigError
from faces.ranges import outside

KIND = "kind"
"""The field that says which table of a union one is."""

Tables = Mapping[str, Any]
"""Of plain values, or of tables again."""

Rule = tuple[bool, str]
"""Whether a condition holds, and the sentence for where it does not."""


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


class Checked(Dataclass, Protocol):
    """A frozen dataclass of tables, one for each of a file, whose values must make sense together.

    Schemas inherit from it.
    """

    def rules(self) -> list[Rule]:
        """What values that fit the schema must fulfil to make sense together."""
        return []

    @classmethod
    def load(cls, name: str) -> Self:
        """The config of a name, such as "facenet/tiny", or of a TOML file; see `faces.toml_config.load_config`."""
        from faces.toml_config import load_config  # here, as a step needs a config's tables alone

        return load_config(name, cls)[0]

    @classmethod
    def of_earlier(cls, tables: Tables) -> Tables:
        """What an earlier version of the project has written into a run's folder, by the keys of this version."""
        return tables

    def with_(self, **values: Any) -> Self:
        """The config with other values at some paths, the dots of which are written __.

            config.with_(optimiser__learning_rate=0.02, loss__alpha=0.3)

        In a dictionary the dots may stay: `config.with_(**{"loss.alpha": 0.3})`. A table may be given whole, as its
        dataclass; one that turns to another kind begins anew, and needs all values of that kind.

        Raises:
            ConfigError: a path that is none, with the nearest; a value of another type; a rule that is broken.
        """
        return changed(self, {path.replace("__", "."): value for path, value in values.items()})


AnyConfig = TypeVar("AnyConfig", bound=Checked)


def build(schema: type[AnyConfig], tables: Tables, where: object = "") -> AnyConfig:
    """A config of plain values.

    Args:
        schema: the dataclass of its tables.
        tables: nested dictionaries, as a TOML file gives them.
        where: named in messages; "" for none.
    Raises:
        ConfigError: an unknown or missing key, a value of another type, or a rule that is broken.
    """
    return check(_table(schema, tables, _start(where), ()), where)


def changed(config: AnyConfig, values: Mapping[str, Any], where: object = "") -> AnyConfig:
    """See `Checked.with_`.

    Args:
        config: any.
        values: by path, such as "loss.alpha".
        where: named in messages; "" for none.
    """
    now = dataclasses.asdict(config)
    for path in values:
        if path.split(".")[0] not in now:
            raise ConfigError(f"{_start(where)}unknown key {path!r}{nearest(path, [*now, *flatten(now)])}")
    return build(type(config), merged(now, nested(values, where)), where)


def check(config: AnyConfig, where: object = "") -> AnyConfig:
    """The config itself, unless its values make no sense together.

    Args:
        config: any config, from a file or with overrides.
        where: named in the message; "" for nothing.
    Raises:
        ConfigError: which value, and why.
    """
    if sentence := outside(config):
        raise ConfigError(f"{_start(where)}{sentence}.")
    for holds, sentence in config.rules():
        if not holds:
            raise ConfigError(f"{_start(where)}{sentence}.")
    return config


def flatten(config: Dataclass | Tables, place: str = "") -> dict[str, Any]:
    """A config, a table or a nested dictionary as {"model.name": value, ...}, without what is absent."""
    table: Tables = config if isinstance(config, Mapping) else dataclasses.asdict(config)
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if value is not None:
            flat.update(flatten(value, f"{place}{key}.") if isinstance(value, Mapping) else {f"{place}{key}": value})
    return flat


def nested(values: Mapping[str, Any], where: object = "") -> dict[str, Any]:
    """The tables of which `flatten` gives these values; a value may be a table already, or its dataclass.

    A path inside a table that is given whole changes what it was given, in whatever order the two are named.

    Raises:
        ConfigError: a path that goes on where another ends at a value.
    """
    tables: dict[str, Any] = {}
    for path, value in sorted(values.items(), key=lambda one: one[0].count(".")):
        *places, key = path.split(".")
        inside = tables
        for place in places:
            inside = inside.setdefault(place, {})
            if not isinstance(inside, dict):
                raise ConfigError(f"{_start(where)}{path}: lies in a table that is given a value itself.")
        inside[key] = dataclasses.asdict(value) if _is_dataclass(type(value)) else value
    return tables


def difference(config: Checked, other: Checked) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, as {"optimiser.learning_rate": (value in config, value in other)}; None: not there."""
    ours, theirs = flatten(config), flatten(other)
    return {key: (ours.get(key), theirs.get(key)) for key in ours | theirs if ours.get(key) != theirs.get(key)}


def turns(old: Tables, new: Tables) -> bool:
    """Whether a table of a union turns to another kind where `new` is put over `old`."""
    return new.get(KIND, old.get(KIND)) != old.get(KIND)


def merged(base: Tables, over: Tables, anew: Callable[[Tables, Tables], bool] = turns) -> dict[str, Any]:
    """Tables with what others change in them.

    Args:
        base, over: nested dictionaries.
        anew: whether a table begins anew, and nothing of the base's is kept.
    """
    both = dict(base)
    for key, value in over.items():
        old = both.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not anew(old, value):
            value = merged(old, value, anew)
        both[key] = value
    return both


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence on an unknown name: the one that was meant, or all of them.

    Of paths those come first that end with the same key, then those of what is in a table of that name.
    """

    def key_of(path: str) -> str:
        return path.strip("-").split(".")[-1]

    alike = [path for path in known if "." in path and key_of(path) == key_of(name)]
    inside = [path for path in known if path.startswith(f"{name}.")]
    near = difflib.get_close_matches(name, alike, n=1, cutoff=0) or inside[:1]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}."


def nearest_of_all(name: str, known: Sequence[str]) -> str:
    """A part of a sentence on an unknown name: the nearest, however far, and all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f'the nearest is "{near}" (all: {", ".join(known)})'


def kinds_of(hint: Any) -> dict[str, Any]:
    """The tables of a union by their kinds; {} of a type that is none, and of a number that may be a list."""
    tables = typing.get_args(hint)
    if typing.get_origin(hint) not in (Union, types.UnionType) or not all(map(_is_dataclass, tables)):
        return {}
    return {kind: table for table in tables for kind in typing.get_args(typing.get_type_hints(table)[KIND])}


def _is_dataclass(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint)


def _start(where: object) -> str:
    return f"{where}: " if str(where) else ""


def _table(table: Any, values: Tables, start: str, place: tuple[str, ...]) -> Any:
    """One table and those in it. `start` begins messages."""
    hints = typing.get_type_hints(table)
    keys = [field.name for field in dataclasses.fields(table)]
    for key in values:
        if key not in keys:
            below = [".".join((*place, *path)) for path in _paths(table) if len(path) > 1 and path[-1] == key]
            hint = f"; did you mean {' or '.join(map(repr, dict.fromkeys(below)))}?" if below else nearest(key, keys)
            raise ConfigError(f"{start}unknown key {'.'.join((*place, key))!r}{hint}")
    made = {}
    for key in keys:
        path = ".".join((*place, key))
        hint, may_be_absent = without_none(hints[key])
        if may_be_absent and values.get(key) is None:
            made[key] = None
            continue
        if key not in values:
            raise ConfigError(f"{start}key {path!r} is missing.")
        value = values[key]
        if not (_is_dataclass(hint) or kinds_of(hint)):
            made[key] = _value(hint, value, start, path)
        elif not isinstance(value, Mapping):
            kinds = f" whose kind is one of {', '.join(kinds_of(hint))}" if kinds_of(hint) else ""
            raise ConfigError(f"{start}{path}: a table [{path}]{kinds} is expected.")
        else:
            of_kind = _of_kind(kinds_of(hint), value, start, path) if kinds_of(hint) else hint
            made[key] = _table(of_kind, value, start, (*place, key))
    return table(**made)


def _paths(table: Any) -> Iterator[tuple[str, ...]]:
    """Of all values of a table and of those in it, whatever their kinds."""
    for key, hint in typing.get_type_hints(table).items():
        hint, _ = without_none(hint)
        inside = [hint] if _is_dataclass(hint) else kinds_of(hint).values()
        yield from ((key, *path) for one in inside for path in _paths(one))
        if not inside:
            yield (key,)


def without_none(hint: Any) -> tuple[Any, bool]:
    """A type without `| None`, and whether it had it."""
    types_ = typing.get_args(hint)
    if typing.get_origin(hint) not in (Union, types.UnionType) or types.NoneType not in types_:
        return hint, False
    return Union[tuple(of for of in types_ if of is not types.NoneType)], True  # noqa: UP007, of one is that one


def _of_kind(kinds: dict[str, Any], values: Tables, start: str, path: str) -> Any:
    """The table of a union that values are meant for."""
    known = ", ".join(kinds)
    if KIND not in values:
        raise ConfigError(f"{start}key '{path}.{KIND}' is missing; known are {known}.")
    kind = values[KIND]
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f"{start}{path}.{KIND} = {kind!r}; known are {known}.")
    keys = {name: [field.name for field in dataclasses.fields(table)] for name, table in kinds.items()}
    for key in values:
        owners = [repr(name) for name in kinds if key in keys[name]]
        if owners and key not in keys[kind]:
            owner = " and ".join([", ".join(owners[:-1]), owners[-1]] if len(owners) > 1 else owners)
            raise ConfigError(f"{start}{path}.{key}: belongs to kind {owner}, and kind is {kind!r} here.")
    return kinds[kind]


def _value(hint: Any, value: Any, start: str, path: str) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):  # a value, or a list of such
        is_list = isinstance(value, list | tuple)
        hint = next(one for one in arguments if (typing.get_origin(one) is tuple) == is_list)
        return _value(hint, value, start, path)
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{start}{path} = {value!r}{nearest(str(value), [str(a) for a in arguments])}")
    if origin is tuple:
        length_fits = arguments[-1] is Ellipsis or (isinstance(value, list | tuple) and len(value) == len(arguments))
        if isinstance(value, list | tuple) and length_fits:
            return tuple(_value(arguments[0], element, start, path) for element in value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is hint:
        return value
    a_list = "a list" if origin is not tuple or arguments[-1] is Ellipsis else f"a list of {len(arguments)} values"
    expected = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}.get(hint, a_list)
    raise ConfigError(f"{start}{path}: {expected} is expected, {value!r} found.")
