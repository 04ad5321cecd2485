"""Looking at labelled photographs: every face that may be meant is found, cut out, and embedded where there is a model.

What was looked at is kept in a folder as the work goes on (`faces.aligned.looks`), group by group; groups are the same
wherever the work was stopped, so that the result is.

Not here: what is left out (`faces.aligned.judging`), a command's options (`experiments.common.aligning`).
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from faces.aligned.looks import CutFace, Look, Looks
from faces.cache import digest_of
from faces.data.chunks import chunks
from faces.data.images import decode_image, encode_png
from faces.data.prepared import EncodedSource
from faces.detect.detections import Detections, Detector, Rule, select
from faces.errors import DataError, ImageError
from faces.preprocessing import NEED_NO_FACE, WHOLE, Preprocessing, align
from faces.sharpness import detail
from recognizer.pipeline import taken_whole

OWN = "nearest_to_person"
"""In place of a rule: of several faces the one that is nearest to the person's centre is meant."""


@dataclass(frozen=True)
class Embedding:
    """A model that embeds the faces.

    Args:
        preprocessing: of the model. Where its alignment needs no face, it embeds the faces as they are cut for the set.
        embed: aligned faces, uint8 (n, rows, columns, 3) -> float32 (n, d).
    """

    preprocessing: Preprocessing
    embed: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class How:
    """How faces are looked for and cut out.

    Args:
        detect: who finds them.
        select: which of several is meant; `OWN` where each may be.
        alignment: how they are cut out, its range of values and flip apart.
        embedding: None without a model.
    """

    detect: Detector
    select: Rule | str
    alignment: Preprocessing
    embedding: Embedding | None = None


@dataclass
class _Seen:
    """A photograph that is being looked at."""

    sha256: str
    image: np.ndarray | None
    unreadable: str = ""


def of_set(alignment: str, side: int, margin: float = 0.0, resized: int = 0) -> Preprocessing:
    """The alignment of a set of square faces."""
    return Preprocessing((side, side), "rgb", 0.0, 1.0, alignment, margin, resized, WHOLE, "none")  # type: ignore[arg-type]


def look_at_all(source: EncodedSource, looks: Looks, how: How) -> Iterator[int]:
    """Look at the photographs of a source that `looks` has not yet, in their order; how many are done, group by group.

    Args:
        source: the photographs.
        looks: those before; the others are added.
        how: by which detector, and so on.
    Raises:
        DataError: a photograph that was looked at is another one now.
    """
    _check_same(source, looks)
    left = range(len(looks), len(source))
    for group in chunks((_read(source, row) for row in left), _pixels):
        present = [one for one in group if one.image is not None]
        images = [one.image for one in present if one.image is not None]
        found = dict(zip(map(id, present), how.detect(images) if images else [], strict=True))
        parts = [_cut(one, found.get(id(one)), how) for one in group]
        embeddings = _embeddings([face for _, faces in parts for face in faces], how)
        done = []
        for look, faces in parts:
            cut = [
                CutFace(face.found, looks.place(encode_png(face.picture)), round(detail(face.picture), 6),
                        looks.place(next(embeddings).tobytes()) if how.embedding else None)
                for face in faces
            ]  # fmt: skip
            done.append(dataclasses.replace(look, cut=tuple(cut)))
        looks.end_group(done)
        yield len(looks)


def _check_same(source: EncodedSource, looks: Looks) -> None:
    """Refuse to go on with photographs that have changed since they were looked at."""
    if len(looks) > len(source):
        raise DataError(f"{source.name}: more photographs were looked at than are there; begin anew with --overwrite.")
    for row, look in enumerate(looks.looks):
        if _bytes(source, row)[0] != look.sha256:
            raise DataError(
                f"{source.name}: {source.source_name(row)} has changed since it was looked at; put it back, or begin "
                "anew with --overwrite."
            )


def _bytes(source: EncodedSource, row: int) -> tuple[str, bytes, str]:
    """Hash and bytes of a photograph, or why there are none."""
    name = source.source_name(row)
    try:
        content = source.encoded(row)
    except ImageError as error:
        return "", b"", str(error).removeprefix(f"{name}: ")
    return hashlib.sha256(content).hexdigest(), content, ""


def _read(source: EncodedSource, row: int) -> _Seen:
    sha256, content, why = _bytes(source, row)
    if why:
        return _Seen(sha256, None, why)
    name = source.source_name(row)
    try:
        return _Seen(sha256, decode_image(content, name))
    except ImageError as error:
        return _Seen(sha256, None, str(error).removeprefix(f"{name}: "))


def _pixels(one: _Seen) -> int:
    return 0 if one.image is None else one.image.shape[0] * one.image.shape[1]


@dataclass
class _Face:
    """A face that was cut out: for the set, and for the model."""

    found: int | None
    picture: np.ndarray
    of_model: np.ndarray | None


def _cut(one: _Seen, found: Detections | None, how: How) -> tuple[Look, list[_Face]]:
    """What is known of a photograph before its faces are on disk, and those faces."""
    if one.image is None or found is None:
        return Look(one.sha256, unreadable=one.unreadable), []
    image, faces, uncut = one.image, list[_Face](), list[str]()
    for face in _candidates(found, how.select, (image.shape[0], image.shape[1])):
        place = (None, None) if face is None else (found.boxes[face], found.points[face])
        try:
            faces.append(_face(face, image, *place, how))
        except DataError as error:
            uncut.append(str(error).rstrip("."))
    boxes = tuple(tuple(round(float(edge), 3) for edge in box) for box in found.boxes)
    return Look(one.sha256, digest_of(image).hex(), "", boxes, (), tuple(uncut)), faces


def _candidates(found: Detections, rule: Rule | str, size: tuple[int, int]) -> list[int | None]:
    """The detections that may be meant; None for the photograph's middle, where there are none."""
    if not len(found):
        return [None]
    if rule == OWN:
        return [*range(len(found))]
    return [select(found, rule, size)]  # type: ignore[arg-type]


def _face(
    found: int | None, image: np.ndarray, box: np.ndarray | None, points: np.ndarray | None, how: How
) -> _Face:
    picture = align(how.alignment if found is not None else _middle(how.alignment), image, box, points)
    if how.embedding is None:
        return _Face(found, picture, None)
    wanted = how.embedding.preprocessing
    if wanted.alignment in NEED_NO_FACE:
        return _Face(found, picture, align(taken_whole(wanted), picture, None, None))
    if _places(wanted) == _places(how.alignment):
        return _Face(found, picture, picture)
    return _Face(found, picture, align(wanted if found is not None else _middle(wanted), image, box, points))


def _places(preprocessing: Preprocessing) -> dict[str, Any]:
    """What decides on a picture, before its values change."""
    return {name: getattr(preprocessing, name) for name in ("size", "alignment", "margin", "resized", "box")}


def _middle(preprocessing: Preprocessing) -> Preprocessing:
    return dataclasses.replace(taken_whole(preprocessing), alignment="centre_crop")


def _embeddings(faces: list[_Face], how: How) -> Iterator[np.ndarray]:
    pictures = [face.of_model for face in faces if face.of_model is not None]
    if how.embedding is None or not pictures:
        return iter(())
    return iter(how.embedding.embed(np.stack(pictures)).astype(np.float32))
