"""Damaged and hostile files of weights: what the readers of `faces.weights` make of them.

    python -m benchmarks.fuzz_weights [--files N] [--seed N] [--json FILE] [FILE ...]

For each format N files are made from small sound ones (and from each FILE given, a sound file of your own) by one to
three of the changes in `damage.py`. N ONNX models have changed graphs besides (`changed_graphs.py`), and every graph is
followed as that of a network which is known. Then come the bombs of `tests/faces/weights/bombs.py`, at full size. Of
every file it is demanded that

1. it is read, or refused by a `WeightsError` of one line;
2. Python's memory (NumPy's with it) grows by at most twice the file's size plus 64 MiB while it is read;
3. nothing happens that Python's audit hooks tell of but opening and mapping that file, and for ONNX the one beside it
   that it names: no import, no code compiled or run, no process, no other file, no socket, no pickle's `find_class`;
4. it ends: after LIMIT seconds the program is stopped, with the place where it hangs.

A crash of the interpreter would end this program too; the last file then remains in the folder it names at its start.

Not here: what sound files should give (`tests/faces/weights/`).
"""

import argparse
import codecs
import faulthandler
import gc
import json
import pickle  # to write with
import shutil
import sys
import tempfile
import threading
import time
import tracemalloc
import zipfile
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import scrfd_jax
from arcface_jax.models import onnx_names
from benchmarks.changed_graphs import changed_graphs, small_networks, sound_graphs
from benchmarks.damage import damaged
from faces.errors import WeightsError
from faces.weights import (
    is_onnx,
    read_graphdef,
    read_onnx_graph,
    read_onnx_outputs,
    read_symbol,
    read_weights,
)
from tests.faces.weights import makers
from tests.faces.weights.bombs import bombs

FILES = 1_250
LIMIT = 120.0
GRAPHS = "ONNX graphs"
BESIDE = "beside"
"""Name of a file of values in the folder, for ONNX models that name it."""
SPARE = 64 * 2**20

_CODECS = ("latin-1", "cp437", "unicode_escape", "raw_unicode_escape", "utf-8-sig", "utf-16-be", "utf-16-le",
           "utf-32-be", "utf-32-le", "utf-16", "utf-32")  # fmt: skip


@dataclass
class Tally:
    """What became of the files of one format.

    Args:
        read, refused: how many.
        memory: the most by which Python's memory grew beyond twice a file's size, MiB.
        seconds: the longest time that a file took, of the processor; tracing memory makes it 3 to 5 times as long.
        slowest: the file that took it.
        total: seconds of all.
        defects: what should never be: the sentence, and the change and number of the file.
    """

    read: int = 0
    refused: int = 0
    memory: float = -np.inf
    seconds: float = 0.0
    slowest: str = ""
    total: float = 0.0
    defects: list[str] = field(default_factory=list)

    @property
    def files(self) -> int:
        return self.read + self.refused + len(self.defects)


class _Watch:
    """Python's audit events of one thread while a file is read, but for opening and mapping that file."""

    def __init__(self) -> None:
        self.path: str | None = None
        self.thread = threading.get_ident()
        self.events: list[str] = []
        for codec in _CODECS:  # Python imports each at its first use
            codecs.lookup(codec)
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.path is None or threading.get_ident() != self.thread:
            return
        at = str(arguments[0]) if arguments else ""
        beside = str(Path(self.path).with_name(BESIDE))
        by_number = event == "open" and isinstance(arguments[0], int)  # which had to be opened before
        opened = by_number or (event == "open" and at in (self.path, beside) and arguments[1] in ("r", "rb", None))
        if not (opened or event == "mmap.__new__"):
            self.events.append(f"{event} {arguments!r:.80}")


_watch: list[_Watch] = []  # one for the process: a hook cannot be taken away


def samples() -> dict[str, list[bytes]]:
    """Sound files of every format."""
    arrays = makers.arrays()
    sided = {name: array for name, array in arrays.items() if array.ndim}
    tensors = makers.tensors_of(arrays)
    settings = makers.Call(makers.Global("argparse", "Namespace"), (), {"lr": 0.1}, "NEWOBJ", (("a", 1),))
    other = makers.Tensor(makers.Storage("99", np.arange(5.0)), 1, (2, 3), (0, 1))
    nested = {"epoch": 3, "lr": 0.1, "state_dict": tensors, "best": [1, 2.5, None], "seen": {1, "b"}}
    nested |= {"args": settings, "rng": other, "random": ("MT19937", np.arange(3)), "names": np.array(["a", "bc"])}
    elsewhere = {name: ((2, 3), "float32", {"location": BESIDE, "offset": at, "length": 24})
                 for name, at in (("v", 0), ("w", 24))}  # fmt: skip
    written = makers.npy(np.array({}, object))
    header_of_objects = written[: written.index(b"\n") + 1]
    return {
        "MXNet .params": [makers.mxnet(sided, version) for version in range(4)],
        "MXNet symbol": [json.dumps(makers.symbol(), indent=2).encode()],
        "PyTorch zip": [makers.torch_zip(tensors), makers.torch_zip(nested, 4, zipfile.ZIP_DEFLATED)],
        "PyTorch legacy": [makers.torch_legacy(tensors), makers.torch_legacy(nested, 4)],
        "GraphDef": [makers.graphdef(arrays), makers.graphdef({}, w=((3,), "float32", {"float_val": [1.5]}))],
        "ONNX": [
            makers.onnx(arrays),
            makers.onnx({}, w=((2,), "float16", {"int32_data": [1, 2]})),
            makers.onnx(arrays, external=elsewhere),
        ],
        "safetensors": [makers.safetensors(arrays)],
        ".npy": [makers.npy(array) for array in arrays.values()],
        ".npy with a dict": [
            makers.npy(np.array(makers.layers(), object)),
            makers.npy(np.array({"net": list(makers.layers()["conv1"].values())}, object)),
            header_of_objects + pickle.dumps(np.array({"a": np.arange(500)}, object), 2),  # bytes as text
        ],
        ".npz": [makers.npz(arrays), makers.npz(arrays, compressed=True)],
        GRAPHS: sound_graphs(),
    }


def read(path: Path) -> None:
    """All that can be read of a file: its arrays, its network as each format has it, and which one that is in ONNX.

    Raises:
        WeightsError: the last of the readers that refuse it, if none reads it.
    """
    refusal = ""
    done = False
    for reader in (read_weights, read_graphdef, read_onnx_graph, read_symbol, _follow):
        try:
            done = bool(reader(path)) or done
        except WeightsError as error:
            refusal = str(error)  # the error itself would keep the reader's memory
            if "\n" in refusal or not refusal.endswith("."):
                raise AssertionError(f"no sentence of one line: {refusal}") from None
    if not done:
        raise WeightsError(refusal)


def _follow(path: Path) -> bool:
    """Whether a file is an ONNX model of a network that is known.

    Raises:
        WeightsError: it is an ONNX model of none.
    """
    if not is_onnx(path):
        return False
    model = read_onnx_graph(path), read_weights(path), read_onnx_outputs(path)
    try:
        with small_networks():
            return bool(scrfd_jax.from_onnx(*model))
    except WeightsError:
        return bool(onnx_names.named(*model))


def try_file(tally: Tally, path: Path, data: bytes, what: str, audit: bool) -> None:
    """Read one file and enter what became of it."""
    path.write_bytes(data)
    if audit and not _watch:
        _watch.append(_Watch())
    gc.collect()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    if audit:
        _watch[0].path = str(path)
    start = time.thread_time()
    try:
        read(path)
        outcome = "read"
    except WeightsError:
        outcome = "refused"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error!s:.200}"
    seconds = time.thread_time() - start
    events: list[str] = []
    if audit:
        _watch[0].path = None
        events, _watch[0].events = _watch[0].events, []
    faulthandler.cancel_dump_traceback_later()
    memory = tracemalloc.get_traced_memory()[1] - before - 2 * len(data)
    if events:
        outcome = f"did {events[0]}"
    elif memory > SPARE:
        outcome = f"took {memory / 2**20:.1f} MiB beyond twice its size"
    tally.memory = max(tally.memory, memory / 2**20)
    tally.seconds, tally.slowest = max((tally.seconds, tally.slowest), (seconds, what))
    tally.total += seconds
    match outcome:
        case "read":
            tally.read += 1
        case "refused":
            tally.refused += 1
        case _:
            tally.defects.append(f"{what}: {outcome}")


def fuzz(
    sound: dict[str, list[bytes]], files: int, seed: int, folder: Path, most: int | None, audit: bool = True
) -> dict[str, Tally]:
    """Read `files` damaged files of each format, and the bombs.

    Args:
        sound: sound files of each format.
        files: damaged files of each format.
        seed: of the changes.
        folder: where each file is written before it is read.
        most: instructions of the pickles among the bombs; None for no bombs.
        audit: whether Python's audit events are watched; a hook stays for the life of the process.
    """
    tallies = {name: Tally() for name in sound}
    path = folder / "fuzzed"
    (folder / BESIDE).write_bytes(bytes(range(48)))
    gc.freeze()  # what is not of the files need not be searched for garbage before each
    tracemalloc.start()
    try:
        for name, originals in sound.items():
            for number, data in enumerate(originals):
                try_file(
                    Tally(), path, data, f"sound {number}", False
                )  # what is imported at first use is, before the hook
                try_file(tallies[name], path, data, f"sound {number}", audit)
            changed = changed_graphs(files, seed) if name == GRAPHS else ()
            every = files * (2 if name == GRAPHS else 1)
            both = chain(damaged(originals, files, seed), changed)
            for what, data in track(both, name, every, console=Console(stderr=True)):
                try_file(tallies[name], path, data, what, audit)
        if most is not None:
            tallies["bombs"] = Tally()
            for what, data in bombs(most):
                try_file(tallies["bombs"], path, data, what, audit)
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    return tallies


def show(tallies: dict[str, Tally], console: Console) -> None:
    table = Table("format", *("files", "read", "refused", "defects", "MiB > 2x", "max ms", "mean ms"))
    rows = {**tallies, "all": total(tallies)}
    for name, tally in rows.items():
        memory = f"{tally.memory:.1f}"
        times = f"{1e3 * tally.seconds:.0f}", f"{1e3 * tally.total / max(tally.files, 1):.1f}"
        table.add_row(
            name, f"{tally.files:,}", f"{tally.read:,}", f"{tally.refused:,}", str(len(tally.defects)), memory, *times
        )
    console.print(table)
    console.print(f"The slowest file: {rows['all'].slowest}.")
    for name, tally in tallies.items():
        for defect in tally.defects:
            console.print(f"{name}, file {defect}")


def total(tallies: dict[str, Tally]) -> Tally:
    every = list(tallies.values())
    return Tally(
        read=sum(one.read for one in every),
        refused=sum(one.refused for one in every),
        memory=max(one.memory for one in every),
        seconds=max(one.seconds for one in every),
        slowest=max((one.seconds, one.slowest) for one in every)[1],
        total=sum(one.total for one in every),
        defects=[defect for one in every for defect in one.defects],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Damaged and hostile files of weights, read.")
    parser.add_argument("files_of_yours", nargs="*", type=Path, metavar="FILE", help="sound files to damage as well")
    parser.add_argument("--files", type=int, default=FILES, help="damaged files of each format (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    sound = samples() | {path.name: [path.read_bytes()] for path in options.files_of_yours}
    folder = Path(tempfile.mkdtemp(prefix="fuzz_weights_"))
    console = Console()
    console.print(f"The file that is read lies in {folder}.")
    tallies = fuzz(sound, options.files, options.seed, folder, most=299_000)
    show(tallies, console)
    if options.json:
        options.json.write_text(json.dumps({name: asdict(tally) for name, tally in tallies.items()}, indent=2) + "\n")
    shutil.rmtree(folder)
    return 1 if total(tallies).defects else 0


if __name__ == "__main__":
    raise SystemExit(main())
