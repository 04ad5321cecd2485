"""The schema of a training run, as far as both papers share it.

Nothing that a paper states has a default here.

Not here: what is one paper's alone (`config.py` of each, which extends `RunConfig`), how a file becomes a config
(`faces.toml_config`), what the values do (each package), and the papers' values (`paper_configs/`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from faces.ranges import MOST, Range
from faces.schema import Checked, Rule


@dataclass(frozen=True)
class ModelConfig:
    """The backbone f(x)."""

    name: str
    """Name in `facenet_jax.models` or `arcface_jax.models`."""
    input_size: Annotated[tuple[int, int], Range(1, 4096)]
    """Rows and columns of the input in pixels."""
    embedding_dim: Annotated[int, Range(1, 65536)]
    """d: number of values in an embedding."""
    dtype: Literal["float32", "bfloat16"]
    """Type of the backbone's arithmetic; parameters, distances and losses are float32 in either case."""
    batch_norm: Literal["none", "global", "per_device", "running"]
    """Statistics over the whole batch, or over each device's part of it; "running": those that the weights of `--init`
    came with, which stay as they are; "none" where the network has no batch norm."""


@dataclass(frozen=True)
class BatchConfig:
    """Size of a batch: of the GLOBAL batch, over all devices."""

    images: Annotated[int, Range(1, MOST)]
    """B: images in a batch."""


@dataclass(frozen=True)
class OptimiserConfig:
    """The update rule and the schedule of its learning rate."""

    name: Literal["adagrad", "sgd", "adam", "adamw", "muon"]
    """Update rule. "sgd" and "muon" use `momentum`; "muon" is for a network, and class centres go by "sgd" under it."""
    learning_rate: Annotated[float, Range(0, 1000, above=True)]
    """Learning rate after warm-up."""
    momentum: Annotated[float, Range(0, 1, below=True)]
    """Momentum of "sgd" and, as Nesterov's, of "muon"; 0 with the others."""
    weight_decay: Annotated[float, Range(0, 10)]
    """L2 penalty on kernels (not on biases, scales and slopes), added to the gradient as SGD's authors do; of "adamw",
    added to the step instead, so that kernels shrink by learning rate times this whatever their gradients were."""
    initial_accumulator: Annotated[float, Range(0, 1e6)]
    """Start of AdaGrad's sum of squared gradients; 0 with the others."""
    warmup_steps: Annotated[int, Range(0, MOST)]
    """Steps of linear growth from 0 to `learning_rate`."""
    schedule: Literal["constant", "steps", "cosine"]
    """After warm-up: constant; divided by `decay` at each of `decay_steps`; or half a cosine to 0 at the last step."""
    decay_steps: Annotated[tuple[int, ...], Range(1, MOST)]
    """Steps at which "steps" lowers the rate; empty with the others."""
    decay: Annotated[float, Range(0, 1e6, above=True)]
    """Divisor of "steps"; 1 with the others."""
    clip_norm: Annotated[float, Range(0, 1e6)]
    """Gradients of a larger global norm are scaled to it; 0: never."""
    backbone_rate: Annotated[float, Range(0, 1000, above=True)] | None = field(default=None, kw_only=True)
    """Learning rate of the network, on the same schedule, where class centres go by `learning_rate`; may be absent."""
    freeze: tuple[str, ...] | None = field(default=None, kw_only=True)
    """Layers of the network that stay as they are, by the beginnings of their parameters' paths; may be absent."""


@dataclass(frozen=True)
class DataConfig:
    """The training set and its pixels."""

    images: Annotated[int, Range(0, MOST)]
    """Train on so many images, whole identities in random order; 0: all."""
    mean: Annotated[float, Range(-1e4, 1e4)]
    """Subtracted from RGB values of 0..255."""
    scale: Annotated[float, Range(0, 1e4, above=True)]
    """Divides them afterwards."""
    illumination: Literal["histogram", "tan_triggs"] | None = field(default=None, kw_only=True)
    """What brings all light to one before that (`faces.illumination`), in training and evaluation; absent: nothing."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of each training image (`faces.data.augment`, and from gain on `faces.data.variations`)."""

    flip: bool
    """Mirror half of the images."""
    shift: Annotated[float, Range(0, 1, below=True)]
    """Crop shifted by up to this fraction of the side, either way."""
    zoom: Annotated[float, Range(0, 1, below=True)]
    """Side of the crop changed by up to this fraction, either way."""
    rotate: Annotated[float, Range(0, 180)]
    """Rotation by up to so many degrees, either way."""
    colour: Annotated[float, Range(0, 1)]
    """Brightness, contrast and saturation changed by up to this fraction each."""
    jpeg_quality: Annotated[int, Range(0, 95)]
    """Re-encode half of the images as JPEG at a quality drawn from here to 95; 0: never."""
    gain: Annotated[float, Range(0, 1)] | None = field(default=None, kw_only=True)
    """Values multiplied by up to this fraction more or less; this and what follows may be absent, which is 0."""
    bias: Annotated[float, Range(0, 255)] | None = field(default=None, kw_only=True)
    """Up to so many grey values added or taken away."""
    gamma: Annotated[float, Range(0, 9)] | None = field(default=None, kw_only=True)
    """Exponent of values in 0..1, between 1 / (1 + gamma) and 1 + gamma, evenly in its logarithm."""
    gradient: Annotated[float, Range(0, 1)] | None = field(default=None, kw_only=True)
    """Light from a random side: values near it multiplied by up to 1 + gradient, far from it by as little as 1 -."""
    saturation: Annotated[float, Range(0, 1)] | None = field(default=None, kw_only=True)
    """Saturation multiplied by up to this fraction more or less."""
    occlusion: Annotated[float, Range(0, 1, below=True)] | None = field(default=None, kw_only=True)
    """A rectangle of one random colour over up to this fraction of the area."""
    blur: Annotated[float, Range(0, 0.25)] | None = field(default=None, kw_only=True)
    """Gaussian blur of a standard deviation up to this fraction of the width."""
    low_resolution: Annotated[float, Range(0, 1, below=True)] | None = field(default=None, kw_only=True)
    """Sides shrunk by up to this fraction, and enlarged again."""
    grey: Annotated[float, Range(0, 1)] | None = field(default=None, kw_only=True)
    """Fraction of the images that become grey."""
    share: Annotated[float, Range(0, 1)] | None = field(default=None, kw_only=True)
    """Fraction of the images to which each of gain to low_resolution is done, drawn for each apart; absent: to all."""


@dataclass(frozen=True)
class TrainConfig:
    """Length of the run and what happens on the way."""

    steps: Annotated[int, Range(1, MOST)]
    """Batches in all."""
    seed: Annotated[int, Range(0, MOST)]
    """The only source of randomness, of weights and of data order."""
    log_every: Annotated[int, Range(1, MOST)]
    """Steps between two lines of the log."""
    evaluate_every: Annotated[int, Range(0, MOST)]
    """Steps between two evaluations on the way; 0: only before and after."""
    checkpoint_every: Annotated[int, Range(0, MOST)]
    """Steps between two checkpoints; 0: only at the end."""
    most_not_finite: Annotated[int, Range(1, MOST)] | None = field(default=None, kw_only=True)
    """So many steps in a row whose loss or gradient is not finite end the run; may be absent: 10."""
    patience: Annotated[float, Range(0, MOST)] | None = field(default=None, kw_only=True)
    """Seconds without a batch after which the run says which worker reads which file, and again after as many; after
    six times as many it ends. 0: it waits in silence, for ever; may be absent: 300."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is done to the test images and with the embeddings."""

    crop: Annotated[tuple[float, float, float, float], Range(0, 1)]
    """Left, top, right and bottom of the face's box in a test image, as fractions of its width and height."""
    flip: bool
    """Add the mirrored image's embedding, then normalise."""
    jpeg_quality: Annotated[int, Range(0, 100)]
    """Re-encode test images at this JPEG quality first (Table 4); 0: as they are."""
    pixels: Annotated[int, Range(0, 2**24)]
    """Shrink test images to so many pixels first (Table 4); 0: as they are."""
    far: Annotated[float, Range(0, 1, above=True, below=True)]
    """False accept rate at which VAL is read."""


@dataclass(frozen=True)
class RunConfig(Checked):
    """What defines a run, except where its data lies; as far as both papers share it."""

    model: ModelConfig
    batch: BatchConfig
    optimiser: OptimiserConfig
    data: DataConfig
    augment: AugmentConfig
    train: TrainConfig
    evaluation: EvaluationConfig

    def rules(self) -> list[Rule]:
        """Conditions on values that each fit the schema."""
        evaluation = self.evaluation
        return [
            (self.batch.images >= 2, "batch.images: at least 2 are needed"),
            (
                evaluation.crop[0] < evaluation.crop[2] and evaluation.crop[1] < evaluation.crop[3],
                "evaluation.crop: left, top, right, bottom are expected, in this order",
            ),
        ]


AnyRun = TypeVar("AnyRun", bound=RunConfig)
