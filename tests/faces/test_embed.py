"""Embedding many images in blocks: padding, mirror images, and any number of devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces import embed
from faces.mesh import make_mesh
from faces.ops import l2_normalise
from tests.faces.configs import tiny

DATA = dataclasses.replace(tiny().data, mean=100.0, scale=50.0)
RNG = np.random.default_rng(0)
PARAMS = RNG.normal(size=(4 * 6 * 3, 5)).astype(np.float32)
STATS = RNG.normal(size=(1, 5)).astype(np.float32)


def linear(params, batch_stats, images, train):
    assert not train
    return l2_normalise(images.reshape(images.shape[0], -1) @ params + batch_stats), batch_stats


def by_hand(images, flip):
    """In float64, one image after the other."""
    out = []
    for image in images:
        total = np.zeros(5)
        for seen in (image, image[:, ::-1]) if flip else (image,):
            embedding = ((seen.astype(np.float64) - 100) / 50).reshape(-1) @ PARAMS.astype(np.float64) + STATS[0]
            total += embedding / np.sqrt(np.sum(embedding**2))
        out.append(total / np.sqrt(np.sum(total**2)))
    return np.array(out)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("devices", [1, 8])
def test_embeddings_equal_one_by_one(monkeypatch, devices, flip):
    """Blocks of 20, or of 24 over eight devices: less than a block, whole blocks, and a last one that is padded."""
    monkeypatch.setattr(embed, "BLOCK_ON_CPU", 20 if devices == 1 else 3)
    shapes = []

    def apply(params, batch_stats, images, train):
        shapes.append(images.shape)
        return linear(params, batch_stats, images, train)

    embedder = embed.make_embedder(apply, DATA, flip, make_mesh(devices))
    images = RNG.integers(0, 256, (120, 4, 6, 3), dtype=np.uint8)
    expected = by_hand(images, flip)
    for count in (1, 19, 40, 48, 120):
        given = embedder(jnp.asarray(PARAMS), jnp.asarray(STATS), images[:count])
        assert given.shape == (count, 5) and given.dtype == np.float32
        np.testing.assert_allclose(given, expected[:count], atol=2e-6)
    block = 20 if devices == 1 else 24
    assert shapes == [(block, 4, 6, 3)] * (2 if flip else 1)  # one shape, compiled once


def test_devices_agree_exactly_on_whole_numbers():
    """Sums of small whole numbers are exact in any order, so no placement of the images may show.

    The network's outputs have any length; embeddings have length 1.
    """
    images = RNG.integers(0, 8, (300, 4, 6, 3), dtype=np.uint8)
    weights = jnp.asarray(RNG.integers(-3, 4, (72, 5)).astype(np.float32))
    plain = dataclasses.replace(DATA, mean=0.0, scale=1.0)

    def apply(params, batch_stats, images, train):
        return images.reshape(images.shape[0], -1) @ params, batch_stats

    one, eight = (embed.make_embedder(apply, plain, False, make_mesh(n))(weights, {}, images) for n in (1, 8))
    outputs = (images.reshape(300, -1) @ np.asarray(weights)).astype(np.float64)
    lengths = np.sqrt(np.sum(outputs**2, axis=1, keepdims=True))
    np.testing.assert_allclose(one, outputs / np.maximum(lengths, 1e-12), rtol=1e-6)
    np.testing.assert_array_equal(one, eight)


def test_a_face_and_its_mirror_image_embed_alike_with_flip():
    embedder = embed.make_embedder(linear, DATA, True, make_mesh(1))
    images = RNG.integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
    both = [embedder(PARAMS, jnp.asarray(STATS), x) for x in (images, np.ascontiguousarray(images[:, :, ::-1]))]
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)
    assert jax.device_count() == 8
