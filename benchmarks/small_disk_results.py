"""All commands but FaceNet's and ArcFace's training, on disks that are too small: a sentence, nothing lost, then on.

    python -m benchmarks.small_disk_results [--commands NAME ...] [--published FILE] [--json FILE]

Each command is run once on a disk with room. Then, beside an older result of it, which `--overwrite` may replace, on

- disks of 1, 2, 4 and 8 MB,
- one on which another program has left none, or a part, of the room that the results take, and
- one with room, and a limit to the size of a file of 4, 16, 64 and 256 KB.

It must end well, or in one line and code 2; then the older result lies there byte for byte, and nothing beside it but
caches and what the command goes on with, and the same command, when there is room, comes to the results of the one that
had room from the start, byte for byte but for times.

Pictures are those of the tests, the network is a matrix and the detector a fiction, so that all of it runs in one
process within minutes; weights to convert (`--published`) are real. Not here: FaceNet's and ArcFace's training, and
disks that fill up on the way (`small_disks.py`).
"""

import argparse
import contextlib
import io
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.kills import of_files, of_weights
from benchmarks.small_disks import DISKS, fill, mounted, resize
from experiments import (
    angles,
    arcface,
    clean,
    cluster,
    convert,
    detect,
    evaluate,
    export,
    factors,
    identify,
    ijb,
    image_quality,
    margins,
    megaface,
    models,
    mtcnn,
    overlap,
    pairs,
    people,
    prepare,
    retinaface,
    search,
    table2,
    thresholds,
    variations,
    ytf,
)
from faces import cli
from faces.errors import FacesError
from faces.outputs import write_json
from faces.terminal import make_console
from recognizer import export as formats
from tests.experiments import protocol_maker, setting, test_mtcnn, test_retinaface
from tests.experiments.all_in_one import stand_in
from tests.faces.data import ytf_maker

PARTS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Of the room that the results take: what another program leaves."""
LIMITS = (4, 16, 64, 256)
"""KB of a file."""
ROOMY = 64
DISK = "DISK"


@dataclass(frozen=True)
class Command:
    """One of the commands.

    Args:
        main: its module.
        given: its options; DISK stands for the disk's folder.
        out: the option that names where results go, and where that is; "" for a command that writes none.
        trains: it goes on with `--resume`, and its result are the weights of its checkpoints.
        grows: its results are written bit by bit, and the same command goes on with them: an older one is not there.
    """

    main: ModuleType
    given: list[str]
    out: str = "--out DISK/out"
    grows: bool = False
    trains: bool = False


def commands(work: Path, published: Path | None) -> dict[str, Command]:
    """All of them, on sets that are made in `work`."""
    patch = pytest.MonkeyPatch()
    stand_in(patch)
    for module in (test_mtcnn, test_retinaface):
        module.make_small(patch)
    faces = protocol_maker.faces(work / "faces")
    shutil.copytree(faces / "train", faces / "alone")
    train, lfw = str(faces / "train"), str(faces / "lfw")
    for person in range(4):  # distractors have one picture
        for path in list((faces / "alone" / f"Person_{person}").glob("*"))[1:]:
            path.unlink()
    (work / "detector").write_bytes(b"made up")
    (work / "ytf").mkdir()
    model, run = str(setting.one_matrix_model(work / "model")), str(work / "run")
    small = [*setting.SMALL["arcface"], "--model.name", setting.ONE_MATRIX, "--data", train]
    detector = ["--detector", "retinaface", "--detector-weights", str(work / "detector")]
    whole = ["--weights", model, "--cache", f"{DISK}/cache"]
    cut = [*whole, *detector, "--alignment", "box_margin"]
    arcface.main([*small, "--train.steps", "3", "--head.sub-centres", "3", "--out", run])
    search.main(["enrol", lfw, *cut, "--cache", str(work / "cache"), "--out", str(work / "enrolled")])
    table = {
        "prepare": Command(prepare, [train]),
        "prepare --detector": Command(prepare, [train, *detector, "--least-face", "8", "--least-detail", "0"],
                                       grows=True),
        "detect": Command(detect, [train, *detector], grows=True),
        "evaluate": Command(evaluate, ["--data", f"lfw={lfw}", *cut]),
        "people": Command(people, [train, "--threshold", "0.5", *cut]),
        "cluster": Command(cluster, [train, "--threshold", "0.5", *cut]),
        "search enrol": Command(search, ["enrol", lfw, *cut]),
        "search find": Command(search, ["find", train, "--index", str(work / "enrolled" / "index.npz"),
                                        "--threshold", "0", *cut]),
        "identify": Command(identify, ["--data", str(faces / "alone"), "--whole", "0", *cut]),
        "pairs": Command(pairs, [train]),
        "pairs.txt": Command(pairs, [train], "--out DISK/pairs.txt"),
        "overlap": Command(overlap, [train, lfw, *cut]),
        "thresholds": Command(thresholds, [train, *cut]),
        "clean": Command(clean, [run, "--data", train], "--out DISK/kept.json"),
        "angles": Command(angles, [run, "--data", train, "--eval", f"lfw={lfw}"]),
        "margins": Command(margins, []),
        "image_quality": Command(image_quality, ["--data", f"lfw={lfw}", *cut]),
        "table2": Command(table2, ["--rows", "arcface_050", "triplet_035", "--seeds", "1", "--data", train, "--eval",
                                   lfw, "--model.name", setting.ONE_MATRIX, "--model.input-size", "16", "16",
                                   "--model.embedding-dim", "8", "--batch.images", "16", "--train.steps", "2"],
                          grows=True),
        "ytf": Command(ytf, ["--data", str(ytf_maker.ytf(work / "ytf")), *whole, "--frames", "2", "--allow-missing"]),
        "ijb": Command(ijb, ["--data", str(protocol_maker.ijbc(work / "ijbc")), "--set", "ijbc", *whole,
                             "--alignment", "five_points"]),
        "megaface": Command(megaface, ["--data", str(protocol_maker.megaface(work / "megaface")), *whole,
                                       "--features", f"{DISK}/features", "--far", "0.1"]),
        "factors": Command(factors, ["--weights", model, "--people", "40", "--images", "12", "--by", "yaw"]),
        "variations": Command(variations, ["--data", train]),
        "retinaface": Command(retinaface, [*test_retinaface.SMALL, "--scenes", "8", "--train.steps", "6"], grows=True,
                              trains=True),
        "mtcnn": Command(mtcnn, [*test_mtcnn.SMALL, "--scenes", "16"], grows=True, trains=True),
        "models": Command(models, [], ""),
    }  # fmt: skip
    if published:
        table["convert"] = Command(convert, [str(published)], "--to DISK/out")
    if there := installed():
        table["export"] = Command(export, [model, "--format", *there], "--to DISK/out")
    return table


def installed() -> list[str]:
    """Formats that can be exported to."""
    there = []
    for name in formats.FORMATS:
        with contextlib.suppress(FacesError):
            formats.check_installed(name)
            there.append(name)
    return there


def main(arguments: list[str]) -> None:
    """Fill disks, read what is said, go on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_disk_results", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--commands", nargs="+", metavar="NAME", help="those alone")
    parser.add_argument("--published", type=Path, metavar="FILE", help="weights to convert; without, none are")
    parser.add_argument("--json", type=Path, help="write the outcomes there")
    options = parser.parse_args(arguments)
    console, outcomes = make_console(), dict[str, dict[str, str]]()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            table = commands(work, options.published)
        for name in options.commands or table:
            outcomes[name] = dict(outcomes_of(table[name], work))
            told = sorted(set(outcomes[name].values()))
            counts = [f"{list(outcomes[name].values()).count(one)} {one}" for one in told]
            console.print(f"{name}: " + ", ".join(counts))
            for case, ended in outcomes[name].items():
                if ended[:2].isupper():
                    console.print(f"  {case}: {ended}")
    if options.json:
        write_json(options.json, outcomes)


def outcomes_of(command: Command, work: Path) -> Iterator[tuple[str, str]]:
    """How each case ended, in words; what should not be in capitals."""
    whole = work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    with mounted(work) as disk:
        resize(disk, ROOMY)
        code, told = started(command, disk)
        if code:
            yield "a disk with room", f"FAILS: {told[-3000:]}"
            return
        takes = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
        shutil.copytree(disk, whole)
    for case, small, limit in cases(takes):
        with mounted(work) as disk:
            resize(disk, ROOMY)
            older = None if command.grows or not command.out else old_result(command, whole, disk)
            before = content(disk)
            small(disk)
            code, told = started(command, disk, older is not None, limit)
            (disk / "filler").unlink(missing_ok=True)
            resize(disk, ROOMY)
            yield case, outcome(command, disk, whole, code, told, before, older is not None)


def cases(takes: int) -> Iterator[tuple[str, Callable[[Path], None], int]]:
    """What a command meets: a name, what makes the disk so, and KB that a file may have, or 0."""
    for size in DISKS:
        yield f"{size} MB", lambda disk, size=size: shrink(disk, size), 0
    for part in PARTS:
        yield f"{100 * part:.0f}% of the room", lambda disk, part=part: fill(disk, round(part * takes / 1024)), 0
    for limit in LIMITS:
        yield f"files of at most {limit} KB", lambda disk: None, limit


def shrink(disk: Path, size: int) -> None:
    """Leave so many MB, the older result among them where it fits."""
    used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
    resize(disk, max(size, -(-used >> 20)))


def old_result(command: Command, whole: Path, disk: Path) -> Path:
    """Put a result there that differs from the one that the command comes to; checkpoints would be damaged by that."""
    place = Path(command.out.partition("/")[2])
    if (whole / place).is_dir():
        shutil.copytree(whole / place, disk / place)
    else:
        shutil.copy(whole / place, disk / place)
    for path in [disk / place, *(disk / place).rglob("*")]:
        if path.is_file() and not path.name.startswith(".") and "checkpoints" not in path.parts:
            path.write_bytes(path.read_bytes() + b"\n")
    return disk / place


def content(disk: Path) -> dict[str, bytes]:
    """All files but caches, features and locks."""
    return {
        str(path.relative_to(disk)): path.read_bytes()
        for path in sorted(disk.rglob("*"))
        if path.is_file() and path.relative_to(disk).parts[0] not in ("cache", "features", "filler")
    }


def outcome(command: Command, disk: Path, whole: Path, code: int, told: str, before: dict[str, bytes],
            replaces: bool) -> str:  # fmt: skip
    """How a case ended."""
    if "Traceback" in told or code not in (0, cli.MENDABLE):
        return f"TRACEBACK, code {code}: {told[-3000:]}"
    if code == 0:
        return "ended well" if same(command, disk, whole) else "OTHER RESULTS"
    lines = told.strip().splitlines()
    if sum(line.startswith("error: ") for line in lines) != 1 or not lines[-1].startswith("error: "):
        return f"NO SENTENCE: {told[-3000:]}"
    if not command.grows and content(disk) != before:
        return f"NOT AS BEFORE: {sorted({*content(disk)} ^ {*before}) or 'other bytes'}; {lines[-1]}"
    code, told = started(command, disk, replaces)
    if code:
        return f"DOES NOT GO ON: {told[-3000:]}"
    return "a sentence, then the same results" if same(command, disk, whole) else "OTHER RESULTS"


def same(command: Command, disk: Path, whole: Path) -> bool:
    """Whether a disk holds the results, byte for byte but for times; caches may differ."""
    digests = []
    for root in (disk, whole):
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "it"
            shutil.copytree(root, copy, ignore=shutil.ignore_patterns("cache", "checkpoints", ".*"))
            weights = [of_weights(place.parent) for place in sorted(root.rglob("checkpoints"))]
            digests.append((weights, "" if command.trains else of_files(copy)))
    return digests[0] == digests[1]


def started(command: Command, disk: Path, overwrite: bool = False, limit: int = 0) -> tuple[int, str]:
    """Run a command; its exit code, and all that it and what it is written in say to a person."""
    words = [*command.given, *command.out.split(), *["--overwrite"] * overwrite]
    words += ["--resume"] * (command.trains and (disk / "out").exists())
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said, contextlib.redirect_stdout(io.StringIO()):
        os.dup2(said.fileno(), 2)  # libraries in C++ too
        try:
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit * 1024, most[1]))
            try:
                code = cli.exit_code(command.main.main, [word.replace(DISK, str(disk)) for word in words])
            except (Exception, SystemExit):  # counted: this is what the benchmark looks for
                traceback.print_exc()
                code = 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        return code, said.read().decode(errors="replace")


if __name__ == "__main__":
    cli.run(main)
