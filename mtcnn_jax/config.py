"""The schema of a training run of MTCNN (Zhang et al. 2016, Sec. II-C and III-A): windows, networks, loss, course.

CHOICE: the paper gives neither rates nor the length of training; both are the configs' own.

Not here: the values (`paper_configs/mtcnn/`), and what they do (`windows.py`, `losses.py`, `train_step.py`).
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated

from faces.config import BatchConfig, OptimiserConfig, TrainConfig
from faces.ranges import MOST, Range
from faces.schema import Checked, Rule
from mtcnn_jax.networks import Name

NAMES: tuple[Name, ...] = ("p", "r", "o")
"""The networks in the order in which they are trained."""


@dataclass(frozen=True)
class WindowConfig:
    """Which windows of the images teach what."""

    min_face: Annotated[float, Range(12, 65536)]
    """Side of the smallest window that is drawn, in pixels."""
    negative: Annotated[float, Range(0, 1, above=True, below=True)]
    """A window that overlaps no face by this much, intersection over union, shows no face."""
    part: Annotated[float, Range(0, 1, above=True, below=True)]
    """A window that overlaps a face by at least this, but no more than `positive`, shows a part of it."""
    positive: Annotated[float, Range(0, 1, above=True, below=True)]
    """A window that overlaps a face by more shows it."""
    shares: Annotated[tuple[int, int, int, int], Range(1, 65536)]
    """Negatives, parts, positives, and windows that teach points, in a batch as in the pool: in this proportion."""
    thresholds: Annotated[tuple[float, float], Range(0, 1, above=True, below=True)]
    """Least scores with which P-net and R-net let windows pass on which the next network is trained."""


@dataclass(frozen=True)
class NetConfig:
    """What differs between the three networks."""

    windows: Annotated[int, Range(1, MOST)]
    """Windows to cut from the images, of all kinds, about so many."""
    steps: Annotated[int, Range(1, MOST)]
    """Batches in all."""
    images: Annotated[int, Range(1, MOST)]
    """Windows in a batch."""
    points_weight: Annotated[float, Range(0, 1e6)]
    """Weight of the points' error beside the classification's, which is 1."""


@dataclass(frozen=True)
class LossConfig:
    """The loss, as far as the three networks share it."""

    hard_share: Annotated[float, Range(0, 1, above=True)]
    """Of the windows that are classified only this share, those of the largest loss, counts."""
    box_weight: Annotated[float, Range(0, 1e6)]
    """Weight of the boxes' error beside the classification's, which is 1."""


@dataclass(frozen=True)
class CourseConfig:
    """The course of each network's training."""

    seed: Annotated[int, Range(0, MOST)]
    """The only source of randomness."""
    log_every: Annotated[int, Range(1, MOST)]
    """Steps between two lines of the log."""
    evaluate_every: Annotated[int, Range(0, MOST)]
    """Steps between two evaluations on the way; 0: only before and after."""
    checkpoint_every: Annotated[int, Range(0, MOST)]
    """Steps between two checkpoints; 0: only at the end."""
    most_not_finite: Annotated[int, Range(1, MOST)] | None = field(default=None, kw_only=True)
    """So many steps in a row whose loss or gradient is not finite end a network's training; may be absent: 10."""
    patience: Annotated[float, Range(0, MOST)] | None = field(default=None, kw_only=True)
    """Seconds without a batch after which the run says who reads what, as `faces.config.TrainConfig` has it."""


@dataclass(frozen=True)
class StageConfig(Checked):
    """What defines one network's training: what its checkpoints are kept with."""

    windows: WindowConfig
    net: NetConfig
    loss: LossConfig
    batch: BatchConfig
    optimiser: OptimiserConfig
    train: TrainConfig


@dataclass(frozen=True)
class Config(Checked):
    """What defines a run but its data's place."""

    windows: WindowConfig
    p: NetConfig
    r: NetConfig
    o: NetConfig
    loss: LossConfig
    optimiser: OptimiserConfig
    course: CourseConfig

    def stage(self, name: Name) -> StageConfig:
        """That of one of the networks."""
        net: NetConfig = getattr(self, name)
        train = TrainConfig(steps=net.steps, **dataclasses.asdict(self.course))
        return StageConfig(self.windows, net, self.loss, BatchConfig(net.images), self.optimiser, train)

    def rules(self) -> list[Rule]:
        """What values that fit the schema must fulfil to make sense together."""
        windows, nets = self.windows, [getattr(self, name) for name in NAMES]
        return [
            (
                windows.negative <= windows.part < windows.positive,
                "windows: negative <= part < positive is expected",
            ),
            (
                all(net.images >= sum(windows.shares) for net in nets),
                f"images: at least {sum(windows.shares)}, the sum of windows.shares, are expected in a batch",
            ),
        ]
