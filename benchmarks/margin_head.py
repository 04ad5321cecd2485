"""How fast is the ArcFace head, forward and backward, beside PyTorch and beside its matrix products alone?

    python -m benchmarks.margin_head [--rounds N] [--batches B ...] [--json FILE]

The loss of Eq. (3), its mean over the batch, and the gradients of embeddings and centres: 85,742 classes (MS1MV2),
d = 512, on one CPU device, as a training step calls it. The peer is what one writes by hand in PyTorch where speed
counts: normalise, one product, the margin on the target's entry alone, cross-entropy. The bound is the three products
that no dense method avoids: scores, gradient of embeddings, gradient of centres.

Both must agree on loss and gradients to 1e-4 of the largest entry. Without PyTorch ours is measured beside its bound
alone.

Not here: accelerators, several devices, scores in blocks (`head_memory.py`), the network.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from arcface_jax import head
from arcface_jax.margins import ARCFACE
from benchmarks.rounds import COPIED, SGEMM_FLOPS, Call, Row, check_options, cores, limits, take_turns
from faces import cli, outputs, run_record
from faces.mesh import make_mesh
from faces.terminal import make_console

jax.config.update("jax_platforms", "cpu")

CLASSES, DIMENSION, S = 85_742, 512, 64.0
BATCHES = (128, 512)
OURS, PEER, PRODUCTS = "arcface_jax", "torch, by hand", "three products, XLA"
GOALS = {PEER: 3.0, PRODUCTS: 0.5}
TOLERANCE = 1e-4
BUDGET = 90.0  # seconds for all rounds at one batch size


class Problem(NamedTuple):
    """What a network and its state would hand over."""

    embeddings: np.ndarray  # float32 (B, DIMENSION)
    centres: np.ndarray  # float32 (CLASSES, DIMENSION)
    labels: np.ndarray  # int32 (B,)


def make_problem(batch: int) -> Problem:
    """Embeddings that lean towards their classes' centres, as in the middle of a training."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, DIMENSION), scale=0.01).astype(np.float32)
    labels = rng.integers(0, CLASSES, size=batch).astype(np.int32)
    embeddings = centres[labels] + rng.normal(size=(batch, DIMENSION), scale=0.01).astype(np.float32)
    return Problem(embeddings, centres, labels)


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """`function`, compiled for these arguments."""
    placed = jax.device_put(arguments)
    run = jax.jit(function).lower(*placed).compile()
    return lambda: jax.block_until_ready(run(*placed))


def make_ours(problem: Problem) -> Callable[[], Any]:
    """A call that gives (loss, (gradient of embeddings, gradient of centres))."""
    mesh = make_mesh(1)

    def mean_loss(embeddings: jax.Array, centres: jax.Array, labels: jax.Array) -> jax.Array:
        return jnp.mean(head.class_loss(embeddings, centres, labels, head.margin_head(ARCFACE, S), mesh, CLASSES))

    return compiled(jax.value_and_grad(mean_loss, argnums=(0, 1)), *problem)


def make_peer(problem: Problem) -> Callable[[], Any] | None:
    """The same by PyTorch; None where it is not installed."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(cores())
    functional, m = torch.nn.functional, ARCFACE.m2
    embeddings, centres = (torch.tensor(part, requires_grad=True) for part in problem[:2])
    labels = torch.tensor(problem.labels, dtype=torch.int64)

    def call() -> tuple[Any, tuple[Any, Any]]:
        embeddings.grad = centres.grad = None
        cosines = functional.linear(functional.normalize(embeddings), functional.normalize(centres))
        own = cosines.gather(1, labels[:, None])
        target = own * math.cos(m) - torch.sqrt((1 - own) * (1 + own)) * math.sin(m)
        loss = functional.cross_entropy(S * cosines.scatter(1, labels[:, None], target), labels)
        loss.backward()
        return loss.detach(), (embeddings.grad, centres.grad)

    return call


def make_products(problem: Problem) -> Callable[[], Any]:
    """The products that a dense method cannot do without."""
    gradient = np.random.default_rng(1).normal(size=(len(problem.labels), CLASSES)).astype(np.float32)
    exact = jax.lax.Precision.HIGHEST

    def products(x: jax.Array, w: jax.Array, gradient: jax.Array) -> tuple[jax.Array, ...]:
        scores = jnp.dot(x, w.T, precision=exact)
        return scores, jnp.dot(gradient, w, precision=exact), jnp.dot(gradient.T, x, precision=exact)

    return compiled(products, problem.embeddings, problem.centres, gradient)


def check_agreement(ours: Any, theirs: Any) -> None:
    """Loss and gradients of both, against each other."""
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        mine, other = np.asarray(mine), np.asarray(other)
        assert np.abs(mine - other).max() < TOLERANCE * np.abs(other).max()


def measure(console: Console, batch: int, rounds: int) -> tuple[list[Row], dict[str, Any]]:
    """Rows of one batch size, and all times."""
    problem = make_problem(batch)
    calls: dict[str, Call] = {OURS: make_ours(problem), PRODUCTS: make_products(problem)}
    peer = make_peer(problem)
    if peer is not None:
        check_agreement(calls[OURS](), peer())
        calls[PEER] = peer
    with console.status(f"B = {batch}"):
        times = take_turns(calls | limits(), rounds, BUDGET)
    ours = times[OURS]["median_ms"]
    sgemm = SGEMM_FLOPS / times["sgemm"]["median_ms"] / 1e6
    done = 3 * 2 * batch * CLASSES * DIMENSION / ours / 1e6
    copied = 2 * COPIED / times["copy"]["median_ms"] / 1e6
    remark = f"{done:.0f} GFLOP/s of products, {100 * done / sgemm:.0f}% of sgemm's {sgemm:.0f}; copy {copied:.1f} GB/s"
    work = f"margin head fwd+bwd, C = {CLASSES:,}, B = {batch}, d = {DIMENSION}"
    rows = [
        Row(work, name, ours, times[name]["median_ms"], "ms", goal, remark)
        for name, goal in GOALS.items()
        if name in times
    ]
    return rows, {"batch": batch, "times": times}


def print_rows(console: Console, rows: list[Row]) -> None:
    """The comparison as a table."""
    table = Table("work", "peer", title=f"ArcFace head, {cores()} threads, medians")
    for title in ("ours", "peer's", "ratio", "goal"):
        table.add_column(title, justify="right")
    table.add_column("remark")
    for row in rows:
        numbers = (f"{row.ours:,.1f} {row.unit}", f"{row.theirs:,.1f} {row.unit}", f"{row.ratio:.2f}", f"{row.goal:g}")
        table.add_row(row.work, row.peer, *numbers, row.remark)
    console.print(table)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.margin_head", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="rounds per comparison (default 9)")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, metavar="B", help="default 128 512")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or min(options.batches) < 1:
        parser.error("--rounds, --batches: at least 1 is needed")
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    if importlib.util.find_spec("torch") is None:
        console.print(f"{PEER}: not installed, so {OURS} is measured beside its bound alone: pip install torch")
    rows, times = [], []
    for batch in options.batches:
        more, measured = measure(console, batch, options.rounds)
        rows, times = rows + more, [*times, measured]
    print_rows(console, rows)
    result = {
        "rows": [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows],
        "times": times,
        "threads": cores(),
        "environment": run_record.environment(),
    }
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
