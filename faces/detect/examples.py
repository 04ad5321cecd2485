"""Annotated images, which detectors are trained on.

Not here: where they come from (`faces.data.wider`, `faces.data.synthetic.scenes`), what training makes of them (each
detector's own `examples.py`).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

MIRRORED = [1, 0, 2, 4, 3]
"""Order of the five points in a mirrored image: the left eye and corner of the mouth become the right ones."""


@dataclass(frozen=True, eq=False)
class Example:
    """An annotated image. Pixels count from the centre of the first.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        boxes: float32 (n, 4): left, top, right, bottom.
        points: float32 (n, 5, 2), any finite numbers where there are none.
        has_points: bool (n,), which faces have annotated points.
    """

    image: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    has_points: np.ndarray


class Examples(Protocol):
    """Annotated images."""

    @property
    def name(self) -> str:
        """A word or path for logs and records."""
        ...

    def __len__(self) -> int:
        """Images in an epoch."""
        ...

    def example(self, index: int) -> Example:
        """Image `index`, always the same."""
        ...
