"""The classifier beside the triplets, against loops in float64, and in a training step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from facenet_jax.auxiliary import classifier_loss, init_classifier
from facenet_jax.train_step import init_state, make_train_step
from faces.errors import ConfigError
from faces.mesh import make_mesh, place_batch
from tests.facenet_jax import setting


def test_loss_equals_the_oracle():
    rng = np.random.default_rng(0)
    x, w, y = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), np.array([3, 0, 0, 2, 1], np.int32)
    expected = []
    for embedding, label in zip(x, y, strict=True):
        logits = [sum(a * b for a, b in zip(embedding, row, strict=True)) for row in w]
        expected.append(np.log(sum(np.exp(logit) for logit in logits)) - logits[label])
    given = classifier_loss(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32), jnp.asarray(y))
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_initial_weights():
    weights = init_classifier(jax.random.key(0), 500, 40)
    assert weights.shape == (500, 40)
    assert float(weights.std()) == pytest.approx(0.01, rel=0.02) and abs(float(weights.mean())) < 1e-4


def test_a_step_adds_the_weighted_mean_and_moves_the_classifier():
    batch, mesh = setting.batch(), make_mesh(2)
    backbone = setting.without_batch_norm()
    metrics, states = {}, {}
    for weight in (0.0, 0.5):
        config = setting.config(loss__classifier_weight=weight)
        state = init_state(config, mesh, backbone, classes=8)
        before = jax.device_get(state.centres)
        state, numbers = make_train_step(config, mesh, backbone)(state, place_batch(mesh, batch))
        metrics[weight], states[weight] = jax.device_get(numbers), (before, jax.device_get(state.centres))
    assert states[0.0] == ({}, {}) and "classifier_loss" not in metrics[0.0]
    extra = metrics[0.5]["classifier_loss"]
    assert extra == pytest.approx(np.log(8), rel=0.01)  # weights near 0: all eight people are as likely
    np.testing.assert_allclose(metrics[0.5]["loss"], metrics[0.0]["loss"] + 0.5 * extra, rtol=1e-5)
    before, after = states[0.5]
    assert before.shape == (8, 8) and (before != after).all(axis=1).any()


def test_the_number_of_people_must_be_given():
    with pytest.raises(ConfigError, match=r"classes = 0: .* give their number"):
        init_state(setting.config(loss__classifier_weight=0.5), make_mesh(1), setting.without_batch_norm())
