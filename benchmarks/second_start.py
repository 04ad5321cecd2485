"""How long until `python -m experiments.facenet` has made its first step, the first time and the second?

    python -m benchmarks.second_start [--rounds N] [--json FILE]

Each round takes an empty cache folder and starts the README's first command twice, as a user would. The clock runs
from the start of the process to the first line of its log, which stands there once the first step's loss is known; then
the process is ended. Before that step the run imports its libraries, draws its faces, and evaluates the untrained
network, chance and eigenfaces. What no cache shortens, the imports alone, is timed in each round too.

Not here: what the programs compute, and how quick they are.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from benchmarks.rounds import Row, check_options, cores
from faces import cli, outputs, run_record, start
from faces.errors import DataError
from faces.terminal import make_console

GOAL = 15.0  # seconds to the first step of a second start
LONGEST = 600.0  # seconds after which a start has failed
LABELS = {"imports": "imports alone", "first": "first start", "second": "second start"}


def seconds_to_first_step(cache: Path, run: Path) -> float:
    """From the start of a process to the first line in its log; its programs are kept under `cache`.

    Raises:
        DataError: the process ended, or took too long, before there was such a line.
    """
    log = run / "log.jsonl"
    with (cache / f"{run.name}.txt").open("w") as printed:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.facenet", "--out", str(run)],
            env=_environment(cache),
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        try:
            while not (log.is_file() and log.stat().st_size):
                if process.poll() is not None or time.perf_counter() - started > LONGEST:
                    raise DataError(f"experiments.facenet did not come to its first step: {_end_of(cache, run)}")
                time.sleep(0.01)
            return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()


def seconds_to_import(cache: Path) -> float:
    """A process that does no more than import what the command imports."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import experiments.facenet"], env=_environment(cache), check=True)
    return time.perf_counter() - started


def _environment(cache: Path) -> dict[str, str]:
    """This process's, without what it says of caches and huge pages: the command must see to them by itself."""
    own = ("JAX_", "GLIBC_TUNABLES", start.SWITCH)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(cache)}


def _end_of(cache: Path, run: Path) -> str:
    return (cache / f"{run.name}.txt").read_text(errors="replace")[-500:]


def one_round() -> dict[str, float]:
    """Seconds of the first start, the second, and the imports, with a cache of their own; bytes that were kept."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        seconds = {name: seconds_to_first_step(cache, cache / name) for name in ("first", "second")}
        kept = sum(path.stat().st_size for path in cache.glob("*/programs-*/*"))
        return {"imports": seconds_to_import(cache), **seconds, "kept_bytes": kept}


def make_row(medians: Mapping[str, float]) -> Row:
    """The comparison; the goal is one in seconds, and so its ratio depends on the first start."""
    first, second = medians["first"], medians["second"]
    remark = f"goal: {GOAL:g} s; the imports alone take {medians['imports']:.1f} s"
    return Row("second start of experiments.facenet", "its first start", second, first, "s", first / GOAL, remark)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.second_start", description=description)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="fresh caches to begin with (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    rounds = []
    for number in range(options.rounds):
        with console.status(f"round {number + 1} of {options.rounds}"):
            rounds.append(one_round())
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    table = Table("", "median s", "quickest s", title=f"To the first step of experiments.facenet, {cores()} cores")
    for name, label in LABELS.items():
        table.add_row(label, f"{medians[name]:.1f}", f"{min(each[name] for each in rounds):.1f}")
    console.print(table)
    console.print(f"Kept: {medians['kept_bytes'] / 2**20:.1f} MiB of compiled programs.")
    row = make_row(medians)
    result = {
        "rows": [asdict(row) | {"ratio": row.ratio}],
        "rounds": rounds,
        "environment": run_record.environment(),
    }
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
