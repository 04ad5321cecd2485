"""WIDER FACE, photographs of 61 events with every face boxed, and the five points that RetinaFace's authors added.

    ROOT/WIDER_train/images/EVENT/NAME.jpg
    ROOT/wider_face_split/wider_face_train_bbx_gt.txt

`wider_face_train_bbx_gt.txt` has for each image its path, the number of its faces and a line for each face,
`x y w h blur expression illumination invalid occlusion pose`; an image without faces says 0 and has a line of zeros all
the same. RetinaFace's `label.txt` has `# path` and a line for each face, `x y w h` and, in the training part, five
times `x y flag` and a score: left eye, right eye, nose, left and right corner of the mouth, all -1 where nobody marked
them. Boxes become (x, y, x + w, y + h) in the numbers of the files.

The subsets easy, medium and hard name faces of an image by their places in its list, from 1: MATLAB files
(`wider_easy_val.mat`), or text with a line for each image, the path and the numbers, tab-separated.

Not here: average precision (`faces.evaluate.detection`), what training does with a box without points.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from faces.data.images import read_image
from faces.data.lists import read_lines
from faces.data.mat_file import Value, read_mat
from faces.data.named_files import NamedFiles
from faces.errors import DataError

Part = Literal["train", "val"]
ATTRIBUTES = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
_INVALID = ATTRIBUTES.index("invalid")
_WITHOUT_POINTS, _WITH_POINTS = 4, (19, 20)  # numbers of a line in label.txt
_LISTED_IMAGES = "wider_face_val.mat"


@dataclass(frozen=True, eq=False)
class WiderImage:
    """The faces of one image, in the order of the file.

    Args:
        path: EVENT/NAME.jpg.
        boxes: float32 (n, 4): left, top, right, bottom in pixels; some have no area.
        points: float32 (n, 5, 2), 0 where they are not marked.
        has_points: bool (n,), whether all five are marked.
        attributes: int8 (n, 6), those of ATTRIBUTES, 0 for the usual case; -1 where the file does not state them.
    """

    path: str
    boxes: np.ndarray
    points: np.ndarray
    has_points: np.ndarray
    attributes: np.ndarray

    @property
    def is_usable(self) -> np.ndarray:
        """Which boxes a detector can learn from, bool (n,): those with an area that are not marked as invalid."""
        return (self.boxes[:, 2:] > self.boxes[:, :2]).all(axis=1) & (self.attributes[:, _INVALID] < 1)


@dataclass(frozen=True)
class WiderFaces:
    """Annotations and the folder of their images; len() is the number of images."""

    root: Path
    images: list[WiderImage]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def missing(self) -> list[str]:
        """Paths that the annotations name and the folder does not hold."""
        return [image.path for image in self.images if self._files.file(image.path) is None]

    def load(self, index: int) -> np.ndarray:
        """Image `index`, uint8 (height, width, 3), RGB. ImageError where it cannot be read."""
        path = self.images[index].path
        return read_image(self._files.file(path) or self.root / path)

    @functools.cached_property
    def _files(self) -> NamedFiles:
        return NamedFiles(self.root)


def open_wider(root: Path | str, part: Part, labels: Path | str | None = None) -> WiderFaces:
    """One part of WIDER FACE.

    Args:
        root: the folder with WIDER_train and the like in it.
        part: "train" or "val".
        labels: RetinaFace's label.txt of this part; by default the official boxes.

    Raises:
        DataError: no annotations or no folder of images there; annotations that are malformed.
    """
    root = Path(root)
    images = root / f"WIDER_{part}" / "images"
    if not images.is_dir():
        raise DataError(f"{images}: no such folder; unpack WIDER_{part}.zip in {root}.")
    if labels is not None:
        return WiderFaces(images, read_points(labels))
    return WiderFaces(images, read_boxes(root / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt"))


def read_boxes(path: Path | str) -> list[WiderImage]:
    """Annotations of `wider_face_*_bbx_gt.txt`.

    Raises:
        DataError: no such file, or a malformed line, by its number.
    """
    lines = read_lines(Path(path))
    images, at = [], 0
    while at < len(lines):
        line, text = lines[at]
        name = _checked_name(path, line, text)
        count = lines[at + 1][1] if at + 1 < len(lines) else ""
        if not (count.isascii() and count.isdigit() and len(count) < 7):
            raise DataError(f'{path}, line {line + 1}: the number of faces of "{name}" expected, found "{count[:80]}".')
        at += 2
        faces = int(count)
        if at + faces > len(lines):
            raise DataError(f"{path}, line {line + 1}: {faces:,} faces declared, {len(lines) - at:,} lines follow.")
        rows = [_numbers(path, *lines[at + face], (10,)) for face in range(faces)]
        at += faces
        if faces == 0 and at < len(lines) and set(lines[at][1].split()) == {"0"}:
            at += 1
        values = np.array(rows, np.float64).reshape(-1, 10)
        images.append(_image(path, line, name, values[:, :4], values[:, 4:], np.full((faces, 5, 3), -1.0)))
    return _not_empty(path, images)


def read_points(path: Path | str) -> list[WiderImage]:
    """Annotations of RetinaFace's `label.txt`, with five points or without.

    Raises:
        DataError: no such file, or a malformed line, by its number.
    """
    lines = read_lines(Path(path))
    images, at = [], 0
    while at < len(lines):
        line, text = lines[at]
        if not text.startswith("#"):
            raise DataError(f'{path}, line {line}: "# EVENT/NAME.jpg" expected, found "{text[:80]}".')
        name = _checked_name(path, line, text[1:].strip())
        rows, at = [], at + 1
        while at < len(lines) and not lines[at][1].startswith("#"):
            row = _numbers(path, *lines[at], (_WITHOUT_POINTS, *_WITH_POINTS))
            rows.append((row + [-1.0] * 15)[:19])
            at += 1
        values = np.array(rows, np.float64).reshape(-1, 19)
        unstated = np.full((len(rows), len(ATTRIBUTES)), -1.0)
        images.append(_image(path, line, name, values[:, :4], unstated, values[:, 4:].reshape(-1, 5, 3)))
    return _not_empty(path, images)


def read_subset(path: Path | str, images: Sequence[WiderImage]) -> list[np.ndarray]:
    """Which faces a subset counts, bool (n,) of each image; none of an image that it does not name.

    Args:
        path: `wider_easy_val.mat` or the like (where it does not name the images itself, `wider_face_val.mat` beside it
            does), or text.
        images: the annotations.

    Raises:
        DataError: a malformed file; a number beyond an image's faces; an image that is not among these.
    """
    path = Path(path)
    counted = _subset_of_mat(path) if path.suffix == ".mat" else _subset_of_text(path)
    unknown = sorted(counted.keys() - {image.path for image in images})
    if unknown:
        raise DataError(f'{path}: "{unknown[0][:80]}" is not among the {len(images):,} images; give the same part.')
    marks = []
    for image in images:
        mark = np.zeros(len(image.boxes), bool)
        places = counted.get(image.path, [])
        beyond = [place for place in places if not 1 <= place <= len(mark)]
        if beyond:
            raise DataError(f"{path}: face {beyond[0]} of {image.path} is named, which has {len(mark)}, from 1.")
        mark[[place - 1 for place in places]] = True
        marks.append(mark)
    return marks


def _subset_of_text(path: Path) -> dict[str, list[int]]:
    counted = {}
    for line, text in read_lines(path):
        name, *places = text.split("\t")
        if not all(place.isascii() and place.isdigit() and len(place) < 7 for place in places):
            raise DataError(f'{path}, line {line}: a path and numbers, tab-separated, expected, found "{text[:80]}".')
        counted[_checked_name(path, line, name)] = [int(place) for place in places]
    return counted


def _subset_of_mat(path: Path) -> dict[str, list[int]]:
    variables = read_mat(path, ("gt_list", "event_list", "file_list"))
    if not {"event_list", "file_list"} <= variables.keys():
        variables |= read_mat(path.with_name(_LISTED_IMAGES), ("event_list", "file_list"))
    counted = {}
    try:
        events, files, lists = (variables[name] for name in ("event_list", "file_list", "gt_list"))
        for event, names, subsets in zip(events, files, lists, strict=True):
            for name, places in zip(names, subsets, strict=True):
                key = _checked_name(path, None, f"{_text(event)}/{_text(name)}.jpg")
                counted[key] = [int(place) for place in np.ravel(np.asarray(places))]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(
            f"{path}: event_list, file_list and gt_list of the same events and images expected; get the file again."
        ) from None
    return counted


def _text(value: Value) -> str:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _checked_name(path: Path | str, line: int | None, name: str) -> str:
    """`name` as EVENT/NAME.jpg that stays in its folder."""
    parts = name.split("/")
    plain = len(parts) == 2 and all(part not in ("", ".", "..") and not set(part) & set("\\\0:") for part in parts)
    if not plain or PurePosixPath(name).suffix.lower() not in (".jpg", ".jpeg", ".png"):
        place = f"{path}, line {line}" if line else f"{path}"
        raise DataError(f'{place}: EVENT/NAME.jpg expected, found "{name[:80]}".')
    return name


def _numbers(path: Path | str, line: int, text: str, counts: Sequence[int]) -> list[float]:
    """The numbers of a face's line."""
    fields = text.split()
    expected = " or ".join(str(count) for count in counts)
    if len(fields) not in counts:
        raise DataError(f'{path}, line {line}: {expected} numbers expected, {len(fields)} found ("{text[:80]}").')
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = [np.nan]
    if not np.isfinite(values).all() or np.abs(values).max() > 1e6:
        raise DataError(f'{path}, line {line}: {expected} numbers of pixels expected, found "{text[:80]}".')
    if min(values[2:4]) < 0:
        raise DataError(f'{path}, line {line}: a width or height below 0 ("{text[:80]}").')
    if len(fields) == 10 and not set(values[4:]) <= {0.0, 1.0, 2.0}:
        raise DataError(f'{path}, line {line}: six marks of 0, 1 or 2 expected after the box, found "{text[:80]}".')
    return values


def _image(
    path: Path | str, line: int, name: str, boxes: np.ndarray, attributes: np.ndarray, points: np.ndarray
) -> WiderImage:
    """Of boxes (n, 4) as x, y, w, h, attributes (n, 6), and points (n, 5, 3) with their flags."""
    marked = np.all(points[..., 2] >= 0, axis=1)  # (n,)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return WiderImage(
        name,
        corners.astype(np.float32),
        np.where(marked[:, None, None], points[..., :2], 0.0).astype(np.float32),
        marked,
        attributes.astype(np.int8),
    )


def _not_empty(path: Path | str, images: list[WiderImage]) -> list[WiderImage]:
    if not images:
        raise DataError(f"{path}: no image in it; annotations of WIDER FACE are expected.")
    return images
