"""What the benchmarks share: taking turns, this machine's limits, and the rows of the table in RESULTS.md.

Two methods are not timed one after the other but in turns, round by round: what else the machine does then slows both.
Each counts by the median of its rounds. A ratio above 1 means that ours is that many times as fast.

Not here: memory (`peak_memory.py`), what is measured (the scripts), and the whole table (`run.py`).
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Call = Callable[[], Any]
"""Does the work once, and returns when it is done."""

REST = 0.02  # seconds before each timed call, in which the other library's idle threads stop spinning
FEWEST_ROUNDS = 3
BUDGET = 30.0  # seconds after which a comparison stops, once it has the fewest rounds


@dataclass(frozen=True)
class Row:
    """One comparison, as the table shows it."""

    work: str
    """What is done, with its sizes."""
    peer: str
    """What it is measured against."""
    ours: float
    theirs: float
    """Medians, both in `unit`."""
    unit: str
    """A rate ends in "/s", and more of it is better; of anything else, such as "ms" or "MiB", less is."""
    goal: float
    """The ratio asked for."""
    remark: str = ""
    """Distance to a limit measured in the same run, or what else must be known."""

    @property
    def ratio(self) -> float:
        """How many times better ours is."""
        return self.ours / self.theirs if self.unit.endswith("/s") else self.theirs / self.ours


def cores() -> int:
    """Cores this process may use: XLA takes as many threads, and the peer is given as many."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with the parser's error over a `--rounds` of none, or a `--json` in a folder that is not there."""
    if options.rounds < 1:
        parser.error(f"--rounds: at least 1 is needed, {options.rounds} given")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}; make it first")


def take_turns(
    calls: Mapping[str, Call], rounds: int, budget: float = BUDGET, warm: bool = True
) -> dict[str, dict[str, float]]:
    """Time each call once a round, after one call of each that is not timed.

    Args:
        calls: by name.
        rounds: at most so many.
        budget: seconds after which no further round begins, once there were three.
        warm: False leaves out the calls before; for calls of minutes, that were made on something small.
    Returns:
        By name: `median_ms`, `quickest_ms`, `rounds`.
    """
    for call in calls.values() if warm else ():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    started = time.perf_counter()
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and time.perf_counter() - started > budget:
            break
        for name, call in calls.items():
            time.sleep(REST)
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {
        name: {"median_ms": 1e3 * statistics.median(each), "quickest_ms": 1e3 * min(each), "rounds": len(each)}
        for name, each in seconds.items()
    }


def limits() -> dict[str, Call]:
    """What no method on this machine exceeds, to be timed in turns with it: `GFLOPS` and `COPIED` give their sizes.

    `sgemm`: a product of two float32 matrices of 2,048 x 2,048, by XLA. `copy`: 256 MiB from memory to memory, NumPy.
    """
    square = jax.device_put(np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32))
    product = jax.jit(lambda x: jnp.dot(x, x, precision=jax.lax.Precision.HIGHEST)).lower(square).compile()
    source = np.ones(COPIED // 4, np.float32)
    target = np.empty_like(source)
    return {
        "sgemm": lambda: jax.block_until_ready(product(square)),
        "copy": lambda: np.copyto(target, source),
    }


SIDE, COPIED = 2048, 2**28
SGEMM_FLOPS = 2 * SIDE**3
"""Floating-point operations of the call `sgemm`; the call `copy` moves 2 * COPIED bytes."""
