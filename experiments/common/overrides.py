"""The values of a config as options of the command line: `--optimiser.learning-rate 0.02`, `--augment.no-flip`.

`--help` lists them all, table by table, with what the schema says of each.

Not here: what a value must be, which is said in one way of files and of options (`faces.schema`).
"""

import argparse
import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from faces.errors import ConfigError
from faces.schema import KIND, AnyConfig, changed, kinds_of, nearest, without_none


def parse_overrides(
    parser: argparse.ArgumentParser, schema: type[Any], arguments: list[str]
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """A main's own options, and values of its config by their paths.

    Args:
        parser: with the main's options; it is given one more for each value of the config.
        schema: of the config.
        arguments: the command line; in the path of a value - and _ are the same.
    Raises:
        ConfigError: an option that is none, with the nearest.
    """
    usage = parser.format_usage().removeprefix("usage: ").strip().replace("%", "%%")
    own = re.findall(r"--[\w-]+", usage)
    parser.usage = f"{usage} [--TABLE.KEY VALUE ...]"
    hints = _add_options(parser, schema)
    options, rest = parser.parse_known_args([_dashed(word) for word in arguments])
    if rest:
        unknown = next((word for word in rest if word.startswith("-")), rest[0])
        raise ConfigError(f"{unknown}: no such option{nearest(unknown, [*own, *map(_option, hints)])}")
    given = {path: vars(options).pop(path) for path in hints if path in options}
    return options, {path: _plain(hints[path], words) for path, words in given.items()}


def override(config: AnyConfig, values: dict[str, Any]) -> AnyConfig:
    """The config with the values of `parse_overrides`.

    Raises:
        ConfigError: a value of another type, or one that breaks a rule.
    """
    return changed(config, values, "command line")


def _add_options(parser: argparse.ArgumentParser, schema: type[Any]) -> dict[str, Any]:
    """One option for each value; the types of the values by their paths."""
    hints, groups = dict[str, Any](), dict[str, Any]()
    for table, path, hint, text in _values(schema, ""):
        if path in hints:  # a key of several kinds
            continue
        hints[path] = hint
        if table not in groups:
            groups[table] = parser.add_argument_group(f"[{table}]")
        add = partial(groups[table].add_argument, dest=path, default=argparse.SUPPRESS, help=text.replace("%", "%%"))
        *tables, key = path.split(".")
        if hint is bool:
            add(_option(path), action="store_const", const=True)
            add(_option(".".join([*tables, f"no-{key}"])), action="store_const", const=False, help=f"not {key}")
        else:
            words = "|".join(typing.get_args(hint)) if typing.get_origin(hint) is Literal else key.upper()
            add(_option(path), metavar=words, nargs="*" if typing.get_origin(hint) is tuple else None)
    return hints


def _values(table: Any, place: str) -> Iterator[tuple[str, str, Any, str]]:
    """Of each value of a table and of those in it: its table, path and type, and what the schema says of it."""
    hints, said = typing.get_type_hints(table), _docstrings(table)
    for field in dataclasses.fields(table):
        path, hint = f"{place}{field.name}", without_none(hints[field.name])[0]
        if kinds := kinds_of(hint):
            yield path, f"{path}.{KIND}", Literal[tuple(kinds)], said[field.name]
            for kind, of_kind in kinds.items():
                for inside, key, key_hint, text in _values(of_kind, f"{path}."):
                    if key != f"{path}.{KIND}":
                        yield inside, key, key_hint, f'of kind "{kind}": {text}'
        elif dataclasses.is_dataclass(hint):
            yield from _values(hint, f"{path}.")
        else:
            yield place.removesuffix("."), path, hint, said.get(field.name, "")


def _docstrings(table: Any) -> dict[str, str]:
    """The strings below a dataclass's fields, those of its bases too."""
    said: dict[str, str] = {}
    classes: list[Any] = [one for one in reversed(table.__mro__) if dataclasses.is_dataclass(one)]
    for one in classes:
        [of_class] = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(of_class, ast.ClassDef)
        for field, below in itertools.pairwise(of_class.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    said[name] = inspect.cleandoc(text)
    return said


def _option(path: str) -> str:
    return "--" + path.replace("_", "-")


def _dashed(word: str) -> str:
    """An argument with - for _ in the path of a value."""
    name, sign, value = word.partition("=")
    return name.replace("_", "-") + sign + value if re.fullmatch(r"--\w[\w-]*\.[\w.-]*", name) else word


def _plain(hint: Any, words: Any) -> Any:
    """What was given as a value of a file would be read; what is no number stays a word, and is refused as one."""
    if hint in (bool, str) or typing.get_origin(hint) is Literal or typing.get_args(hint)[:1] == (str,):
        return words
    return [_number(word) for word in words] if isinstance(words, list) else _number(words)


def _number(word: str) -> Any:
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word
