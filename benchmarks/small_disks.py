"""Training on disks that are too small, or fill up on the way: a sentence, and the run that goes on afterwards.

    python -m benchmarks.small_disks [--mains NAME ...] [--json FILE]

For each command and each of

- a disk of 1, 2, 4 and 8 MB,
- one of 32 MB on which another program takes all but some room while the run is training, and
- a disk with room, and a limit to the size of a file (`ulimit -f`) of 16, 64 and 256 KB,

it is demanded that the run ends well, or in one line with the command that goes on, and without a traceback; and that
this command, when there is room, comes to the weights, bit by bit, of a run that had room from the start.

The disks are mounted (tmpfs), which Linux allows root. Not here: damaged checkpoints (`damage_checkpoint.py`).
"""

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from faces import cli
from faces.checkpoint_folder import load_weights, steps_in
from faces.outputs import write_json
from faces.terminal import make_console

OF_RECOGNITION = ["--devices", "1", "--optimiser.schedule", "constant", "--train.evaluate-every", "0",
                  "--data.images", "400", "--model.input-size", "16", "16", "--batch.images", "32", "--train.steps",
                  "40", "--train.checkpoint-every", "4"]  # fmt: skip
OF_MAIN = {
    "facenet": ["--config", "facenet/tiny", "--batch.images-per-identity", "4", "--batch.random-negatives", "4",
                *OF_RECOGNITION],
    "arcface": ["--config", "arcface/tiny", *OF_RECOGNITION],
    "retinaface": ["--devices", "1", "--scenes", "16", "--test", "4", "--batch.images", "4", "--input.size", "64",
                   "--train.steps", "6", "--train.checkpoint-every", "2", "--train.evaluate-every", "0",
                   "--optimiser.schedule", "constant"],
    "mtcnn": ["--devices", "1", "--scenes", "32", "--test", "4", "--course.checkpoint-every", "2",
              *(word for net in "pro" for word in (f"--{net}.windows", "320", f"--{net}.steps", "4",
                                                   f"--{net}.images", "16"))],
}  # fmt: skip
DISKS, LEFT, LIMITS = (1, 2, 4, 8), (8, 256), (16, 64, 256)
"""MB; KB that another program leaves; KB of a file."""
ROOMY = 512


def main(arguments: list[str]) -> None:
    """Fill disks, read what is said, go on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_disks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--mains", nargs="+", choices=list(OF_MAIN), default=list(OF_MAIN))
    parser.add_argument("--json", type=Path, help="write the outcomes there")
    options = parser.parse_args(arguments)
    console, outcomes = make_console(), dict[str, dict[str, str]]()
    for name in options.mains:
        with tempfile.TemporaryDirectory() as work:
            whole = Path(work) / "whole"
            assert run(name, whole).returncode == 0, "a run with room fails"
            outcomes[name] = {}
            for case, first in cases(name):
                with mounted(Path(work)) as disk:
                    outcomes[name][case] = outcome(first, disk, whole)
                console.print(f"{name}, {case}: {outcomes[name][case]}")
    if options.json:
        write_json(options.json, outcomes)


First = Callable[[Path], subprocess.CompletedProcess[str]]
"""(a disk's folder) -> a run on it."""


def cases(name: str) -> Iterator[tuple[str, First]]:
    """What a run meets, and how it is started there."""
    for size in DISKS:

        def on_small(disk: Path, size: int = size) -> subprocess.CompletedProcess[str]:
            resize(disk, size)
            return run(name, disk / "run")

        yield f"{size} MB", on_small
    for left in LEFT:

        def beside_another(disk: Path, left: int = left) -> subprocess.CompletedProcess[str]:
            resize(disk, 32)
            process = subprocess.Popen(**command(name, disk / "run"))  # pyright: ignore[reportCallIssue, reportArgumentType]
            while process.poll() is None and not any(map(steps_in, folders(disk / "run"))):
                time.sleep(0.002)
            fill(disk, left)
            return ended(process)

        yield f"all but {left} KB are taken", beside_another
    for limit in LIMITS:

        def limited(disk: Path, limit: int = limit) -> subprocess.CompletedProcess[str]:
            return run(name, disk / "run", limit)

        yield f"files of at most {limit} KB", limited


def outcome(first: First, disk: Path, whole: Path) -> str:
    """How a case ended, in words; what should not be in capitals."""
    done = first(disk)
    if "Traceback" in done.stderr or done.returncode not in (0, cli.MENDABLE):
        return f"TRACEBACK, code {done.returncode}: {done.stderr[-2000:]}"
    (disk / "filler").unlink(missing_ok=True)
    resize(disk, ROOMY)
    if done.returncode == 0:
        return "ends well" if same(disk / "run", whole) else "OTHER WEIGHTS"
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if len(lines) != 1 or " with: python -m " not in lines[0]:
        return f"NO SENTENCE: {done.stderr[-2000:]}"
    kept = max((step for at in folders(disk / "run") for step in steps_in(at)), default=0)
    told = lines[0].partition(" with: python ")[2]
    again = subprocess.run([sys.executable, *shlex.split(told)], capture_output=True, text=True, check=False)
    if again.returncode:
        return f"DOES NOT GO ON: {again.stderr[-2000:]}"
    return f"a sentence, then on from step {kept} to the same weights" if same(disk / "run", whole) else "OTHER WEIGHTS"


def run(name: str, out: Path, limit: int = 0) -> subprocess.CompletedProcess[str]:
    """A whole training in a process of its own; with `limit`, no file of more than so many KB."""
    return ended(subprocess.Popen(**command(name, out, limit)))  # pyright: ignore[reportCallIssue, reportArgumentType]


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """A process that was waited for."""
    try:
        said, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


def folders(run: Path) -> list[Path]:
    """Where a run's checkpoints lie: one network's, or those of MTCNN's three."""
    return [folder / "checkpoints" for folder in (run, *(run / net for net in "pro"))]


def command(name: str, out: Path, limit: int = 0) -> dict[str, object]:
    """Of `subprocess`."""
    words = [sys.executable, "-m", f"experiments.{name}", *OF_MAIN[name], "--out", str(out)]
    if limit:
        words = ["bash", "-c", f"ulimit -f {limit}; exec {shlex.join(words)}"]
    return {"args": words, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": os.environ}


def same(run: Path, whole: Path) -> bool:
    """Whether the last checkpoints of two runs hold the same weights, bit by bit."""
    weights = [[load_weights(at) for at in folders(root) if steps_in(at)] for root in (run, whole)]
    pairs = list(zip(*map(jax.tree.leaves, weights), strict=True))
    return bool(pairs) and all(np.asarray(one).tobytes() == np.asarray(other).tobytes() for one, other in pairs)


@contextlib.contextmanager
def mounted(work: Path) -> Iterator[Path]:
    """A disk of its own, with room."""
    disk = work / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOMY}m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def resize(disk: Path, size: int) -> None:
    """Give a mounted disk so many MB."""
    subprocess.run(["mount", "-o", f"remount,size={size}m", str(disk)], check=True)


def fill(disk: Path, left: int) -> None:
    """Take all but so many KB of a disk."""
    free = os.statvfs(disk)
    with contextlib.suppress(OSError), (disk / "filler").open("wb") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - left * 1024)))


if __name__ == "__main__":
    cli.run(main)
