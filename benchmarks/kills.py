"""Commands that are killed at random moments and started again, against the same commands left alone.

    python -m benchmarks.kills --kind facenet arcface partial_fc muon --data SET [--kills 100] [--signal KILL]
    python -m benchmarks.kills --kind prepare detect people --photographs DIR [--kills 20] [--signal TERM]
    python -m benchmarks.kills --kind evaluate --pairs LFW

SET is a small set to train on. Each kind is run once undisturbed. Then it is started and killed after a random part
of the time that this took, and started again, training with `--resume`, until it has come to its end; then anew, until
so many kills are done. Training must come to the same weights, bit by bit, and the others to the same files, but for
times.

Not here: damage to what a run has stored (`damage_checkpoint.py`).
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from faces.checkpoint_folder import load_weights

SHORT = ("--batch.images", "32", "--train.steps", "60", "--train.checkpoint-every", "2", "--train.evaluate-every", "0",
         "--optimiser.warmup-steps", "2")  # fmt: skip
TRAINING = {
    "facenet": ["facenet", "--config", "facenet/tiny", "--batch.images-per-identity", "4", *SHORT],
    "arcface": ["arcface", "--config", "arcface/tiny", *SHORT],
    "partial_fc": ["arcface", "--config", "arcface/tiny", "--head.sampling-rate", "0.3", *SHORT],
    "muon": ["arcface", "--config", "arcface/tiny", "--optimiser.name", "muon", *SHORT],
}
OTHERS = ("prepare", "detect", "evaluate", "people")
TIMES = re.compile(r'"(?:[a-z_]*seconds?|images_per_second|minutes|date)": [^,}\n]+')


def main() -> None:
    """Parse, disturb, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kind", nargs="+", choices=[*TRAINING, *OTHERS], default=list(TRAINING))
    parser.add_argument("--data", type=Path, help="training faces")
    parser.add_argument("--photographs", type=Path, help="folder of PERSON/PHOTOGRAPH")
    parser.add_argument("--pairs", type=Path, help="photographs with pairs.txt, in LFW's layout")
    parser.add_argument("--kills", type=int, default=100, help="of each kind (default 100)")
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for kind in args.kind:
        print(json.dumps(disturbed(kind, args)), flush=True)


def disturbed(kind: str, args: argparse.Namespace) -> dict[str, object]:
    """What came of killing one kind of command."""
    rng = np.random.default_rng((args.seed, sum(map(ord, kind))))
    number = getattr(signal, f"SIG{args.signal}")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        place = Path(folder)
        start, digest = command(kind, args, place)
        start(place / "warm", 1e9, number)  # what JAX has compiled is kept from here on
        before = time.monotonic()
        start(place / "whole", 1e9, number)
        length = time.monotonic() - before
        wanted = digest(place / "whole")
        counts = {"kills": 0, "ended": 0, "same": 0, "other_codes": 0}
        while counts["kills"] < args.kills:
            out = place / f"run{counts['ended']}"
            while True:
                code = start(out, float(rng.uniform(0.0, 1.2 * length)), number)
                if code == 0:
                    break
                counts["kills"] += 1
                stopped = {signal.SIGKILL: (-signal.SIGKILL,), signal.SIGTERM: (75, -signal.SIGTERM)}[number]
                if code not in stopped:
                    counts["other_codes"] += 1
                    print(f"{kind}: exit code {code}", file=sys.stderr)
                    if counts["other_codes"] > 5:
                        return {"kind": kind, "signal": args.signal, "seconds": round(length, 1), **counts}
            counts["ended"] += 1
            same = digest(out) == wanted
            counts["same"] += same
            if not same:
                kept = Path(tempfile.mkdtemp(prefix=f"other-{kind}-"))
                shutil.copytree(out, kept / "other")
                shutil.copytree(place / "whole", kept / "whole")
                print(f"{kind}: another result, kept in {kept}", file=sys.stderr)
            shutil.rmtree(out)
        return {"kind": kind, "signal": args.signal, "seconds": round(length, 1), **counts}


Start = Callable[[Path, float, signal.Signals], int]


def command(kind: str, args: argparse.Namespace, place: Path) -> tuple[Start, Callable[[Path], str]]:
    """How a kind is started into a folder, to be killed after some seconds, and the digest of its result."""
    if kind in TRAINING:
        main, *options = TRAINING[kind]
        data = ["--data", str(args.data)] if args.data else []

        def train(out: Path, seconds: float, number: signal.Signals) -> int:
            resume = ["--resume"] if out.is_dir() else []
            return run([main, *options, *data, "--out", str(out), *resume], seconds, number, place)

        return train, of_weights
    if (args.pairs if kind == "evaluate" else args.photographs) is None:
        raise SystemExit(f"{kind}: needs --photographs, and evaluate --pairs.")
    photographs, pairs = str(args.photographs), str(args.pairs)

    def cache(out: Path) -> list[str]:
        return ["--cache", str(out.with_suffix(".cache"))]

    given: dict[str, Callable[[Path], list[str]]] = {
        "prepare": lambda out: [photographs, "--detector", "mtcnn"],
        "detect": lambda out: [photographs, "--detector", "mtcnn"],
        "people": lambda out: [photographs, *cache(out)],
        "evaluate": lambda out: ["--weights", "inception_resnet_v1", "--detector", "mtcnn", *cache(out), "--data",
                                 f"lfw={pairs}"],
    }  # fmt: skip

    def look(out: Path, seconds: float, number: signal.Signals) -> int:
        return run([kind, *given[kind](out), "--out", str(out)], seconds, number, place)

    return look, of_files


def run(words: list[str], seconds: float, number: signal.Signals, place: Path) -> int:
    """Start `python -m experiments.WORDS`; kill it after so many seconds; its exit code."""
    with (place / "printed").open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", f"experiments.{words[0]}", *words[1:]], stdout=printed, stderr=printed
        )
        try:
            code = process.wait(seconds if seconds < 1e9 else None)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            code = process.wait(300)
    if code not in (0, 75, -signal.SIGKILL, -signal.SIGTERM):
        print((place / "printed").read_text("utf-8", "replace")[-2000:], file=sys.stderr)
    return code


def of_weights(folder: Path) -> str:
    """Of all arrays of the last checkpoint, and its step."""
    step, weights = load_weights(folder / "checkpoints")
    digest = hashlib.sha256(str(step).encode())
    for path, leaf in jax.tree_util.tree_flatten_with_path(weights)[0]:
        digest.update(jax.tree_util.keystr(path).encode() + np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def of_files(folder: Path) -> str:
    """Of all files but the record of the machine; times, and the folder's own name, taken out."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "environment.json"):
        content = path.read_bytes()
        if path.suffix in (".json", ".jsonl", ".csv", ".txt"):
            content = TIMES.sub("", content.decode("utf-8")).replace(folder.name, "OUT").encode()
        digest.update(str(path.relative_to(folder)).encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
