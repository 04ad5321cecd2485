"""From photographs to the faces that a network takes: found by a detector, one chosen or all, aligned, and counted.

What a detector finds is kept in a cache by the photograph's content. A photograph without a face is reported, never
passed over: whoever asked decides what becomes of it.

Not here: detectors (`faces.detect`), alignments (`align.py`), networks.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faces.cache import Cache, digest_of
from faces.data.chunks import chunks
from faces.detect.detections import Detections, Detector, Rule, select
from faces.errors import DataError
from faces.preprocessing import Preprocessing, align

NUMBERS = 15  # of a face in the cache: score, box, five points


@dataclass(frozen=True)
class Cut:
    """Faces of a row of photographs.

    Args:
        faces: uint8 (photographs, rows, columns, 3), RGB; black where there is none.
        seen: photographs that were there.
        undetected: positions of those in which no face was found.
        several: how many have more than one.
        looked: whether faces were looked for.
        chosen: the detection of each photograph's face; NaN where there is none; None where none were looked for.
    """

    faces: np.ndarray
    seen: int
    undetected: tuple[int, ...]
    several: int
    looked: bool
    chosen: Detections | None = None


@dataclass(frozen=True, eq=False)
class Looked:
    """One photograph, looked at.

    Args:
        row: its position.
        size: its height and width in pixels.
        found: all its faces; None where none were looked for.
        chosen: rows of `found` that are cut out; None stands for a face cut without a detection: the alignment
            needs none, or none was found and there is a fallback.
        pictures: of each chosen one, uint8 (chosen, rows, columns, 3), RGB.
    """

    row: int
    size: tuple[int, int]
    found: Detections | None
    chosen: tuple[int | None, ...]
    pictures: np.ndarray


def cut_faces(
    photographs: Iterable[np.ndarray | None],
    count: int,
    preprocessing: Preprocessing,
    detect: Detector | None,
    rule: Rule,
    fallback: Preprocessing | None = None,
    cache: Cache | None = None,
    progress: Callable[[int], None] = lambda done: None,
    name_of: Callable[[int], str] = lambda row: f"photograph {row + 1}",
) -> Cut:
    """Cut the face out of each photograph.

    Args:
        photographs: uint8 (height, width, 3), RGB, any sizes; None for one that is missing.
        count: how many.
        preprocessing: size and alignment.
        detect: the detector; None where the alignment needs none.
        rule: which of several faces is meant, as `faces.detect.detections.select`.
        fallback: how to cut a photograph in which no face is found, by an alignment that needs none; None leaves it
            black. Either way it is counted.
        cache: of this detector with these options.
        progress: called with the number of photographs done, chunk by chunk.
        name_of: position -> what to call a photograph in the message of an error.
    Raises:
        DataError: a face that was found cannot be cut out.
    """
    faces = np.zeros((count, *preprocessing.size, 3), np.uint8)  # (photographs, rows, columns, 3)
    boxes, points, scores = (np.full((count, *shape), np.nan, np.float32) for shape in ((4,), (5, 2), ()))
    undetected: list[int] = []
    seen = several = 0
    for one in look(photographs, preprocessing, detect, rule, fallback, cache, progress, name_of):
        seen += 1
        if one.found is not None:
            several += len(one.found) > 1
            if not len(one.found):
                undetected.append(one.row)
        if one.chosen:
            faces[one.row] = one.pictures[0]
            if one.found is not None and one.chosen[0] is not None:
                of_face = (values[one.chosen[0]] for values in (one.found.boxes, one.found.points, one.found.scores))
                boxes[one.row], points[one.row], scores[one.row] = of_face
    chosen = Detections(boxes, points, scores) if detect is not None else None
    return Cut(faces, seen, tuple(undetected), several, detect is not None, chosen)


def look(
    photographs: Iterable[np.ndarray | None],
    preprocessing: Preprocessing,
    detect: Detector | None,
    rule: Rule | Literal["all"],
    fallback: Preprocessing | None = None,
    cache: Cache | None = None,
    progress: Callable[[int], None] = lambda done: None,
    name_of: Callable[[int], str] = lambda row: f"photograph {row + 1}",
) -> Iterator[Looked]:
    """Find the faces of each photograph at hand, in their order, and cut out those asked for.

    Args: as `cut_faces`, but for
        rule: as there, or "all": every face is meant, in the order of their scores.
    """
    for chunk in chunks(enumerate(photographs), lambda numbered: _pixels(numbered[1])):
        present = {row: photograph for row, photograph in chunk if photograph is not None}
        found = dict.fromkeys(present) if detect is None else _found(present, detect, cache)
        for row, photograph in present.items():
            try:
                cut = _cut(row, photograph, found[row], preprocessing, rule, fallback)
            except DataError as error:
                raise DataError(f"{name_of(row)}: {error}") from None
            yield cut
        progress(len(chunk))
        chunk, present, photograph = [], {}, None  # nothing is kept while others are read


def _cut(
    row: int,
    photograph: np.ndarray,
    found: Detections | None,
    preprocessing: Preprocessing,
    rule: Rule | Literal["all"],
    fallback: Preprocessing | None,
) -> Looked:
    size = photograph.shape[0], photograph.shape[1]
    chosen = _chosen(found, rule, size)
    pictures = np.empty((len(chosen), *preprocessing.size, 3), np.uint8)  # (chosen, rows, columns, 3)
    for n, face in enumerate(chosen):
        of_face = (None, None) if found is None or face is None else (found.boxes[face], found.points[face])
        pictures[n] = align(preprocessing, photograph, *of_face)
    if not chosen and fallback is not None:
        chosen, pictures = [None], align(fallback, photograph, None, None)[None]
    return Looked(row, size, found, tuple(chosen), pictures)


def _chosen(found: Detections | None, rule: Rule | Literal["all"], size: tuple[int, int]) -> list[int | None]:
    """The detections that are meant; None for the photograph as it is."""
    if found is None:
        return [None]
    if rule == "all":
        return [*range(len(found))]
    best = select(found, rule, size)
    return [] if best is None else [best]


def _pixels(photograph: np.ndarray | None) -> int:
    return 0 if photograph is None else photograph.shape[0] * photograph.shape[1]


def _found(
    photographs: dict[int, np.ndarray], detect: Detector, cache: Cache | None
) -> dict[int, Detections | None]:
    """What is in each photograph, from the cache or looked for now."""
    keys = {row: digest_of(photograph) for row, photograph in photographs.items()}
    known = {row: cache.get(key) for row, key in keys.items()} if cache is not None else {}
    found: dict[int, Detections | None] = {row: _unpacked(v) for row, v in known.items() if v is not None}
    new = [row for row in photographs if row not in found]
    for row, detections in zip(new, detect([photographs[row] for row in new]) if new else [], strict=True):
        found[row] = detections
        if cache is not None:
            cache.put(keys[row], _packed(detections))
    return found


def _packed(detections: Detections) -> np.ndarray:
    parts = (detections.scores[:, None], detections.boxes, detections.points.reshape(-1, 10))
    return np.concatenate(parts, axis=1).ravel()  # (15 faces,)


def _unpacked(vector: np.ndarray) -> Detections:
    if len(vector) % NUMBERS:
        raise DataError("the cache of detections holds something else; delete it, and it is computed anew.")
    faces = vector.reshape(-1, NUMBERS)  # (faces, 15)
    return Detections(faces[:, 1:5], faces[:, 5:].reshape(-1, 5, 2), faces[:, 0])
