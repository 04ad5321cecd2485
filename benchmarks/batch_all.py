"""Speed and memory of batch-all triplets, beside pytorch-metric-learning's all-triplets form in the same process.

    python -m benchmarks.batch_all [--rounds N] [--peer-memory GIB] [--json FILE]

Timed is loss and gradient by the embeddings over EVERY valid triplet of a batch: Euclidean distances, hinge, mean over
the triplets whose loss is above zero. Both methods get the same float32 embeddings of length 1 and as many threads,
take turns, and are compared by the median of their rounds; they compute the same number, which the run checks. Two
batches: B = 512 with K = 8 images of each identity, and B = 1,800 with K = 40, as FaceNet's.

Without PyTorch and pytorch-metric-learning, ours is measured alone.

Not here: mined triplets (`triplet.py`), accelerators, the network.
"""

import argparse
import importlib
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from benchmarks.peak_memory import peak_memory
from benchmarks.rounds import Call, check_options, cores, take_turns
from benchmarks.triplet import ALPHA, OURS, PEER, Batch, compiled, make_batch
from facenet_jax import summary
from facenet_jax.related import batch_all_fast
from facenet_jax.related.pairs import euclidean, pairs_of
from faces import cli, ops, outputs, run_record
from faces.terminal import make_console

jax.config.update("jax_platforms", "cpu")

SIZES = ((512, 8), (1800, 40))
TOLERANCE = 1e-4  # of the two losses, in proportion


def mean_loss(embeddings: jax.Array, identities: jax.Array) -> jax.Array:
    """Mean over the active triplets."""
    pairs = pairs_of(identities)
    per_pair = batch_all_fast.batch_all(euclidean(ops.squared_distances(embeddings, embeddings)), pairs, ALPHA)
    losses = summary.Summed(jnp.sum(per_pair.loss), jnp.sum(pairs.is_positive), jnp.sum(per_pair.active))
    return summary.reduced(losses, "mean_of_active")


def make_ours(batch: Batch) -> Call:
    """Loss and gradient, by this project."""
    return compiled(jax.value_and_grad(mean_loss), *batch)


def make_peer(batch: Batch) -> Call | None:
    """The same by the peer; None where it is not installed."""
    try:
        torch = importlib.import_module("torch")
        distances, losses = (
            importlib.import_module(f"pytorch_metric_learning.{name}") for name in ("distances", "losses")
        )
    except ImportError:
        return None
    loss = losses.TripletMarginLoss(margin=ALPHA, distance=distances.LpDistance(normalize_embeddings=False))
    embeddings = torch.tensor(batch.embeddings, requires_grad=True)
    identities = torch.tensor(batch.identities, dtype=torch.int64)

    def call() -> tuple[Any, Any]:
        torch.set_num_threads(cores())
        embeddings.grad = None
        value = loss(embeddings, identities)
        value.backward()
        return value, embeddings.grad

    return call


def ready_call(method: str, images: int, per_identity: int) -> Call:
    """A call of one method on a batch, in a process that has already made a small one."""
    make = make_peer if method == PEER else make_ours
    small, call = (make(batch) for batch in (make_batch(16, 4), make_batch(images, per_identity)))
    assert small is not None and call is not None
    small()
    return call


def measure(images: int, per_identity: int, options: argparse.Namespace) -> dict[str, Any]:
    """Times and memory at one batch size."""
    batch = make_batch(images, per_identity)
    calls, peer = {OURS: make_ours(batch)}, make_peer(batch)
    row: dict[str, Any] = {"images": images, "per_identity": per_identity, "peak_mib": {}}
    row["peak_mib"][OURS] = peak_memory(ready_call, OURS, images, per_identity, limit=math.inf)
    if peer is not None:
        try:
            row["peak_mib"][PEER] = peak_memory(ready_call, PEER, images, per_identity, limit=options.peer_memory)
            calls[PEER] = peer
            values = [
                float(np.asarray(call()[0].detach() if name == PEER else call()[0])) for name, call in calls.items()
            ]
            if abs(values[0] - values[1]) > TOLERANCE * values[1]:
                raise SystemExit(f"B = {images}: {OURS} finds {values[0]}, {PEER} {values[1]}")
        except MemoryError as error:
            row["refused"] = f"{PEER} at B = {images:,}, which needs {error}"
    return row | {"times": take_turns(calls, options.rounds)}


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_all", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds per comparison (default 5)")
    parser.add_argument("--peer-memory", type=float, default=8.0, metavar="GIB",
                        help="the peer is not timed at batch sizes where it needs more (default 8)")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    rows = [measure(*size, options) for size in SIZES]
    table = Table("", title=f"All triplets, forward and backward, {cores()} threads")
    for title in ("median ms", "quickest ms", "of ours", "peak MiB"):
        table.add_column(title, justify="right")
    for row in rows:
        ours = row["times"][OURS]["median_ms"]
        for name, times in row["times"].items():
            cells = (f"{times['median_ms']:,.1f}", f"{times['quickest_ms']:,.1f}", f"{times['median_ms'] / ours:.1f}")
            memory = row["peak_mib"].get(name)
            table.add_row(f"B = {row['images']:,}: {name}", *cells, "" if memory is None else f"{memory:,.0f}")
    console.print(table)
    for row in rows:
        if "refused" in row:
            console.print(f"Not timed: {row['refused']} (--peer-memory).")
    result = {"sizes": rows, "threads": cores(), "environment": run_record.environment()}
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
