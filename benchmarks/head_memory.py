"""Memory and time of the class loss: all scores at once against a block of classes at a time.

    python -m benchmarks.head_memory [--classes C] [--batch B] [--dim D] [--block N] [--rounds N] [--json FILE]

Measured on one CPU device is what a training step does between embeddings and the gradients of embeddings and centres:
the ArcFace loss (Eq. (3)), its mean over the batch, backward. For its memory each method has a process of its own, in
which centres, embeddings and the compiled program exist before the measurement starts; for time the two take turns in
one. Beside the highest resident memory stands what XLA has planned: temporaries, and the gradients, which either method
must hold.

Without options two sizes are measured, a million classes and ten million. Ten million with all scores at once take 11
GB, at a batch and a d small enough for that.

Not here: accelerators, several devices, the network.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from arcface_jax import head
from arcface_jax.centres import memory_estimate
from arcface_jax.margins import ARCFACE
from benchmarks.peak_memory import peak_memory
from benchmarks.rounds import COPIED, Row, check_options, limits, take_turns
from faces import cli, outputs, run_record
from faces.mesh import make_mesh
from faces.terminal import make_console

jax.config.update("jax_platforms", "cpu")

S = 64.0
MIB = 2**20
SIZES = ((1_000_000, 256, 128), (10_000_000, 64, 64))
"""Classes, batch, d."""
MEMORY_GOAL, TIME_GOAL = 10.0, 1 / 1.4
BUDGET = 120.0  # seconds for all rounds at one size
Call = Callable[[], Any]
Size = tuple[int, int, int, int]
"""Classes, batch, d, block."""


def make_program(classes: int, batch: int, dim: int, block: int) -> tuple[Any, tuple[jax.Array, ...]]:
    """Loss and both gradients, compiled, and arrays to call it with."""
    mesh = make_mesh(1)
    embeddings_key, centres_key, labels_key = jax.random.split(jax.random.key(0), 3)
    embeddings = jax.random.normal(embeddings_key, (batch, dim))
    centres = jax.random.normal(centres_key, (classes, dim))
    labels = jax.random.randint(labels_key, (batch,), 0, classes)

    def mean_loss(embeddings: jax.Array, centres: jax.Array, labels: jax.Array) -> jax.Array:
        losses = head.class_loss(embeddings, centres, labels, head.margin_head(ARCFACE, S), mesh, classes, block)
        return jnp.mean(losses)

    arrays = jax.block_until_ready((embeddings, centres, labels))
    return jax.jit(jax.value_and_grad(mean_loss, argnums=(0, 1))).lower(*arrays).compile(), arrays


def ready_call(classes: int, batch: int, dim: int, block: int) -> Call:
    """A call in a process that has made a small one, so that the libraries' threads have started."""
    small, its_arrays = make_program(64, batch, dim, min(block, 16))
    jax.block_until_ready(small(*its_arrays))
    program, arrays = make_program(classes, batch, dim, block)
    return lambda: jax.block_until_ready(program(*arrays))


def planned(program: Any, arrays: tuple[jax.Array, ...]) -> dict[str, Any]:
    """XLA's plan in MiB, and the numbers that both methods must agree on."""
    loss, gradients = program(*arrays)
    plan = program.memory_analysis()
    return {
        "temporaries_mib": plan.temp_size_in_bytes / MIB,
        "gradients_mib": plan.output_size_in_bytes / MIB,
        "loss_and_gradient_norms": [float(loss), *(float(jnp.linalg.norm(gradient)) for gradient in gradients)],
    }


def planned_and_timed(size: Size, rounds: int) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Both methods' plans and times, and the bytes a second that the machine copies."""
    (dense, arrays), (blocks, _) = make_program(*size[:3], 0), make_program(*size)
    plans = planned(dense, arrays), planned(blocks, arrays)
    calls: dict[str, Call] = {
        "dense": lambda: jax.block_until_ready(dense(*arrays)),
        "blocks": lambda: jax.block_until_ready(blocks(*arrays)),
        "copy": limits()["copy"],
    }
    times = take_turns(calls, rounds, BUDGET)
    return plans[0] | times["dense"], plans[1] | times["blocks"], 2 * COPIED / times["copy"]["median_ms"] * 1e3


def measure(size: Size, rounds: int) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Both methods at one size, each measurement in a fresh process."""
    classes, batch, dim, block = size
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        dense, blocks, copied = child.submit(planned_and_timed, size, rounds).result()
    for row, at_once in ((dense, 0), (blocks, block)):
        row["peak_mib"] = peak_memory(ready_call, classes, batch, dim, at_once, limit=math.inf)
        estimate = memory_estimate(batch, classes, dim, 1, block=at_once)
        row["estimate_mib"] = (estimate["scores"] + estimate["gradient of scores"]) / MIB
    return dense, blocks, copied


def rows_of(size: Size, dense: dict[str, Any], blocks: dict[str, Any], copied: float) -> list[Row]:
    """Memory beside what either method must hold, and time."""
    work = f"head in blocks, C = {size[0]:,}, B = {size[1]}, d = {size[2]}"
    rows = []
    if dense["peak_mib"] is not None:
        ours, theirs = (method["peak_mib"] - method["gradients_mib"] for method in (blocks, dense))
        remark = f"with the gradients, which both hold: {blocks['peak_mib']:,.0f} against {dense['peak_mib']:,.0f} MiB"
        rows.append(Row(f"{work}: memory", "all scores at once", ours, theirs, "MiB", MEMORY_GOAL, remark))
    times = blocks["median_ms"], dense["median_ms"]
    remark = f"four products where the other makes three; copy {copied / 1e9:.1f} GB/s"
    return [*rows, Row(f"{work}: time", "all scores at once", *times, "ms", TIME_GOAL, remark)]


def print_table(console: Console, size: Size, dense: dict[str, Any], blocks: dict[str, Any]) -> None:
    """Both methods and their ratio."""
    title = f"Loss and both gradients, C = {size[0]:,}, B = {size[1]}, d = {size[2]}, float32"
    table = Table("", "all at once", f"blocks of {size[3]:,}", "ratio", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {
        "peak_mib": "added at the peak, MiB",
        "temporaries_mib": "XLA's temporaries, MiB",
        "gradients_mib": "gradients, MiB",
        "estimate_mib": "scores and their gradient (estimate), MiB",
        "median_ms": "time, median, ms",
    }
    for key, title in rows.items():
        if dense[key] is not None:
            table.add_row(title, f"{dense[key]:,.2f}", f"{blocks[key]:,.2f}", f"{dense[key] / blocks[key]:,.2f}")
    console.print(table)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.head_memory", description=(__doc__ or "").split("\n")[0])
    whole = partial(parser.add_argument, type=int, metavar="N")
    whole("--classes", help="C; with it, or B or d, that size alone is measured (1000000 where not given)")
    whole("--batch", help="B (256)")
    whole("--dim", help="d (128)")
    whole("--block", default=4096, help="classes at a time (default 4096)")
    whole("--rounds", default=5, help="timed calls of each (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    given = options.classes, options.batch, options.dim
    one = tuple(default if value is None else value for value, default in zip(given, SIZES[0], strict=True))
    sizes = SIZES if given == (None, None, None) else (one,)
    options.sizes = [(*size, options.block) for size in sizes]
    if min(*one, options.block, options.rounds) < 1:
        parser.error("--classes, --batch, --dim, --block, --rounds: at least 1 is needed")
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    """Measure both, compare their results, report."""
    options = parse(arguments)
    console = make_console()
    rows, methods = [], []
    for size in options.sizes:
        with console.status(f"{size[0]:,} classes"):
            dense, blocks, copied = measure(size, options.rounds)
        print_table(console, size, dense, blocks)
        for pair in zip(dense["loss_and_gradient_norms"], blocks["loss_and_gradient_norms"], strict=True):
            assert math.isclose(*pair, rel_tol=1e-5), pair
        rows += rows_of(size, dense, blocks, copied)
        named = dict(zip(("classes", "batch", "dim", "block"), size, strict=True))
        methods.append(named | {"dense": dense, "blocks": blocks})
    result = {
        "rows": [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows],
        "sizes": methods,
        "environment": run_record.environment(),
    }
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
