"""The schema of an ArcFace run (arXiv 1801.07698, Sec. 3.1): margins, class centres, and the terms of its Table 2.

Not here: what both papers share (`faces.config`), and the paper's values (`paper_configs/arcface/`).
"""

from dataclasses import dataclass
from typing import Literal

from faces import config as shared
from faces.schema import Rule


@dataclass(frozen=True)
class ModelConfig(shared.ModelConfig):
    """The backbone x."""

    dropout: float
    """Fraction of values set to 0 before the last matrix, in networks that have dropout there."""


@dataclass(frozen=True)
class LossConfig:
    """The classification loss, and what Table 2 adds to it."""

    classifier: Literal["softmax", "margin", "sphereface", "none"]
    """"softmax": Eq. (1). "margin": Eq. (2) to (4) by m1, m2, m3. "sphereface": the original, whose m1 is a whole
    number and whose target is annealed. "none": only the terms below."""
    m1: float
    """Factor of the target angle."""
    m2: float
    """Added to the target angle, in radians."""
    m3: float
    """Subtracted from the target cosine."""
    gradient: Literal["exact", "straight_through"]
    """Derivative of the margin: the chain rule's, or 1 (`margins.target_cosine`)."""
    s: float
    """Scale of the cosines; 0 where the classifier is no "margin"."""
    margin_ramp_steps: int
    """Steps over which the margin grows linearly from none to the whole; 0: whole from the start."""
    intra: float
    """Weight of Eq. (5)'s term."""
    inter: float
    """Weight of Eq. (6)'s term."""
    triplet: float
    """Weight of the angular triplet loss."""
    triplet_margin: float
    """Its margin, in radians."""


@dataclass(frozen=True)
class HeadConfig:
    """The class centres W."""

    sub_centres: int
    """K: centres of one class; the nearest counts."""
    sampling_rate: float
    """r: fraction of the classes that a step compares with (Partial FC); 1: all."""
    block: int
    """Classes compared at a time, to save memory; 0: all of a device's at once."""


@dataclass(frozen=True)
class BatchConfig(shared.BatchConfig):
    """How a batch is composed. All numbers are of the GLOBAL batch, over all devices."""

    images_per_identity: int
    """At most so many images of one identity, drawn together, for triplets; 0: images in random order."""


@dataclass(frozen=True)
class OptimiserConfig(shared.OptimiserConfig):
    """The update rule and the schedule of its learning rate."""

    head_weight_decay: float
    """`weight_decay` of the centres and of the network's last matrix."""


@dataclass(frozen=True)
class DataConfig(shared.DataConfig):
    """The training set and its pixels."""

    min_images: int
    """People with fewer images are left out; 0 or 1: nobody is."""
    wrong_labels: float
    """Fraction of the images that are given another person's label, at random, for experiments on noise."""


@dataclass(frozen=True)
class Config(shared.RunConfig):
    """Everything that defines an ArcFace run but its data's place."""

    model: ModelConfig
    batch: BatchConfig
    optimiser: OptimiserConfig
    data: DataConfig
    loss: LossConfig
    head: HeadConfig

    def rules(self) -> list[Rule]:
        """See `faces.schema.Checked.rules`."""
        loss, head, per_identity = self.loss, self.head, self.batch.images_per_identity
        has_centres = loss.classifier != "none"
        return [
            *super().rules(),
            (0 <= self.model.dropout < 1, "model.dropout: must lie between 0 and 1"),
            (loss.m1 > 0 and loss.m2 >= 0 and loss.m3 >= 0, "loss: m1 must be positive, m2 and m3 not negative"),
            (
                loss.classifier != "sphereface" or (loss.m1 == int(loss.m1) and loss.m2 == loss.m3 == 0),
                'loss.m1: the original SphereFace takes a whole number, and no m2 or m3; use classifier "margin"',
            ),
            (
                loss.classifier != "softmax" or (loss.m1, loss.m2, loss.m3) == (1, 0, 0),
                'loss: plain softmax has no margin; set m1 = 1, m2 = 0, m3 = 0, or use classifier "margin"',
            ),
            ((loss.s > 0) == (loss.classifier == "margin"), 'loss.s: positive with classifier "margin", 0 otherwise'),
            (loss.margin_ramp_steps >= 0, "loss.margin_ramp_steps: must not be negative"),
            (min(loss.intra, loss.inter, loss.triplet) >= 0, "loss: weights must not be negative"),
            (has_centres or loss.triplet > 0, 'loss: with classifier "none" there is nothing to minimise; set triplet'),
            (
                has_centres or (loss.intra == loss.inter == 0 and head.sub_centres == 1 and head.sampling_rate == 1),
                'loss: intra, inter, sub-centres and sampling need class centres; classifier is "none"',
            ),
            (
                loss.classifier in ("margin", "none") or loss.intra == loss.inter == 0,
                'loss: intra and inter are terms of angles; use classifier "margin"',
            ),
            (loss.triplet == 0 or per_identity >= 2, "batch.images_per_identity: triplets need at least 2"),
            (per_identity == 0 or per_identity >= 2, "batch.images_per_identity: 0, or at least 2"),
            (loss.triplet_margin >= 0, "loss.triplet_margin: must not be negative"),
            (head.sub_centres >= 1, "head.sub_centres: at least 1"),
            (0 < head.sampling_rate <= 1, "head.sampling_rate: above 0, at most 1"),
            (head.block >= 0, "head.block: must not be negative"),
            (
                head.sub_centres == 1
                or (loss.classifier == "margin" and loss.inter == 0 and head.sampling_rate == 1),
                'head.sub_centres: more than one goes with classifier "margin", without inter and without sampling',
            ),
            (
                head.sampling_rate == 1 or (loss.classifier == "margin" and loss.inter == 0),
                'head.sampling_rate: below 1 goes with classifier "margin", without inter, which compares all centres',
            ),
            (
                head.sampling_rate == 1 or self.optimiser.name in ("sgd", "muon"),
                'optimiser.name: "sgd" or "muon", as Partial FC carries each centre\'s momentum of SGD along',
            ),
            (self.optimiser.head_weight_decay >= 0, "optimiser.head_weight_decay: must not be negative"),
            (self.data.min_images >= 0, "data.min_images: must not be negative"),
            (0 <= self.data.wrong_labels < 1, "data.wrong_labels: from 0 to below 1"),
        ]
