"""What a run leaves behind besides its weights: the resolved config, the environment, the log, the result.

Files are written whole (`outputs.py`); only logs grow by lines.

Not here: figures (`faces.evaluate.plots`), checkpoints (`faces.checkpoint`).
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

from faces import opening
from faces.data.fingerprint import Fingerprint, from_json
from faces.errors import CheckpointError, DataError
from faces.outputs import append_text, write_json, write_text
from faces.schema import Checked
from faces.toml_config import to_toml, with_sum

TRAINING_SET = "training_set.json"
"""Beside `environment.json`: the fingerprint of what a run was trained on."""

OF_START = (TRAINING_SET, "config.toml", "environment.json")
"""Of a run's folder: what is recorded before the first step."""

LOGS = ("log.jsonl", "evaluations.jsonl")
"""Metrics of the steps, and evaluations on the way."""
OF_LOGS = ("step", "minutes")
"""Keys that each of their lines has."""
NOT_FINITE = "not_finite.jsonl"
"""The steps that changed nothing, where there were any; see `faces.not_finite`."""

LARGEST_RECORD, LARGEST_LOG = 64 * opening.MIB, 512 * opening.MIB
"""Bytes of a file that is read back: what a run was trained on names each person; a log has a line each few steps."""

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


def write_start(folder: Path, config: Checked, training_set: Fingerprint) -> None:
    """Create the run's folder with `training_set.json`, `config.toml`, and `environment.json` with the set's counts."""
    write_training_set(folder, training_set)
    write_text(folder / "config.toml", with_sum(to_toml(config)))
    write_json(folder / "environment.json", environment() | {"training_set": training_set.summary()})


def write_training_set(folder: Path, training_set: Fingerprint) -> None:
    """Record what is trained on, for `check_training_set`."""
    write_json(folder / TRAINING_SET, training_set.to_json(), indent=None)


def check_training_set(folder: Path, now: Fingerprint) -> str:
    """Refuse another training set than a run's.

    Args:
        folder: of the run.
        now: of the set at hand.
    Returns:
        A remark for the person: that of a run of an earlier version only the counts could be compared; or "".
    Raises:
        CheckpointError: it is another set, with what differs; or the run has no record of its set.
        DataError: the record is damaged.
    """
    if (path := folder / TRAINING_SET).is_file():
        then = from_json(read_json(path), str(path))
        if difference := then.difference(now):
            raise CheckpointError(
                f"{folder}: was trained on {then.counts()} of {then.name}, and {now.name} with {now.counts()} is "
                f"another set: {difference}; give the training faces that the run had, or start in another folder."
            )
        return ""
    path = folder / "environment.json"
    recorded = read_json(path)
    try:
        recorded = recorded["training_set"]
        counts = {key: int(recorded[key]) for key in ("images", "people")}
        if "digest" in recorded:
            raise KeyError
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{folder}: does not tell what it was trained on ({TRAINING_SET} is missing).") from None
    for key, count in counts.items():
        if count != now.summary()[key]:
            raise CheckpointError(
                f"{folder}: was trained on {count:,} {key}, and {now.name} has {now.summary()[key]:,}; give the "
                "training faces that the run had, or start in another folder."
            )
    return f"{folder}: of an earlier version; only the numbers of its images and people were compared, not which"


def read_json(path: Path) -> Any:
    """The content of a JSON file that a command has written.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        return opening.read_json(path, LARGEST_RECORD)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: is damaged, no whole JSON text; restore the file.") from None
    except ValueError:
        raise DataError(f"{path}: is damaged, no whole JSON text; restore the file.") from None


class Log:
    """Numbers of a run, one JSON object with a "step" a line; a resumed run goes on in the same file.

    Lines of steps after `from_step` are dropped when the log is opened: they belong to the part of an interrupted run
    that is about to be done again. With several processes one of them writes; without a folder none does.

    Raises:
        DataError: as `read_log`.
    """

    def __init__(self, folder: Path | None, name: str, from_step: int, is_writer: bool = True):
        self._path = folder / name if folder is not None and is_writer else None
        if self._path is not None:
            kept = [row for row in read_log(self._path) if 0 < row["step"] <= from_step]
            write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def add(self, row: dict[str, Any]) -> None:
        """Append one line."""
        if self._path is not None:
            append_text(self._path, json.dumps(row) + "\n")


def check_logs(folder: Path) -> None:
    """Refuse to go on with a run one of whose logs is damaged, before anything is done.

    Raises:
        DataError: as `read_log`.
    """
    for name in LOGS:
        read_log(folder / name, OF_LOGS)
    read_log(folder / NOT_FINITE)


def read_log(path: Path, keys: tuple[str, ...] = ("step",)) -> list[dict[str, Any]]:
    """The lines of a log, [] if there is no such file; a last line that a crash has damaged is left out.

    Args:
        path: the log.
        keys: that each line must have.
    Raises:
        DataError: it cannot be read, or a line before the last is damaged.
    """
    try:
        lines = opening.read_bytes(path, LARGEST_LOG).rstrip().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = opening.parse_json(line)
            is_sound = isinstance(row.get("step", 0), int) and isinstance(row.get("minutes", 0), int | float)
            if not is_sound or not all(key in row for key in keys):
                raise ValueError
        except (ValueError, TypeError, AttributeError):
            if number == len(lines):
                break
            raise DataError(f"{path}, line {number}: is damaged; correct the line, or take it out.") from None
        rows.append(row)
    return rows
