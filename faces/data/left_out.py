"""Lists of people, or of images, that are to be left out of a set: what `experiments.overlap` proposes, or by hand.

Such a list is a table with a head, of which the column `person` counts, or, where there is none, `image` or `source`,
names of images as the set calls them; or plain text, a person a line. A name that the set does not have is refused: it
is a slip of the hand, and who was meant would stay.

Not here: who should be left out.
"""

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64

from faces.data.lists import numbered_lines
from faces.data.named_files import Names
from faces.data.person_names import are_numbers
from faces.data.prepared import EncodedSource
from faces.errors import DataError

PERSON, IMAGES = "person", ("image", "source")
"""Columns of names, the first that is there."""
_BETWEEN = (",", ";", "\t")
"""What parts columns; a spreadsheet may have saved the list."""


@dataclass(frozen=True)
class Listed:
    """A list.

    Args:
        path: of its file.
        of: what its names are of.
        lines: number of the line in which each name first stands.
    """

    path: Path
    of: Literal["people", "images"]
    lines: Mapping[str, int]


@dataclass(frozen=True)
class Stay:
    """What is left of a set.

    Args:
        rows: of its images, ascending, (images,).
        people, images: how many were left out; of people those of whom no image is left.
    """

    rows: Int64[np.ndarray, " images"]
    people: int
    images: int


def read_left_out(path: Path) -> Listed:
    """Read a list of people or of images.

    Raises:
        DataError: as `faces.data.lists.read_lines`; a table that is none, a line without a name, or no name at all.
    """
    text = [line for _, line in numbered_lines(path)]
    head = text[0] if text else ""
    for between in _BETWEEN:
        columns = [column.strip() for column in next(csv.reader([head], delimiter=between), [])]
        wanted = next((column for column in (PERSON, *IMAGES) if column in columns), None)
        if wanted is not None:
            named = _cells(path, text, between, columns.index(wanted))
            break
    else:
        wanted = PERSON
        named = [(number, line.strip()) for number, line in enumerate(text, 1) if line.strip()]
    if not named:
        raise DataError(f"{path}: names nobody; leave the list out.")
    lines: dict[str, int] = {}
    for number, name in named:
        lines.setdefault(name, number)
    return Listed(path, "people" if wanted == PERSON else "images", lines)


def _cells(path: Path, text: Sequence[str], between: str, column: int) -> list[tuple[int, str]]:
    """Line and content of a column's cells below the head; blank lines are passed over."""
    reader, cells = csv.reader(text, delimiter=between), list[tuple[int, str]]()
    try:
        for row in reader:
            if reader.line_num == 1 or not any(cell.strip() for cell in row):
                continue
            if len(row) <= column or not row[column].strip():
                raise DataError(f"{path}, line {reader.line_num}: the name is missing; add it or remove the line.")
            cells.append((reader.line_num, row[column].strip()))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: no line of a table ({error}); correct it.") from None
    return cells


def without(source: EncodedSource, lists: Iterable[Listed], own_names: Sequence[str] = ()) -> Stay:
    """What is left of a set without the people and images of some lists.

    Args:
        source: the set.
        lists: who and what goes; names may differ from the set's in case and in Unicode's form.
        own_names: what each person was called before several sets became this one; such a name means all who had it.
    Raises:
        DataError: a name that the set does not have, a number that several sets have, or nobody is left.
    """
    goes = np.zeros(len(source), bool)
    for listed in lists:
        if listed.of == "people":
            goes |= np.isin(source.identities, _labels(source, listed, own_names))
        else:
            names = [source.source_name(row) for row in range(len(source))]
            goes |= np.isin(np.array(names), [names[row] for row in _found(source, listed, names, "no image of")])
    rows = np.flatnonzero(~goes)
    if not rows.size:
        raise DataError(f"{source.name}: of its {len(source):,} images none is left; name fewer people.")
    gone = len(source.identity_names) - len(np.unique(source.identities[rows]))
    return Stay(rows, gone, int(goes.sum()))


def _labels(source: EncodedSource, listed: Listed, own_names: Sequence[str]) -> list[int]:
    """Labels of the people of a list."""
    names = [*source.identity_names, *own_names]
    people = len(source.identity_names)
    found = _found(source, listed, names, "nobody in")
    if own_names and are_numbers(own_names):
        for name, line in listed.lines.items():
            same = [source.identity_names[label] for label, own in enumerate(own_names) if own == name]
            if len(same) > 1:
                raise DataError(
                    f'{listed.path}, line {line}: "{name}" is a number that several sets have; write which is meant, '
                    f"{' or '.join(same)}."
                )
    called = {names[at] for at in found}
    return [at % people for at, name in enumerate(names) if name in called]


def _found(source: EncodedSource, listed: Listed, names: Sequence[str], what: str) -> list[int]:
    """Places in `names` of what a list names, the first of equal ones."""
    place, known = {name: at for at, name in reversed(list(enumerate(names)))}, Names(names, source.name)
    found, unknown = list[int](), list[tuple[str, int]]()
    for name, line in listed.lines.items():
        match = known.find(name)
        if match is None:
            unknown.append((name, line))
        else:
            found.append(place[match])
    if unknown:
        name, line = unknown[0]
        near = difflib.get_close_matches(name, place, 1, 0.7)
        meant = f'; did you mean "{near[0]}"? Correct' if near else "; correct"
        more = f" {len(unknown) - 1:,} other names of the list are not there either." if len(unknown) > 1 else ""
        here = f'{listed.path}, line {line}: "{name}"'
        raise DataError(f"{here} is {what} {source.name}{meant} or remove the line.{more}")
    return found
