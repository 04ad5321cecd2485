"""The two files that are read beside the papers say what the packages compute: same loss, same gradients, same step."""


import jax
import jax.numpy as jnp
import numpy as np
import pytest

import facenet_jax.config
from arcface_jax import head, margins
from examples import arcface, facenet
from facenet_jax import mining, train_step
from faces.data.source import ArraySource
from faces.mesh import make_mesh
from faces.toml_config import load_config


def close(ours, theirs, tolerance=1e-6):
    """Equal to `tolerance` of the largest number in each array."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(1)
    identities = np.repeat(np.arange(5), [2, 3, 4, 1, 6]).astype(np.int32)  # one person has a single image
    images = rng.integers(0, 256, (len(identities), 16, 16, 3)).astype(np.uint8)
    return jnp.asarray(images), jnp.asarray(identities)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_facenet_loss_and_gradients(batch, seed):
    params = facenet.Network().init(jax.random.key(seed), jnp.zeros((1, 16, 16, 3)))["params"]
    config, _ = load_config("facenet/tiny", facenet_jax.config.Config)
    config = config.with_(loss__alpha=facenet.ALPHA)
    mesh = make_mesh(1)

    def of_package(params):
        return train_step.triplet_objective(
            facenet.embed(params, batch[0]), batch[1], config, jax.random.key(0), mesh
        )

    (theirs, metrics), of_theirs = jax.jit(jax.value_and_grad(of_package, has_aux=True))(params)
    (ours, ours_metrics), of_ours = jax.jit(jax.value_and_grad(facenet.loss, has_aux=True))(params, batch)
    assert ours > 0.05
    close(ours, theirs)
    close(ours_metrics["active"], metrics["active"])
    close(of_ours, of_theirs)


def test_facenet_mining(batch):
    embeddings = np.random.default_rng(2).normal(size=(len(batch[1]), 4)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    negative, is_pair = facenet.semi_hard(facenet.squared_distances(jnp.asarray(embeddings)), batch[1])
    theirs = mining.semi_hard(jnp.asarray(embeddings), batch[1])
    np.testing.assert_array_equal(is_pair, theirs.is_pair)
    np.testing.assert_array_equal(np.where(is_pair, negative, 0), theirs.negative)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_arcface_loss_and_gradients(batch, seed):
    network = arcface.Network().init(jax.random.key(seed), jnp.zeros((1, 16, 16, 3)), train=False)
    centres = jax.random.normal(jax.random.key(seed + 10), (arcface.PEOPLE, arcface.EMBEDDING_DIM))
    params = {"network": network["params"], "centres": centres}
    margin = margins.Margin(m2=arcface.MARGIN)

    def of_package(params):
        x, _ = arcface.embed(params, network["batch_stats"], batch[0], train=True)
        return jnp.mean(head.margin_softmax_loss(x, params["centres"], batch[1], margin, arcface.SCALE))

    theirs, of_theirs = jax.jit(jax.value_and_grad(of_package))(params)
    gradient = jax.jit(jax.value_and_grad(arcface.loss, has_aux=True))
    (ours, (_, theta)), of_ours = gradient(params, network["batch_stats"], batch)
    assert 60 < theta < 120
    close(ours, theirs)
    close(of_ours, of_theirs)


def test_arcface_margin_at_the_ends_of_the_circle():
    cosine = jnp.asarray([-1.0, -0.9, -0.1, 0.0, 0.5, 0.999, 1.0])
    ours, theirs = arcface.add_margin(cosine), margins.target_cosine(cosine, margins.ARCFACE)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    np.testing.assert_allclose(ours[1:-1], theirs[1:-1], atol=1e-6)
    assert np.isfinite(jax.vmap(jax.grad(arcface.add_margin))(cosine)).all()


@pytest.mark.parametrize("example", [facenet, arcface])
def test_a_run_prints_its_number(example, monkeypatch, capsys):
    def noise(identities, images_per_identity, size, seed, first_identity=0):
        labels = np.repeat(np.arange(identities, dtype=np.int32), images_per_identity)
        pixels = np.random.default_rng(first_identity).integers(0, 256, (len(labels), size, size, 3), np.uint8)
        return ArraySource("noise", pixels, labels)

    monkeypatch.setattr(example, "generated_faces", noise)
    monkeypatch.setattr(example, "STEPS", 2)
    example.main()
    assert "trained: " in capsys.readouterr().out
