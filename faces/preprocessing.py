"""What happens to a photograph before a network sees it, as it is stored with the network's weights.

A network is of use only on the images it was trained for. So their size, the order and range of their channels, the
way faces are aligned, and what is done with the mirrored image go wherever the weights go.

Not here: the alignments themselves (`align.py`), and reading the stored file (`recognizer.model`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np

from faces.align import ALIGNMENTS
from faces.errors import ConfigError
from faces.ops import PerChannel
from faces.ranges import Range
from faces.schema import Rule


@dataclass(frozen=True)
class Preprocessing:
    """From a photograph to the network's input, and from its outputs to one embedding."""

    size: Annotated[tuple[int, int], Range(1, 65536)]
    """Rows and columns of the input."""
    channels: Literal["rgb", "bgr"]
    """Order of the input's channels."""
    mean: Annotated[PerChannel, Range(-1e6, 1e6)]
    """Subtracted from values of 0..255."""
    scale: Annotated[PerChannel, Range(0, 1e6, above=True)]
    """Divides them afterwards: (x - mean) / scale."""
    alignment: Literal["five_points", "box_margin", "two_eyes", "centre_crop", "fixed_box", "letterbox"]
    """Name in `faces.align.ALIGNMENTS`."""
    margin: Annotated[float, Range(0, 65536)]
    """Of "box_margin": pixels added to the box's width and height, half on each side; 0 with the others."""
    resized: Annotated[int, Range(0, 65536)]
    """Of "box_margin": side of the square to which the box is stretched and of which the middle is kept; 0: no more
    than the input, and with the others."""
    box: Annotated[tuple[float, float, float, float], Range(0, 1)]
    """Of "fixed_box": left, top, right, bottom as fractions of width and height; all of the image with the others."""
    flip: Literal["none", "sum", "concatenate"]
    """The mirrored image's embedding: left out; added, as the network gives it; or put behind the other."""
    illumination: Literal["histogram", "tan_triggs"] | None = field(default=None, kw_only=True)
    """What brings all light to one before the range (`faces.illumination`); absent: nothing."""

    def rules(self) -> list[Rule]:
        """As `faces.schema.Checked.rules`."""
        left, top, right, bottom = self.box
        return [
            (min(self.size) > 0, "preprocessing.size: rows and columns must be positive"),
            (all(math.isfinite(one) for one in numbers(self.mean)), "preprocessing.mean: must be finite"),
            (
                all(math.isfinite(one) and one > 0 for one in numbers(self.scale)),
                "preprocessing.scale: must be positive",
            ),
            (
                (self.margin >= 0 and self.resized >= 0)
                and (self.alignment == "box_margin" or self.margin == self.resized == 0),
                'preprocessing: margin and resized are of "box_margin", not negative, and 0 with the others',
            ),
            (
                self.resized == 0 or self.resized >= max(self.size),
                "preprocessing.resized: 0, or a square that holds the input",
            ),
            (
                left < right and top < bottom and (self.alignment == "fixed_box" or self.box == WHOLE),
                'preprocessing.box: left, top, right, bottom in this order; 0, 0, 1, 1 unless alignment is "fixed_box"',
            ),
        ]


def numbers(value: PerChannel) -> Sequence[float]:
    """Of all channels, or of each."""
    return value if isinstance(value, tuple) else (value,)


PIXELS = ("channels", "mean", "scale", "size")
"""What belongs to a network's input, however a face is cut out for it, and a person may say of a file."""


def pixels_of(preprocessing: Preprocessing) -> dict[str, Any]:
    """The values of `PIXELS`, and what is done with the light."""
    return {key: getattr(preprocessing, key) for key in (*PIXELS, "illumination")}


NEED_NO_FACE = ("centre_crop", "fixed_box", "letterbox")
"""Alignments that ask no detector."""
WHOLE = (0.0, 0.0, 1.0, 1.0)
"""Box of a whole image."""


def align(
    preprocessing: Preprocessing, image: np.ndarray, box: np.ndarray | None, points: np.ndarray | None
) -> np.ndarray:
    """A photograph's face as the network's input, before its range is changed.

    Args:
        image: uint8 (height, width, 3), RGB.
        box: (4,), left, top, right, bottom in pixels; None where the alignment needs none.
        points: (5, 2), likewise.
    Returns:
        uint8 (rows, columns, 3), RGB.
    Raises:
        DataError: as `faces.align.Alignment`.
    """
    options: dict[str, Any] = {}
    if preprocessing.alignment == "box_margin":
        options = {"margin": preprocessing.margin, "resized": preprocessing.resized or None}
    elif preprocessing.alignment == "fixed_box":
        options = {"fractions": preprocessing.box}
    return ALIGNMENTS[preprocessing.alignment](image, box, points, preprocessing.size, **options)


def check_pictures(preprocessing: Preprocessing, images: np.ndarray) -> None:
    """Refuse images that are not what `align` makes.

    Args:
        images: (n, rows, columns, 3).
    Raises:
        ConfigError: of another size, or not uint8: their range would be a guess.
    """
    expected = (*preprocessing.size, 3)
    if images.shape[1:] != expected or images.dtype != np.uint8:
        raise ConfigError(
            f"pictures of {'x'.join(map(str, images.shape[1:]))} in {images.dtype} were given to a network whose "
            f"weights are stored with {'x'.join(map(str, expected))} in uint8; align them by its preprocessing."
        )
