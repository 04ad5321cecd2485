"""A model that embeds faces: its network, what the network must be given, and where its weights come from.

Not here: opening one (`model.py`), the networks (`networks.py`).
"""

from dataclasses import dataclass

from faces.backbone import Apply, Backbone, BatchStats, Params
from faces.config import ModelConfig
from faces.preprocessing import Preprocessing
from faces.schema import Checked, Rule
from recognizer.networks import backbone_of

DESCRIPTION = "model.toml"
"""Name of the file in a model's folder."""


@dataclass(frozen=True)
class NetworkConfig:
    """Which network."""

    name: str
    """Name in `facenet_jax.models` or `arcface_jax.models`."""
    embedding_dim: int
    """d."""


@dataclass(frozen=True)
class Origin:
    """Where weights come from."""

    file: str
    """Name of the file, or of the run's folder and its step."""
    sha256: str
    """Of the file's bytes and those of the files that belong to it, or of the run's weights."""


@dataclass(frozen=True)
class Verification:
    """When two faces are taken for one person's, as chosen on people who are in no test set."""

    threshold: float
    """Cosine of the embeddings from which on they are."""


KNOWN = {"b151f97e392e68cb540fb9710a91a574a4187d491eeda77d1c1799ae6dc3b82b": Verification(0.35)}
"""Of published weights, by the SHA-256 of their file: MobileFaceNet "y1" (RESULTS.md, "What a threshold costs")."""


@dataclass(frozen=True)
class Description(Checked):
    """What `model.toml` holds; files without a table `[verification]` are of models without a chosen threshold."""

    network: NetworkConfig
    preprocessing: Preprocessing
    origin: Origin
    verification: Verification | None = None

    def rules(self) -> list[Rule]:
        """As `faces.schema.Checked.rules`."""
        return [
            *self.preprocessing.rules(),
            (self.network.embedding_dim > 0, "network.embedding_dim: not positive"),
            (
                self.verification is None or -1 <= self.verification.threshold <= 1,
                "verification.threshold: a cosine, -1 to 1, is expected",
            ),
        ]


@dataclass(frozen=True)
class Model:
    """A network with weights.

    Args:
        description: its name, what it must be given, and where it comes from.
        params, batch_stats: NumPy arrays.
        apply: as `faces.backbone.Backbone.apply`; whether embeddings are of length 1 the network says.
    """

    description: Description
    params: Params
    batch_stats: BatchStats
    apply: Apply

    @property
    def name(self) -> str:
        """Of the network."""
        return self.description.network.name

    @property
    def preprocessing(self) -> Preprocessing:
        """What the network must be given."""
        return self.description.preprocessing

    @property
    def threshold(self) -> float | None:
        """Cosine from which on two faces are taken for one person's; None where none was chosen."""
        verification = self.description.verification
        return None if verification is None else verification.threshold


def backbone_in(description: Description) -> Backbone:
    """The network of a description that is of no run: published ones are as ArcFace's loss trained them."""
    network, size = description.network, description.preprocessing.size
    return backbone_of(ModelConfig(network.name, size, network.embedding_dim, "float32", "global"), "arcface")
