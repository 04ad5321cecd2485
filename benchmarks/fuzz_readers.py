"""Every reader of files from outside, under inputs that a fuzzer makes by what they reach in the reader's own code.

    pip install atheris       # Python 3.11 to 3.13; Linux
    python -m benchmarks.fuzz_readers [READER ...] [--runs N] [--json FILE] [--keep FOLDER]

Each reader runs in a process of its own, from small sound files (`sources`) and from what earlier runs have kept in
`fuzz_corpus/`. The coverage that guides is of the Python of `faces`; decoders of other libraries are not instrumented.
Of each input it is demanded that it is read, or refused by an error of `faces.errors`; anything else, a process that
dies and one that takes more than LIMIT seconds for one input are defects, told with their traceback. `--keep` stores
the inputs that reached something new, up to KEPT bytes a reader.

Not here: bombs of full size and the watch on what reading does besides (`fuzz_weights.py`).
"""

import argparse
import base64
import contextlib
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS = 100_000
LIMIT = 60
KEPT = 1_000
LONGEST = 4_096  # bytes of an input
CORPUS = Path(__file__).with_name("fuzz_corpus")

Read = Callable[[Path], object]


def readers() -> dict[str, tuple[Read, list[bytes]]]:
    """How each reader is called on a file, and sound files; `faces` is imported here, to be instrumented."""
    from benchmarks import fuzz_sources as sources

    return sources.readers()


def run_one(name: str, runs: int, out: Path, corpus: Path) -> None:
    """Fuzz one reader in this process, which ends here."""
    atheris: Any = importlib.import_module("atheris")  # no dependency of ours

    with atheris.instrument_imports(include=["faces", "experiments.search"]):
        read, sound = readers()[name]
        from faces.errors import FacesError
    place = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    path = Path(place.name) / "input"
    seeds = Path(place.name) / "seeds"
    seeds.mkdir()
    for number, data in enumerate([*sound, *stored(name)]):
        (seeds / str(number)).write_bytes(data)
    tally: dict[str, Any] = {"runs": 0, "read": 0, "refused": 0, "seconds": 0.0, "MiB": 0.0, "defects": {}}
    for data in sound:  # what is imported at first use is
        path.write_bytes(data)
        with contextlib.suppress(FacesError):  # sound for a part of the reader alone
            read(path)
    least = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def one_input(data: bytes) -> None:
        path.write_bytes(data)
        start = time.thread_time()
        try:
            read(path)
            tally["read"] += 1
        except FacesError:
            tally["refused"] += 1
        except Exception as error:  # counted: whatever is no refusal of ours is what the fuzzer looks for
            where = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error!s:.120}"
            tally["defects"].setdefault(key, base64.b64encode(data).decode())
        tally["seconds"] = max(tally["seconds"], time.thread_time() - start)
        tally["MiB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - least) / 1024
        tally["runs"] += 1
        if tally["runs"] >= runs:
            out.write_text(json.dumps(tally))
            place.cleanup()
            os._exit(0)

    limits = [f"-max_len={LONGEST}", f"-timeout={LIMIT}", "-rss_limit_mb=4096", "-verbosity=0", "-print_final_stats=0"]
    atheris.Setup([sys.argv[0], str(corpus), str(seeds), *limits, f"-artifact_prefix={corpus}-"], one_input)
    atheris.Fuzz()


def stored(name: str) -> list[bytes]:
    """What earlier runs have kept of a reader."""
    file = CORPUS / f"{name.replace(' ', '_')}.txt"
    return [base64.b64decode(line) for line in file.read_text().split()] if file.is_file() else []


def keep(name: str, found: Path, folder: Path) -> None:
    """Add the smallest of the inputs that reached something new to those that are kept."""
    inputs = sorted({*stored(name), *(file.read_bytes() for file in found.iterdir())}, key=lambda one: (len(one), one))
    kept, size = [], 0
    for data in inputs:
        size += len(data) * 4 // 3 + 1
        if size > KEPT:
            break
        kept.append(base64.b64encode(data).decode())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name.replace(' ', '_')}.txt").write_text("".join(line + "\n" for line in kept if line))


def main() -> int:
    parser = argparse.ArgumentParser(description="Readers of files from outside, fuzzed.")
    parser.add_argument("readers", nargs="*", metavar="READER", help="some of them (default: all)")
    parser.add_argument("--runs", type=int, default=RUNS, help="inputs of each (default %(default)s)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--keep", type=Path, help=f"folder for new inputs, such as {CORPUS.name}")
    parser.add_argument("--one", nargs=2, type=Path, metavar=("OUT", "CORPUS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.readers[0], options.runs, *options.one)
    names = options.readers or list(readers())
    rows, failed = {}, False
    print(f"{'reader':24}    inputs      read   refused defects   max ms  max MiB    min")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            out, corpus = Path(folder) / "out.json", Path(folder) / "found"
            corpus.mkdir()
            start = time.monotonic()
            command = [sys.executable, "-m", "benchmarks.fuzz_readers", name, "--runs", str(options.runs), "--one"]
            done = subprocess.run([*command, out, corpus], capture_output=True, text=True, check=False)
            minutes = (time.monotonic() - start) / 60
            if not out.is_file():
                failed = True
                print(f"{name}: the process ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
                for crash in Path(folder).glob("found-*"):
                    print(crash.name, base64.b64encode(crash.read_bytes()).decode())
                continue
            if options.keep:
                keep(name, corpus, options.keep)
            row = json.loads(out.read_text())
        rows[name] = {**row, "minutes": round(minutes, 2)}
        failed = failed or bool(row["defects"])
        print(f"{name:24} {row['runs']:9,} {row['read']:9,} {row['refused']:9,} {len(row['defects']):7} "
              f"{1e3 * row['seconds']:8.1f} {row['MiB']:8.1f} {minutes:6.1f}", flush=True)  # fmt: skip
        for defect, data in row["defects"].items():
            print(f"  {defect}\n    {data[:400]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
