"""IJB-B and IJB-C as the research community passes them on: the text files of `meta/`, NAME being "ijbb" or "ijbc".

| file | rows |
|---|---|
| `NAME_face_tid_mid.txt` | image, template, media: an image may be in several templates, and then has several rows |
| `NAME_name_5pts_score.txt` | the same images row by row, ten coordinates x1 y1 ... x5 y5, the detector's score |
| `NAME_template_pair_label.txt` | template, template, 1 (one person) or 0 |
| `NAME_1N_gallery_G1.csv`, `..._G2.csv` (IJB-B: `S1`, `S2`) | headings, then template, person, ... |
| `NAME_1N_probe_mixed.csv` | the same, for the probes |

Fields are separated by spaces, in the .csv files by commas. Images lie in `loose_crop/`. A template is all images and
frames of one person that are compared as one; a media is one image, or one video with all its frames.

Not here: templates' features and the protocols (`faces.evaluate.ijb`).
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from faces.data.lists import check_list, read_lines
from faces.errors import DataError
from faces.opening import MIB, open_regular

Name = Literal["ijbb", "ijbc"]
LARGEST_PAIRS, MOST_PAIRS = 512 * MIB, 32_000_000
"""Of a file of template pairs, bytes and rows."""
GALLERIES: dict[Name, tuple[str, str]] = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}


@dataclass(frozen=True)
class IjbFaces:
    """The face images, one row each.

    Args:
        images: file names in `loose_crop`.
        template, media: numbers, int64 (faces,).
        points: five points in pixels, float32 (faces, 5, 2).
        score: the detector's, float32 (faces,).
    """

    images: tuple[str, ...]
    template: np.ndarray
    media: np.ndarray
    points: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class TemplatePairs:
    """Pairs of templates, in the order of the file.

    Args:
        first, second: numbers of templates, int64 (pairs,).
        same: whether both are of one person, bool (pairs,).
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


@dataclass(frozen=True)
class TemplateList:
    """Templates and the person of each: a gallery or a list of probes.

    Args:
        template, person: numbers, int64 (templates,).
    """

    template: np.ndarray
    person: np.ndarray


def read_ijb_faces(meta: Path | str, name: Name) -> IjbFaces:
    """Read which faces there are.

    Args:
        meta: the folder of the text files.
        name: "ijbb" or "ijbc".
    Raises:
        DataError: a malformed row, by its line; two files that do not list the same images in one order.
    """
    members = Path(meta) / f"{name}_face_tid_mid.txt"
    landmarks = Path(meta) / f"{name}_name_5pts_score.txt"
    images, numbers = [], []
    for line, text in read_lines(members):
        fields = text.split()
        if len(fields) != 3 or not all(map(_is_number, fields[1:])):
            raise DataError(f'{members}, line {line}: "image template media" expected, found "{text[:80]}".')
        if set(fields[0]) & set("/\\\0:") or fields[0] in (".", ".."):
            shown = fields[0][:80]
            raise DataError(f'{members}, line {line}: "{shown}" is no file\'s name, it would leave the folder.')
        images.append(fields[0])
        numbers.append((int(fields[1]), int(fields[2])))
    lines = read_lines(landmarks)
    if len(lines) != len(images) or not images:
        raise DataError(
            f"{landmarks}: {len(lines):,} rows, but {members.name} has {len(images):,}; one for each face expected in "
            "both: fetch them again."
        )
    values = np.empty((len(images), 11), np.float32)  # (faces, 11)
    for row, (line, text) in enumerate(lines):
        fields = text.split()
        if len(fields) != 12 or fields[0] != images[row]:
            raise DataError(
                f'{landmarks}, line {line}: "{images[row]}", ten coordinates and a score expected, as '
                f'{members.name} has it in its row {row + 1}, found "{text[:80]}".'
            )
        try:
            values[row] = [float(field) for field in fields[1:]]
        except ValueError:
            raise DataError(f'{landmarks}, line {line}: eleven numbers expected, found "{text[:80]}".') from None
        if not np.isfinite(values[row]).all():
            raise DataError(f"{landmarks}, line {line}: a coordinate or the score is not finite.")
    template, media = np.array(numbers, np.int64).T  # (faces,) each
    return IjbFaces(tuple(images), template, media, values[:, :10].reshape(-1, 5, 2), values[:, 10])


def read_template_pairs(meta: Path | str, name: Name) -> TemplatePairs:
    """Read the pairs of the 1:1 protocol, 8 million in IJB-B and 15.7 million in IJB-C.

    Raises:
        DataError: no such file; a row that is not three whole numbers; a label that is neither 0 nor 1.
    """
    path = Path(meta) / f"{name}_template_pair_label.txt"
    check_list(path)
    try:
        with open_regular(path, LARGEST_PAIRS) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file is an error of ours below
            lines = io.TextIOWrapper(file, "utf-8-sig")
            # NumPy's own reader: a loop in Python takes minutes over so many rows.
            rows = np.loadtxt(lines, np.int64, comments=None, ndmin=2, max_rows=MOST_PAIRS + 1)  # (pairs, 3)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        reason = str(error).split(";")[0].split("\n")[0]
        raise DataError(f'{path}: rows of "template template label" expected; {reason}.') from None
    if len(rows) > MOST_PAIRS:
        raise DataError(f"{path}: more than {MOST_PAIRS:,} pairs, twice as many as IJB-C has; fetch the file again.")
    if not rows.size:
        raise DataError(f"{path}: no pair in it; fetch the file again.")
    if rows.shape[1] != 3:
        raise DataError(f"{path}: {rows.shape[1]} numbers a row, three expected: template template label.")
    wrong = np.flatnonzero((rows[:, 2] != 0) & (rows[:, 2] != 1))
    if wrong.size:
        raise DataError(f"{path}, row {wrong[0] + 1}: the label is {rows[wrong[0], 2]}; 0 or 1 expected.")
    return TemplatePairs(rows[:, 0], rows[:, 1], rows[:, 2] == 1)


def read_galleries(meta: Path | str, name: Name) -> tuple[TemplateList, TemplateList]:
    """Read the two galleries of the 1:N protocol, which share no person. DataError as `read_probes`."""
    first, second = (_template_list(Path(meta) / f"{name}_1N_gallery_{part}.csv") for part in GALLERIES[name])
    return first, second


def read_probes(meta: Path | str, name: Name) -> TemplateList:
    """Read the probes of the 1:N protocol.

    Raises:
        DataError: a malformed row, by its line; a template of two people.
    """
    return _template_list(Path(meta) / f"{name}_1N_probe_mixed.csv")


def _template_list(path: Path) -> TemplateList:
    """First two columns of a .csv file. The files have a row for each image: a template's rows name one person."""
    person_of: dict[int, int] = {}
    for line, text in read_lines(path)[1:]:
        fields = [field.strip() for field in text.split(",")]
        if len(fields) < 2 or not all(map(_is_number, fields[:2])):
            raise DataError(f'{path}, line {line}: "template,person,..." expected, found "{text[:80]}".')
        template, person = int(fields[0]), int(fields[1])
        if person_of.setdefault(template, person) != person:
            raise DataError(
                f"{path}, line {line}: template {template} is of person {person} here and of {person_of[template]} "
                "above; a template shows one person."
            )
    if not person_of:
        raise DataError(f"{path}: no template in it; a line of headings and a row for each template expected.")
    return TemplateList(np.array(list(person_of), np.int64), np.array(list(person_of.values()), np.int64))


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdigit() and len(field) < 19
