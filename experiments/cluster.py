"""Photographs to people: `python -m experiments.cluster PHOTOGRAPHS... --weights MODEL --threshold COS --out DIR`.

The faces of photographs, files and folders with all they contain, are found, aligned and embedded as
`experiments.evaluate` does, and put into clusters at a threshold on their cosine (`faces.cluster`). Faces that are cut
out already are taken whole with `--alignment fixed_box`. DIR receives

- `clusters.csv`: a line for each photograph, its cluster (0 is the largest; empty without a face) and its path;
- `clusters.json`: the paths of each cluster, the largest first;
- `sheet.png`: a row for each of the largest clusters;
- `result.json`, the line that is printed last, and `environment.json`.

With `--labelled`, folders name the people in them, and it is counted how far clusters are people.
"""

import argparse
import csv
import io
import json
import operator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console

from experiments import pipeline
from experiments.photographs import Faces, find_faces
from faces import cli
from faces.cluster import LINKAGES, cluster
from faces.data.images import encode_png
from faces.evaluate.clusters import agreement
from faces.outputs import write_bytes, write_json, write_text
from faces.run_record import environment
from faces.terminal import make_console

TILE, GAP, COLUMNS, ROWS = 72, 4, 12, 24
"""The sheet: side of a face and space between faces in pixels, faces of a cluster, clusters."""


def main(arguments: list[str]) -> None:
    """Parse, find faces, embed, cluster, write."""
    options = parse(arguments)
    console = make_console()
    model = pipeline.open_for(options, console)
    options.data = options.photographs[0]
    faces = find_faces(options.photographs, model, options, console)
    labels = cluster(faces.embeddings, options.threshold, options.linkage)
    sizes = np.bincount(labels)
    console.print(
        f"{sizes.size:,} clusters by {options.linkage} linkage at cosine {options.threshold:g}: the largest has "
        f"{sizes[0]:,} faces, {int(np.sum(sizes == 1)):,} have one"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    _write_lists(options.out, faces, labels)
    draw_clusters(faces.pictures, labels, options.out / "sheet.png")
    result: dict[str, Any] = {
        "clusters": int(sizes.size),
        "sizes": sizes.tolist(),
        "photographs": faces.photographs,
        "faces": len(faces.names),
        "without_face": len(faces.without_face),
        "unreadable": len(faces.unreadable),
        "linkage": options.linkage,
        "threshold": options.threshold,
        **pipeline.record(model, faces.images_per_second, options),
    }
    if options.labelled:
        result["agreement"] = _agreement(faces, labels, console)
    write_json(options.out / "result.json", result)
    write_json(options.out / "environment.json", environment())
    console.print(f"everything is in {options.out}")
    print("result: " + json.dumps(result), flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.cluster", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("photographs", nargs="+", type=Path, metavar="PHOTOGRAPHS", help="files, and folders to search")
    parser.add_argument("--threshold", type=float, required=True, metavar="COS",
                        help="cosine below which nothing is joined")  # fmt: skip
    parser.add_argument("--linkage", choices=LINKAGES, default=LINKAGES[0], help="default %(default)s")
    parser.add_argument("--labelled", action="store_true", help="folders name the people: judge the clusters")
    pipeline.add_options(parser)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    if not -1 <= options.threshold <= 1:
        parser.error("--threshold is a cosine, -1 to 1")
    return options


def _write_lists(out: Path, faces: Faces, labels: np.ndarray) -> None:
    rows = [(str(label), name) for label, name in zip(labels.tolist(), faces.names, strict=True)]
    rows += [("", name) for name in (*faces.without_face, *faces.unreadable) if name not in set(faces.names)]
    table = io.StringIO()
    by_name = sorted(rows, key=operator.itemgetter(1))
    csv.writer(table, lineterminator="\n").writerows([("cluster", "photograph"), *by_name])
    write_text(out / "clusters.csv", table.getvalue())
    names = np.array(faces.names)
    write_json(out / "clusters.json", [names[labels == label].tolist() for label in range(labels.max() + 1)])


def _agreement(faces: Faces, labels: np.ndarray, console: Console) -> dict[str, float]:
    """How far clusters are the folders' people, for `result.json`."""
    found = agreement(labels, np.unique(np.array(faces.folders), return_inverse=True)[1])
    console.print(
        f"against {found.people:,} people: pairs precision {found.precision:.2%}, recall {found.recall:.2%}, F "
        f"{found.f:.2%}; BCubed precision {found.bcubed_precision:.2%}, recall {found.bcubed_recall:.2%}, F "
        f"{found.bcubed_f:.2%}; {len(faces.names):,} of {faces.photographs:,} photographs"
    )
    return {
        "people": found.people,
        "precision": found.precision,
        "recall": found.recall,
        "f": found.f,
        "bcubed_precision": found.bcubed_precision,
        "bcubed_recall": found.bcubed_recall,
        "bcubed_f": found.bcubed_f,
        "coverage": len(faces.names) / faces.photographs,
    }


def draw_clusters(pictures: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Some faces of each of the largest clusters, a row each, with the cluster's number and size before them.

    Args:
        pictures: uint8 (faces, rows, columns, 3), RGB.
        labels: each face's cluster.
        path: the PNG to write, first under a temporary name.
    """
    sizes = np.bincount(labels)
    shown = min(ROWS, sizes.size)
    place = TILE + GAP
    sheet = np.full((shown * place + GAP, (COLUMNS + 1) * place + GAP, 3), 255, np.uint8)
    for label in range(shown):
        top = GAP + label * place
        for line, text in enumerate((f"{label}", f"{sizes[label]} faces")):
            corner = (GAP, top + 30 + 18 * line)
            cv2.putText(sheet, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
        for column, face in enumerate(np.flatnonzero(labels == label)[:COLUMNS], start=1):
            left = GAP + column * place
            small = cv2.resize(pictures[face], (TILE, TILE), interpolation=cv2.INTER_AREA)
            sheet[top : top + TILE, left : left + TILE] = small
    write_bytes(path, encode_png(sheet))


if __name__ == "__main__":
    cli.run(main)
