"""Clusters of as many faces as LFW has: how fast, and the same as scikit-learn's?

    python -m benchmarks.clustering [--faces N] [--rounds N] [--json FILE]

13,233 embeddings of 5,749 people whose numbers of images are much as LFW's: 4,069 with one, the most with 530. People
lie in 64 of 512 dimensions, so that they come as near to each other as a fair network lets them: at cosine 0.45 some
thousand pairs of two people are linked, and most linked faces form one component. Ours is `faces.cluster.cluster`,
from the embeddings to the clusters; scikit-learn gets the same embeddings:

    connected components   `radius_neighbors_graph` with cosines, and SciPy's `connected_components`
    single, average, complete linkage   `AgglomerativeClustering` with `distance_threshold`, on the precomputed
                           distances 1 - x x', whose product counts: its own cosine distances take far longer

The bound is the half of x x' that both need, at the rate of `sgemm`. Without scikit-learn, ours is measured alone.

Not here: how well clusters are people (`faces.evaluate.clusters`, `experiments.cluster`).
"""

import argparse
import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse.csgraph import connected_components

from benchmarks.rounds import SGEMM_FLOPS, Row, check_options, cores, limits, take_turns
from faces import cli, cluster, outputs, run_record
from faces.evaluate.clusters import agreement
from faces.terminal import make_console

jax.config.update("jax_platforms", "cpu")

FACES, DIMENSION, INTRINSIC, SPREAD, THRESHOLD = 13_233, 512, 64, 0.7, 0.45
SMALL_PEOPLE = {1: 4069, 2: 779, 3: 291, 4: 187, 5: 112}
"""LFW's people with so many images; 311 others have from 6 to 530."""
GOAL = 5.0
OURS, PEER = "faces.cluster", "scikit-learn"
COMPONENTS = "connected components"


def sizes(faces: int) -> np.ndarray:
    """Images of each person, much as in LFW, of about so many faces."""
    share = faces / FACES
    small = [size for size, people in SMALL_PEOPLE.items() for _ in range(round(share * people))]
    rank = np.arange(1, round(share * 311) + 1)
    large = np.maximum(6, np.round(share * 530 * rank**-0.8375)).astype(int)
    return np.array([*small, *large])


def make_faces(faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings, float32 (about `faces`, DIMENSION), of length 1, in mixed order, and whose they are."""
    rng = np.random.default_rng(0)
    count = sizes(faces)
    person = rng.permutation(np.repeat(np.arange(count.size), count))
    x = rng.normal(size=(count.size, INTRINSIC))[person] + SPREAD * rng.normal(size=(person.size, INTRINSIC))
    turn = np.linalg.qr(rng.normal(size=(DIMENSION, INTRINSIC)))[0]  # (DIMENSION, INTRINSIC), orthonormal columns
    x = x / np.linalg.norm(x, axis=1, keepdims=True) @ turn.T
    return x.astype(np.float32), person


def make_peer(embeddings: np.ndarray) -> dict[str, Callable[[], np.ndarray]] | None:
    """Labels by scikit-learn, by the name of the comparison; None where it is not installed."""
    try:
        neighbours, clustering = (importlib.import_module(f"sklearn.{part}") for part in ("neighbors", "cluster"))
    except ImportError:
        return None

    def components() -> np.ndarray:
        graph = neighbours.radius_neighbors_graph(embeddings, 1 - THRESHOLD, metric="cosine", n_jobs=cores())
        return connected_components(graph, directed=False)[1]

    def linked(linkage: str) -> Callable[[], np.ndarray]:
        def call() -> np.ndarray:
            method = clustering.AgglomerativeClustering(
                n_clusters=None, distance_threshold=1 - THRESHOLD, metric="precomputed", linkage=linkage
            )
            return method.fit_predict(1 - embeddings @ embeddings.T)

        return call

    return {COMPONENTS: components} | {linkage: linked(linkage) for linkage in cluster.LINKAGES}


def make_ours(embeddings: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Labels by this project."""

    def linked(linkage: cluster.Linkage) -> Callable[[], np.ndarray]:
        return lambda: cluster.cluster(embeddings, THRESHOLD, linkage)

    return {COMPONENTS: linked("single")} | {linkage: linked(linkage) for linkage in cluster.LINKAGES}


def kept(labels: dict[str, np.ndarray], name: str, call: Callable[[], np.ndarray]) -> Callable[[], None]:
    """The call, whose labels are put down under a name."""

    def keep() -> None:
        labels[name] = call()

    return keep


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clustering", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--faces", type=int, default=FACES, metavar="N", help="about so many (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds per comparison (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.faces < 100:
        parser.error("--rounds: at least 1, --faces: at least 100")
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    embeddings, person = make_faces(options.faces)
    ours, peer = make_ours(embeddings), make_peer(embeddings)
    if peer is None:
        console.print(f"{PEER} is not installed, so {OURS} is measured alone: pip install scikit-learn")
    pairs = cluster.similar_pairs(embeddings, THRESHOLD)
    mixed = int(np.sum(person[pairs.first] != person[pairs.second]))
    largest = int(np.bincount(ours[COMPONENTS]()).max())
    console.print(
        f"{len(person):,} faces of {person.max() + 1:,} people, cosine {THRESHOLD}: {pairs.first.size:,} pairs, "
        f"{mixed:,} of them of two people; the largest component has {largest:,} faces"
    )
    flops = len(person) ** 2 * DIMENSION  # of the half of the product
    times, same, rows = dict[str, Any](), dict[str, Any](), list[Row]()
    for name, call in ours.items():
        labels = dict[str, np.ndarray]()
        calls = {"ours": kept(labels, "ours", call), "sgemm": limits()["sgemm"]}
        if peer is not None:
            calls["peer"] = kept(labels, "peer", peer[name])
        times[name] = take_turns(calls, options.rounds)
        if peer is not None:
            found = agreement(labels["ours"], labels["peer"])
            same[name] = found.precision == found.recall == 1.0
            bound = flops / SGEMM_FLOPS * times[name]["sgemm"]["median_ms"] / 1e3
            remark = f"{'the same clusters' if same[name] else 'OTHER CLUSTERS'}; half the product takes {bound:.2f} s"
            ours, theirs = (times[name][who]["median_ms"] / 1e3 for who in ("ours", "peer"))
            linkage = name if name == COMPONENTS else f"{name} linkage"
            rows.append(Row(f"clusters of {len(person):,} faces, {linkage}", PEER, ours, theirs, "s", GOAL, remark))
    print_table(console, times, same)
    result: dict[str, Any] = {"faces": len(person), "people": int(person.max()) + 1, "pairs": int(pairs.first.size)}
    result |= {"pairs_of_two_people": mixed, "largest_component": largest, "threshold": THRESHOLD, "times": times}
    result |= {"same_clusters": same, "threads": cores()}
    result["rows"] = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows]
    result["environment"] = run_record.environment()
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


def print_table(console: Console, times: dict[str, Any], same: dict[str, bool]) -> None:
    """Medians of both."""
    table = Table("", title=f"d = {DIMENSION}, {cores()} threads: median s")
    for heading in (OURS, PEER, "ratio", "clusters"):
        table.add_column(heading, justify="right")
    for name, of_name in times.items():
        ours = of_name["ours"]["median_ms"] / 1e3
        theirs = of_name["peer"]["median_ms"] / 1e3 if "peer" in of_name else None
        cells = ("", "", "") if theirs is None else (
            f"{theirs:.2f}", f"{theirs / ours:.1f}", "the same" if same[name] else "others"
        )  # fmt: skip
        table.add_row(name, f"{ours:.2f}", *cells)
    console.print(table)


if __name__ == "__main__":
    cli.run(main)
