"""What commands that see people leave and reach: files of their owner alone, and no socket."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.prose import ROOT


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("private")
    (folder / "out").mkdir(mode=0o755)
    done = subprocess.run(
        [sys.executable, "-m", "tests.experiments.all_in_one", str(folder)],
        cwd=ROOT, capture_output=True, text=True, umask=0, env={**os.environ, "JAX_PLATFORMS": "cpu"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done.stdout + done.stderr


def test_commands_open_no_socket(ran: tuple[Path, str]):
    """Those that several processes of one run would open are asked for."""
    codes, heard, handles, control = json.loads(ran[1].split("told: ")[1].splitlines()[0])
    assert set(codes.values()) == {0}, ran[1]
    assert heard == handles == [] and control == ["socket.__new__"]


def test_all_that_they_write_is_their_owners_alone(ran: tuple[Path, str]):
    there = list((ran[0] / "out").rglob("*"))
    names = {path.name for path in there}
    assert {"index.npz", "matches.jsonl", "result.json", "sheet.png", "people.csv", "checkpoints", "model.toml",
            "retinaface.npz", "pnet.npz"} <= names  # fmt: skip
    assert not [(str(path), oct(path.stat().st_mode)) for path in there
                if path.stat().st_mode & 0o777 != (0o700 if path.is_dir() else 0o600)]  # fmt: skip
