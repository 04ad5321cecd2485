"""RetinaFace on photographs: speed, and the same faces, beside PyTorch with the same weights in the same process.

    python -m benchmarks.detect IMAGES --detector-weights FILE [--images N] [--rounds N] [--json FILE]

Timed is everything between decoded images and NumPy arrays of faces: normalisation, network, decoding, suppression.
Both take the same images from memory with as many threads, take turns, and are judged by the median of their rounds;
the peer also takes one image at a time, as published code does. Programs are compiled in a first round of their own,
whose time is printed.

Parity: both must find the same faces. Of each pair of faces the intersection over union of the boxes and the distances
between the points are printed. An image is padded here and not by the peer, so this also shows what the padding does.

Without PyTorch, ours is measured alone.

Not here: accelerators (everything runs on the CPU), MTCNN.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.torch_retinaface import TorchRetinaFace
from experiments.detect import image_files, read
from faces import cli, run_record
from faces.detect.detections import Detections, Detector
from faces.detect.retinaface import make_detector
from faces.detect.retinaface.weights import from_pytorch
from faces.errors import DataError
from faces.weights import read_weights

jax.config.update("jax_platforms", "cpu")

BATCH = 16  # of the peer, which is what ours takes of images of 250x250
OURS, PEER, PEER_SINGLE = "faces.detect.retinaface", f"PyTorch, {BATCH} at a time", "PyTorch, one at a time"


def cores() -> int:
    """Cores this process may use: XLA takes as many threads, and the peer is given as many."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def take_turns(detectors: dict[str, Detector], images: Sequence[np.ndarray], rounds: int) -> dict[str, Any]:
    """Time each detector on all images once a round."""
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    first = {}
    for name, detect in detectors.items():
        start = time.perf_counter()
        detect(images)
        first[name] = time.perf_counter() - start
    for _ in range(rounds):
        for name, detect in detectors.items():
            start = time.perf_counter()
            detect(images)
            seconds[name].append(time.perf_counter() - start)
    return {
        name: {
            "images_per_second": len(images) / statistics.median(each),
            "quickest_images_per_second": len(images) / min(each),
            "first_round_seconds": first[name],
        }
        for name, each in seconds.items()
    }


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


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detect", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("place", metavar="IMAGES", help="folder of photographs")
    parser.add_argument("--detector-weights", required=True, metavar="FILE", help="mobilenet0.25_Final.pth")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="evenly from the folder (default 200)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    for name in ("images", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: at least 1 is needed, {getattr(options, name)} given")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}; make it first")
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = Console(soft_wrap=True, highlight=False)
    files = list(image_files(Path(options.place)))
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(options.images, len(files))).astype(int)]
    quarantined: dict[str, str] = {}
    images = list(read([str(file) for file in chosen], {str(file): file for file in chosen}, quarantined).values())
    if not images:
        raise DataError(f"{options.place}: no usable image found.")
    tensors = read_weights(Path(options.detector_weights))
    detectors: dict[str, Detector] = {OURS: make_detector(from_pytorch(tensors))}
    if find_spec("torch"):
        detectors[PEER] = TorchRetinaFace(tensors, cores(), BATCH)
        detectors[PEER_SINGLE] = TorchRetinaFace(tensors, cores(), 1)
    else:
        console.print(f"PyTorch is not installed, so {OURS} is measured alone: pip install torch")
    result: dict[str, Any] = {"images": len(images), "quarantined": len(quarantined), "threads": cores()}
    result["times"] = take_turns(detectors, images, options.rounds)
    table = Table("", title=f"{len(images):,} images, {cores()} threads")
    for title in ("images/s, median", "quickest", "first round, s"):
        table.add_column(title, justify="right")
    for name, times in result["times"].items():
        table.add_row(name, *(f"{value:,.1f}" for value in times.values()))
    console.print(table)
    if PEER in detectors:
        result["parity"] = parity = compare(detectors[OURS](images), detectors[PEER](images))
        console.print(
            f"as many faces in {parity['images_with_as_many_faces']:,} of {parity['images']:,} images, "
            f"{parity['faces']:,} faces in these; lowest overlap {parity['lowest_overlap']:.6f}, farthest point "
            f"{parity['farthest_point_pixels']:.6f} pixels, scores within {parity['largest_score_difference']:.1e}"
        )
        result["peer_version"] = version("torch")
    result["environment"] = run_record.environment()
    if options.json:
        run_record.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
