"""Memory, open files and threads of a command over hours: `python -m benchmarks.soak --out DIR -- COMMAND`.

    python -m benchmarks.soak --minutes 120 --out DIR -- python -m experiments.facenet --config facenet/tiny \
        --data SET --eval lfw=LFW --out RUN --train.steps 1000000 --train.checkpoint-every 10 \
        --train.evaluate-every 50

Every EVERY seconds a line goes to DIR/soak.csv, and at the end a figure to DIR/soak.png; the command is then asked to
end (SIGTERM). With `--draw NAME=CSV ...` in place of a command, earlier lines are drawn into one figure.

Linux alone: the numbers are those of /proc. Not here: the peak of one command (`peak_memory.py`).
"""

import argparse
import csv
import subprocess
import time
from pathlib import Path

from matplotlib.figure import Figure

from faces.evaluate.plots import save_figure

EVERY = 20.0
COLUMNS = ("seconds", "resident_mib", "open_files", "threads")


def main() -> None:
    """Watch or draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures and numbers")
    parser.add_argument("--draw", nargs="+", default=[], metavar="NAME=CSV")
    parser.add_argument("command", nargs="*")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files = dict(word.split("=", 1) for word in args.draw)
    if not files:
        files = {"": str(args.out / "soak.csv")}
        watch(args.command, args.minutes, Path(files[""]))
    draw({name: read(Path(file)) for name, file in files.items()}, args.out / "soak.png")


def watch(command: list[str], minutes: float, path: Path) -> None:
    """Run a command for so long, and write its numbers."""
    process = subprocess.Popen(command)
    start = time.monotonic()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        while process.poll() is None and time.monotonic() - start < 60 * minutes:
            time.sleep(EVERY)
            if (row := numbers(process.pid)) is not None:
                writer.writerow([round(time.monotonic() - start), *row])
                file.flush()
    process.terminate()
    process.wait()


def numbers(process: int) -> tuple[float, int, int] | None:
    """Resident memory in MiB, open files and threads; None when it has ended."""
    folder = Path(f"/proc/{process}")
    try:
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        files = sum(1 for _ in (folder / "fd").iterdir())
        return round(int(status["VmRSS"].split()[0]) / 1024, 1), files, int(status["Threads"])
    except (OSError, KeyError):
        return None


def read(path: Path) -> list[dict[str, float]]:
    """Lines of an earlier run."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def draw(runs: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Memory and handles over time, one line a run."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name, rows in runs.items():
        minutes = [row["seconds"] / 60 for row in rows]
        above.plot(minutes, [row["resident_mib"] for row in rows], label=name)
        below.plot(minutes, [row["open_files"] for row in rows], label=name)
    above.set(ylabel="resident memory, MiB", ylim=(0, None))
    below.set(ylabel="open files", xlabel="minutes", ylim=(0, None))
    if any(runs):
        above.legend()
    save_figure(figure, path)


if __name__ == "__main__":
    main()
