"""All benchmarks one after the other, and their table in RESULTS.md.

    python -m benchmarks.run [--photographs DIR --detectors DIR] [--prepared DIR --large DIR] [--only NAME ...]
        [--rounds N]

Each benchmark is a process of its own with huge pages for malloc, so that none inherits another's threads or memory and
ours and the peers' arrays lie alike. What it measures is kept as `benchmarks/measured/TIME.json`; the table is made of
all files there, with the ratios of all runs, oldest first: one run on a machine that others share says little. Whether
a goal is met the latest run says.

A benchmark whose peer is not installed or whose data is not named is left out, and the run says so. Peers:
`pip install torch torchvision pytorch-metric-learning onnx onnxscript onnxruntime faiss-cpu scikit-learn`,
and the extra `[export]`.

Not here: what is measured and how (each script's docstring), reports without a ratio (`scaling.py`, `roofline.py`).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faces import cli, outputs, run_record, start
from faces.errors import DataError
from faces.terminal import make_console

SCRIPTS = (
    "triplet", "margin_head", "head_memory", "depthwise", "networks", "exported", "detect", "mtcnn", "loading",
    "protocol", "gallery", "clustering", "second_start",
)  # fmt: skip
MEASURED = Path(__file__).with_name("measured")
RESULTS = Path(__file__).parents[1] / "RESULTS.md"
BEGIN, END = "<!-- benchmarks: written by python -m benchmarks.run -->", "<!-- end of benchmarks -->"


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    rows: list[dict[str, Any]] = []
    for name in options.only:
        given = arguments_of(name, options)
        if given is None:
            console.print(f"{name}: left out, its data is not named")
            continue
        with console.status(name):
            found = run(name, given + ([f"--rounds={options.rounds}"] if options.rounds else []))
        rows += [row | {"benchmark": name} for row in found]
        for row in found:
            console.print(f"{name}: {row['work']}, {row['peer']}: {row['ratio']:.2f}, goal {row['goal']:g}")
    if not rows:
        raise DataError("benchmarks: nothing was measured, so nothing is written; name data, or see what was left out.")
    now = datetime.now(UTC)
    MEASURED.mkdir(exist_ok=True)
    environment = run_record.environment()
    environment["command"] = [Path(word).name for word in environment["command"]]  # folders' names, not their places
    record = {"time": now.isoformat(timespec="seconds"), "rows": rows, "environment": environment}
    outputs.write_json(MEASURED / f"{now:%Y-%m-%dT%H%M}.json", record)
    write_table(RESULTS, sorted(MEASURED.glob("*.json")))
    console.print(f"the table in {RESULTS.name} is of {len(list(MEASURED.glob('*.json')))} runs")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photographs", type=Path, metavar="DIR", help="for the detectors, such as LFW")
    parser.add_argument("--detectors", type=Path, metavar="DIR",
                        help="with mobilenet0.25_Final.pth and det1..3.npy, in it or in folders of it")  # fmt: skip
    parser.add_argument("--prepared", type=Path, metavar="DIR", help="for the loader: prepared 112x112 images")
    parser.add_argument("--large", type=Path, metavar="DIR", help="for the loader: prepared 250x250 images")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, metavar="NAME",
                        help=f"of {', '.join(SCRIPTS)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, metavar="N", help="of each comparison (default: the script's own)")
    return parser.parse_args(arguments)


def arguments_of(name: str, options: argparse.Namespace) -> list[str] | None:
    """What a benchmark is called with; None where the data that it needs is not named."""
    if name in ("detect", "mtcnn"):
        if not (options.photographs and options.detectors):
            return None
        file = "mobilenet0.25_Final.pth" if name == "detect" else "det1.npy"
        found = sorted(options.detectors.rglob(file))
        if not found:
            raise DataError(f"{options.detectors}: no {file} lies in it.")
        return [str(options.photographs), "--detector-weights", str(found[0] if name == "detect" else found[0].parent)]
    if name == "loading":
        if not (options.prepared and options.large):
            return None
        return ["--data", str(options.prepared), "--large", str(options.large)]
    return []


def run(name: str, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of one benchmark, which must end well; what it prints goes to this terminal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json", str(path)]
        process = subprocess.run(command, env=start.with_huge_pages(os.environ), stdout=sys.stderr, check=False)
        if process.returncode:
            raise DataError(f"benchmarks.{name}: ended with code {process.returncode}; nothing of this run is kept.")
        return json.loads(path.read_text(encoding="utf-8"))["rows"]


def write_table(results: Path, files: Sequence[Path]) -> None:
    """Put the table of all runs between the two marks of a Markdown file, all of it or nothing."""
    text = results.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise DataError(f"{results}: the lines {BEGIN!r} and {END!r}, between which the table goes, are missing.")
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    outputs.write_text(results, f"{before}{BEGIN}\n\n{table(records)}\n\n{END}{after}")


def table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown: ours and the peer's number of the latest run, and the ratio of every run."""
    latest: dict[tuple[str, str, str], dict[str, Any]] = {}
    ratios: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        for row in record["rows"]:
            key = (row["work"], row["peer"], row["unit"])
            latest[key] = row
            ratios.setdefault(key, []).append(f"{row['ratio']:.2f}")
    lines = [
        f"Runs: {', '.join(record['time'][:16].replace('T', ' ') + ' UTC' for record in records)}.",
        "",
        "| work | peer | ours | peer's | ratio of each run that has it | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, row in latest.items():
        met = row["ratio"] >= row["goal"]
        numbers = f"{_short(row['ours'])} {row['unit']} | {_short(row['theirs'])} {row['unit']}"
        goal = f"{row['goal']:g}{'' if met else ', missed'}"
        lines.append(f"| {key[0]} | {key[1]} | {numbers} | {', '.join(ratios[key])} | {goal} | {row['remark']} |")
    return "\n".join(lines)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


if __name__ == "__main__":
    cli.run(main)
