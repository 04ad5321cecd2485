"""The schema of a training run of RetinaFace (arXiv 1905.00641, Eq. 1 and Sec. 4.2): network, loss, crops, course.

Not here: the values (`paper_configs/retinaface/`), and what they do (`matching.py`, `losses.py`, `augment.py`,
`train_step.py`).
"""

from dataclasses import dataclass
from typing import Annotated

from faces.config import BatchConfig, OptimiserConfig, TrainConfig
from faces.ranges import MOST, Range
from faces.schema import Checked, Rule
from retinaface_jax.network import BODIES, STRIDES


@dataclass(frozen=True)
class InputConfig:
    """The network and the images it is trained on."""

    network: str
    """Body, of `network.BODIES`."""
    size: Annotated[int, Range(1, 65536)]
    """Sides of a training image in pixels, a multiple of the coarsest stride."""
    faces: Annotated[int, Range(1, 65536)]
    """Most faces of one image; of more, the largest are kept."""


@dataclass(frozen=True)
class LossConfig:
    """Which anchors stand for faces, and what their errors weigh."""

    face_overlap: Annotated[float, Range(0, 1, above=True)]
    """An anchor whose best overlap with a face is at least this stands for that face."""
    background_overlap: Annotated[float, Range(0, 1, above=True)]
    """An anchor whose best overlap is below this is background; between the two it counts for nothing."""
    forced_overlap: Annotated[float, Range(0, 1e6, above=True)]
    """A face gets the anchor that overlaps it most, where that is at least this much; above 1: never."""
    negatives_per_face: Annotated[int, Range(1, MOST)]
    """Of the background anchors of an image only so many for each that stands for a face count, the worst ones."""
    box_weight: Annotated[float, Range(0, 1e6)]
    """Weight of the boxes' error beside the classification's, which is 1."""
    points_weight: Annotated[float, Range(0, 1e6)]
    """Weight of the points' error."""


@dataclass(frozen=True)
class CropConfig:
    """Random changes of each training image (`augment.py`)."""

    least_side: Annotated[float, Range(0, 1, above=True)]
    """A square is cut whose side is this fraction of the image's shorter one, or more."""
    flip: bool
    """Mirror half of the images."""
    colour: Annotated[float, Range(0, 1, below=True)]
    """Brightness, contrast and saturation of half of the images changed by up to this fraction each."""


@dataclass(frozen=True)
class Config(Checked):
    """What defines a run but its data's place."""

    input: InputConfig
    loss: LossConfig
    augment: CropConfig
    batch: BatchConfig
    optimiser: OptimiserConfig
    train: TrainConfig

    def rules(self) -> list[Rule]:
        """What values that fit the schema must fulfil to make sense together."""
        loss = self.loss
        return [
            (self.input.network in BODIES, f"input.network: one of {', '.join(BODIES)} is expected"),
            (
                self.input.size % STRIDES[-1] == 0,
                f"input.size: a multiple of {STRIDES[-1]} is expected",
            ),
            (
                loss.background_overlap <= loss.face_overlap,
                "loss: background_overlap <= face_overlap is expected",
            ),
        ]
