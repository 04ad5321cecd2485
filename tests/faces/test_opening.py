"""What is no file that ends is refused without waiting for it; what is too large, before a byte is read."""

import ast
import contextlib
import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faces import checksums, opening
from faces.aligned.looks import Looks
from faces.cache import Cache
from faces.checkpoint_folder import load_weights
from faces.continued import continued
from faces.data.ijb import read_template_pairs
from faces.data.image_folder import FolderSource
from faces.data.images import read_image
from faces.data.lists import read_lines
from faces.data.mat_file import read_mat
from faces.data.megaface import read_feature
from faces.data.pair_bin import read_pair_bin
from faces.data.prepared import PreparedFaces
from faces.data.record_index import read_index
from faces.data.recordio import RecordFile
from faces.errors import FacesError, OutputError
from faces.outputs import append_text
from faces.run_record import read_json, read_log
from faces.toml_config import load_config, read_toml
from faces.weights import read_weights
from tests.faces.configs import Config


def _records(path: Path) -> None:
    path.rename(path.with_suffix(".rec"))
    path.with_suffix(".idx").write_text("1\t0\n")
    RecordFile(path.with_suffix(".rec"))


def _prepared(path: Path) -> None:
    for name in ("identities.npy", "identity_names.json", "a.array_record-00000-of-00001", "prepared.json"):
        (path.parent / name).symlink_to(path)
    (path.parent / "prepared.json").unlink()
    (path.parent / "prepared.json").write_text("{}")
    PreparedFaces(path.parent)


def _settings(path: Path) -> None:
    (path.parent / "settings.json").symlink_to(path)
    (path.parent / ".contents").write_text("settings.json\n")
    with continued(path.parent, {}, (), overwrite=False):
        pass


def _pairs(path: Path) -> None:
    (path.parent / "ijbc_template_pair_label.txt").symlink_to(path)
    read_template_pairs(path.parent, "ijbc")


def _sealed(path: Path) -> None:
    (path.parent / "7").mkdir()
    (path.parent / "7" / checksums.SUMS).symlink_to(path)
    load_weights(path.parent)


def _in_sealed(path: Path) -> None:
    (path.parent / "7").mkdir()
    (path.parent / "7" / "array").symlink_to(path)
    (path.parent / "7" / checksums.SUMS).write_text(f"{'0' * 64}  array\n")
    load_weights(path.parent)


def _of_earlier(path: Path) -> None:
    (path.parent / "7" / "state").mkdir(parents=True)
    (path.parent / "7" / "_CHECKPOINT_METADATA").write_text("{}")
    (path.parent / "7" / "state" / "_METADATA").symlink_to(path)
    load_weights(path.parent)


def _looks(path: Path) -> None:
    (path.parent / "faces.bin").symlink_to(path)
    with contextlib.closing(Looks(path.parent)) as looks:
        looks.read((0, 1))


READERS: dict[str, Callable[[Path], Any]] = {
    "list": read_lines,
    "image": read_image,
    "pairs": read_pair_bin,
    "index": lambda path: read_index(path, 1000),
    "records": _records,
    "mat": lambda path: read_mat(path, ("a",)),
    "feature": read_feature,
    "toml": read_toml,
    "config": lambda path: load_config(str(path.rename(path.with_suffix(".toml"))), Config),
    "json": read_json,
    "log": read_log,
    "cache": Cache,
    "weights": read_weights,
    "prepared": _prepared,
    "settings": _settings,
    "template pairs": _pairs,
    "folder": FolderSource,
    "sums of a checkpoint": _sealed,
    "file of a checkpoint": _in_sealed,
    "checkpoint of an earlier version": _of_earlier,
    "faces of photographs": _looks,
}


def _place(folder: Path, what: str) -> Path:
    path = folder / "file"
    match what:
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "circle":
            path.symlink_to(path)
        case "folder":
            path.mkdir()
        case _:
            with path.open("wb") as file:  # 8 GiB, of which nothing was written
                file.truncate(8 << 30)
    return path


@pytest.mark.parametrize("what", ["pipe", "endless", "circle", "folder", "holes"])
@pytest.mark.parametrize("reader", READERS)
def test_each_reader_refuses_what_is_no_file_that_ends(tmp_path: Path, reader: str, what: str):
    path = _place(tmp_path, what)
    with pytest.raises(FacesError) as caught:
        READERS[reader](path)
    assert str(tmp_path) in str(caught.value) and str(caught.value).endswith(".")


def test_a_socket_and_odd_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # a socket's name has a hundred characters at most
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        with pytest.raises(OSError, match="a socket and no file"):
            opening.open_regular("socket")
    for name in ("a\0b", "\ud800", "x" * 300):
        with pytest.raises(OSError):
            opening.read_bytes(name, 10)


@pytest.mark.parametrize("what", ["pipe", "endless", "circle", "folder"])
def test_what_is_no_file_is_not_added_to(tmp_path: Path, what: str):
    path = _place(tmp_path, what)
    with pytest.raises(OutputError, match=str(path)):
        append_text(path, "a line\n")


def test_size_is_looked_at_before_bytes_are(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    assert opening.read_bytes(path, 100) == bytes(100) and opening.read_head(path, 3) == bytes(3)
    with pytest.raises(OSError, match="100 bytes, more than the 99 bytes that are read"):
        opening.read_bytes(path, 99)


def test_holes_are_no_content_and_a_written_file_has_none(tmp_path: Path):
    size = 32 * opening.MIB
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.write_bytes(np.random.default_rng(0).bytes(size))
    with part.open("wb") as file:  # a download that broke off
        file.write(b"\xff\xd8\xff" * (2 * opening.MIB))
        file.truncate(size)
    assert len(opening.read_bytes(whole, size)) == size
    with pytest.raises(OSError, match=r"of its 32\.0 MiB more than half were never written; copy it again"):
        opening.read_bytes(part, size)


@pytest.mark.parametrize(
    "text", ["[" * 5000, "[" * 200 + "]" * 200, '{"a":' * 5000, "9" * 5000, "", "nul", '{"a": ' * 150 + "1" + "}" * 150]
)
def test_json_without_end_is_a_value_error(text: str):
    with pytest.raises(ValueError):
        opening.parse_json(text)
    with pytest.raises(ValueError):
        opening.parse_json(text.encode())


def test_json_with_many_brackets_that_are_not_deep_is_read():
    rows = [[{"a": "[{"}]] * 500
    assert opening.parse_json(json.dumps(rows)) == rows


def _opened(node: ast.AST) -> bool:
    """Whether a call opens a file to read it, by another way than `faces.opening`."""
    if not isinstance(node, ast.Call):
        return False
    modes = [argument.value for argument in (*node.args, *(key.value for key in node.keywords))
             if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]  # fmt: skip
    if any(set(mode) <= set("wxab+") and set(mode) & set("wxa") for mode in modes):
        return False
    match node.func:
        case ast.Name("open") | ast.Attribute(ast.Name("np"), "load" | "fromfile" | "memmap"):
            return True
        case ast.Attribute(ast.Name("cv2"), "imread") | ast.Attribute(_, "read_text"):
            return True
        case ast.Attribute(_, "read_bytes"):
            return not node.args
        case ast.Attribute(ast.Name("Image" | "tarfile" | "opening"), "open"):
            return not (node.args and isinstance(node.args[0], ast.Call))
        case ast.Attribute(_, "open"):
            return bool(modes) or not node.args
        case _:
            return False


ROOMS = ("faces", "recognizer", "facenet_jax", "arcface_jax", "mtcnn_jax", "retinaface_jax", "scrfd_jax", "experiments",
         "examples")  # fmt: skip
OF_OURS = {"faces/opening.py": 1, "faces/outputs.py": 1, "faces/start.py": 2, "faces/step_memory.py": 3,
           "experiments/__main__.py": 1}  # fmt: skip
"""Files opened by other ways: by the opener itself, what was just written, the system's own, the mains' sources."""


def test_there_is_no_other_way_to_a_file_from_outside():
    root = Path(__file__).parents[2]
    others = Counter(
        file.relative_to(root).as_posix()
        for room in ROOMS
        for file in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if _opened(node)
    )
    assert others == OF_OURS
