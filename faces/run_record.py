"""What a run leaves behind besides its weights: the resolved config, the environment, the log, the result.

Files are written whole (`outputs.py`); only logs grow by lines.

Not here: pictures (`faces.evaluate.plots`), checkpoints (`faces.checkpoint`).
"""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from faces.config import RunConfig, to_toml
from faces.data.source import FaceSource
from faces.outputs import write_json, write_text

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain", "tensorflow-datasets")


def environment() -> dict[str, Any]:
    """Machine, devices, versions, command and commit, as a run's record keeps them."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.devices()],
        "processes": jax.process_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
        "packages": packages,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_files": _git("status", "--porcelain").splitlines(),
    }


def _git(*arguments: str) -> str:
    """Output of git in the source tree; "" where there is no git or no repository (an installed package)."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def write_start(folder: Path, config: RunConfig, source: FaceSource) -> None:
    """Create the run's folder with `config.toml`, and `environment.json` with the size of its training set."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.toml", to_toml(config))
    write_json(folder / "environment.json", environment() | {"training_set": training_set(source)})


def training_set(source: FaceSource) -> dict[str, int | str]:
    """Name, number of images and number of people of a training set."""
    return {"name": source.name, "images": len(source), "people": int(source.identities.max()) + 1}


class Log:
    """Numbers of a run, one JSON object with a "step" a line; a resumed run goes on in the same file.

    Lines of steps after `from_step` are dropped when the log is opened: they belong to the part of an interrupted run
    that is about to be done again. With several processes one of them writes.
    """

    def __init__(self, folder: Path, name: str, from_step: int, is_writer: bool = True):
        self._path, self._is_writer = folder / name, is_writer
        if not is_writer:
            return
        kept = [row for row in read_log(self._path) if 0 < row["step"] <= from_step]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def add(self, row: dict[str, Any]) -> None:
        """Append one line."""
        if not self._is_writer:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, [] if there is no such file; a last line cut off by a crash is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
