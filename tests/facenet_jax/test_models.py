"""Networks behave: unit length, finite gradients, both dtypes, batch norm, initial values, clear refusals."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from facenet_jax import models
from facenet_jax.models import make_backbone
from facenet_jax.models.inception import NN2_ROWS, InceptionNet
from facenet_jax.models.mini_inception import NNS2_ROWS, NNS2_STEM
from facenet_jax.models.mobilenet_v1 import MobileNetV1
from facenet_jax.models.nn1 import NN1, maxout
from facenet_jax.models.openface import OpenFaceNet
from faces.backbone import Network
from faces.errors import ConfigError
from tests import network_laws as laws


def test_input_sizes():
    sizes = {name: make_backbone(name, 8).input_size for name in ("nn1", "nn2", "nn3", "nn4", "nns1", "nns2")}
    assert sizes == {
        "nn1": (220, 220),
        "nn2": (224, 224),
        "nn3": (160, 160),
        "nn4": (96, 96),
        "nns1": (165, 165),
        "nns2": (140, 116),
    }


# One network of each kind: maxout, L2 pooling, a hidden layer, batch norm. All but NN1 are cut to a module or two,
# because compiling a whole one takes longer than everything else here.
KINDS = {
    "nn1": Network(NN1, (32, 32)),
    "short_nn2": Network(partial(InceptionNet, rows={name: NN2_ROWS[name] for name in ("3b", "3c")}), (40, 32)),
    "short_nns2": Network(
        partial(InceptionNet, rows={"3a": NNS2_ROWS["3a"]}, stem=NNS2_STEM, fc1=64),
        (24, 32),
    ),
    "short_openface": Network(partial(OpenFaceNet, rows={name: NN2_ROWS[name] for name in ("3b", "3c")}), (32, 32)),
    "short_mobilenet_v1": Network(partial(MobileNetV1, stem=8, blocks=((16, 1), (24, 2))), (16, 24)),
}


@cache
def initialised(name: str, dtype: jnp.dtype = jnp.float32):
    return laws.initialise(models, KINDS, name, dtype)


def squared_distances(embeddings: jax.Array) -> np.ndarray:
    """Of all pairs of different rows."""
    difference = np.asarray(embeddings)[:, None] - np.asarray(embeddings)[None]  # (B, B, d)
    return np.square(difference).sum(axis=-1)[np.triu_indices(len(embeddings), 1)]


def assert_unit_length(embeddings: jax.Array) -> None:
    assert embeddings.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_embeddings_and_gradients(name):
    embeddings = laws.embeddings_with_finite_gradients(initialised(name), never_zero=("kernel",))
    assert_unit_length(embeddings)
    assert squared_distances(embeddings).min() > 1e-4


@pytest.mark.parametrize("name", ["short_nn2", "short_openface", "short_mobilenet_v1"])
def test_bfloat16_agrees_with_float32(name):
    rounded, exact = laws.embeddings_in_both_types(initialised(name), initialised(name, jnp.bfloat16))
    assert_unit_length(rounded)
    assert np.square(rounded - exact).sum(axis=-1).max() < 1e-3


@pytest.mark.parametrize(("name", "size"), [("nn2", (64, 64)), ("openface_nn4_small2", (96, 96))])
def test_whole_networks_do_not_start_collapsed(name, size):
    backbone = make_backbone(name, 128, input_size=size)
    params, batch_stats = backbone.init(jax.random.key(0))
    images = laws.colour_fields(2, 6, size)
    embeddings = jax.jit(backbone.apply, static_argnums=3)(params, batch_stats, images, False)[0]
    assert_unit_length(embeddings)
    assert squared_distances(embeddings).mean() > 0.01
    assert squared_distances(embeddings).min() > 1e-3


def test_batch_norm_follows_the_batch_in_training_only():
    network = initialised("short_openface")
    _, updated = laws.outputs_by_batch_and_by_statistics(network, 3.0 + laws.colour_fields(3, 4, (32, 32)))
    assert not np.allclose(updated["conv1_norm"]["mean"], network[2]["conv1_norm"]["mean"])


def test_maxout_takes_the_larger_of_each_pair():
    assert maxout(jnp.array([[1.0, 2.0, -3.0, -5.0], [0.0, -1.0, 4.0, 4.0]])).tolist() == [[2.0, -3.0], [0.0, 4.0]]


def test_initial_values():
    backbone, params, batch_stats = initialised("short_nns2")
    assert batch_stats == {}
    laws.check_initial_kernels(params, lambda path, leaf: 1.0 if path[0].key == "fc" else 2.0)
    biases = [leaf for path, leaf in jax.tree.leaves_with_path(params) if path[-1].key == "bias"]
    assert biases and not any(leaf.any() for leaf in biases)
    again, other = (jax.device_get(backbone.init(jax.random.key(seed))[0]) for seed in (0, 1))
    assert jax.tree.all(jax.tree.map(np.array_equal, jax.device_get(params), again))
    assert not np.allclose(again["conv1"]["kernel"], other["conv1"]["kernel"])


def test_unknown_network_names_the_nearest():
    with pytest.raises(ConfigError, match=r'"nn22"; the nearest is "nn2"'):
        make_backbone("nn22", 128)


def test_images_of_another_size_are_refused():
    backbone = make_backbone("nn3", 128)
    with pytest.raises(ConfigError, match="nn3 is set up for images of 160x160x3 and was given 96x96x3"):
        jax.eval_shape(lambda images: backbone.apply({}, {}, images, False), jax.ShapeDtypeStruct((1, 96, 96, 3), "f4"))
