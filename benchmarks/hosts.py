"""Runs of several processes on this machine against one process with as many devices, and what a loss leaves of them.

    python -m benchmarks.hosts --data SET [--eval NAME=PATH] [--paper facenet arcface] [--steps 6]

SET is a small set to train on; with --eval the runs are evaluated on the way as well. For each paper runs of the same
batches, on eight virtual devices of the CPU each but for the resumed: one process of eight; two of four; four of two;
four of two of which one, after the second step, is sent SIGTERM or SIGKILL, or may no longer write files (a limit of
the system, as a full disk of its own would be), each resumed by two processes of two. Printed: exit codes, seconds
until the last process has ended, last words, and by how much losses, evaluations and final weights differ from the
first run's.

Not here: kills of a single process (`kills.py`).
"""

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from faces.checkpoint_folder import load_weights

OPTIONS = {
    "facenet": ("--batch.images-per-identity", "4", "--batch.random-negatives", "4"),
    "arcface": (),
}
OF_ALL = (
    *("--model.input-size", "16", "16", "--model.embedding-dim", "8", "--batch.images", "16"),
    *("--train.log-every", "1", "--train.evaluate-every", "2"),
    *("--optimiser.warmup-steps", "2", "--optimiser.learning-rate", "0.01"),
)


def main() -> None:
    """Run, compare, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--paper", nargs="+", choices=list(OPTIONS), default=list(OPTIONS))
    parser.add_argument("--data", type=Path, required=True, help="training faces")
    parser.add_argument("--eval", default="", metavar="NAME=PATH", help="pairs to evaluate on")
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    for paper in args.paper:
        with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
            for line in compared(paper, args.data, args.eval, args.steps, Path(folder)):
                print(json.dumps({"paper": paper, **line}), flush=True)


def compared(paper: str, data: Path, judged: str, steps: int, place: Path) -> Any:
    """Lines of what came of each run."""
    command = [paper, "--config", f"{paper}/tiny", *OPTIONS[paper], *OF_ALL, "--data", str(data)]
    command += ["--eval", judged] if judged else []
    command += ["--train.steps", str(steps), "--train.checkpoint-every", "1"]

    def start(name: str, processes: int, devices: int, *more: str) -> Run:
        return Run([*command, "--out", str(place / name), *more], processes, devices, place / name)

    one = start("one", 1, 8)
    yield {"run": "1 process x 8 devices", **one.end()}
    for processes, devices in ((2, 4), (4, 2)):
        run = start(f"of{processes}", processes, devices)
        yield {"run": f"{processes} processes x {devices}", **run.end(), **difference(one.out, run.out)}
    for name in ("SIGTERM", "SIGKILL", "full"):
        run = start(name, 4, 2)
        first = run.until_step(2)
        if name == "full":
            resource.prlimit(run.processes[3].pid, resource.RLIMIT_FSIZE, (0, 0))
        else:
            run.processes[3].send_signal(getattr(signal, name))
        yield {"run": f"4 processes x 2, {name} to process 3 after step {first}", **run.end()}
        run = start(name, 2, 2, "--resume")
        yield {"run": f"the same, resumed by 2 x 2 after {name}", **run.end(), **difference(one.out, run.out)}


class Run:
    """Processes that make one run."""

    def __init__(self, arguments: list[str], processes: int, devices: int, out: Path) -> None:
        self.out = out
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        joined = ["--coordinator", address, "--processes", str(processes), "--process"]
        self.processes = list[subprocess.Popen[str]]()
        for number in range(processes):
            more = [*joined, str(number)] if processes > 1 else []
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"experiments.{arguments[0]}", *arguments[1:], *more],
                    env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
                    stdout=subprocess.PIPE,  # which holds what a few steps print
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )

    def until_step(self, step: int) -> int:
        """Wait until the checkpoint of a step or a later one is there; its step."""
        return _until(lambda: max(map(int, _numbers(self.out / "checkpoints")), default=0), step, self.processes)

    def end(self) -> dict[str, Any]:
        """Exit codes, seconds, and the last words of processes that have not ended as they should: what is before the
        command that goes on."""
        before = time.monotonic()
        printed = [process.communicate()[0] for process in self.processes]
        codes = [process.returncode for process in self.processes]
        told = {number: _last_words(printed[number]) for number, code in enumerate(codes) if code}
        return {"codes": codes, "seconds": round(time.monotonic() - before, 1), **({"told": told} if told else {})}


def _last_words(printed: str) -> list[str]:
    lines = [line for line in printed.splitlines() if not line.startswith("[Gloo]")]
    ends_with_command = bool(lines) and lines[-1].startswith("go on with: ")
    return [*lines[-4 + ends_with_command : len(lines) - ends_with_command], *["go on with: ..."] * ends_with_command]


def _numbers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []


def _until(found: Callable[[], int], wanted: int, processes: list[subprocess.Popen[str]]) -> int:
    while found() < wanted and all(process.poll() is None for process in processes):
        time.sleep(0.05)
    return found()


def difference(one: Path, other: Path) -> dict[str, Any]:
    """Largest differences of two runs: of losses, of numbers of evaluations, and of any weight, with their sizes."""
    logs, evaluations = ([_rows(run / f"{name}.jsonl") for run in (one, other)] for name in ("log", "evaluations"))
    weights = [jax.tree.leaves(load_weights(run / "checkpoints")[1]) for run in (one, other)]
    apart = [float(np.abs(np.subtract(a, b, dtype=np.float64)).max(initial=0.0)) for a, b in zip(*weights, strict=True)]
    results = [[json.loads((run / "result.json").read_text())] for run in (one, other)]
    return {
        "steps": len(logs[1]),
        "loss_difference": _apart(logs, ("step", "loss")),
        "evaluations": len(evaluations[1]),
        "evaluation_difference": _apart(evaluations, set().union(*evaluations[0]) - {"minutes"}),
        "accuracy_difference": _apart(results, {"accuracy"} & set(results[0][0])),
        "weight_difference": max(apart),
        "largest_weight": max(float(np.abs(leaf).max(initial=0.0)) for leaf in weights[0]),
        "bit_equal": max(apart) == 0,
    }


def _rows(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _apart(rows: list[list[dict[str, float]]], keys: Iterable[str]) -> float:
    return max((abs(a[key] - b[key]) for a, b in zip(*rows, strict=True) for key in keys), default=0.0)


if __name__ == "__main__":
    main()
