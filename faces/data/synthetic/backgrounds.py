"""What stands behind the faces of a composed scene: colour, texture, shapes, and pieces of crops that show no face.

Everything is drawn anew for each scene. The pieces come from the rims of face crops, left and right of the face, where
hair, ears, shoulders and the backgrounds of photographs lie, so that a scene of real crops has the texture of
photographs. `decoy` makes a whole paste of such a rim, or of a face cut in tiles and shuffled: eyes and mouths that are
no face.

Not here: faces, and where they go (`scenes.py`).
"""

import cv2
import numpy as np

from faces.data.source import FaceSource
from faces.errors import DataError

_RIM = 1 / 8  # of a crop's width; the face begins at 15.5 of 112
_TILES = 4  # a side of a shuffled face


def paint_background(faces: FaceSource, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A canvas without faces.

    Args:
        faces: square aligned crops, whose rims are used.
        size: rows and columns.
        rng: of the draw.

    Returns:
        float32 (rows, columns, 3), 0..255.
    """
    image = (_gradient, _clouds, _stripes)[rng.integers(3)](size, rng)
    for _ in range(rng.integers(0, 12)):
        _lay(image, _rim_piece(faces, rng), rng)
    for _ in range(rng.integers(0, 15)):
        _draw_shape(image, rng)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.5))
    return image


def draw_crop(faces: FaceSource, rng: np.random.Generator) -> np.ndarray:
    """A random crop, uint8 (side, side, 3). DataError where it is not square."""
    crop = faces[int(rng.integers(len(faces)))]
    if crop.shape[0] != crop.shape[1]:
        raise DataError(f"{faces.name}: a crop of {crop.shape[0]}x{crop.shape[1]} pixels; square ones are expected.")
    return crop


def decoy(faces: FaceSource, rng: np.random.Generator) -> np.ndarray:
    """A square piece that is no face, uint8 (side, side, 3): a shuffled face, a rim made large, or clouds."""
    kind = rng.integers(3)
    if kind == 0:
        crop = draw_crop(faces, rng)
        tile = len(crop) // _TILES
        side = tile * _TILES
        tiles = crop[:side, :side].reshape(_TILES, tile, _TILES, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)
        tiles = tiles[rng.permutation(len(tiles))].reshape(_TILES, _TILES, tile, tile, 3)
        return np.ascontiguousarray(tiles.swapaxes(1, 2).reshape(side, side, 3))
    if kind == 1:
        return cv2.resize(_rim_piece(faces, rng), (112, 112), interpolation=cv2.INTER_CUBIC)
    return _clouds((112, 112), rng).astype(np.uint8)


def recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure, contrast and tint: float32 like `image`, 0..255."""
    grey = image.mean(axis=(0, 1), keepdims=True)
    image = grey + rng.uniform(0.6, 1.2) * (image - grey)
    if rng.random() < 0.15:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    gain = rng.uniform(0.65, 1.25) * rng.uniform(0.9, 1.1, 3)
    return np.clip(image * gain.astype(np.float32), 0, 255).astype(np.float32)


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Any colour, pale ones more often than strong ones, float32 (3,)."""
    vivid, grey = rng.uniform(0, 255, 3), rng.uniform(0, 255)
    return (grey + rng.random() * (vivid - grey)).astype(np.float32)


def _mix(share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two colours in the proportion `share`, float32 (rows, columns): float32 (rows, columns, 3)."""
    first, second = _colour(rng), _colour(rng)
    return first + share[..., None] * (second - first)


def _ramp(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A slope of random direction, 0..1, float32 (rows, columns)."""
    angle = rng.uniform(0, 2 * np.pi)
    down, across = (np.arange(side, dtype=np.float32) for side in size)
    slope = down[:, None] * np.float32(np.sin(angle)) + across[None] * np.float32(np.cos(angle))
    return (slope - slope.min()) / max(float(np.ptp(slope)), 1.0)


def _gradient(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return _mix(_ramp(size, rng), rng)


def _stripes(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    waves = np.sin(_ramp(size, rng) * np.float32(rng.uniform(6, 120)))
    if rng.random() < 0.5:
        waves *= np.sin(_ramp(size, rng) * np.float32(rng.uniform(6, 120)))
    return _mix(np.clip(0.5 + np.float32(rng.uniform(0.5, 4)) * waves, 0, 1), rng)


def _clouds(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise of several grain sizes down to 4 pixels, each half as strong as the next coarser one or more."""
    image = np.zeros((*size, 3), np.float32)
    strength, decay, cells = 1.0, rng.uniform(0.5, 0.9), 2
    while cells <= max(size) / 4:
        grid = np.float32(strength) * rng.standard_normal((cells, cells, 3), np.float32)
        image += cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        strength, cells = strength * decay, cells * 2
    return np.clip(_colour(rng) + np.float32(rng.uniform(15, 60)) * image, 0, 255)


def _rim_piece(faces: FaceSource, rng: np.random.Generator) -> np.ndarray:
    """A square from the left or right rim of a random crop, uint8."""
    crop = draw_crop(faces, rng)
    side = max(1, int(len(crop) * _RIM))
    top = rng.integers(0, len(crop) - side + 1)
    left = rng.choice([0, len(crop) - side])
    return crop[top : top + side, left : left + side]


def _lay(image: np.ndarray, piece: np.ndarray, rng: np.random.Generator) -> None:
    """Put a piece, made large, somewhere in the image."""
    rows, columns = image.shape[:2]
    height, width = (int(rng.uniform(0.1, 0.7) * side) + 1 for side in (rows, columns))
    top, left = rng.integers(0, rows - height + 1), rng.integers(0, columns - width + 1)
    large = cv2.resize(piece, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    image[top : top + height, left : left + width] = large


def _draw_shape(image: np.ndarray, rng: np.random.Generator) -> None:
    """An ellipse, rectangle, triangle or line of one colour."""
    rows, columns = image.shape[:2]
    colour = _colour(rng).tolist()
    x, y = int(rng.integers(columns)), int(rng.integers(rows))
    reach = max(2.0, float(np.exp(rng.uniform(np.log(3), np.log(0.35 * min(rows, columns) + 3)))))
    width, height = int(rng.uniform(0.3, 1) * reach) + 1, int(rng.uniform(0.3, 1) * reach) + 1
    kind, thickness = rng.integers(4), int(rng.choice([-1, 1, 2, 4]))
    if kind == 0:
        cv2.ellipse(image, (x, y), (width, height), float(rng.uniform(0, 180)), 0, 360, colour, thickness, cv2.LINE_8)
    elif kind == 1:
        cv2.rectangle(image, (x - width, y - height), (x + width, y + height), colour, thickness)
    elif kind == 2:
        corners = (np.array([x, y]) + rng.uniform(-reach, reach, (3, 2))).astype(np.int32)
        cv2.fillPoly(image, [corners], colour)
    else:
        end = (int(x + rng.uniform(-3, 3) * reach), int(y + rng.uniform(-3, 3) * reach))
        cv2.line(image, (x, y), end, colour, max(1, thickness), cv2.LINE_8)
