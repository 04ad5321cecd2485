"""The networks of SCRFD (arXiv 2105.04714, Sec. 4): what the search over widths and depths found, as a table.

The numbers are those of deepinsight/insightface, the authors' repository, in whose names the computation of an image of
640x480 pixels stands: 500m is half a billion multiply-adds.

Not here: what the numbers are the widths and depths of (`bodies.py`, `network.py`).
"""

from dataclasses import dataclass
from typing import Literal

Block = Literal["separable", "basic", "bottleneck"]

STRIDES = (8, 16, 32)
"""Pixels from one place of a map to the next."""
PLACES_ANCHORS = 2
"""Of each place."""
SIDES = (16, 512)
"""Smallest and largest anchor in pixels, which decided in training which face is whose; they enter no number here."""


@dataclass(frozen=True)
class Architecture:
    """Widths and depths of one network.

    Args:
        block: what the body's stages are made of.
        stem: channels before the first stage, one number for each convolution; the last of "separable" is a block.
        blocks: of each of the four stages.
        widths: channels of each stage; a "bottleneck" gives four times as many.
        neck: channels of the pyramid.
        head: channels of the head.
        depth: convolutions of the head before its outputs.
        groups: of the head's group norm, where it has one instead of batch norm.
    """

    block: Block
    stem: tuple[int, ...]
    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    neck: int
    head: int
    depth: int
    groups: int

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels of what each stage gives."""
        return tuple(4 * width if self.block == "bottleneck" else width for width in self.widths)

    @property
    def is_separable(self) -> bool:
        """Whether body and head have depthwise convolutions."""
        return self.block == "separable"


# CHOICE: the paper's tables say what each network computes; its widths and depths are in the authors' repository alone.
ARCHITECTURES = {
    "scrfd_500m": Architecture("separable", (16, 16), (2, 3, 2, 6), (40, 72, 152, 288), 16, 64, 2, 16),
    "scrfd_1g": Architecture("separable", (32, 48), (3, 2, 1, 5), (48, 160, 216, 312), 24, 96, 2, 8),
    "scrfd_2.5g": Architecture("basic", (12, 12, 24), (3, 5, 3, 2), (24, 48, 48, 80), 24, 64, 2, 16),
    "scrfd_10g": Architecture("basic", (28, 28, 56), (3, 4, 2, 3), (56, 88, 88, 224), 56, 80, 3, 16),
    "scrfd_34g": Architecture("bottleneck", (28, 28, 56), (17, 16, 2, 8), (56, 56, 144, 184), 128, 256, 2, 32),
}
