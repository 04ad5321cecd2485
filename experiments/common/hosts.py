"""Commands that embed photographs, divided over several processes: options, shares, and waiting for one another.

Each process finds and embeds its share of the photographs and keeps it in the cache, by content; then process 0 goes on
with all of it, and it alone writes results. So no photograph is looked at by two, and what a process that is lost has
kept is not lost. The cache must lie on a disk that all see.

Not here: how processes meet (`faces.processes`), training runs (`start_run.py`).
"""

import argparse
import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console

from experiments.common.results import deliver
from faces import cli, meeting, processes, stopping
from faces.meeting import WAIT, Meeting
from faces.outputs import check_folder
from faces.partners import LOST, Watch, ended_with
from faces.terminal import make_console
from recognizer.cached_embedder import CachedEmbedder
from recognizer.model import Model
from recognizer.pipeline import Search


@dataclass(frozen=True)
class Hosts:
    """Processes that work on one command.

    Args:
        process: this one's number.
        processes: how many there are.
        watch: on the others; None without any.
    """

    process: int = 0
    processes: int = 1
    watch: Watch | None = None

    def share(self, count: int) -> range:
        """This process's part of so many photographs: those of all are one after the other, and differ by one at most
        in length."""
        return range(count * self.process // self.processes, count * (self.process + 1) // self.processes)

    def wait(self) -> None:
        """Return when the other processes are done."""
        if self.watch is not None:
            self.watch.wait()


ALONE = Hosts()


class Opened(Protocol):
    """What a command works on, before any photograph is looked at."""

    @property
    def model(self) -> Model:
        """That embeds."""
        ...

    @property
    def search(self) -> Search | None:
        """For faces; None where nothing is looked for."""
        ...

    @property
    def embed(self) -> CachedEmbedder:
        """With what was embedded before."""
        ...

    def told(self) -> Mapping[str, str]:
        """What the processes must have alike, by what it is called: lists of photographs, in their order."""
        ...


AnyOpened = TypeVar("AnyOpened", bound=Opened)


def add_options(parser: argparse.ArgumentParser, shared: str) -> None:
    """Options of several processes.

    Args:
        parser: of a main.
        shared: what all must be given the same, such as "--out".
    """
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="with several processes: where process 0 listens; "
                        "each needs --process and --processes, unless SLURM, Open MPI or Kubernetes tells them, and "
                        f"the same {shared}; auto: where SLURM, Open MPI or a TPU slice of GKE says")  # fmt: skip
    parser.add_argument("--processes", type=int, help="number of processes")
    parser.add_argument("--process", type=int, help="this one's number, from 0")
    parser.add_argument("--wait", type=float, metavar="SECONDS",
                        help=f"how long the processes wait for one another (default {WAIT:g})")  # fmt: skip


def place_of(options: argparse.Namespace) -> Meeting | None:
    """Where the command's processes meet; None where it is one alone.

    Raises:
        ConfigError: options are missing, or make no sense.
    """
    return meeting.meeting(options.coordinator, options.processes, options.process, options.wait, os.environ)


@contextlib.contextmanager
def together(
    where: Meeting | None, started_with: Mapping[str, Any], prepare: Callable[[], Mapping[str, str]]
) -> Iterator[Hosts]:
    """A block that the command's processes work in; an error that leaves it in one ends all, in words.

    Args:
        where: of `place_of`.
        started_with: what must be the same in all, as JSON holds it.
        prepare: what each does on its own first -> what all must have found alike, by what it is called. It is not
            called without other processes.
    Raises:
        FacesError: what one could not prepare, in all; or as `processes.meet`.
        SystemExit: another process is lost, which has been told; what this one has found is in the cache.
    """
    if where is None:
        yield ALONE
        return
    _, watch = processes.watched(where, started_with, lambda: ("", prepare()))
    command = f"go on with: {stopping.command()}"
    try:
        with watch.guarding(lambda: command):
            yield Hosts(where.process, where.processes, watch)
    except KeyboardInterrupt:
        if not watch.lost:
            raise
        print(f"error: {watch.lost}\n{command}", file=sys.stderr)
        ended_with(LOST)
        raise SystemExit(LOST) from None
    watch.close()


def divide(
    main: str,
    options: argparse.Namespace,
    open_all: Callable[[Console], AnyOpened],
    embed_share: Callable[[AnyOpened, Hosts, Console], int],
    work: Callable[[AnyOpened, Path, Console], dict[str, Any]],
) -> None:
    """Do the work of a command, in one process or several.

    Args:
        main: the command's name.
        options: of the command line, with those of `add_options` and `pipeline.add_options`.
        open_all: opens what the command works on.
        embed_share: finds and embeds a process's share into the cache -> photographs looked at.
        work: as for `results.deliver`; where there are several processes, all is in the cache by then.
    Raises:
        FacesError: as these, `deliver` and `together`.
    """
    where = place_of(options)
    console = make_console(quiet=where is not None and where.process > 0)
    opened = list[AnyOpened]()

    def prepare() -> dict[str, str]:
        opened.append(open_all(console))
        model = opened[0].model
        return {**opened[0].told(), "model": digest([model.description.origin.sha256, str(model.preprocessing)])}

    def share(here: Hosts) -> None:
        looked, embed = embed_share(opened[0], here, console), opened[0].embed
        said = f"process {here.process} of {here.processes}: {looked:,} photographs looked at"
        make_console().print(f"{said}, {embed.images:,} faces embedded")

    def all_of_it(out: Path) -> dict[str, Any]:
        if not opened:
            return work(open_all(console), out, console)
        share(here)
        here.wait()
        search, embed = opened[0].search, opened[0].embed
        if search is not None:
            search.reread()
        embed.reread()
        own = embed.images
        result = work(opened[0], out, console)
        if embed.images > own + 1:  # what stands for a missing face is nobody's share
            console.print(f"{embed.images - own:,} faces of the other processes were not in {options.cache}, and have "
                          "been embedded here: give all the same --cache, on a disk that all see")  # fmt: skip
        return result

    with together(where, {"command": main, **_alike(options)}, prepare) as here:
        if here.process == 0:
            deliver(options, console, all_of_it)
        else:
            with cli.interruptible(f"Faces found and embedded so far are kept in {options.cache}."):
                check_folder(options.cache)
                share(here)


def digest(words: Iterable[str]) -> str:
    """Some words in short, to compare and to be told."""
    listed = list(words)
    text = "\0".join(listed).encode("utf-8", "surrogateescape")
    return f"{len(listed):,} names, {hashlib.sha256(text).hexdigest()[:16]}"


_OF_EACH = ("data", "weights", "symbol", "manifest", "detector_weights", "out", "overwrite", "cache",
            "coordinator", "process", "processes", "wait")  # fmt: skip


def _alike(options: argparse.Namespace) -> dict[str, str]:
    """The options that several processes must have alike: all but places, which may differ on another machine."""
    return {key: str(value) for key, value in vars(options).items() if key not in _OF_EACH}
