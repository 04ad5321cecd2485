"""The networks of both papers under one roof, since a network can be trained by either paper's loss.

Not here: the networks (`facenet_jax.models`, `arcface_jax.models`).
"""

import jax.numpy as jnp

import arcface_jax.models
import facenet_jax.models
from faces.backbone import Backbone, check_size, normalised
from faces.config import ModelConfig
from faces.errors import ConfigError
from faces.schema import nearest_of_all


def backbone_of(model: ModelConfig, trained_as: str, dropout: float = 0.0) -> Backbone:
    """The network that a config names.

    Args:
        model: of either paper's config.
        trained_as: "facenet" or "arcface", whose loss is to train it: FaceNet's networks end in embeddings of length 1,
            and ArcFace's, whose length the softmax loss needs, are normalised for FaceNet's loss.
        dropout: fraction of the values dropped in training, as ArcFace's configs have it; 0: none. FaceNet's configs
            have none: by its loss its own package's networks keep the rates that they were published with.

    Raises:
        ConfigError: neither paper's package has a network of this name, or dropout is asked of one that has none.
    """
    dtype = jnp.dtype(model.dtype)
    if model.name in facenet_jax.models.NETWORKS:
        rate = None if trained_as == "facenet" else dropout
        return facenet_jax.models.make_backbone(model.name, model.embedding_dim, dtype, model.input_size, rate)
    if model.name in arcface_jax.models.NETWORKS:
        backbone = arcface_jax.models.make_backbone(
            model.name, model.embedding_dim, dtype, model.input_size, dropout
        )
        return normalised(backbone) if trained_as == "facenet" else backbone
    known = [*facenet_jax.models.NETWORKS, *arcface_jax.models.NETWORKS]
    raise ConfigError(f'there is no network "{model.name}"; {nearest_of_all(model.name, known)}')


def check_network(model: ModelConfig, dropout: float = 0.0) -> None:
    """Refuse a network that there is none of, or one whose layers do not fit its images, before anything is made.

    Raises:
        ConfigError: as `backbone_of` and `faces.backbone.check_size`.
    """
    papers = (facenet_jax.models.NETWORKS, arcface_jax.models.NETWORKS)
    networks = {name: network for known in papers for name, network in known.items()}
    check_size(backbone_of(model, "arcface", dropout), model.name, networks)
