"""Speed and memory of mining and triplet loss, beside pytorch-metric-learning in the same process.

    python -m benchmarks.triplet [--rounds N] [--peer-memory GIB] [--json FILE]

Timed is what a training step does between embeddings and their gradient: distances, semi-hard mining (Sec. 3.2 of
FaceNet), triplet loss, backward. Both methods get the same float32 embeddings of length 1 and as many threads, take
turns, and are compared by the median of their rounds. (The peer is also timed with one thread: where other programs
share the cores, its threads wait for each other.) Three questions:

1. B = 512, K = 8 images of each identity: how quick is ours beside the peer, and in how much memory?
2. How do both grow from B = 256 to B = 1,800 with K = 40? A cubic method would show exponent 3; B^2 log B shows 2.15.
3. How far is ours from what no method avoids, a product of (B, d) and (d, B), and from the sort it rests on?

The two do not compute the same number. Ours takes for each pair of one identity the NEAREST semi-hard negative, and the
farthest one where none is semi-hard; its loss is the mean over the pairs. The peer's `TripletMarginMiner` lists ALL
negatives farther than the positive by at most the margin, and drops pairs without any; its loss is the mean over the
triplets that violate the margin. The nearest of the peer's negatives must be ours; the run counts the pairs for which
it is.

Without PyTorch and pytorch-metric-learning, ours is measured alone.

Not here: accelerators (everything runs on the CPU), the network.
"""

import argparse
import dataclasses
import importlib
import json
import math
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.peak_memory import peak_memory
from benchmarks.rounds import Call, Row, check_options, cores, take_turns
from facenet_jax import losses, mining_fast
from faces import cli, outputs, run_record
from faces.terminal import make_console

jax.config.update("jax_platforms", "cpu")

ALPHA = 0.2
DIMENSION = 128
NOISE = 2.0  # spread of an identity's images over the spread of the identities: a network early in its training
BATCH, PER_IDENTITY = 512, 8
GROWTH, GROWTH_PER_IDENTITY = (256, 512, 1024, 1800), 40
TOLERANCE = 1e-5  # of squared distances that two float32 routines computed

OURS, PEER = "facenet_jax", "pytorch-metric-learning"
LABELS = {
    OURS: OURS,
    "mining": "  mining alone",
    "loss": "  loss and gradient alone",
    PEER: PEER,
    "peer_one_thread": "  with one thread",
    "product": "(B, d) x (d, B), XLA",
    "sort": "sort (B, B) float32, XLA",
    "sort_int32": "sort (B, B) int32, XLA",
    "sort_numpy": "sort (B, B) float32, NumPy",
}


class Batch(NamedTuple):
    """What a network would hand over."""

    embeddings: np.ndarray  # float32 (B, DIMENSION), length 1
    identities: np.ndarray  # int32 (B,)


def make_batch(images: int, per_identity: int) -> Batch:
    """Embeddings around one centre per identity; where `per_identity` does not divide B, the last has fewer images."""
    rng = np.random.default_rng(0)
    identities = np.arange(images, dtype=np.int32) // per_identity
    centres = rng.normal(size=(identities[-1] + 1, DIMENSION))
    embeddings = centres[identities] + NOISE * rng.normal(size=(images, DIMENSION))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Batch(embeddings.astype(np.float32), identities)


def mean_loss(embeddings: jax.Array, negative: jax.Array, is_pair: jax.Array) -> jax.Array:
    """Mean of the triplet loss over the pairs."""
    per_pair = losses.triplet_loss_of_pairs(embeddings, negative, ALPHA)  # (B, B)
    return jnp.sum(jnp.where(is_pair, per_pair, 0.0)) / jnp.maximum(jnp.sum(is_pair), 1)


def mined_loss(embeddings: jax.Array, identities: jax.Array) -> jax.Array:
    """What the train step does with embeddings, as one number."""
    return mean_loss(embeddings, *mining_fast.semi_hard(embeddings, identities))


def compiled(function: Callable[..., Any], *arguments: Any) -> Call:
    """`function`, compiled for these arguments; a call waits for the result."""
    placed = jax.device_put(arguments)
    run = jax.jit(function).lower(*placed).compile()
    return lambda: jax.block_until_ready(run(*placed))


def make_ours(batch: Batch) -> Call:
    """Loss and gradient with respect to the embeddings, by this project."""
    return compiled(jax.value_and_grad(mined_loss), *batch)


class Peer(NamedTuple):
    """Loss and gradient with respect to the embeddings, by pytorch-metric-learning."""

    call: Call
    one_thread: Call  # the same on one thread
    mine: Callable[[], tuple[np.ndarray, ...]]  # anchors, positives, negatives


def make_peer(batch: Batch) -> Peer | None:
    """The same by the peer; None where it is not installed."""
    try:
        torch = importlib.import_module("torch")
        distances, pml_losses, miners = (
            importlib.import_module(f"pytorch_metric_learning.{part}") for part in ("distances", "losses", "miners")
        )
    except ImportError:
        return None
    squared = {"distance": distances.LpDistance(normalize_embeddings=False, p=2, power=2)}
    miner = miners.TripletMarginMiner(margin=ALPHA, type_of_triplets="semihard", **squared)
    loss = pml_losses.TripletMarginLoss(margin=ALPHA, **squared)
    embeddings = torch.tensor(batch.embeddings, requires_grad=True)
    identities = torch.tensor(batch.identities, dtype=torch.int64)

    def call(threads: int) -> tuple[Any, Any]:
        torch.set_num_threads(threads)
        embeddings.grad = None
        value = loss(embeddings, identities, miner(embeddings, identities))
        value.backward()
        return value, embeddings.grad

    def mine() -> tuple[np.ndarray, ...]:
        return tuple(index.numpy() for index in miner(embeddings, identities))

    return Peer(partial(call, cores()), partial(call, 1), mine)


def ready_call(method: str, images: int, per_identity: int) -> Call:
    """A call of one method on a batch, in a process that has already made a small one."""
    made = []
    for batch in (make_batch(16, 4), make_batch(images, per_identity)):
        peer = make_peer(batch) if method == PEER else None
        made.append(make_ours(batch) if peer is None else peer.call)
    made[0]()
    return made[1]


def make_parts(batch: Batch) -> dict[str, Call]:
    """The two halves of ours, and the work that bounds it."""
    mined = jax.jit(mining_fast.semi_hard)(*batch)
    distance = np.asarray(jnp.square(batch.embeddings @ batch.embeddings.T))  # any (B, B) float32 will do
    sort_rows = partial(jnp.sort, axis=1)
    return {
        "mining": compiled(mining_fast.semi_hard, *batch),
        "loss": compiled(jax.value_and_grad(mean_loss), batch.embeddings, *mined),
        "product": compiled(lambda x: jnp.dot(x, x.T, precision=jax.lax.Precision.HIGHEST), batch.embeddings),
        "sort": compiled(sort_rows, distance),
        "sort_int32": compiled(sort_rows, distance.view(np.int32)),
        "sort_numpy": lambda: np.sort(distance, axis=1),
    }


def compare_triplets(batch: Batch) -> dict[str, int]:
    """How many triplets each forms, and for how many pairs the nearest of the peer's negatives is as near as ours."""
    peer = make_peer(batch)
    negative, is_pair = map(np.asarray, jax.jit(mining_fast.semi_hard)(*batch))
    x = batch.embeddings.astype(np.float64)
    distance = 2.0 - 2.0 * x @ x.T  # (B, B)
    ours = np.take_along_axis(distance, negative, axis=1)  # (B, B)
    active = is_pair & (distance - ours + ALPHA > 0)
    counts = {"pairs": int(is_pair.sum()), "active": int(active.sum())}
    if peer is None:
        return counts
    a, p, n = peer.mine()
    theirs = np.full_like(distance, np.inf)  # (B, B)
    np.minimum.at(theirs, (a, p), distance[a, n])
    found = np.isfinite(theirs)
    agree = is_pair[found] & (np.abs(ours[found] - theirs[found]) < TOLERANCE)
    return counts | {"peer_triplets": len(a), "peer_pairs": int(found.sum()), "agreeing_pairs": int(agree.sum())}


def measure(console: Console, images: int, per_identity: int, options: argparse.Namespace) -> dict[str, Any]:
    """Times and memory at one batch size."""
    batch = make_batch(images, per_identity)
    peer = make_peer(batch)
    row: dict[str, Any] = {"images": images, "per_identity": per_identity, "peak_mib": {}}
    calls = {OURS: make_ours(batch)} | make_parts(batch)
    with console.status(f"B = {images:,}, K = {per_identity}: memory"):
        row["peak_mib"][OURS] = peak_memory(ready_call, OURS, images, per_identity, limit=math.inf)
        if peer is not None:
            try:
                row["peak_mib"][PEER] = peak_memory(ready_call, PEER, images, per_identity, limit=options.peer_memory)
                calls[PEER] = peer.call
                if per_identity == PER_IDENTITY:
                    calls["peer_one_thread"] = peer.one_thread
            except MemoryError as error:
                row["refused"] = f"{PEER} at B = {images:,}, which needs {error}"
    with console.status(f"B = {images:,}, K = {per_identity}: time"):
        times = take_turns(calls, options.rounds)
    return row | {"times": {name: times[name] for name in LABELS if name in times}}


def exponents(growth: list[dict[str, Any]]) -> dict[str, float]:
    """Slope of log(time) over log(B), least squares, of every method that was timed at more than one size."""
    slopes = {}
    for name in growth[0]["times"]:
        rows = [(row["images"], row["times"][name]["median_ms"]) for row in growth if name in row["times"]]
        if len(rows) > 1:
            sizes, times = np.log(np.array(rows, np.float64)).T
            slopes[name] = float(np.polyfit(sizes, times, 1)[0])
    return slopes


def print_one_size(console: Console, row: dict[str, Any], counts: dict[str, int]) -> None:
    """Questions 1 and 3: both methods and the bounds at one size, and what each forms."""
    size = f"B = {row['images']:,}, K = {row['per_identity']}, d = {DIMENSION}, {cores()} threads"
    table = Table("", title=f"Forward and backward, {size}")
    for title in ("median ms", "quickest ms", "of ours", "peak MiB"):
        table.add_column(title, justify="right")
    ours = row["times"][OURS]["median_ms"]
    for name, times in row["times"].items():
        median, memory = times["median_ms"], row["peak_mib"].get(name)
        cells = (f"{median:.2f}", f"{times['quickest_ms']:.2f}", f"{median / ours:.2f}")
        table.add_row(LABELS[name], *cells, "" if memory is None else f"{memory:,.1f}")
    console.print(table)
    console.print(f"{OURS}: {counts['pairs']:,} pairs with one negative each, {counts['active']:,} of them active.")
    if "peer_triplets" in counts:
        console.print(
            f"{PEER}: ALL {counts['peer_triplets']:,} semi-hard triplets, of {counts['peer_pairs']:,} pairs; "
            f"their nearest negative is ours in {counts['agreeing_pairs']:,}."
        )


def print_growth(console: Console, growth: list[dict[str, Any]], slopes: dict[str, float]) -> None:
    """Question 2: medians over batch sizes, and the exponents."""
    columns = {OURS: "ours", "mining": "mining", "loss": "loss", PEER: "peer", "product": "product", "sort": "sort"}
    columns = {name: title for name, title in columns.items() if name in growth[0]["times"]}
    table = Table("B", title=f"Growth, K = {GROWTH_PER_IDENTITY}, d = {DIMENSION}: median ms (peak MiB)")
    for title in columns.values():
        table.add_column(title, justify="right")

    def cell(row: dict[str, Any], name: str) -> str:
        if name not in row["times"]:
            return "not timed"
        memory = row["peak_mib"].get(name)
        return f"{row['times'][name]['median_ms']:,.1f}" + ("" if memory is None else f" ({memory:,.0f})")

    for row in growth:
        table.add_row(f"{row['images']:,}", *(cell(row, name) for name in columns), end_section=row is growth[-1])
    table.add_row("exponent", *(f"{slopes[name]:.2f}" if name in slopes else "" for name in columns))
    console.print(table)
    console.print("Exponent: slope of log time over log B. B^2 log B would give 2.15 over these sizes, B^3 gives 3.")
    for row in growth:
        if "refused" in row:
            console.print(f"Not timed: {row['refused']} (--peer-memory).")


def rows(one_size: dict[str, Any], growth: list[dict[str, Any]], slopes: dict[str, float]) -> list[Row]:
    """What the table of all benchmarks shows."""
    times, memory, largest = one_size["times"], one_size["peak_mib"], growth[-1]
    work, ours = f"semi-hard triplet loss, B = {BATCH}, K = {PER_IDENTITY}", times[OURS]["median_ms"]
    of_product = f"{ours / times['product']['median_ms']:.0f} x the (B, d) x (d, B) product"
    found = []
    if PEER in times:
        found.append(Row(work, PEER, ours, times[PEER]["median_ms"], "ms", 25.0, of_product))
        found.append(Row(work, PEER, memory[OURS], memory[PEER], "MiB", 10.0, "peak memory"))
    sizes = f"B = {GROWTH[0]} to {GROWTH[-1]:,}, K = {GROWTH_PER_IDENTITY}"
    found.append(Row(f"the same, {sizes}", "exponent 2.2", slopes[OURS], 2.2, "exponent", 1.0, "growth of the time"))
    found.append(
        Row(f"the same, B = {largest['images']:,}", "1,000 MiB", largest["peak_mib"][OURS], 1000.0, "MiB", 1.0,
            f"peak memory; {largest['times'][OURS]['median_ms']:.0f} ms")
    )  # fmt: skip
    return found


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.triplet", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="rounds per comparison (default 15)")
    parser.add_argument(
        "--peer-memory",
        type=float,
        default=8.0,
        metavar="GIB",
        help="the peer is not timed at batch sizes where it needs more (default 8)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    if make_peer(make_batch(16, 4)) is None:
        console.print(f"{PEER} is not installed, so {OURS} is measured alone: pip install torch {PEER}")
    one_size = measure(console, BATCH, PER_IDENTITY, options)
    counts = compare_triplets(make_batch(BATCH, PER_IDENTITY))
    print_one_size(console, one_size, counts)
    growth = [measure(console, size, GROWTH_PER_IDENTITY, options) for size in GROWTH]
    slopes = exponents(growth)
    print_growth(console, growth, slopes)
    result = {"one_size": one_size | {"triplets": counts}, "growth": growth, "exponents": slopes, "threads": cores()}
    result["rows"] = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows(one_size, growth, slopes)]
    if "peer_triplets" in counts:
        result["peer_versions"] = {name: version(name) for name in ("torch", PEER)}
    result["environment"] = run_record.environment()
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
