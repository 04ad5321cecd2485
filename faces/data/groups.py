"""Labels of images, one or several columns of a table: `image,group` below a head, a line each.

The first column called `image` has the names of images as their set calls them; every other column is a factor of its
own, whatever it is called, and an empty cell is no label.

Not here: what is counted by them (`faces.evaluate.factors`).
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from faces.data.lists import numbered_lines
from faces.errors import DataError

IMAGE = "image"
_BETWEEN = (",", ";", "\t")
"""What parts columns; a spreadsheet may have saved the table."""


def read_groups(path: Path) -> dict[str, dict[str, str]]:
    """The labels of a table.

    Returns:
        For each column its labels by the names of images; images without a label in it are not there.
    Raises:
        DataError: as `faces.data.lists.numbered_lines`; no column of images, none of labels, two of one name, a line
            with more or fewer cells, without an image or with one that stands there before, or a table without a line.
    """
    lines = [text for _, text in numbered_lines(path)]
    head = lines[0].removeprefix("\ufeff") if lines else ""
    heads = ((between, [cell.strip() for cell in _row(path, 1, head, between)]) for between in _BETWEEN)
    between, columns = next((found for found in heads if IMAGE in found[1]), (",", []))
    others = [column for column in columns if column != IMAGE]
    if not others or len(set(columns)) != len(columns) or "" in columns:
        raise DataError(
            f"{path}, line 1: the names of columns are expected, one of them {IMAGE} and at least one of labels, each "
            f'once, such as "image,group"; {head[:80]!r} found.'
        )
    labels: dict[str, dict[str, str]] = {column: {} for column in others}
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in _row(path, number, line, between)]
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, line {number}: {len(columns)} cells expected, as in line 1, {len(cells)} found; correct it."
            )
        row = dict(zip(columns, cells, strict=True))
        image = row.pop(IMAGE)
        if not image or image in seen:
            what = f"{image} stands in line {seen[image]} too" if image else "the image is missing"
            raise DataError(f"{path}, line {number}: {what}; give each image one line.")
        seen[image] = number
        for column, label in row.items():
            if label:
                labels[column][image] = label
    if not seen:
        raise DataError(f"{path}: has no line below its head; give each image one, or leave the table out.")
    return labels


def labels_of(names: Sequence[str], labels: Mapping[str, str]) -> np.ndarray:
    """The label of each image, str (images,), "" of those that have none."""
    return np.array([labels.get(name, "") for name in names], dtype=np.str_)


def _row(path: Path, number: int, line: str, between: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=between, strict=True), [])
    except csv.Error as error:
        raise DataError(f"{path}, line {number}: no line of a table ({error}); correct it.") from None
