"""Commands that embed photographs, divided over several processes: options, shares, and waiting for one another.

Each process finds and embeds its share of the photographs and keeps it in the cache, by content; then process 0 goes on
with all of it, and it alone writes results. So no photograph is looked at by two, and what a process that is lost has
kept is not lost. The cache must lie on a disk that all see.

Not here: how processes meet (`faces.processes`), training runs (`start_run.py`).
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from faces import processes, stopping
from faces.partners import LOST, Watch, ended_with
from faces.processes import WAIT, Meeting


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


def meeting(options: argparse.Namespace) -> Meeting | None:
    """Where the command's processes meet; None where it is one alone.

    Raises:
        ConfigError: options are missing, or make no sense.
    """
    return processes.meeting(options.coordinator, options.processes, options.process, options.wait, os.environ)


@contextlib.contextmanager
def together(
    where: Meeting | None, started_with: Mapping[str, Any], prepare: Callable[[], Mapping[str, str]]
) -> Iterator[Hosts]:
    """A block that the command's processes work in; an error that leaves it in one ends all, in words.

    Args:
        where: of `meeting`.
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
