"""Faces of any size: an image is looked at in as many sizes as it takes to bring every face into the detector's range.

A detector knows faces from some pixels to some others. A larger one it does not find, and worse, it takes patches of it
for faces. So an image whose faces may be too large is made smaller, step by step, until none can be; and where all of
it is too much at once, a look goes over it in tiles, so that no image takes more memory than a tile. What the looks
say is joined by three rules:

1. A look is believed for the faces in its range alone. What is larger is the business of the next one.
2. What lies inside a face that is too large for a look is a patch of that face.
3. A face that the next look must see clearly as well, and does not see, is none.

An image whose shorter side is no larger than the largest face, and which is no larger than a tile, is looked at once,
as it is.

Not here: the detectors, one look at images made smaller (`shrink.py`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from faces.detect.boxes import box_iou
from faces.detect.detections import NOTHING, Detections, Detector, chosen
from faces.detect.shrink import enlarged

TILE = 1024
"""Most pixels along a side of a tile; a look at no more than `TILE` x `TILE` pixels is not cut."""
OVERLAP = 256
"""Pixels that two neighbouring tiles share, at least."""
WHOLE = 192
"""Largest face that is believed in a tile: it lies in one of them whole, with `OVERLAP - WHOLE` pixels around it."""
STEP = 2.0
"""Most that an image shrinks by from one look to the next."""
CLEAR = 2.5
"""A face of so many times the smallest is seen clearly: of RetinaFace's published weights, 30 of 30 faces of 41 pixels
of photographs made smaller, 20 of 30 of 27 pixels."""
SAME = 0.4
"""Faces of two looks whose boxes overlap by more, intersection over union, are one."""
INSIDE = 0.5
"""A patch has more than this part of its box inside the box of its face."""
AT_ONCE = 16 * TILE * TILE
"""Pixels of the pieces that are held at a time."""


@dataclass(frozen=True)
class Sizes:
    """The faces that a detector finds in one look.

    Args:
        smallest: longer side of the smallest face's box in pixels.
        largest: of the largest face's.
        picture: longer side of the images that it knows, where it takes texture for faces in larger ones; else None.
    """

    smallest: float
    largest: float
    picture: int | None = None


@dataclass(frozen=True)
class Look:
    """An image at one size.

    Attributes:
        size: rows and columns.
        tiles: top, left, bottom, right of what is looked at; all of it where there is one.
        largest: longer side of the largest face that is believed.
    """

    size: tuple[int, int]
    tiles: tuple[tuple[int, int, int, int], ...]
    largest: float


def of_any_size(detect: Detector, sizes: Sizes) -> Detector:
    """The same detector, which finds faces from `sizes.smallest` pixels up to the whole image.

    Images that need one look are given to it as they are, together. Whatever their size, pieces of `AT_ONCE` pixels
    or of one image are held at a time.

    Args:
        detect: a detector.
        sizes: of the faces that it finds.
    """

    def detect_all(images: Sequence[np.ndarray]) -> list[Detections]:
        found = list[Detections]()
        for group in _groups(images, sizes):
            pieces = [piece for image, looks in group for piece in _pieces(image, looks)]
            of_pieces = iter(detect(pieces))
            del pieces
            for image, looks in group:
                of_looks = [[next(of_pieces) for _ in look.tiles] for look in looks]
                is_one = len(looks) == 1
                found.append(of_looks[0][0] if is_one else merged(image.shape[:2], looks, of_looks, sizes))
        return found

    return detect_all


def looks_at(height: int, width: int, sizes: Sizes) -> list[Look]:
    """How an image is looked at, from its own size to that in which every face is in range."""
    least = min(1.0, sizes.largest / min(height, width), TILE / math.sqrt(height * width))
    believed = min(sizes.largest, WHOLE)
    step = min(STEP, max(math.sqrt(2.0), believed / (CLEAR * sizes.smallest)))
    steps = math.ceil(-math.log(least) / math.log(step) - 1e-9)
    looks = []
    for number in range(steps):
        scale = least ** (number / steps)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        is_whole = size[0] * size[1] <= TILE * TILE
        tiles = ((0, 0, *size),) if is_whole else _tiles(*size)
        looks.append(Look(size, tiles, sizes.largest if is_whole else believed))
    last = max(1, round(height * least)), max(1, round(width * least))
    return [*looks, Look(last, ((0, 0, *last),), math.inf)]


def merged(
    size: tuple[int, int], looks: Sequence[Look], found: Sequence[Sequence[Detections]], sizes: Sizes
) -> Detections:
    """The faces of an image from what each look found in each of its tiles.

    Of a face that several looks find the one with most pixels is kept.

    Args:
        size: rows and columns of the image.
        looks: of `looks_at`.
        found: of each look's tiles, in the tile's pixels.
        sizes: of the faces that the detector finds.

    Returns:
        In the image's pixels, best score first.
    """
    kept, clear = NOTHING, math.inf
    for look, of_tiles in zip(reversed(looks), reversed(found), strict=True):
        believed = [_believed(look, *pair) for pair in zip(look.tiles, of_tiles, strict=True)]
        fine = _in_picture(_without_doubles(_joined(believed)), look.size, size)
        pixel = size[0] / look.size[0]
        too_large = kept.boxes[_longer(kept.boxes) > look.largest * pixel]
        is_patch = np.any(_part(fine.boxes, too_large) > INSIDE, axis=1)
        again = box_iou(kept.boxes, fine.boxes) > SAME  # (kept, fine)
        is_doubted = (_longer(fine.boxes) >= clear) & ~np.any(again, axis=0)
        is_face = np.flatnonzero(~is_patch & ~is_doubted)
        is_double = np.any(again[:, is_face], axis=1)
        kept = _joined([chosen(fine, is_face), chosen(kept, np.flatnonzero(~is_double))])
        clear = CLEAR * sizes.smallest * pixel
    return chosen(kept, np.argsort(-kept.scores, kind="stable"))


def _groups(images: Sequence[np.ndarray], sizes: Sizes) -> Iterator[list[tuple[np.ndarray, list[Look]]]]:
    """Images with their looks, so many together as `AT_ONCE` allows."""
    group, pixels = list[tuple[np.ndarray, list[Look]]](), 0
    for image in images:
        looks = looks_at(image.shape[0], image.shape[1], sizes)
        own = sum((bottom - top) * (right - left) for look in looks for top, left, bottom, right in look.tiles)
        if group and pixels + own > AT_ONCE:
            yield group
            group, pixels = [], 0
        group.append((image, looks))
        pixels += own
    if group:
        yield group


def _pieces(image: np.ndarray, looks: Sequence[Look]) -> Iterator[np.ndarray]:
    for look in looks:
        height, width = look.size
        resized = image
        if look.size != image.shape[:2]:
            resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        for top, left, bottom, right in look.tiles:
            yield resized[top:bottom, left:right]


def _tiles(height: int, width: int) -> tuple[tuple[int, int, int, int], ...]:
    return tuple(
        (top, left, bottom, right) for top, bottom in _parts(height) for left, right in _parts(width)
    )


def _parts(side: int) -> list[tuple[int, int]]:
    """Beginnings and ends of equal parts of a side, with `OVERLAP` or more in common."""
    count = max(1, math.ceil((side - OVERLAP) / (TILE - OVERLAP)))
    length = math.ceil((side + (count - 1) * OVERLAP) / count)
    starts = np.linspace(0, side - length, count).round().astype(int).tolist()
    return [(start, start + length) for start in starts]


def _believed(look: Look, tile: tuple[int, int, int, int], found: Detections) -> Detections:
    """Those in range that no edge of a tile inside the image cuts, in the look's pixels."""
    top, left, bottom, right = tile
    rows, columns = look.size
    corner = np.array([left, top], np.float32)
    boxes = found.boxes + np.tile(corner, 2)
    low = np.where(corner > 0, corner, -np.inf)
    high = np.where(np.array([right, bottom]) < np.array([columns, rows]), np.array([right, bottom]) - 1, np.inf)
    is_whole = ((boxes[:, :2] > low) & (boxes[:, 2:] < high)).all(axis=1)
    moved = Detections(boxes, found.points + corner, found.scores)
    return chosen(moved, is_whole & (_longer(boxes) <= look.largest))


def _without_doubles(found: Detections) -> Detections:
    """Without the weaker of two that are one face, found in two tiles."""
    overlap, kept = box_iou(found.boxes, found.boxes), list[int]()
    for row in np.argsort(-found.scores, kind="stable").tolist():
        if not (overlap[row, kept] > SAME).any():
            kept.append(row)
    return chosen(found, np.array(kept, int))


def _in_picture(found: Detections, look: tuple[int, int], size: tuple[int, int]) -> Detections:
    return Detections(enlarged(found.boxes, look, size), enlarged(found.points, look, size), found.scores)


def _joined(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _longer(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1)  # (n,)


def _part(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Part of each box that lies inside each of the others, (n, m)."""
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)  # (n,)
    return np.prod(np.maximum(sides, 0.0), axis=2) / np.maximum(areas, 1e-9)[:, None]
