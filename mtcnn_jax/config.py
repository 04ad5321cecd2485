"""The schema of a training run of MTCNN (Zhang et al. 2016, Sec. II-C and III-A): windows, networks, loss, course.

CHOICE: the paper gives neither rates nor the length of training; both are the configs' own.

Not here: the values (`paper_configs/mtcnn/`), and what they do (`windows.py`, `losses.py`, `train_step.py`).
"""

import dataclasses
from dataclasses import dataclass

from faces.config import BatchConfig, OptimiserConfig, TrainConfig
from faces.schema import Checked, Rule
from mtcnn_jax.networks import Name

NAMES: tuple[Name, ...] = ("p", "r", "o")
"""The networks in the order in which they are trained."""


@dataclass(frozen=True)
class WindowConfig:
    """Which windows of the images teach what."""

    min_face: float
    """Side of the smallest window that is drawn, in pixels."""
    negative: float
    """A window that overlaps no face by this much, intersection over union, shows no face."""
    part: float
    """A window that overlaps a face by at least this, but no more than `positive`, shows a part of it."""
    positive: float
    """A window that overlaps a face by more shows it."""
    shares: tuple[int, int, int, int]
    """Negatives, parts, positives, and windows that teach points, in a batch as in the pool: in this proportion."""
    thresholds: tuple[float, float]
    """Least scores with which P-net and R-net let windows pass on which the next network is trained."""


@dataclass(frozen=True)
class NetConfig:
    """What differs between the three networks."""

    windows: int
    """Windows to cut from the images, of all kinds, about so many."""
    steps: int
    """Batches in all."""
    images: int
    """Windows in a batch."""
    points_weight: float
    """Weight of the points' error beside the classification's, which is 1."""


@dataclass(frozen=True)
class LossConfig:
    """The loss, as far as the three networks share it."""

    hard_share: float
    """Of the windows that are classified only this share, those of the largest loss, counts."""
    box_weight: float
    """Weight of the boxes' error beside the classification's, which is 1."""


@dataclass(frozen=True)
class CourseConfig:
    """The course of each network's training."""

    seed: int
    """The only source of randomness."""
    log_every: int
    """Steps between two lines of the log."""
    evaluate_every: int
    """Steps between two evaluations on the way; 0: only before and after."""
    checkpoint_every: int
    """Steps between two checkpoints; 0: only at the end."""


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
            (windows.min_face >= 12, "windows.min_face: at least 12, the pixels that P-net sees, is expected"),
            (
                0 < windows.negative <= windows.part < windows.positive < 1,
                "windows: 0 < negative <= part < positive < 1 is expected",
            ),
            (min(windows.shares) > 0, "windows.shares: must be positive"),
            (all(0 < t < 1 for t in windows.thresholds), "windows.thresholds: must lie between 0 and 1"),
            (
                all(net.images >= sum(windows.shares) for net in nets),
                f"images: at least {sum(windows.shares)}, the sum of windows.shares, are expected in a batch",
            ),
            (all(net.windows > 0 and net.steps > 0 for net in nets), "windows and steps of each net: must be positive"),
            (0 < self.loss.hard_share <= 1, "loss.hard_share: more than 0 and at most 1 is expected"),
            (min(self.loss.box_weight, *(net.points_weight for net in nets)) >= 0, "weights must not be negative"),
            (
                self.optimiser.learning_rate > 0 and self.optimiser.decay > 0,
                "optimiser: learning_rate and decay must be positive",
            ),
            (self.optimiser.warmup_steps >= 0, "optimiser.warmup_steps: must not be negative"),
            (self.course.log_every > 0 and self.course.seed >= 0, "course: log_every must be positive, seed 0 or more"),
        ]
