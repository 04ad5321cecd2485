"""A package of one's own that brings files, and a list of names that knows them."""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from faces.outputs import write_text
from faces.preprocessing import Preprocessing
from faces.schema import flatten

FAILS = "raise AssertionError('a package that brings files is looked up, and never imported')\n"


def make_package(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that cannot be imported, on the path that Python looks along."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FAILS)
    monkeypatch.syspath_prepend(str(folder))
    assert name not in sys.modules
    return package


def model_entry(preprocessing: Preprocessing, **values: Any) -> dict[str, Any]:
    """What the list says of a model."""
    tables = {f"preprocessing.{key}": value for key, value in flatten(preprocessing).items()}
    return _entry(kind="model", network="iresnet4") | tables | values


def detector_entry(**values: Any) -> dict[str, Any]:
    """What the list says of a detector."""
    return _entry(kind="detector") | values


def _entry(**values: Any) -> dict[str, Any]:
    said = {"what": "made for the tests", "licence": "none", "get": "make it anew", "bytes": 1}
    return said | {"published": [], "ours": [], "files": ["weights.npz"]} | values


def write_manifest(
    path: Path, entries: Mapping[str, Mapping[str, Any]], known: Mapping[str, Path] | None = None
) -> Path:
    """The list as a file.

    Args:
        path: of the file.
        entries: values by their paths within each name's table.
        known: of some names a file that is known by its hash.
    """
    lines = []
    for name, values in entries.items():
        tables: dict[str, list[str]] = {}
        for key, value in values.items():
            place, _, last = f"{name}.{key}".rpartition(".")
            tables.setdefault(place, []).append(f"{last} = {_literal(value)}")
        for place, texts in tables.items():
            lines += [f"[{place}]", *texts, ""]
        if known and name in known:
            digest = hashlib.sha256(known[name].read_bytes()).hexdigest()
            lines += [f"[{name}.sha256]", f'"{known[name].name}" = "{digest}"', ""]
    write_text(path, "\n".join(lines))
    return path


def _literal(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)
