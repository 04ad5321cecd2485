"""Lists of the faces of clusters: a table with a line for each face, and the clusters with their faces.

Not here: the clusters (`faces.cluster`), their pictures (`contact_sheets.py`).
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faces.outputs import write_text
from recognizer.photographs import Faces


def write_table(
    path: Path,
    faces: Faces,
    labels: np.ndarray,
    column: str,
    name_of: Callable[[int], str] = str,
    more: Mapping[str, Sequence[object]] | None = None,
) -> None:
    """A line for each face, in the order of the photographs; of a photograph without one, a line with its path alone.

    Args:
        path: of the table, CSV.
        faces: any.
        labels: each face's cluster.
        column: what a cluster is called in the table's head.
        name_of: a cluster's name.
        more: further columns, a value for each face.
    """
    more = more or {}
    rows: list[list[list[str]]] = [[] for _ in faces.photographs]
    for face, (label, row) in enumerate(zip(labels.tolist(), faces.photograph.tolist(), strict=True)):
        where = faces.entry(face)
        score = "" if where["detector_score"] is None else where["detector_score"]
        numbers = [*(where["box"] or [""] * 4), score, *(values[face] for values in more.values())]
        rows[row].append([name_of(label), faces.photographs[row], *map(str, numbers)])
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow((column, "photograph", "left", "top", "right", "bottom", "detector_score", *more))
    for name, of_photograph in zip(faces.photographs, rows, strict=True):
        writer.writerows(of_photograph or [["", name, *[""] * (5 + len(more))]])
    write_text(path, table.getvalue())


def entries(faces: Faces, labels: np.ndarray) -> list[list[dict[str, Any]]]:
    """Of each cluster its faces, each with photograph, box and detector's score, as JSON holds them."""
    clusters: list[list[dict[str, Any]]] = [[] for _ in range(labels.max() + 1)]
    for face, (label, row) in enumerate(zip(labels.tolist(), faces.photograph.tolist(), strict=True)):
        clusters[label].append({"photograph": faces.photographs[row], **faces.entry(face)})
    return clusters
