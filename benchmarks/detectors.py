"""What the benchmarks of detectors share: options, photographs, speed in turns, and how far apart the faces found are.

Timed is everything between decoded images and NumPy arrays of faces. All take the same images from memory with as many
threads, take turns, and are compared by the median of their rounds; a first call, in which programs are compiled, is
timed by itself.

Not here: the detectors (`detect.py`, `mtcnn.py`).
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.rounds import Row, check_options, cores, take_turns
from experiments.detect import read
from faces import outputs, run_record
from faces.data.photographs import find_photographs
from faces.detect.detections import Detections, Detector
from faces.errors import DataError

BUDGET = 120.0  # seconds; a round looks at hundreds of photographs
GOAL = 1.5


def parse(arguments: list[str], name: str, description: str, weights: str) -> argparse.Namespace:
    """The command line of `benchmarks.NAME`; `weights` says what --detector-weights is."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description.split("\n")[0])
    parser.add_argument("place", type=Path, metavar="IMAGES", help="folder of photographs")
    parser.add_argument("--detector-weights", type=Path, required=True, metavar="PATH", help=weights)
    parser.add_argument("--images", type=int, default=200, metavar="N", help="evenly from the folder (default 200)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    for option in ("images", "rounds"):
        if getattr(options, option) < 1:
            parser.error(f"--{option}: at least 1 is needed, {getattr(options, option)} given")
    check_options(parser, options)
    return options


def photographs(place: Path, count: int) -> list[np.ndarray]:
    """At most `count` images, evenly from a folder; DataError where none can be read."""
    files = {str(file): file for file in find_photographs([place]).files}
    names = list(files)
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)]
    images = [image for _, _, image in read(chosen, files, {})]
    if not images:
        raise DataError(f"{place}: no usable image found.")
    return images


def measure(
    work: str,
    ours: tuple[str, Detector],
    peers: dict[str, Detector],
    images: Sequence[np.ndarray],
    options: argparse.Namespace,
    console: Console,
) -> None:
    """Time all detectors, compare their faces, print, and write what `--json` asks for.

    Args:
        work: name of the rows.
        ours: name and detector.
        peers: by name; parity is with the first.
        images: uint8 (height, width, 3), RGB.
        options: as `parse` gives them.
        console: where to.
    """
    name, detector = ours
    detectors = {name: detector, **peers}
    first = {}
    for key, detect in detectors.items():
        start = time.perf_counter()
        detect(images)
        first[key] = time.perf_counter() - start
    times = take_turns({key: partial(detect, images) for key, detect in detectors.items()}, options.rounds, BUDGET)
    rates = {key: 1e3 * len(images) / of_key["median_ms"] for key, of_key in times.items()}

    table = Table("", title=f"{len(images):,} images, {cores()} threads")
    for title in ("images/s, median", "quickest", "first call, s"):
        table.add_column(title, justify="right")
    for key in detectors:
        quickest = 1e3 * len(images) / times[key]["quickest_ms"]
        table.add_row(key, *(f"{value:,.1f}" for value in (rates[key], quickest, first[key])))
    console.print(table)
    result: dict[str, Any] = {"images": len(images), "threads": cores(), "times": times, "first_call_seconds": first}
    rows = []
    if peers:
        found = detector(images)
        result["parity"] = parity = compare(found, next(iter(peers.values()))(images))
        console.print(
            f"as many faces in {parity['images_with_as_many_faces']:,} of {parity['images']:,} images, "
            f"{parity['faces']:,} faces in these; lowest overlap {parity['lowest_overlap']:.6f}, farthest point "
            f"{parity['farthest_point_pixels']:.6f} pixels, scores within {parity['largest_score_difference']:.1e}"
        )
        result["peer_version"] = version("torch")
        remark = f"same faces in {parity['images_with_as_many_faces']} of {parity['images']} images"
        rows = [Row(work, peer, rates[name], rates[peer], "images/s", GOAL, remark) for peer in peers]
    result["rows"] = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows]
    result["environment"] = run_record.environment()
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


def compare(ours: Sequence[Detections], theirs: Sequence[Detections]) -> dict[str, Any]:
    """How far apart the faces of two detectors are; faces are paired by rank."""
    same = [len(a) == len(b) for a, b in zip(ours, theirs, strict=True)]
    pairs = [
        (a.boxes[i], b.boxes[i], np.abs(a.points[i] - b.points[i]).max(), abs(float(a.scores[i] - b.scores[i])))
        for a, b, equal in zip(ours, theirs, same, strict=True)
        if equal
        for i in range(len(a))
    ]
    return {
        "images": len(ours),
        "images_with_as_many_faces": sum(same),
        "faces": len(pairs),
        "lowest_overlap": min((_overlap(a, b) for a, b, _, _ in pairs), default=0.0),
        "farthest_point_pixels": float(max((distance for _, _, distance, _ in pairs), default=np.inf)),
        "largest_score_difference": max((difference for *_, difference in pairs), default=1.0),
    }


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))
