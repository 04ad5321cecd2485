"""The faces of any photographs, each with its photograph and box: what clustering and search start from.

A photograph shows any number of people, and of several faces one is meant or all are, as the search says. A photograph
that cannot be decoded, and one in which no face is found, is named and left out: here nobody is asked for a number that
it would falsify.

Not here: which files are photographs (`faces.data.photographs`), embeddings (`cached_embedder.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from faces.cut_faces import Looked
from faces.data.images import read_image
from faces.data.photographs import Found, printable
from faces.detect.detections import select
from faces.errors import ImageError
from faces.preprocessing import Preprocessing
from recognizer.pipeline import Search

NO_FACE = "no face found in it"


@dataclass(frozen=True)
class Faces:
    """The faces of some photographs, in the order of the photographs; in each the best first.

    Args:
        photographs: path of each photograph that was looked at, with a face or without, as it is printed.
        files: the same as they are opened.
        sizes: height and width of each; None of one that could not be decoded.
        photograph: the row in `photographs` that each face is of, int64 (faces,).
        boxes: left, top, right, bottom in pixels, float32 (faces, 4); NaN of a face cut without a detection.
        scores: the detector's, float32 (faces,); NaN likewise.
        is_main: which faces are the most central of their photograph, bool (faces,): the face of the person whom it
        shows, if it shows one.
        pictures: aligned faces, uint8 (faces, rows, columns, 3), RGB.
        looked: whether a detector looked; otherwise each image is a part of a photograph, a face or not.
        several: paths of photographs with more than one face.
        not_meant: faces that were found and are not among these, since others are meant.
        without_face: paths of photographs in which none was found.
        unreadable: of those that could not be decoded, with the reason.
        left_out: every path that gives no face, with the reason: what is no photograph, and the two above.
    """

    photographs: tuple[str, ...]
    files: tuple[Path, ...]
    sizes: tuple[tuple[int, int] | None, ...]
    photograph: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    is_main: np.ndarray
    pictures: np.ndarray
    looked: bool
    several: tuple[str, ...]
    not_meant: int
    without_face: tuple[str, ...]
    unreadable: dict[str, str]
    left_out: dict[str, str]

    def __len__(self) -> int:
        return len(self.photograph)

    @property
    def noun(self) -> str:
        """What they may be called."""
        return "faces" if self.looked else "pictures"

    def folder(self, face: int | np.intp) -> str:
        """Name of the folder in which the face's photograph lies."""
        return Path(self.photographs[self.photograph[face]]).parent.name

    def entry(self, face: int) -> dict[str, Any]:
        """Where a face is, as JSON holds it; a thousandth of a pixel is as much as the numbers are worth."""
        is_found = bool(np.isfinite(self.scores[face]))
        return {
            "box": np.round(self.boxes[face].astype(float), 3).tolist() if is_found else None,
            "detector_score": round(float(self.scores[face]), 6) if is_found else None,
        }

    def record(self) -> dict[str, Any]:
        """What `result.json` says about them; faces are counted only where they were looked for."""
        return {
            "photographs": len(self.photographs),
            "pictures": len(self),
            "faces": int(np.isfinite(self.scores).sum()) if self.looked else None,
            "several": len(self.several) if self.looked else None,
            "faces_passed_over": self.not_meant if self.looked else None,
            "without_face": len(self.without_face) if self.looked else None,
            "unreadable": len(self.unreadable),
            "left_out": self.left_out,
        }


def find_faces(there: Found, search: Search, preprocessing: Preprocessing, console: Console) -> Faces:
    """The faces of photographs, in the order of their paths.

    Args:
        there: the files, and what is none.
        search: who looks, and which faces are meant.
        preprocessing: size and alignment.
        console: where the bar is drawn, if it is a terminal.
    """
    names = tuple(printable(str(file)) for file in there.files)
    unreadable = dict[str, str]()

    def read() -> Iterator[np.ndarray | None]:
        for file, name in zip(there.files, names, strict=True):
            try:
                yield read_image(file, name)
            except ImageError as error:
                unreadable[name] = str(error).removeprefix(f"{name}: ")
                yield None

    looked = list(search.look(read(), len(names), "the photographs", preprocessing, console, names.__getitem__))
    sizes: list[tuple[int, int] | None] = [None] * len(names)
    for one in looked:
        sizes[one.row] = one.size
    found = [(one, one.found) for one in looked if one.found is not None]
    without_face = tuple(names[one.row] for one, faces in found if not len(faces))
    lost = () if search.settings.takes_middle else without_face
    chosen = sum(face is not None for one in looked for face in one.chosen)
    boxes, scores, is_main = _places(looked)
    return Faces(
        names,
        there.files,
        tuple(sizes),
        np.array([one.row for one in looked for _ in one.chosen], np.int64),
        boxes,
        scores,
        is_main,
        np.concatenate([np.empty((0, *preprocessing.size, 3), np.uint8), *(one.pictures for one in looked)]),
        search.settings.detector is not None,
        tuple(names[one.row] for one, faces in found if len(faces) > 1),
        sum(len(faces) for _, faces in found) - chosen,
        without_face,
        unreadable,
        dict(sorted({**there.passed_over, **unreadable, **dict.fromkeys(lost, NO_FACE)}.items())),
    )


def _places(looked: Sequence[Looked]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Box and score of each chosen face, NaN of a face cut without a detection, and whether it is the main one."""
    boxes, scores, is_main = [], [], []
    for one in looked:
        found, main = one.found, one.chosen[0] if len(one.chosen) == 1 else None
        if len(one.chosen) > 1 and found is not None:
            main = select(found, "most_central", one.size)
        for face in one.chosen:
            is_main.append(face == main)
            if found is None or face is None:
                boxes.append(np.full(4, np.nan))
                scores.append(np.nan)
            else:
                boxes.append(found.boxes[face])
                scores.append(found.scores[face])
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(is_main, bool)
