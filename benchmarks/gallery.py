"""Search of 3,530 probes among a million: how fast, in how much memory, against faiss?

    python -m benchmarks.gallery [--rows N] [--rounds N] [--json FILE]

1. The 20 nearest of each probe, exactly: `faces.gallery.search` against faiss-cpu's `IndexFlatIP.search`.
2. The same and MegaFace's verification: the highest scores over all 3.5 thousand million pairs, as many as a false
   accept rate of 1e-6 lets pass and one more. faiss has no such search; it gets `range_search` as well, with a
   threshold that lets exactly these pass, which is not known beforehand, and the two times are added.
3. What a call adds to the memory of a process that holds the gallery already; faiss's own copy of it is not counted.

The bound is the product of both matrices alone at the rate of `sgemm`. Embeddings are random directions of 512 numbers;
both sides must find the same rows, but for scores that differ by rounding. Without faiss, ours is measured alone.

Not here: approximate search; accelerators (everything runs on the CPU).
"""

import argparse
import dataclasses
import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.peak_memory import peak_memory
from benchmarks.rounds import SGEMM_FLOPS, Row, check_options, cores, limits, take_turns
from faces import cli, gallery, outputs, run_record
from faces.evaluate.scores import allowed_accepts
from faces.terminal import make_console

jax.config.update("jax_platforms", "cpu")

ROWS, PROBES, DIMENSION, K, FAR = 1_000_000, 3_530, 512, 20, 1e-6
OURS, PEER = "faces.gallery", "faiss-cpu IndexFlatIP"
BUDGET = 200.0  # seconds after which no further round begins, once there were three


def sides(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Probes and gallery, float32, of length 1."""
    rng = np.random.default_rng(0)
    made = (rng.standard_normal((count, DIMENSION), np.float32) for count in (PROBES, rows))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in made)
    return a, b


def make_ours(probes: np.ndarray, rows: np.ndarray, highest: int) -> Callable[[], gallery.Found]:
    """One search by this project, whose programs are compiled before."""
    gallery.search(probes, rows[: gallery.BLOCK + 1], K, highest)
    return lambda: gallery.search(probes, rows, K, highest)


class Peer(NamedTuple):
    """faiss, over an index of its own that holds a copy of the gallery."""

    search: Callable[[], tuple[np.ndarray, np.ndarray]]
    """Scores and rows of the nearest."""
    above: Callable[[float], np.ndarray]
    """Scores of all pairs above a threshold."""


def make_peer(probes: np.ndarray, rows: np.ndarray) -> Peer | None:
    """The searches by faiss, after a small one of each; None where it is not installed."""
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        return None
    faiss.omp_set_num_threads(cores())
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(rows[:64])
    index.search(probes, K)
    index.range_search(probes, 1.0)
    index.add(rows[64:])
    return Peer(lambda: index.search(probes, K), lambda threshold: index.range_search(probes, threshold)[1])


def ready_call(method: str, rows: int, highest: int, threshold: float | None) -> Callable[[], Any]:
    """A call in a process of its own, after a small one."""
    probes, of_gallery = sides(rows)
    if method == OURS:
        return make_ours(probes, of_gallery, highest)
    peer = make_peer(probes, of_gallery)
    assert peer is not None
    return peer.search if threshold is None else lambda: (peer.search(), peer.above(threshold))


def just_below(highest: np.ndarray) -> float:
    """The threshold that lets the highest scores pass."""
    return float(np.nextafter(np.min(highest), np.float32(-1)))


def agreement(ours: gallery.Found, peer: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Share of places with the same row, and the largest difference of the scores at a place."""
    return {
        "same_rows": float(np.mean(ours.row == peer[1])),
        "largest_difference": float(np.max(np.abs(ours.score - peer[0]))),
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="of the gallery (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds per comparison (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.rows < K:
        parser.error(f"--rounds: at least 1, --rows: at least {K}")
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    probes, rows = sides(options.rows)
    highest = allowed_accepts(FAR, PROBES * options.rows) + 1
    nearest, both, peer = make_ours(probes, rows, 0), make_ours(probes, rows, highest), make_peer(probes, rows)
    sgemm = limits()["sgemm"]
    sgemm()
    found: dict[str, Any] = {}  # by the last call of each kind
    calls: dict[str, Callable[[], Any]] = {
        "ours": nearest,
        "ours_both": lambda: found.update(ours=both()),
        "sgemm": sgemm,
    }
    if peer is None:
        console.print(f"{PEER} is not installed, so {OURS} is measured alone: pip install faiss-cpu")
    else:
        calls |= {
            "peer": lambda: found.update(nearest=peer.search()),
            "peer_above": lambda: found.update(above=peer.above(just_below(found["ours"].highest))),
        }
    result: dict[str, Any] = {"rows_of_gallery": options.rows, "probes": PROBES, "threads": cores(), "highest": highest}
    times = take_turns(calls, options.rounds, BUDGET, warm=False)
    threshold = just_below(found["ours"].highest)
    if peer is not None:
        pairs = len(found["above"])
        result["agreement"] = agreement(found["ours"], found["nearest"]) | {"pairs": pairs, "pairs_asked_for": highest}
        console.print(
            f"the same rows in {result['agreement']['same_rows']:.4%} of all places, scores within "
            f"{result['agreement']['largest_difference']:.1e}; {pairs:,} pairs above the threshold, "
            f"{highest:,} asked for"
        )
        times["peer_both"] = {
            key: times["peer"][key] + times["peer_above"][key] for key in ("median_ms", "quickest_ms")
        }
    del calls, nearest, both, peer, found, rows  # the memory that follows is of other processes
    memory = {
        name: peak_memory(ready_call, method, options.rows, count, at, limit=math.inf)
        for name, method, count, at in (
            ("ours", OURS, 0, None),
            ("ours_both", OURS, highest, None),
            *((("peer", PEER, 0, None), ("peer_both", PEER, 0, threshold)) if "peer" in times else ()),
        )
    }
    result |= {"times": times, "peak_mib": memory}
    print_table(console, times, memory)
    result["rows"] = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in table_rows(options.rows, times, memory)]
    result["environment"] = run_record.environment()
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


def table_rows(rows: int, times: dict[str, dict[str, float]], memory: dict[str, float | None]) -> list[Row]:
    """The comparisons, for RESULTS.md."""
    if "peer" not in times:
        return []
    product = 2 * PROBES * rows * DIMENSION / SGEMM_FLOPS * times["sgemm"]["median_ms"] / 1e3  # seconds
    size = f"{rows:,} x {DIMENSION} gallery, {PROBES:,} probes"
    made = []
    for name, work, goal in (("", "top 20", 1.0), ("_both", f"top 20 and verification at FAR {FAR:g}", 1.0)):
        ours, theirs = (times[who + name]["median_ms"] / 1e3 for who in ("ours", "peer"))
        peaks = " MiB against ".join(f"{memory[who + name] or math.nan:,.0f}" for who in ("ours", "peer"))
        remark = f"the product alone at sgemm's rate takes {product:.1f} s; the call adds {peaks} MiB"
        made.append(Row(f"{size}: {work}", PEER, ours, theirs, "s", goal, remark))
    return made


def print_table(console: Console, times: dict[str, dict[str, float]], memory: dict[str, float | None]) -> None:
    """Medians and memory."""
    table = Table("", title=f"{PROBES:,} probes, d = {DIMENSION}, {cores()} threads")
    for heading in ("median s", "quickest s", "peak MiB"):
        table.add_column(heading, justify="right")
    names = {"ours": f"{OURS}, top {K}", "peer": f"{PEER}, top {K}", "ours_both": f"{OURS}, with verification",
             "peer_both": f"{PEER}, with range_search", "sgemm": "sgemm 2,048^3"}  # fmt: skip
    for name, label in names.items():
        if name in times:
            peak = memory.get(name)
            cells = (f"{times[name][key] / 1e3:.3f}" for key in ("median_ms", "quickest_ms"))
            table.add_row(label, *cells, "" if peak is None else f"{peak:,.0f}")
    console.print(table)


if __name__ == "__main__":
    cli.run(main)
