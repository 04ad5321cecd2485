"""What a program gets by importing a paper's package or `recognizer`: names, and nothing that happens."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import arcface_jax
import facenet_jax
import mtcnn_jax
import recognizer
import retinaface_jax
import scrfd_jax

QUIET = """
import os, sys, threading
{first}
before, threads = dict(os.environ), threading.active_count()
import {package}
assert dict(os.environ) == before and threading.active_count() == threads
import jax
assert not jax._src.xla_bridge.backends_are_initialized()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    pass
else:
    raise AssertionError("a process was started")
slow = set("{slow}".split())
assert not slow & set(sys.modules), slow & set(sys.modules)
"""
FOR_COMMANDS = "grain tensorflow_datasets matplotlib scipy.stats"


@pytest.mark.parametrize("package", [facenet_jax, arcface_jax, mtcnn_jax, retinaface_jax, scrfd_jax, recognizer])
def test_all_names_are_there(package):
    assert len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None


@pytest.mark.parametrize(
    ("package", "first", "slow"),
    [
        ("facenet_jax", "", f"{FOR_COMMANDS} orbax cv2 PIL"),
        ("arcface_jax", "", f"{FOR_COMMANDS} orbax cv2 PIL"),
        ("mtcnn_jax", "", f"{FOR_COMMANDS} orbax cv2 PIL"),
        ("retinaface_jax", "", f"{FOR_COMMANDS} orbax cv2 PIL"),
        ("scrfd_jax", "", f"{FOR_COMMANDS} orbax cv2 PIL"),
        ("recognizer", "import cv2  # which sets a path of its own", FOR_COMMANDS),
    ],
)
def test_an_import_starts_nothing(package: str, first: str, slow: str):
    """No process, thread, device or flag, and none of the libraries that only the commands need."""
    program = QUIET.format(package=package, first=first, slow=slow)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_masked_mean():
    values, mask = jnp.asarray([[1.0, jnp.nan], [3.0, 5.0]]), jnp.asarray([[True, False], [True, False]])
    assert facenet_jax.masked_mean(values, mask) == 2.0
    assert facenet_jax.masked_mean(values, jnp.zeros_like(mask)) == 0.0
    np.testing.assert_array_equal(jax.grad(facenet_jax.masked_mean)(values, mask), [[0.5, 0], [0.5, 0]])


def test_no_arrow_runs_both_ways_between_two_folders_of_faces():
    root = Path(__file__).parents[1]
    folders = sorted(path.parent for path in (root / "faces").glob("*/**/__init__.py"))
    arrows = set[tuple[str, str]]()
    for folder in folders:
        own = ".".join(folder.relative_to(root).parts)
        for file in folder.glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    arrows |= {(own, other) for other in _folders(node, root) if other != own}
    assert ("faces.data.synthetic", "faces.data") in arrows
    assert not [arrow for arrow in sorted(arrows) if arrow[::-1] in arrows]


def _folders(node: ast.ImportFrom, root: Path) -> Iterator[str]:
    """The folders inside `faces` of what one line imports."""
    for name in node.names:
        path = root.joinpath(*str(node.module).split("."), name.name)
        while not path.is_dir():
            path = path.parent
        parts = path.relative_to(root).parts
        if len(parts) > 1 and parts[0] == "faces":
            yield ".".join(parts)
