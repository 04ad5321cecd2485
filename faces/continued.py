"""Folders of results that grow while a command works, and that the same command goes on with when it was stopped.

Not here: results that appear at once (`outputs.results_folder`), runs of training (`checkpoint.py`).
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from faces.errors import OutputError, option
from faces.opening import MIB, read_json
from faces.outputs import CONTENTS, check_free, list_contents, locked, remove_contents, write_json

SETTINGS = "settings.json"


@contextlib.contextmanager
def continued(folder: Path, settings: Mapping[str, Any], names: Sequence[str], overwrite: bool) -> Iterator[bool]:
    """Keep a folder of results while the block adds to them; tells whether it holds some of the same settings already.

    A block that breaks off before any of `names` is there leaves nothing behind.

    Args:
        folder: where results go.
        settings: all that they depend on, as JSON holds it; what stays the same from one part to the next.
        names: of the files that the block writes.
        overwrite: take away the results that are there, and begin anew.
    Raises:
        OutputError: something else is there, results of other settings too, or another command is writing there, or
            the disk refuses.
    """
    wanted = json.loads(json.dumps(settings))
    with locked(folder):
        goes_on = not overwrite and (folder / CONTENTS).is_file() and (folder / SETTINGS).is_file()
        if goes_on:
            _check_same(folder, wanted)
        else:
            check_free(folder, overwrite)
            remove_contents(folder)
            list_contents(folder, (SETTINGS, *names))
            write_json(folder / SETTINGS, wanted)
        try:
            yield goes_on
        finally:
            if not any((folder / name).exists() for name in names):
                remove_contents(folder)


def is_made_with(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a folder holds results of these settings, which `continued` would go on with."""
    try:
        return read_json(folder / SETTINGS, MIB) == json.loads(json.dumps(settings))
    except (OSError, ValueError):
        return False


def _check_same(folder: Path, wanted: dict[str, Any]) -> None:
    ways = f"name another folder, or replace them with {option('overwrite')}"
    try:
        stored = read_json(folder / SETTINGS, MIB)
        if not isinstance(stored, dict):
            raise ValueError
    except (OSError, ValueError):
        raise OutputError(
            f"{folder / SETTINGS}: cannot be read, so that nobody knows how the results beside it were made; {ways}."
        ) from None
    for key in dict.fromkeys((*wanted, *stored)):
        if stored.get(key) != wanted.get(key):
            raise OutputError(
                f"{folder}: holds results already, made with {key} {_word(stored.get(key))}, and here it is "
                f"{_word(wanted.get(key))}; give the same options to go on with them, {ways}."
            )


def _word(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:56]}..."
