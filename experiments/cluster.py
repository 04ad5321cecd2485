"""Photographs to people: `python -m experiments.cluster PHOTOGRAPHS... --weights MODEL --threshold COS --out DIR`.

The faces of photographs, files and folders with all they contain, are found, aligned and embedded as
`experiments.evaluate` does, every face unless `--select` means one of each photograph, and put into clusters at a
threshold on their cosine (`faces.cluster`). Faces that are cut out already are taken whole with `--alignment
fixed_box`. DIR receives

- `clusters.csv`: a line for each face: its cluster (0 is the largest), its photograph's path, its box in pixels and the
  detector's score; and one for each photograph without a face, which has only a path;
- `clusters.json`: the faces of each cluster, the largest first, each with photograph and box;
- `sheet.png`: a row for each cluster; several sheets, `sheet_1.png` on, where they are many;
- `result.json`, the line that is printed last, and `environment.json`.

With `--labelled`, folders name the people in them, and it is counted how far clusters are people; of several faces the
one nearest the middle of its photograph is the person whom the folder names, and the others are not counted. DIR holds
the results of one command, which `--overwrite` replaces together.
"""

import argparse
import csv
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console

from experiments.common import passed_over, pipeline
from experiments.common.photographs import counted, embed_photographs
from experiments.common.results import deliver
from faces import cli
from faces.cluster import LINKAGES, cluster
from faces.data.images import encode_png
from faces.evaluate.clusters import agreement
from faces.outputs import write_bytes, write_json, write_text
from faces.terminal import make_console
from recognizer.photographs import Faces

TILE, GAP, COLUMNS, ROWS = 72, 4, 12, 24
"""A sheet: side of a face and space between faces in pixels, faces of a cluster, clusters."""
SHEETS = 20
"""More are not drawn."""


def main(arguments: list[str]) -> None:
    """Parse, find faces, embed, cluster, write."""
    options = parse(arguments)
    console = make_console()
    pipeline.check_apart(options, *options.photographs)
    deliver(options, console, lambda out: cluster_photographs(options, out, console))


def cluster_photographs(options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Write lists and sheets to `out`; what `result.json` says."""
    model = pipeline.open_for(options, console)
    faces, embeddings, images_per_second = embed_photographs(options.photographs, model, options, console)
    labels = cluster(embeddings, options.threshold, options.linkage)
    sizes = np.bincount(labels)
    console.print(
        f"{sizes.size:,} clusters by {options.linkage} linkage at cosine {options.threshold:g}: the largest has "
        f"{counted(sizes[0], faces.noun)}, {int(np.sum(sizes == 1)):,} have one"
    )
    _write_lists(out, faces, labels)
    console.print(draw_clusters(faces.pictures, labels, out, faces.noun))
    result: dict[str, Any] = {
        "clusters": int(sizes.size),
        "sizes": sizes.tolist(),
        **faces.record(),
        "linkage": options.linkage,
        "threshold": options.threshold,
        **pipeline.record(model, images_per_second, options),
    }
    if options.labelled:
        result["agreement"] = _agreement(faces, labels, console)
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.cluster", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("photographs", nargs="+", type=Path, metavar="PHOTOGRAPHS", help="files, and folders to search")
    parser.add_argument("--threshold", type=float, required=True, metavar="COS",
                        help="cosine below which nothing is joined; experiments.evaluate on pairs like yours prints "
                        "what each would cost")  # fmt: skip
    parser.add_argument("--linkage", choices=LINKAGES, default=LINKAGES[0], help="default %(default)s")
    parser.add_argument("--labelled", action="store_true", help="folders name the people: evaluate the clusters")
    pipeline.add_options(parser, of_albums=True, refuses=False)
    options = parser.parse_args(arguments)
    pipeline.check_options(parser, options)
    if not -1 <= options.threshold <= 1:
        parser.error("--threshold is a cosine, -1 to 1")
    return options


def _write_lists(out: Path, faces: Faces, labels: np.ndarray) -> None:
    clusters: list[list[dict[str, Any]]] = [[] for _ in range(labels.max() + 1)]
    rows: list[list[list[str]]] = [[] for _ in faces.photographs]
    for face, (label, row) in enumerate(zip(labels.tolist(), faces.photograph.tolist(), strict=True)):
        name, where = faces.photographs[row], faces.entry(face)
        clusters[label].append({"photograph": name, **where})
        numbers = [*(where["box"] or [""] * 4), "" if where["detector_score"] is None else where["detector_score"]]
        rows[row].append([str(label), name, *map(str, numbers)])
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("cluster", "photograph", "left", "top", "right", "bottom", "detector_score"))
    for name, of_photograph in zip(faces.photographs, rows, strict=True):
        writer.writerows(of_photograph or [["", name, *[""] * 5]])
    write_text(out / "clusters.csv", table.getvalue())
    write_json(out / "clusters.json", clusters)


def _agreement(faces: Faces, labels: np.ndarray, console: Console) -> dict[str, float]:
    """How far clusters are the folders' people, for `result.json`."""
    judged = np.flatnonzero(faces.is_main)
    names, people = np.unique(np.array([faces.folder(face) for face in judged]), return_inverse=True)
    passed_over.tell_alike(console, names.tolist(), "are different people here")
    found = agreement(labels[judged], people)
    others = len(faces) - len(judged)
    console.print(
        f"against {found.people:,} people: pairs precision {found.precision:.2%}, recall {found.recall:.2%}, F "
        f"{found.f:.2%}; BCubed precision {found.bcubed_precision:.2%}, recall {found.bcubed_recall:.2%}, F "
        f"{found.bcubed_f:.2%}; {len(judged):,} of {len(faces.photographs):,} photographs"
        + (f", the most central face of each; {others:,} other faces have no name and are not judged" if others else "")
    )
    return {
        "people": found.people,
        "precision": found.precision,
        "recall": found.recall,
        "f": found.f,
        "bcubed_precision": found.bcubed_precision,
        "bcubed_recall": found.bcubed_recall,
        "bcubed_f": found.bcubed_f,
        "judged": len(judged),
        "coverage": len(judged) / len(faces.photographs),
    }


def draw_clusters(pictures: np.ndarray, labels: np.ndarray, out: Path, noun: str = "faces") -> str:
    """Some faces of each cluster, a row each, with the cluster's number and size before them, on one sheet or several.

    Args:
        pictures: uint8 (faces, rows, columns, 3), RGB.
        labels: each face's cluster, 0 the largest.
        out: folder that receives `sheet.png`, or `sheet_1.png`, `sheet_2.png`, ...
        noun: what the faces are called.
    Returns:
        A sentence on what is drawn and what is not.
    """
    sizes = np.bincount(labels)
    sheets = min(SHEETS, -(-sizes.size // ROWS))
    drawn = min(sizes.size, sheets * ROWS)
    for sheet in range(sheets):
        numbers = range(sheet * ROWS, min((sheet + 1) * ROWS, drawn))
        name = "sheet.png" if sheets == 1 else f"sheet_{sheet + 1}.png"
        write_bytes(out / name, encode_png(_sheet(pictures, labels, numbers, noun)))
    names = "sheet.png" if sheets == 1 else f"sheet_1.png to sheet_{sheets}.png"
    sentence = f"{names}: {drawn:,} of {sizes.size:,} clusters"
    beyond = int(np.maximum(sizes[:drawn] - COLUMNS, 0).sum())
    if beyond:
        sentence += f", the first {COLUMNS} {noun} of each, {beyond:,} {noun} of theirs not drawn"
    if drawn < sizes.size:
        sentence += f"; {sizes.size - drawn:,} clusters not drawn, the largest with {counted(sizes[drawn], noun)}"
    return sentence


def _sheet(pictures: np.ndarray, labels: np.ndarray, numbers: range, noun: str) -> np.ndarray:
    """One sheet, uint8 (rows, columns, 3), RGB, of the clusters with these numbers."""
    place = TILE + GAP
    columns = min(COLUMNS, int(np.bincount(labels)[numbers.start]))  # the first is the largest
    sheet = np.full((len(numbers) * place + GAP, (columns + 1) * place + GAP, 3), 255, np.uint8)
    for row, label in enumerate(numbers):
        top, members = GAP + row * place, np.flatnonzero(labels == label)
        lines = [f"{label}", counted(members.size, noun)]
        lines += [f"{COLUMNS} drawn"] if members.size > COLUMNS else []
        for line, text in enumerate(lines):
            corner = (GAP, top + 24 + 18 * line)
            cv2.putText(sheet, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
        for column, face in enumerate(members[:COLUMNS], start=1):
            left = GAP + column * place
            small = cv2.resize(pictures[face], (TILE, TILE), interpolation=cv2.INTER_AREA)
            sheet[top : top + TILE, left : left + TILE] = small
    return sheet


if __name__ == "__main__":
    cli.run(main)
