"""The schema of the losses beside FaceNet's (arXiv 1503.03832, Sec. 3.1), each told by its `kind`.

Not here: what they mean, which stands in the file of each kind's name, and the papers' values
(`paper_configs/related/`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from faces.ranges import Range

Distance = Literal["squared", "euclidean"]
Slack = Literal["hinge", "soft_margin"]


@dataclass(frozen=True)
class _Related:
    reduction: Literal["sum", "mean", "mean_of_active"]
    """How the losses of a batch's examples become one number; "active" are those above zero."""


@dataclass(frozen=True)
class ContrastiveConfig(_Related):
    """Pairs (`contrastive.py`)."""

    kind: Literal["contrastive"] = field(default="contrastive", kw_only=True)
    margin: Annotated[float, Range(0, 4, above=True)]
    """m: distance that negatives are pushed out to."""


@dataclass(frozen=True)
class DeepID2Config(_Related):
    """Pairs, and a classifier over the training identities (`deepid2.py`)."""

    kind: Literal["deepid2"] = field(default="deepid2", kw_only=True)
    margin: Annotated[float, Range(0, 4, above=True)]
    """m: distance that negatives are pushed out to."""
    verification_weight: Annotated[float, Range(0, 1e6)]
    """lambda: weight of the pairs beside the classifier."""


@dataclass(frozen=True)
class TripletVariantConfig(_Related):
    """FaceNet's semi-hard triplets under another distance or slack (`triplet_variant.py`)."""

    kind: Literal["triplet_variant"] = field(default="triplet_variant", kw_only=True)
    alpha: Annotated[float, Range(0, 4)]
    """Margin between the distances; 0 for the soft margin as published."""
    distance: Distance
    """Squared as FaceNet's, or Euclidean."""
    slack: Slack
    """max(0, x) or ln(1 + exp(x))."""


@dataclass(frozen=True)
class BatchHardConfig(_Related):
    """The farthest positive and the nearest negative of each anchor (`batch_hard.py`)."""

    kind: Literal["batch_hard"] = field(default="batch_hard", kw_only=True)
    alpha: Annotated[float, Range(0, 4)]
    """Margin between the distances; 0 for the soft margin as published."""
    distance: Distance
    """Squared as FaceNet's, or Euclidean."""
    slack: Slack
    """max(0, x) or ln(1 + exp(x))."""


@dataclass(frozen=True)
class BatchAllConfig(_Related):
    """Every valid triplet of the batch (`batch_all.py`)."""

    kind: Literal["batch_all"] = field(default="batch_all", kw_only=True)
    alpha: Annotated[float, Range(0, 4, above=True)]
    """Margin between the distances."""
    distance: Distance
    """Squared as FaceNet's, or Euclidean."""


@dataclass(frozen=True)
class MarginLossConfig(_Related):
    """Pairs around a learned border, with negatives drawn by distance (`margin_loss.py`)."""

    kind: Literal["margin_loss"] = field(default="margin_loss", kw_only=True)
    alpha: Annotated[float, Range(0, 4, above=True)]
    """Half of the gap between where positives and negatives may lie."""
    beta: Annotated[float, Range(0, 2)]
    """The border's first value."""
    beta_of: Literal["all", "person"]
    """One border for all, or one for each person of the training set."""
    beta_rate: Annotated[float, Range(0, 1000)]
    """Learning rate of the border, by plain gradient descent, on the network's schedule."""
    nu: Annotated[float, Range(0, 1e6)]
    """Weight of the borders' mean in the loss, which keeps them small."""
    shortest: Annotated[float, Range(0, 2, above=True, below=True)]
    """Nearer negatives are drawn as often as one at this distance."""
    longest: Annotated[float, Range(0, 2, above=True)]
    """Negatives from this distance on are not drawn."""


@dataclass(frozen=True)
class CoupledClustersConfig(_Related):
    """An identity's images around their mean, and the negative nearest to it (`coupled_clusters.py`)."""

    kind: Literal["coupled_clusters"] = field(default="coupled_clusters", kw_only=True)
    alpha: Annotated[float, Range(0, 4, above=True)]
    """Margin between squared distances."""


@dataclass(frozen=True)
class LiftedStructureConfig(_Related):
    """Each positive pair against all negatives of both of its images (`lifted_structure.py`)."""

    kind: Literal["lifted_structure"] = field(default="lifted_structure", kw_only=True)
    alpha: Annotated[float, Range(0, 4, above=True)]
    """Margin between the distances."""


@dataclass(frozen=True)
class NPairConfig(_Related):
    """Each positive pair against all other people of the batch (`n_pair.py`)."""

    kind: Literal["n_pair"] = field(default="n_pair", kw_only=True)
    scale: Annotated[float, Range(0, 1e4, above=True)]
    """Factor of the inner products."""


@dataclass(frozen=True)
class CircleConfig(_Related):
    """Similarities weighed by how far each is from its optimum (`circle.py`)."""

    kind: Literal["circle"] = field(default="circle", kw_only=True)
    m: Annotated[float, Range(0, 1)]
    """Relaxation: cosines of positives should be above 1 - m, of negatives below m."""
    gamma: Annotated[float, Range(0, 1e4, above=True)]
    """Scale of the cosines."""


AnyRelated = (
    ContrastiveConfig
    | DeepID2Config
    | TripletVariantConfig
    | BatchHardConfig
    | BatchAllConfig
    | MarginLossConfig
    | CoupledClustersConfig
    | LiftedStructureConfig
    | NPairConfig
    | CircleConfig
)
