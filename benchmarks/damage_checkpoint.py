"""Damaged checkpoints: what a run that goes on, and one who opens the run, make of them.

    python -m benchmarks.damage_checkpoint [--flips N] [--commands N] [--seed N] [--json FILE]

FaceNet and ArcFace are trained for a few steps on generated faces, with two checkpoints. Then each file of the newest
in turn is deleted, emptied, halved, made longer, and N times a random bit of it is flipped; a file is added, and the
folder is emptied. Each time it is demanded that

1. what is restored is, bit by bit, the state of one of the two checkpoints: of the newest only where it is whole;
2. what is read by `load_weights` is that checkpoint's too;
3. the damaged one is named in one line, and is still there;
4. with the older one damaged as well, both end in one sentence.

Some of the cases are also given to the whole command with `--resume`, which must come to the weights, bit by bit, that
the run without damage ended with.

Not here: disks that fill up (`small_disks.py`), damage to files of others (`fuzz_weights.py`).
"""

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from arcface_jax import train_step as of_arcface
from experiments import arcface, facenet
from facenet_jax import train_step as of_facenet
from faces import cli
from faces.checkpoint import Checkpoints
from faces.checkpoint_folder import load_weights, steps_in
from faces.errors import FacesError
from faces.mesh import make_mesh
from faces.outputs import write_json
from faces.terminal import make_console
from faces.train_state import TrainState
from recognizer.networks import backbone_of

MAINS: dict[str, Any] = {"facenet": facenet, "arcface": arcface}
COMMON = ["--devices", "1", "--optimiser.schedule", "constant", "--train.evaluate-every", "0", "--data.images", "400",
          "--model.input-size", "16", "16"]  # fmt: skip
OF_MAIN = {
    "facenet": ["--batch.images", "32", "--batch.images-per-identity", "4", "--batch.random-negatives", "4"],
    "arcface": ["--batch.images", "32"],
}
STEPS = 6
INIT: dict[str, Any] = {"facenet": of_facenet.init_state, "arcface": of_arcface.init_state}

Change = Callable[[np.random.Generator, Path], None]


def deleted(rng: np.random.Generator, file: Path) -> None:
    file.unlink()


def emptied(rng: np.random.Generator, file: Path) -> None:
    file.write_bytes(b"")


def halved(rng: np.random.Generator, file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def longer(rng: np.random.Generator, file: Path) -> None:
    file.write_bytes(file.read_bytes() + rng.bytes(1))


def flipped(rng: np.random.Generator, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)


def main(arguments: list[str]) -> None:
    """Train, damage, restore, count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.damage_checkpoint", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--flips", type=int, default=20, help="random bits of each file, one at a time (default 20)")
    parser.add_argument("--commands", type=int, default=6, help="cases for the whole command, of each (default 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args(arguments)
    console, numbers = make_console(), dict[str, dict[str, int]]()
    with tempfile.TemporaryDirectory() as work:
        for name in MAINS:
            rng = np.random.default_rng(options.seed)
            run = Path(work) / name
            given = [*COMMON, *OF_MAIN[name], "--config", f"{name}/tiny", "--out", str(run)]
            given += ["--train.steps", str(STEPS), "--train.checkpoint-every", str(STEPS // 2)]
            with contextlib.redirect_stdout(io.StringIO()):
                MAINS[name].main(given)
            counts = numbers[name] = dict(restored(name, run, given, rng, options.flips))
            counts |= resumed(name, run, given, rng, options.commands)
            console.print(f"{name}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    if options.json:
        write_json(options.json, numbers)


def cases(run: Path, rng: np.random.Generator, flips: int) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """What is done to a checkpoint: a name, and a function of its folder that does it."""
    newest = run / "checkpoints" / str(STEPS)
    changes: list[Change] = [deleted, emptied, halved, longer, *[flipped] * flips]
    for file in sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file()):
        for change in changes:
            if change in (halved, flipped, emptied) and (newest / file).stat().st_size == 0:
                continue

            def damage(folder: Path, file: Path = file, change: Change = change) -> None:
                change(rng, folder / file)

            yield f"{file} {change.__name__}", damage

    def add(folder: Path) -> None:
        (folder / "state" / "more").write_bytes(b"more")

    def empty(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.mkdir()

    yield "a file added", add
    yield "all files deleted", empty


def restored(name: str, run: Path, given: list[str], rng: np.random.Generator, flips: int) -> Counter[str]:
    """Restore each damaged copy in this process; the number of cases by how they ended."""
    config, counts = MAINS[name].parse(given)[1], Counter[str]()
    classes = json.loads((run / "environment.json").read_text())["training_set"]["people"]
    backbone = backbone_of(config.model, name, *([config.model.dropout] if name == "arcface" else []))
    like = INIT[name](config, make_mesh(1), backbone, classes)
    sound = {step: _state_of(run / "checkpoints", step, like, config) for step in steps_in(run / "checkpoints")}
    for case, damage in cases(run, rng, flips):
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "checkpoints"
            shutil.copytree(run / "checkpoints", copy)
            damage(copy / str(STEPS))
            counts[_told(case, lambda copy=copy: _check_older(copy, like, config, sound))] += 1
            shutil.rmtree(copy)
            shutil.copytree(run / "checkpoints", copy)
            damage(copy / str(STEPS))
            flipped(rng, copy / str(STEPS // 2) / "tensors.json")
            counts[_told(case, lambda copy=copy: _check_refused(copy, like, config))] += 1
    return counts


def _told(case: str, check: Callable[[], str]) -> str:
    """How a case ended; what should not be is printed."""
    try:
        ended = check()
    except Exception as error:  # counted: this is what the benchmark looks for
        ended = f"TRACEBACKS ({type(error).__name__}: {error})"
    if ended.partition(" (")[0].isupper():
        print(f"{case}: {ended}", file=sys.stderr)
        ended = ended.partition(" (")[0]
    return ended


def _check_older(folder: Path, like: TrainState, config: Any, sound: dict[int, list[np.ndarray]]) -> str:
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        step, weights = load_weights(folder)
        with Checkpoints(folder) as checkpoints:
            state, _ = checkpoints.restore(like, config)
    arrays = _arrays(state)
    is_older = step == STEPS // 2 == int(state.step) and _same(arrays, sound[step])
    is_older &= _same(jax.tree.leaves(weights["params"]), jax.tree.leaves(jax.device_get(state.params)))
    if not is_older:
        return "WRONG WEIGHTS"
    lines = told.getvalue().splitlines()
    is_named = len(lines) == 2 and all(f"damaged are {STEPS}: " in line for line in lines)
    is_kept = (folder / f"{STEPS}.damaged").is_dir()
    return "the checkpoint before" if is_named and is_kept else "NOT TOLD"


def _check_refused(folder: Path, like: TrainState, config: Any) -> str:
    for read in (lambda: load_weights(folder), lambda: _state_of(folder, None, like, config)):
        try:
            read()
        except FacesError as error:
            if "no checkpoint is sound" not in str(error) or "\n" in str(error):
                return "NOT TOLD"
        else:
            return "WRONG WEIGHTS"
    return "a sentence"


def _state_of(folder: Path, step: int | None, like: TrainState, config: Any) -> list[np.ndarray]:
    """The arrays of a checkpoint, the newest if `step` is None."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "checkpoints"
        shutil.copytree(folder, copy)
        for other in steps_in(copy):
            if step is not None and other > step:
                shutil.rmtree(copy / str(other))
        with Checkpoints(copy) as checkpoints:
            return _arrays(checkpoints.restore(like, config)[0])


def _arrays(state: TrainState) -> list[np.ndarray]:
    return jax.tree.leaves(
        jax.device_get((state.step, state.params, state.batch_stats, state.centres, state.opt_state))
    )


def _same(some: list[Any], others: list[Any]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(np.asarray(one).tobytes() == np.asarray(other).tobytes() for one, other in pairs)


def resumed(name: str, run: Path, given: list[str], rng: np.random.Generator, commands: int) -> Counter[str]:
    """Give damaged runs to the whole command with `--resume`; the number by how they ended."""
    everything, counts = list(cases(run, rng, 1)), Counter[str]()
    final = load_weights(run / "checkpoints")[1]
    for number in rng.permutation(len(everything))[:commands]:
        case, damage = everything[number]
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "run"
            shutil.copytree(run, copy)
            damage(copy / "checkpoints" / str(STEPS))
            again = [word if word != str(run) else str(copy) for word in given]
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = cli.exit_code(MAINS[name].main, [*again, "--resume"])
            ended = "trained again to the same weights"
            if code or f"resumed at step {STEPS // 2}" not in said.getvalue():
                ended = "NOT RESUMED"
            elif not _same(*(jax.tree.leaves(one) for one in (final, load_weights(copy / "checkpoints")[1]))):
                ended = "WRONG WEIGHTS"
            counts[_told(case, lambda ended=ended: ended)] += 1
    return counts


if __name__ == "__main__":
    cli.run(main)
