"""The schema of a FaceNet run (arXiv 1503.03832, Sec. 3): the loss, its triplets, and how a batch is composed.

Not here: what both papers share (`faces.config`), the losses beside FaceNet's (`related/config.py`), and the papers'
values (`paper_configs/facenet/`, `paper_configs/related/`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from facenet_jax.related.config import AnyRelated
from faces import config as shared
from faces.ranges import MOST, Range
from faces.schema import KIND, Rule


@dataclass(frozen=True)
class TripletConfig:
    """The triplet loss and the choice of its triplets."""

    kind: Literal["triplet"] = field(default="triplet", kw_only=True)
    alpha: Annotated[float, Range(0, 4, above=True)]
    """Margin between squared distances."""
    mining: Literal["semi_hard", "hardest", "random_violator"]
    """Which negative each anchor-positive pair meets (`facenet_jax.mining`)."""
    reduction: Literal["sum", "mean_of_pairs", "mean_of_active"]
    """How the losses of a batch's pairs become one number; "active" are the pairs whose loss is above zero."""
    classifier_weight: Annotated[float, Range(0, 1e6)]
    """Weight of a softmax classifier over the training identities beside the triplets (`auxiliary.py`); 0: none."""


@dataclass(frozen=True)
class BatchConfig(shared.BatchConfig):
    """How a batch is composed. All numbers are of the GLOBAL batch, over all devices."""

    images_per_identity: Annotated[int, Range(2, MOST)]
    """K: at most so many images of one identity (all it has, where it has fewer)."""
    random_negatives: Annotated[int, Range(0, MOST)]
    """Images out of B drawn at random from the whole training set instead."""
    micro_batch: Annotated[int, Range(0, MOST)]
    """Images in one forward-backward pass of the gradient cache; 0: no cache, the whole batch at once."""


@dataclass(frozen=True)
class Config(shared.RunConfig):
    """Everything that defines a FaceNet run, except where its data lies."""

    batch: BatchConfig
    loss: TripletConfig | AnyRelated
    """"triplet" is FaceNet's; the others are its relatives, each in a file of `related/` by the name of its kind."""

    def rules(self) -> list[Rule]:
        """See `faces.schema.Checked.rules`."""
        batch, loss = self.batch, self.loss
        has_classifier = loss.kind == "deepid2" or (loss.kind == "triplet" and loss.classifier_weight > 0)
        return [
            *super().rules(),
            (batch.random_negatives < batch.images, "batch.random_negatives: fewer than batch.images are needed"),
            (
                batch.micro_batch == 0 or batch.images % batch.micro_batch == 0,
                "batch.micro_batch: must divide batch.images, or be 0 for no gradient cache",
            ),
            (
                not has_classifier or self.optimiser.name != "muon",
                'optimiser.name: "muon" is for a network alone; with a classifier (loss.classifier_weight, or '
                'loss.kind "deepid2") take another',
            ),
            (
                self.model.batch_norm in ("none", "running") or batch.micro_batch == 0,
                "batch.micro_batch: the gradient cache is exact only without batch norm, whose statistics would be "
                "each micro-batch's own; set it to 0, or take a network without batch norm",
            ),
        ]

    @classmethod
    def of_earlier(cls, tables: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `faces.schema.Checked.of_earlier`: loss.classifier_weight was called loss.classifier, and the triplet
        loss, which was the only one, had no loss.kind."""
        loss = tables.get("loss")
        if not isinstance(loss, Mapping):
            return tables
        names = {"classifier": "classifier_weight"}
        renamed = {names.get(key, key): value for key, value in loss.items()}
        return {**tables, "loss": {KIND: "triplet", **renamed}}
