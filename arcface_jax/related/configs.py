"""Tables of a config for the classifiers that ArcFace is compared with (Table 2, and what came later), one a kind.

Not here: what the values do (the file of each), the rules that bind them (`arcface_jax.config`), their sources
(`paper_configs/related/`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from faces.ranges import MOST, Range

Angle = Annotated[float, Range(0, 3.1416)]
Scale = Annotated[float, Range(0, 1e4, above=True)]
Share = Annotated[float, Range(0, 1)]
Length = Annotated[float, Range(0, 1e6, above=True)]
Steps = Annotated[int, Range(0, MOST)]


@dataclass(frozen=True)
class SphereFaceConfig:
    """The original SphereFace (`sphereface.py`), whose target is annealed, lambda falling from 1,000 to 5."""

    kind: Literal["sphereface"] = field(default="sphereface", kw_only=True)
    m: Annotated[int, Range(1, 16)]
    """Factor of the target angle."""
    annealing_base: Annotated[float, Range(0, 1e6)]
    """Where lambda starts."""
    annealing_gamma: Annotated[float, Range(0, 1e6)]
    """How fast it falls."""
    annealing_minimum: Annotated[float, Range(0, 1e6)]
    """Where it stops."""


@dataclass(frozen=True)
class LSoftmaxConfig:
    """L-Softmax (`l_softmax.py`): SphereFace's margin with all lengths as they are."""

    kind: Literal["l_softmax"] = field(default="l_softmax", kw_only=True)
    m: Annotated[int, Range(1, 16)]
    """Factor of the target angle."""
    annealing_base: Annotated[float, Range(0, 1e6)]
    """Where lambda starts."""
    annealing_gamma: Annotated[float, Range(0, 1e6)]
    """How fast it falls."""
    annealing_power: Annotated[float, Range(0, 1e3)]
    """Power of the fall."""
    annealing_minimum: Annotated[float, Range(0, 1e6)]
    """Where it stops."""


@dataclass(frozen=True)
class NormFaceConfig:
    """NormFace (`norm_face.py`): cosines without a margin, and a scale that is learned."""

    kind: Literal["norm_face"] = field(default="norm_face", kw_only=True)
    s: Scale
    """Scale of the cosines before the first step."""
    s_floor: Scale
    """The scale is never less."""


@dataclass(frozen=True)
class CenterLossConfig:
    """Centre loss (`center_loss.py`): Eq. (1) and a pull of each embedding to its person's mean."""

    kind: Literal["center_loss"] = field(default="center_loss", kw_only=True)
    weight: Annotated[float, Range(0, 1e6)]
    """lambda: weight of half the squared distance, averaged over the batch."""
    alpha: Share
    """The means' own rate."""


@dataclass(frozen=True)
class CircleConfig:
    """Circle loss in class form (`circle.py`)."""

    kind: Literal["circle"] = field(default="circle", kw_only=True)
    m: Share
    """Radius of the border, by sqrt(2), and how far each cosine is let from its optimum."""
    gamma: Scale
    """Scale of the weighted cosines."""


@dataclass(frozen=True)
class _WithMargin:
    """What those share that go on from ArcFace or CosFace."""

    m: Angle
    """The margin, or what it is made of."""
    s: Scale
    """Scale of the cosines."""
    margin_ramp_steps: Steps
    """Steps over which the margin grows linearly from none to the whole; 0: whole from the start."""


@dataclass(frozen=True)
class MvSoftmaxConfig(_WithMargin):
    """MV-Softmax (`mv_softmax.py`): classes that are too near are raised."""

    kind: Literal["mv_softmax"] = field(default="mv_softmax", kw_only=True)
    added_to: Literal["angle", "cosine"]
    """Where the own class's margin is: ArcFace's or CosFace's."""
    t: Annotated[float, Range(1, 100)]
    """How much they are raised; 1: not at all."""
    emphasis: Literal["adaptive", "fixed"]
    """Whether nearer ones are raised by more."""


@dataclass(frozen=True)
class CurricularFaceConfig(_WithMargin):
    """CurricularFace (`curricular_face.py`): hard classes weigh little at first and more later."""

    kind: Literal["curricular_face"] = field(default="curricular_face", kw_only=True)
    momentum: Share
    """Weight of a batch in t."""


@dataclass(frozen=True)
class AdaFaceConfig(_WithMargin):
    """AdaFace (`adaface.py`): a margin by the length of the embedding."""

    kind: Literal["adaface"] = field(default="adaface", kw_only=True)
    h: Annotated[float, Range(0, 100)]
    """How far a length of one standard deviation takes the quality from 0, of 1 at most."""
    momentum: Share
    """Weight of a batch in the mean and the standard deviation of the lengths."""
    norm_mean: Length
    """The mean before the first step."""
    norm_std: Length
    """The standard deviation before the first step."""


@dataclass(frozen=True)
class MagFaceConfig:
    """MagFace (`magface.py`): a margin that grows with the length of the embedding, which is trained."""

    kind: Literal["magface"] = field(default="magface", kw_only=True)
    s: Scale
    """Scale of the cosines."""
    lower_norm: Length
    """l_a: lengths count as at least this."""
    upper_norm: Length
    """u_a: and as at most this."""
    lower_margin: Angle
    """l_m: the margin at `lower_norm`, in radians."""
    upper_margin: Angle
    """u_m: the margin at `upper_norm`."""
    norm_weight: Annotated[float, Range(0, 1e6)]
    """lambda_g: weight of the term that lengthens embeddings."""
    margin_ramp_steps: Steps
    """Steps over which the margin grows linearly from none to the whole; 0: whole from the start."""


@dataclass(frozen=True)
class ElasticFaceConfig(_WithMargin):
    """ElasticFace (`elastic_face.py`): margins drawn anew for each image."""

    kind: Literal["elastic_face"] = field(default="elastic_face", kw_only=True)
    added_to: Literal["angle", "cosine"]
    """Where the margin is: ArcFace's or CosFace's."""
    sigma: Annotated[float, Range(0, 3)]
    """Standard deviation of the margins, whose mean is `m`."""
    by_rank: bool
    """Whether the images farthest from their centres have the largest margins (ElasticFace+)."""


@dataclass(frozen=True)
class FocalConfig:
    """Focal loss (`focal.py`): images that are learned count for little."""

    kind: Literal["focal"] = field(default="focal", kw_only=True)
    gamma: Annotated[float, Range(0, 100)]
    """How fast they fade; 0: all count alike."""


@dataclass(frozen=True)
class OhemConfig:
    """OHEM (`ohem.py`): the images of the largest losses alone."""

    kind: Literal["ohem"] = field(default="ohem", kw_only=True)
    kept: Annotated[float, Range(0, 1, above=True)]
    """Fraction of the batch that counts."""


Relative = (
    SphereFaceConfig
    | LSoftmaxConfig
    | NormFaceConfig
    | CenterLossConfig
    | CircleConfig
    | MvSoftmaxConfig
    | CurricularFaceConfig
    | AdaFaceConfig
    | MagFaceConfig
    | ElasticFaceConfig
)
