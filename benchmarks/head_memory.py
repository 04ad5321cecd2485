"""Memory and time of the class loss: all scores at once against a block of classes at a time.

    python -m benchmarks.head_memory [--classes C] [--batch B] [--dim D] [--block N] [--json FILE]

Measured on one CPU device is what a training step does between embeddings and the gradients of embeddings and centres:
the ArcFace loss (Eq. (3)), its mean over the batch, backward. Each method has a process of its own, in which centres,
embeddings and the compiled program exist before the measurement starts. Beside the highest resident memory stands what
XLA has planned: temporaries, and the gradients, which either method must hold.

Not here: accelerators, several devices, the network.
"""

import argparse
import json
import math
import time
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
from faces import cli, run_record
from faces.mesh import make_mesh

jax.config.update("jax_platforms", "cpu")

S = 64.0
MIB = 2**20
Call = Callable[[], Any]


def make_program(classes: int, batch: int, dim: int, block: int) -> tuple[Any, tuple[jax.Array, ...]]:
    """Loss and both gradients, compiled, and arrays to call it with."""
    mesh = make_mesh(1)
    of_embeddings, of_centres, of_labels = jax.random.split(jax.random.key(0), 3)
    embeddings = jax.random.normal(of_embeddings, (batch, dim))
    centres = jax.random.normal(of_centres, (classes, dim))
    labels = jax.random.randint(of_labels, (batch,), 0, classes)

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


def planned_and_timed(classes: int, batch: int, dim: int, block: int, rounds: int) -> dict[str, Any]:
    """XLA's plan in bytes, seconds of the quickest call, and the numbers that both methods must agree on."""
    program, arrays = make_program(classes, batch, dim, block)
    loss, gradients = program(*arrays)
    norms = [float(jnp.linalg.norm(gradient)) for gradient in gradients]
    del gradients
    plan, seconds = program.memory_analysis(), []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(program(*arrays))
        seconds.append(time.perf_counter() - start)
    return {
        "temporaries_mib": plan.temp_size_in_bytes / MIB,
        "gradients_mib": plan.output_size_in_bytes / MIB,
        "seconds": min(seconds),
        "loss_and_gradient_norms": [float(loss), *norms],
    }


def measure(options: argparse.Namespace, block: int) -> dict[str, Any]:
    """One method, each measurement in a fresh process."""
    size = (options.classes, options.batch, options.dim, block)
    row: dict[str, Any] = {"peak_mib": peak_memory(ready_call, *size, limit=math.inf)}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        row |= child.submit(planned_and_timed, *size, options.rounds).result()
    estimate = memory_estimate(options.batch, options.classes, options.dim, 1, block=block)
    row["estimate_mib"] = (estimate["scores"] + estimate["gradient of scores"]) / MIB
    return row


def print_table(console: Console, options: argparse.Namespace, dense: dict[str, Any], blocks: dict[str, Any]) -> None:
    """Both methods and their ratio."""
    size = f"C = {options.classes:,}, B = {options.batch}, d = {options.dim}, float32"
    table = Table("", "all at once", f"blocks of {options.block:,}", "ratio", title=f"Loss and both gradients, {size}")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {
        "peak_mib": "added at the peak, MiB",
        "temporaries_mib": "XLA's temporaries, MiB",
        "gradients_mib": "gradients, MiB",
        "estimate_mib": "scores and their gradient (estimate), MiB",
        "seconds": "time, s",
    }
    for key, title in rows.items():
        if dense[key] is not None:
            table.add_row(title, f"{dense[key]:,.2f}", f"{blocks[key]:,.2f}", f"{dense[key] / blocks[key]:,.1f}")
    console.print(table)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.head_memory", description=(__doc__ or "").split("\n")[0])
    whole = partial(parser.add_argument, type=int, metavar="N")
    whole("--classes", default=1_000_000, help="C (default 1000000)")
    whole("--batch", default=256, help="B (default 256)")
    whole("--dim", default=128, help="d (default 128; both methods hold 8 C d bytes of centres and gradient)")
    whole("--block", default=4096, help="classes at a time (default 4096)")
    whole("--rounds", default=3, help="timed calls, of which the quickest counts (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    for name in ("classes", "batch", "dim", "block", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: at least 1 is needed, {getattr(options, name)} given")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}; make it first")
    return options


def main(arguments: list[str]) -> None:
    """Measure both, compare their results, report."""
    options = parse(arguments)
    console = Console(soft_wrap=True, highlight=False)
    with console.status("all scores at once"):
        dense = measure(options, 0)
    with console.status("in blocks"):
        blocks = measure(options, options.block)
    print_table(console, options, dense, blocks)
    for pair in zip(dense["loss_and_gradient_norms"], blocks["loss_and_gradient_norms"], strict=True):
        assert math.isclose(*pair, rel_tol=1e-5), pair
    size = {key: getattr(options, key) for key in ("classes", "batch", "dim", "block")}
    result = size | {"dense": dense, "blocks": blocks, "environment": run_record.environment()}
    if options.json:
        run_record.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
