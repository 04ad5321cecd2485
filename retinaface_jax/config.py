"""The schema of a training run of RetinaFace (arXiv 1905.00641, Eq. 1 and Sec. 4.2): network, loss, crops, course.

Not here: the values (`paper_configs/retinaface/`), and what they do (`matching.py`, `losses.py`, `augment.py`,
`train_step.py`).
"""

from dataclasses import dataclass

from faces.config import BatchConfig, OptimiserConfig, TrainConfig
from faces.schema import Checked, Rule
from retinaface_jax.network import BODIES, STRIDES


@dataclass(frozen=True)
class InputConfig:
    """The network and the images it is trained on."""

    network: str
    """Body, of `network.BODIES`."""
    size: int
    """Sides of a training image in pixels, a multiple of the coarsest stride."""
    faces: int
    """Most faces of one image; of more, the largest are kept."""


@dataclass(frozen=True)
class LossConfig:
    """Which anchors stand for faces, and what their errors weigh."""

    face_overlap: float
    """An anchor whose best overlap with a face is at least this stands for that face."""
    background_overlap: float
    """An anchor whose best overlap is below this is background; between the two it counts for nothing."""
    forced_overlap: float
    """A face gets the anchor that overlaps it most, where that is at least this much; above 1: never."""
    negatives_per_face: int
    """Of the background anchors of an image only so many for each that stands for a face count, the worst ones."""
    box_weight: float
    """Weight of the boxes' error beside the classification's, which is 1."""
    points_weight: float
    """Weight of the points' error."""


@dataclass(frozen=True)
class CropConfig:
    """Random changes of each training image (`augment.py`)."""

    least_side: float
    """A square is cut whose side is this fraction of the image's shorter one, or more."""
    flip: bool
    """Mirror half of the images."""
    colour: float
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
        loss, rate = self.loss, self.optimiser.learning_rate
        return [
            (self.input.network in BODIES, f"input.network: one of {', '.join(BODIES)} is expected"),
            (
                self.input.size > 0 and self.input.size % STRIDES[-1] == 0,
                f"input.size: a multiple of {STRIDES[-1]} is expected",
            ),
            (self.input.faces > 0, "input.faces: must be positive"),
            (
                0 < loss.background_overlap <= loss.face_overlap <= 1,
                "loss: 0 < background_overlap <= face_overlap <= 1 is expected",
            ),
            (loss.forced_overlap > 0, "loss.forced_overlap: must be positive"),
            (loss.negatives_per_face > 0, "loss.negatives_per_face: must be positive"),
            (min(loss.box_weight, loss.points_weight) >= 0, "loss: weights must not be negative"),
            (0 < self.augment.least_side <= 1, "augment.least_side: more than 0 and at most 1 is expected"),
            (0 <= self.augment.colour < 1, "augment.colour: at least 0 and less than 1 is expected"),
            (self.batch.images > 0, "batch.images: must be positive"),
            (rate > 0 and self.optimiser.decay > 0, "optimiser: learning_rate and decay must be positive"),
            (self.optimiser.warmup_steps >= 0, "optimiser.warmup_steps: must not be negative"),
            (self.train.steps > 0 and self.train.log_every > 0, "train: steps and log_every must be positive"),
            (self.train.seed >= 0, "train.seed: must not be negative"),
        ]
