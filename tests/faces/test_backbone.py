"""Two wrappers of a network: embeddings of length 1, and statistics and dropout of each device's own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.backbone import Backbone, normalised, per_device
from faces.mesh import make_mesh

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2, 2, 3)), jnp.float32)
PARAMS = {"kernel": jnp.asarray(np.random.default_rng(1).normal(size=(12, 5)), jnp.float32)}
STATS = {"mean": jnp.zeros(5)}


def apply(
    params: Any, batch_stats: Any, images: jax.Array, train: bool, key: jax.Array | None = None
) -> tuple[jax.Array, Any]:
    """One matrix, less the mean over the batch; dropout of half its inputs where there is a key."""
    x = images.reshape(images.shape[0], -1)
    if train and key is not None:
        x = x * jax.random.bernoulli(key, 0.5, x.shape)
    x = x @ params["kernel"]
    mean = jnp.mean(x, axis=0) if train else batch_stats["mean"]
    return x - mean[None, :], {"mean": mean} if train else batch_stats


@pytest.mark.parametrize("train", [True, False])
def test_normalised_keeps_all_but_the_length(train: bool):
    backbone = Backbone(lambda key: (PARAMS, STATS), apply, (2, 2))
    unit = normalised(backbone)
    assert unit.init is backbone.init and unit.input_size == (2, 2)
    key = jax.random.key(0) if train else None
    (free, stats), (given, their_stats) = (of.apply(PARAMS, STATS, IMAGES, train, key) for of in (backbone, unit))
    expected = np.stack([row / np.sqrt(np.sum(row**2)) for row in np.asarray(free, np.float64)])
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stats["mean"], their_stats["mean"])


def on(devices: int, key: jax.Array | None, images: jax.Array = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    run = jax.jit(per_device(apply, make_mesh(devices)), static_argnums=3)
    embeddings, stats = run(PARAMS, STATS, images, True, key)
    return np.asarray(embeddings), np.asarray(stats["mean"])


def test_each_device_has_its_own_statistics_and_keeps_their_mean():
    embeddings, mean = on(4, None)
    parts = [apply(PARAMS, STATS, part, True) for part in jnp.split(IMAGES, 4)]
    np.testing.assert_allclose(embeddings, np.concatenate([x for x, _ in parts]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean, np.mean([stats["mean"] for _, stats in parts], axis=0), rtol=1e-5, atol=1e-6)


def test_dropout_differs_between_devices_and_follows_from_the_key():
    """The same two images on each of four devices."""
    same = jnp.concatenate([IMAGES[:2]] * 4)
    key = jax.random.key(3)
    embeddings, _ = on(4, key, same)
    parts = np.split(embeddings, 4)
    for device, part in enumerate(parts):
        expected, _ = apply(PARAMS, STATS, same[:2], True, jax.random.fold_in(key, device))
        np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-6)
    assert not any(np.allclose(parts[0], part) for part in parts[1:])
    assert np.abs(on(4, jax.random.key(4), same)[0] - embeddings).max() > 0.1


def test_evaluation_is_the_networks_own():
    given, stats = per_device(apply, make_mesh(4))(PARAMS, STATS, IMAGES, False)
    np.testing.assert_array_equal(given, apply(PARAMS, STATS, IMAGES, False)[0])
    assert stats is STATS
