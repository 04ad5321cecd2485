"""The schema of an ArcFace run (arXiv 1801.07698, Sec. 3.1): margins, class centres, and the terms of its Table 2.

Not here: what both papers share (`faces.config`), the tables of the paper's relatives (`related/configs.py`), and the
papers' values (`paper_configs/arcface/`, `paper_configs/related/`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from arcface_jax.related.configs import FocalConfig, OhemConfig, Relative
from faces import config as shared
from faces.ranges import MOST, Range
from faces.schema import Rule


@dataclass(frozen=True)
class ModelConfig(shared.ModelConfig):
    """The backbone x."""

    dropout: Annotated[float, Range(0, 1, below=True)]
    """Fraction of values set to 0 before or behind the last matrix, in networks that have dropout there; in vision
    transformers of images that leave out a branch of the last block (stochastic depth)."""


@dataclass(frozen=True)
class SoftmaxConfig:
    """Eq. (1): inner products with the centres, and a bias."""

    kind: Literal["softmax"] = field(default="softmax", kw_only=True)


@dataclass(frozen=True)
class MarginConfig:
    """Eq. (2) to (4): cosines with a margin on the target's, and the terms of angles that Table 2 adds."""

    kind: Literal["margin"] = field(default="margin", kw_only=True)
    m1: Annotated[float, Range(0, 16, above=True)]
    """Factor of the target angle."""
    m2: Annotated[float, Range(0, 3.1416)]
    """Added to the target angle, in radians."""
    m3: Annotated[float, Range(0, 2)]
    """Subtracted from the target cosine."""
    gradient: Literal["exact", "straight_through"]
    """Derivative of the margin: the chain rule's, or 1 (`margins.target_cosine`)."""
    s: Annotated[float, Range(0, 1e4, above=True)]
    """Scale of the cosines."""
    margin_ramp_steps: Annotated[int, Range(0, MOST)]
    """Steps over which the margin grows linearly from none to the whole; 0: whole from the start."""
    intra: Annotated[float, Range(0, 1e6)]
    """Weight of Eq. (5)'s term."""
    inter: Annotated[float, Range(0, 1e6)]
    """Weight of Eq. (6)'s term."""


@dataclass(frozen=True)
class NoClassifierConfig:
    """No class centres: triplets alone."""

    kind: Literal["none"] = field(default="none", kw_only=True)


AnyClassifier = SoftmaxConfig | MarginConfig | Relative | NoClassifierConfig
"""The tables of `loss.classifier`."""
BY_COSINE = ("margin", "norm_face", "circle", "mv_softmax", "curricular_face", "adaface", "magface", "elastic_face")
"""Kinds whose logits are cosines times one scale, or made of them, so that a sample of the classes serves as all."""


@dataclass(frozen=True)
class LossConfig:
    """The classification loss, and the triplets that Table 2 adds to it or puts in its place."""

    classifier: AnyClassifier
    """The classes' part of the loss: "softmax" is Eq. (1), "margin" Eq. (2) to (4), "none" leaves triplets alone; the
    others are relatives, each in a file of `related/`."""
    triplet: Annotated[float, Range(0, 1e6)]
    """Weight of the angular triplet loss."""
    triplet_margin: Annotated[float, Range(0, 3.1416)]
    """Its margin, in radians."""
    weighting: FocalConfig | OhemConfig | None = field(default=None, kw_only=True)
    """Which images count for how much in the classes' part, under any classifier: "focal" or "ohem"; absent: all
    alike."""


@dataclass(frozen=True)
class HeadConfig:
    """The class centres W."""

    sub_centres: Annotated[int, Range(1, 1024)]
    """K: centres of one class; the nearest counts."""
    sampling_rate: Annotated[float, Range(0, 1, above=True)]
    """r: fraction of the classes that a step compares with (Partial FC); 1: all."""
    block: Annotated[int, Range(0, MOST)]
    """Classes compared at a time, to save memory; 0: all of a device's at once."""


@dataclass(frozen=True)
class BatchConfig(shared.BatchConfig):
    """How a batch is composed. All numbers are of the GLOBAL batch, over all devices."""

    images_per_identity: Annotated[int, Range(0, MOST)]
    """At most so many images of one identity, drawn together, for triplets; 0: images in random order."""


@dataclass(frozen=True)
class OptimiserConfig(shared.OptimiserConfig):
    """The update rule and the schedule of its learning rate."""

    head_weight_decay: Annotated[float, Range(0, 10)]
    """`weight_decay` of the centres and of the network's last matrix."""


@dataclass(frozen=True)
class DataConfig(shared.DataConfig):
    """The training set and its pixels."""

    min_images: Annotated[int, Range(0, MOST)]
    """People with fewer images are left out; 0 or 1: none are."""
    wrong_labels: Annotated[float, Range(0, 1, below=True)]
    """Fraction of the images that are given another person's label, at random, for experiments on noise."""


@dataclass(frozen=True)
class Config(shared.RunConfig):
    """Everything that defines an ArcFace run, except where its data lies."""

    model: ModelConfig
    batch: BatchConfig
    optimiser: OptimiserConfig
    data: DataConfig
    loss: LossConfig
    head: HeadConfig

    def rules(self) -> list[Rule]:
        """See `faces.schema.Checked.rules`."""
        loss, head, per_identity = self.loss, self.head, self.batch.images_per_identity
        classifier = loss.classifier
        is_inter = classifier.kind == "margin" and classifier.inter > 0
        return [
            *super().rules(),
            (
                self.model.dropout == 0 or self.model.batch_norm != "running",
                'model.dropout: with batch_norm "running" a network is trained as evaluation sees it; set it to 0',
            ),
            (
                classifier.kind != "none" or loss.triplet > 0,
                'loss: with classifier.kind "none" there is nothing to minimise; set triplet',
            ),
            (loss.triplet == 0 or per_identity >= 2, "batch.images_per_identity: triplets need at least 2"),
            (per_identity == 0 or per_identity >= 2, "batch.images_per_identity: 0, or at least 2"),
            (
                head.sub_centres == 1 or (classifier.kind == "margin" and not is_inter and head.sampling_rate == 1),
                'head.sub_centres: more than one goes with loss.classifier.kind "margin", without inter and without '
                "sampling",
            ),
            (
                head.sampling_rate == 1 or (classifier.kind in BY_COSINE and not is_inter),
                f"head.sampling_rate: below 1 goes with loss.classifier.kind {', '.join(BY_COSINE)}, without inter, "
                "which compares all centres",
            ),
            (
                head.sampling_rate == 1 or self.optimiser.name in ("sgd", "muon"),
                'optimiser.name: "sgd" or "muon", as Partial FC carries each centre\'s momentum of SGD along',
            ),
            (
                loss.weighting is None or classifier.kind != "none",
                'loss.weighting: weighs what the classes say of each image, and loss.classifier.kind is "none"',
            ),
            (
                classifier.kind != "adaface" or self.batch.images >= 2,
                'batch.images: at least 2 with loss.classifier.kind "adaface", which takes their standard deviation',
            ),
            (
                classifier.kind != "magface"
                or (
                    classifier.lower_norm < classifier.upper_norm
                    and classifier.lower_margin <= classifier.upper_margin
                ),
                "loss.classifier: lower_norm must be below upper_norm, and lower_margin at most upper_margin",
            ),
        ]

    @classmethod
    def of_earlier(cls, tables: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `faces.schema.Checked.of_earlier`: keys of all kinds of classifier stood side by side in [loss]."""
        loss = tables.get("loss")
        if not isinstance(loss, Mapping) or not isinstance(loss.get("classifier"), str):
            return tables
        kind, rest = loss["classifier"], {key: loss[key] for key in ("triplet", "triplet_margin") if key in loss}
        of_kind: dict[str, Any] = {"kind": kind}
        if kind == "margin":
            of_kind |= {key: value for key, value in loss.items() if key not in ("classifier", *rest)}
        elif kind == "sphereface":
            of_kind |= {"m": int(m1) if isinstance(m1 := loss.get("m1"), float) and m1.is_integer() else m1}
            of_kind |= {"annealing_base": 1000.0, "annealing_gamma": 0.12, "annealing_minimum": 5.0}
        return {**tables, "loss": {"classifier": of_kind, **rest}}
