"""A model that embeds faces: its network, what the network must be given, and where its weights come from.

Not here: opening one (`model.py`), the networks (`networks.py`).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from faces.backbone import Apply, Backbone, BatchStats, Params
from faces.config import ModelConfig
from faces.preprocessing import Preprocessing, pixels_of
from faces.ranges import Range
from faces.schema import Checked, Rule
from recognizer.manifest import MANIFEST, Detection, known_files
from recognizer.networks import backbone_of

DESCRIPTION = "model.toml"
"""Name of the file in a model's folder."""


@dataclass(frozen=True)
class NetworkConfig:
    """Which network."""

    name: str
    """Name in `facenet_jax.models` or `arcface_jax.models`."""
    embedding_dim: Annotated[int, Range(1, 65536)]
    """d."""


@dataclass(frozen=True)
class Origin:
    """Where weights come from."""

    file: str
    """Name of the file, or of the run's folder and its step."""
    sha256: str
    """Of the file's bytes and those of the files that belong to it, or of the run's weights."""
    recognised_by: Literal["hash", "tensors", "network", "run"] | None = None
    """What says that the weights are of this network: the file's hash, which the manifest knows; their names and shapes
    alone; the person who named it; the run's own record; None of models that were written before this was kept."""


@dataclass(frozen=True)
class Verification:
    """When two faces are taken for one person's, as chosen on people who are in no test set."""

    threshold: Annotated[float, Range(-1, 1)]
    """Cosine of the embeddings from which on they are."""


@dataclass(frozen=True)
class Clustering:
    """When two clusters of faces are one person's, as chosen on people who are in no test set."""

    threshold: Annotated[float, Range(-1, 1)]
    """Mean cosine over all pairs between them from which on they are."""


@dataclass(frozen=True)
class Description(Checked):
    """What `model.toml` holds; a table that is not there is of a model for which nobody has chosen that."""

    network: NetworkConfig
    preprocessing: Preprocessing
    origin: Origin
    verification: Verification | None = None
    clustering: Clustering | None = None
    detection: Detection | None = None

    def rules(self) -> list[Rule]:
        """As `faces.schema.Checked.rules`."""
        return self.preprocessing.rules()


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

    @property
    def clustering_threshold(self) -> float | None:
        """Mean cosine from which on two clusters are taken for one person's; None where none was chosen."""
        clustering = self.description.clustering
        return None if clustering is None else clustering.threshold

    @property
    def remark(self) -> str | None:
        """A sentence on weights that nothing but their tensors says the network of; None of all others."""
        origin = self.description.origin
        if origin.recognised_by != "tensors":
            return None
        how = "by its tensors' names and shapes alone; its hash is not known here"
        return f"{origin.file}: taken for {self.name} {how}"


def backbone_in(description: Description) -> Backbone:
    """The network of a description that is of no run: published ones are as ArcFace's loss trained them."""
    network = description.network
    return backbone_at(network.name, description.preprocessing.size, network.embedding_dim)


def backbone_at(network: str, size: tuple[int, int], embedding_dim: int) -> Backbone:
    """The same of a network by its name, for images of a size, rows and columns."""
    return backbone_of(ModelConfig(network, size, embedding_dim, "float32", "global"), "arcface")


def with_known(description: Description, manifest: Path = MANIFEST) -> Description:
    """A description with what the manifest knows of its file and it does not say itself.

    Args:
        description: any.
        manifest: as `recognizer.manifest.read_manifest` takes it.
    Raises:
        ConfigError: as `read_manifest`.
    """
    known = known_files(manifest).get(description.origin.sha256)
    if known is None or known.entry.kind != "model":
        return description
    entry, origin = known.entry, dataclasses.replace(description.origin, recognised_by="hash")
    if entry.preprocessing is not None and pixels_of(description.preprocessing) != pixels_of(entry.preprocessing):
        return dataclasses.replace(description, origin=origin)  # cosines and numbers are not of such pixels
    return dataclasses.replace(
        description,
        origin=origin,
        verification=description.verification or (entry.verification and Verification(entry.verification.threshold)),
        clustering=description.clustering or (entry.clustering and Clustering(entry.clustering.threshold)),
        detection=description.detection or entry.detection,
    )
