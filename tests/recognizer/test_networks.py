"""Either paper's network under either paper's loss."""

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

import arcface_jax.models
import facenet_jax.models
from arcface_jax.config import Config, ModelConfig
from facenet_jax.models.mobilenet_v1 import MobileNetV1
from faces.backbone import Network
from faces.errors import ConfigError
from faces.toml_config import load_config
from recognizer.networks import backbone_of
from tests.experiments import setting

IMAGES = np.random.default_rng(0).normal(size=(5, 16, 16, 3)).astype(np.float32)


def model(**changes: Any) -> ModelConfig:
    config, _ = load_config("arcface/tiny", Config)
    return dataclasses.replace(config.model, input_size=(16, 16), embedding_dim=8, **changes)


def embed(of: ModelConfig, trained_as: str, dropout_key: int | None = None, dropout: float = 0.0) -> np.ndarray:
    """Embeddings of a network with its initial weights, in training where there is a key."""
    backbone = backbone_of(of, trained_as, dropout)
    params, batch_stats = backbone.init(jax.random.key(0))
    key = None if dropout_key is None else jax.random.key(dropout_key)
    return np.asarray(backbone.apply(params, batch_stats, IMAGES, key is not None, key)[0])


def test_embeddings_have_length_1_for_facenets_loss_and_their_own_for_arcfaces(one_matrix: list[str]):
    name = one_matrix[-1]
    free, unit = embed(model(name=name), "arcface"), embed(model(name=name), "facenet")
    lengths = np.linalg.norm(free, axis=1, keepdims=True)
    assert (abs(lengths - 1) > 0.01).all()
    np.testing.assert_allclose(unit, free / lengths, rtol=1e-5, atol=1e-6)


def test_a_network_of_facenet_is_the_same_for_both(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(facenet_jax.models.NETWORKS, "of_facenet", setting.NETWORK)
    both = [embed(model(name="of_facenet"), trained_as) for trained_as in ("arcface", "facenet")]
    np.testing.assert_array_equal(*both)


def test_dropout_is_what_the_caller_says(one_matrix: list[str]):
    """It is a field of one paper's configs: who has it passes it, and a config that holds it is not asked."""
    of = model(name=one_matrix[-1], dropout=0.5)
    assert (embed(of, "arcface", 1, of.dropout) != embed(of, "arcface", 2, of.dropout)).any()
    np.testing.assert_array_equal(embed(of, "facenet", 1), embed(of, "facenet", 2))


def test_a_network_of_facenet_drops_what_a_config_of_arcface_says_and_else_its_own(monkeypatch: pytest.MonkeyPatch):
    network = Network(partial(MobileNetV1, stem=4, blocks=((6, 2),)), (16, 16))
    monkeypatch.setitem(facenet_jax.models.NETWORKS, "short", network)
    of = model(name="short")

    def differ(trained_as: str, dropout: float = 0.0) -> bool:
        return bool((embed(of, trained_as, 1, dropout) != embed(of, trained_as, 2, dropout)).any())

    assert not differ("arcface", 0.0)
    assert differ("arcface", 0.3)
    assert differ("facenet")  # whose configs have no such field: the published half
    with pytest.raises(ConfigError, match=r"nn2 has no dropout .* set model\.dropout to 0"):
        backbone_of(model(name="nn2"), "arcface", 0.3)


def test_a_name_that_neither_has_names_the_nearest_of_both():
    everything = len(facenet_jax.models.NETWORKS) + len(arcface_jax.models.NETWORKS)
    for given, nearest in (("nn22", "nn2"), ("iresnet10", "iresnet100"), ("mobilfacenet", "mobilefacenet")):
        with pytest.raises(ConfigError, match=f'no network "{given}"; the nearest is "{nearest}"') as refused:
            backbone_of(model(name=given), "arcface")
        assert str(refused.value).count(", ") == everything - 1


def test_dropout_where_a_network_has_none_is_refused():
    with pytest.raises(ConfigError, match=r"mobilefacenet has no dropout .* set model\.dropout to 0"):
        backbone_of(model(name="mobilefacenet"), "arcface", 0.4)
