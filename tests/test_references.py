"""What the project's prose names is there: files, functions, commands, options and keys of configs.

Not here: the section maps of the papers' packages (`test_annotations.py`), the README's commands and snippets
(`test_readme.py`).
"""

import ast
import dataclasses
import importlib
import importlib.util
import re
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.prose import ROOMS, ROOT, code_files, documents, name_of, prose, strings, tree_of, words_of_code

CONFIGS = tuple(sorted((ROOT / "paper_configs").rglob("*.toml")))
TEXTS = (*code_files(), *documents(), *CONFIGS)
SCHEMAS = ("facenet_jax", "arcface_jax", "mtcnn_jax", "retinaface_jax")
OF_OTHERS = {"jnp", "lax", "nn", "np", "tf", "tfds", "torch"}
"""Modules of other libraries, by the names that the prose gives them."""
WORDS_OF_OTHERS = {
    *("GFLOPS", "_weight", "accelerator_config", "dataset_info", "find_class", "loss_type", "ynn_fusion"),
    *("megaface_lst", "facescrub_lst", "IMREAD_COLOR_RGB", "JAX_LOCAL_DEVICE_IDS"),
}
"""Names in other programs and in their files."""
DATA_FILES = re.compile(
    r"\.(?:json|jsonl|csv|txt|npy|npz|png|jpg|pt|pth|pb|bin|rec|idx|mat|onnx|stablehlo|params|toml|md|py)$"
)


@cache
def quoted(path: Path) -> tuple[tuple[str, str], ...]:
    """What stands in backticks, each with its paragraph."""
    paragraphs = [part for text in prose(path) for part in re.split(r"\n\s*\n|\n(?=\s*(?:- |\d\. |\|))", text)]
    return tuple((name, part) for part in paragraphs for name in re.findall(r"`([^`\n]+)`", part))


def test_files_exist():
    """A bare name is of a file beside the text, above it, or beside what the paragraph names."""
    is_file = re.compile(r"[\w./*\[\]-]+\.(?:py|md)|paper_configs/\S+")
    assert not [
        (name_of(path), name)
        for path in TEXTS
        for name, paragraph in quoted(path)
        if is_file.fullmatch(name) and not _is_there(name, path, paragraph)
    ]


def _is_there(name: str, path: Path, paragraph: str) -> bool:
    if re.search(rf"`{re.escape(name)}`,? (?:of|in) (?:each|every)\b", paragraph):
        return any(ROOT.glob(f"*/**/{name}"))
    named = [word.strip("`()") for word in re.findall(r"`[\w./-]+`|\([\w./-]+\)", paragraph)]
    beside = [ROOT / word if word.endswith("/") else (ROOT / word).parent for word in named if "/" in word]
    below = [folder for folder in path.parents if folder.is_relative_to(ROOT)]
    return any(folder.is_dir() and any(folder.glob(name)) for folder in (*below, *beside))


def test_dotted_names_exist():
    """Of modules, of configs, of variables of the same file, or of other libraries."""
    is_dotted = re.compile(r"([a-z_]\w*(?:\.\w+)+)(?:\(\))?")
    lost = [
        (path, match[1])
        for path in TEXTS
        for name, _ in quoted(path)
        if (match := is_dotted.fullmatch(name)) and not DATA_FILES.search(name)
        if not (_in_project(match[1], path) or match[1] in config_keys() or _of_others(match[1]))
    ]
    assert not [(name_of(path), name) for path, name in lost if name.split(".")[0] not in identifiers(path)]


def _of_others(name: str) -> bool:
    """Whether a name begins with a library that is not the project's."""
    first = name.split(".")[0]
    return first not in ROOMS and (first in OF_OTHERS or importlib.util.find_spec(first) is not None)


def _in_project(name: str, path: Path) -> bool:
    """Whether package.module.name, or module.name from a text in the module's folder or below, exists."""
    for folder in [path.parent, *path.parent.parents]:
        if folder.is_relative_to(ROOT) and _resolves(folder, name.split(".")):
            return True
    return False


def _resolves(folder: Path, parts: list[str]) -> bool:
    if not parts or parts == ["NAME"]:
        return True
    if (folder / parts[0]).is_dir():
        return _resolves(folder / parts[0], parts[1:])
    file, rest = folder / f"{parts[0]}.py", parts[1:]
    if not file.is_file():
        file, rest = folder / "__init__.py", parts
    if folder == ROOT or not file.is_file():
        return False
    found: Any = importlib.import_module(name_of(file).removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    for part in rest:
        fields = getattr(found, "__dataclass_fields__", {}) | getattr(found, "__annotations__", {})
        if not hasattr(found, part):
            return part in fields
        found = getattr(found, part)
    return True


@cache
def identifiers(path: Path) -> set[str]:
    """Names of a Python file, or of a document's snippets of Python."""
    if path.suffix == ".py":
        trees = [tree_of(path)]
    else:
        blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        trees = [ast.parse(block) for block in blocks]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {n.arg for n in nodes if isinstance(n, ast.arg)}


def test_identifiers_exist():
    """Names with an underscore, or with a call's brackets, are of the code, of a file, or of another program."""
    files = " ".join(map(name_of, TEXTS))
    assert not [
        (name_of(path), match[1])
        for path in TEXTS
        for name, _ in quoted(path)
        if (match := re.fullmatch(r"(\w*_\w+|\w+(?=\())(?:\(.*\))?", name))
        if match[1] not in words_of_code() | WORDS_OF_OTHERS and match[1] not in files
    ]


@cache
def config_keys() -> frozenset[str]:
    """Keys of all papers' configs, as "section.key", and the sections."""

    def of(kind: Any, place: str) -> Iterator[str]:
        for inner in typing.get_args(kind):
            yield from of(inner, place)
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            for key, hint in typing.get_type_hints(kind).items():
                yield f"{place}{key}"
                yield from of(hint, f"{place}{key}.")

    schemas = [importlib.import_module(f"{package}.config").Config for package in SCHEMAS]
    return frozenset(key for schema in schemas for key in of(schema, ""))


@cache
def known_options() -> frozenset[str]:
    """Options that any command takes, as they are written."""
    given = {
        argument.value
        for path in code_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value.startswith("--")
    }
    keys = [key.replace("_", "-") for key in config_keys()]
    switched_off = [".no-".join(key.rsplit(".", 1)) for key in keys]
    return frozenset(given | {f"--{key}" for key in (*keys, *switched_off)} | {"--help"})


def test_options_and_commands_exist():
    """In documents with their blocks, in docstrings and comments, and in what is told to a user."""
    commands = {
        room: [file.stem for file in (ROOT / room).glob("*.py")] for room in ("experiments", "benchmarks", "examples")
    }
    lost = list[tuple[str, str]]()
    for path in TEXTS:
        if name_of(path).startswith("tests/"):
            continue
        text = "\n".join(strings(path)) if path.suffix == ".py" else path.read_text(encoding="utf-8")
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)*\b", text))
        lost += [(name_of(path), option) for option in options - known_options() - {"--upgrade"}]
        for room, there in commands.items():
            named = set(re.findall(rf"\bpython -m ({room}\.[a-z]\w*)|`({room}\.(?!py)[a-z]\w*)`", text))
            names = {name for pair in named for name in pair if name}
            lost += [(name_of(path), name) for name in names if name.split(".")[1] not in [*there, "common"]]
    assert not lost
