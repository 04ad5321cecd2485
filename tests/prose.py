"""The project's prose: comments, docstrings and documents, for the tests of what they say.

Not here: the tests.
"""

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = (
    *("facenet_jax", "arcface_jax", "mtcnn_jax", "retinaface_jax", "scrfd_jax"),
    *("recognizer", "faces", "experiments", "examples", "benchmarks", "tests"),
)
"""Folders with the project's Python."""


def name_of(path: Path) -> str:
    """A file's path from the project's root."""
    return path.relative_to(ROOT).as_posix()


@cache
def code_files() -> tuple[Path, ...]:
    """All Python files."""
    return tuple(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))


@cache
def tree_of(path: Path) -> ast.Module:
    """A Python file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def documents() -> tuple[Path, ...]:
    """All Markdown files, those of the rooms included."""
    inside = [path for room in (*ROOMS, "docs") for path in sorted((ROOT / room).rglob("*.md"))]
    return (*sorted(ROOT.glob("*.md")), *inside)


@cache
def prose(path: Path) -> tuple[str, ...]:
    """Of Python comments and docstrings, those of attributes included; of TOML comments; of Markdown all but blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return (re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL),)
    if path.suffix == ".toml":
        return tuple(line for line in text.splitlines() if line.startswith("#"))
    comments = [
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    ]
    strings = [
        node.value.value
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    return (*comments, *strings)


@cache
def strings(path: Path) -> tuple[str, ...]:
    """Of a Python file what reads as prose: comments, docstrings, and other strings with a space in them."""
    found = [
        node.value for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return (*prose(path), *(text for text in found if " " in text))


@cache
def words_of_code() -> frozenset[str]:
    """Identifiers of the Python files, words of their strings that are no docstrings, and words of the configs."""
    words = set[str]()
    for path in code_files():
        words |= _words(tree_of(path))
    for path in (ROOT / "paper_configs").rglob("*.toml"):
        words |= set(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    return frozenset(words)


def _words(tree: ast.AST) -> set[str]:
    """Identifiers and words of strings below a node, without docstrings."""
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return set()
    words = set[str]()
    for _, value in ast.iter_fields(tree):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                words |= _words(part)
            elif isinstance(part, str):
                words.update(re.findall(r"\w+", part))
    return words
