"""The networks are the published ones, layer by layer, and behave: unit length, finite gradients, both dtypes."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.counts import multiply_adds, parameters
from faces.errors import ConfigError
from facenet_jax.models import NETWORKS, make_backbone
from facenet_jax.models.inception import NN2_ROWS
from facenet_jax.models.openface import OpenFaceNet

# Table 1: (parameters, FLOPs) as printed. K is thousands, M millions.
TABLE_1 = {
    "conv1": ("9K", "115M"),
    "conv2a": ("4K", "13M"),
    "conv2": ("111K", "335M"),
    "conv3a": ("37K", "29M"),
    "conv3": ("664K", "521M"),
    "conv4a": ("148K", "29M"),
    "conv4": ("885K", "173M"),
    "conv5a": ("66K", "13M"),
    "conv5": ("590K", "116M"),
    "conv6a": ("66K", "13M"),
    "conv6": ("590K", "116M"),
    "fc1": ("103M", "103M"),
    "fc2": ("34M", "34M"),
    "fc7128": ("524K", "0.5M"),
    "total": ("140M", "1.6B"),
}
TABLE_2 = {
    "conv1": ("9K", "119M"),
    "inception_2": ("115K", "360M"),
    "inception_3a": ("164K", "128M"),
    "inception_3b": ("228K", "179M"),
    "inception_3c": ("398K", "108M"),
    "inception_4a": ("545K", "107M"),
    "inception_4b": ("595K", "117M"),
    "inception_4c": ("654K", "128M"),
    "inception_4d": ("722K", "142M"),
    "inception_4e": ("717K", "56M"),
    "inception_5a": ("1.6M", "78M"),
    "inception_5b": ("1.6M", "78M"),
    "fc": ("131K", "0.1M"),
    "total": ("7.5M", "1.6B"),
}
# Worked by hand from the shapes of Tables 1 and 2: kernel x kernel x in x out (+ out biases), times places.
NN1_PARAMETERS = {
    "conv1": 7 * 7 * 3 * 64 + 64,
    "conv2a": 64 * 64 + 64,
    "conv2": 9 * 64 * 192 + 192,
    "conv3a": 192 * 192 + 192,
    "conv3": 9 * 192 * 384 + 384,
    "conv4a": 384 * 384 + 384,
    "conv4": 9 * 384 * 256 + 256,
    "conv5a": 256 * 256 + 256,
    "conv5": 9 * 256 * 256 + 256,
    "conv6a": 256 * 256 + 256,
    "conv6": 9 * 256 * 256 + 256,
    "fc1": 7 * 7 * 256 * 4096 * 2,
    "fc2": 4096 * 4096 * 2,
    "fc7128": 4096 * 128,
}
NN1_MULTIPLY_ADDS = {
    "conv1": 110**2 * 7 * 7 * 3 * 64,
    "conv2a": 55**2 * 64 * 64,
    "conv2": 55**2 * 9 * 64 * 192,
    "conv3a": 28**2 * 192 * 192,
    "conv3": 28**2 * 9 * 192 * 384,
    "conv4a": 14**2 * 384 * 384,
    "conv4": 14**2 * 9 * 384 * 256,
    "conv5a": 14**2 * 256 * 256,
    "conv5": 14**2 * 9 * 256 * 256,
    "conv6a": 14**2 * 256 * 256,
    "conv6": 14**2 * 9 * 256 * 256,
    "fc1": 7 * 7 * 256 * 4096 * 2,
    "fc2": 4096 * 4096 * 2,
    "fc7128": 4096 * 128,
}
NN2_PARAMETERS = {
    "conv1": 9_472,
    "inception_2": 114_944,
    "inception_3a": 163_696,
    "inception_3b": 227_776,
    "inception_3c": 397_792,
    "inception_4a": 545_536,
    "inception_4b": 595_216,
    "inception_4c": 654_112,
    "inception_4d": 722_224,
    "inception_4e": 717_408,
    "inception_5a": 1_588_464,
    "inception_5b": 1_588_464,
    "fc": 131_200,
}
NN2_MULTIPLY_ADDS = {
    "conv1": 112**2 * 7 * 7 * 3 * 64,
    "inception_2": 56**2 * (64 * 64 + 9 * 64 * 192),
    "inception_3a": 28**2 * (192 * (64 + 96 + 16 + 32) + 9 * 96 * 128 + 25 * 16 * 32),
    "inception_3b": 28**2 * (256 * (64 + 96 + 32 + 64) + 9 * 96 * 128 + 25 * 32 * 64),
    "inception_3c": 28**2 * 320 * (128 + 32) + 14**2 * (9 * 128 * 256 + 25 * 32 * 64),
    "inception_4a": 14**2 * (640 * (256 + 96 + 32 + 128) + 9 * 96 * 192 + 25 * 32 * 64),
    "inception_4b": 14**2 * (640 * (224 + 112 + 32 + 128) + 9 * 112 * 224 + 25 * 32 * 64),
    "inception_4c": 14**2 * (640 * (192 + 128 + 32 + 128) + 9 * 128 * 256 + 25 * 32 * 64),
    "inception_4d": 14**2 * (640 * (160 + 144 + 32 + 128) + 9 * 144 * 288 + 25 * 32 * 64),
    "inception_4e": 14**2 * 640 * (160 + 64) + 7**2 * (9 * 160 * 256 + 25 * 64 * 128),
    "inception_5a": 7**2 * (1024 * (384 + 192 + 48 + 128) + 9 * 192 * 384 + 25 * 48 * 128),
    "inception_5b": 7**2 * (1024 * (384 + 192 + 48 + 128) + 9 * 192 * 384 + 25 * 48 * 128),
    "fc": 1024 * 128,
}


@cache
def count(name: str, depth: int | None = 1) -> tuple[dict[str, int], dict[str, int]]:
    """Parameters and multiply-adds of a network for one image of its published size; no array is made."""
    backbone = make_backbone(name, 128)
    params, batch_stats = jax.eval_shape(backbone.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *backbone.input_size, 3), jnp.float32)
    operations = multiply_adds(lambda *args: backbone.apply(*args, False), params, batch_stats, image, depth=depth)
    return parameters(params, depth), operations


def operations_with_biases(name: str) -> dict[str, int]:
    """The papers' FLOPs: a layer's bias counts as one multiply-add at each place, as its weights do."""
    params, _ = jax.eval_shape(make_backbone(name, 128).init, jax.random.key(0))
    layers = {"total": 0}
    for path, operations in count(name, depth=None)[1].items():
        if path == "total":
            continue
        layer = params
        for key in path.split("/"):
            layer = layer[key]
        places = operations // layer["kernel"].size
        with_biases = operations + places * (layer["bias"].size if "bias" in layer else 0)
        top = path.split("/")[0]
        layers[top] = layers.get(top, 0) + with_biases
        layers["total"] += with_biases
    return layers


def rounds_to(value: int, printed: str) -> bool:
    """Whether a count prints as the paper prints it, up or down where it lies within 1% of the half."""
    number, unit = float(printed[:-1]), {"K": 1e3, "M": 1e6, "B": 1e9}[printed[-1]]
    last_digit = 10.0 ** -len(printed[:-1].partition(".")[2])
    return abs(value / unit - number) <= 0.51 * last_digit


@pytest.mark.parametrize(
    ("name", "expected_parameters", "expected_operations"),
    [("nn1", NN1_PARAMETERS, NN1_MULTIPLY_ADDS), ("nn2", NN2_PARAMETERS, NN2_MULTIPLY_ADDS)],
)
def test_exact_counts(name, expected_parameters, expected_operations):
    counted_parameters, counted_operations = count(name)
    assert counted_parameters == {**expected_parameters, "total": sum(expected_parameters.values())}
    assert counted_operations == {**expected_operations, "total": sum(expected_operations.values())}
    assert list(counted_operations) == [*expected_operations, "total"]


def test_published_totals():
    assert [sum(counts.values()) for counts in (NN1_PARAMETERS, NN1_MULTIPLY_ADDS)] == [140_009_152, 1_605_944_064]
    assert [sum(counts.values()) for counts in (NN2_PARAMETERS, NN2_MULTIPLY_ADDS)] == [7_456_304, 1_596_530_688]


@pytest.mark.parametrize(("name", "table"), [("nn1", TABLE_1), ("nn2", TABLE_2)])
def test_counts_print_as_in_the_paper(name, table):
    counted_parameters, counted_operations = count(name)[0], operations_with_biases(name)
    assert counted_parameters.keys() == counted_operations.keys() == table.keys()
    for layer, (printed_parameters, printed_operations) in table.items():
        assert rounds_to(counted_parameters[layer], printed_parameters), (layer, counted_parameters[layer])
        assert rounds_to(counted_operations[layer], printed_operations), (layer, counted_operations[layer])


def test_other_networks_of_the_paper():
    assert count("nn3")[0] == count("nn2")[0]
    assert count("nn3")[1]["total"] == 814_620_672
    # 6.6M is the lower end of the paper's "6.6M to 7.5M" parameters, 285M what it says of NN4
    assert (count("nn4")[0]["total"], count("nn4")[1]["total"]) == (6_607_888, 284_741_632)
    assert rounds_to(count("nn4")[0]["total"], "6.6M")
    assert rounds_to(count("nn4")[1]["total"], "285M")


@pytest.mark.parametrize(
    ("name", "published_parameters", "published_operations"), [("nns1", 26e6, 220e6), ("nns2", 4.3e6, 20e6)]
)
def test_unpublished_layers_meet_published_totals(name, published_parameters, published_operations):
    assert count(name)[0]["total"] == pytest.approx(published_parameters, rel=0.02)
    assert count(name)[1]["total"] == pytest.approx(published_operations, rel=0.02)


def test_openface_has_the_parameters_torch_reports():
    """Torch counts weights, biases, and batch norm's scale and shift; running statistics are not parameters."""
    assert count("openface_nn4_small2")[0]["total"] == 3_733_968
    assert count("openface_nn4")[0]["total"] == 6_959_088
    nn2 = OpenFaceNet(128, NN2_ROWS)
    image = jnp.zeros((1, 224, 224, 3))
    variables = jax.eval_shape(lambda key: nn2.init(key, image, train=False), jax.random.key(0))
    assert parameters(variables["params"])["total"] == 7_472_144


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


# One of each kind, at the smallest size worth a test: maxout, average pooling with L2 pooling, hidden layer, batch norm.
KINDS = {"nn1": (32, 32), "nn2": (64, 64), "nns2": (48, 40), "openface_nn4_small2": (96, 96)}


def colour_fields(seed: int, number: int, size: tuple[int, int]) -> jax.Array:
    """Smooth random images (number, H, W, 3): as faces do, they differ in more than their noise."""
    coarse = jax.random.normal(jax.random.key(seed), (number, 4, 4, 3))
    return jax.image.resize(coarse, (number, *size, 3), "linear")


@cache
def initialised(name: str):
    backbone = make_backbone(name, 16, input_size=KINDS[name])
    return backbone, *backbone.init(jax.random.key(0))


@pytest.mark.parametrize("name", KINDS)
def test_embeddings(name):
    backbone, params, batch_stats = initialised(name)
    images = colour_fields(1, 6, backbone.input_size)
    embeddings, unchanged = jax.jit(backbone.apply, static_argnums=3)(params, batch_stats, images, False)
    assert embeddings.shape == (6, 16)
    assert embeddings.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(embeddings, axis=-1), 1.0, rtol=1e-6)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, unchanged, batch_stats))
    distance = jnp.square(embeddings[:, None] - embeddings[None]).sum(axis=-1)[np.triu_indices(6, 1)]
    assert distance.mean() > 0.01  # not collapsed at the start
    assert distance.min() > 1e-4

    half = make_backbone(name, 16, jnp.bfloat16, KINDS[name])
    rounded, _ = jax.jit(half.apply, static_argnums=3)(params, batch_stats, images.astype(jnp.bfloat16), False)
    assert rounded.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(rounded, axis=-1), 1.0, rtol=1e-6)
    assert jnp.square(rounded - embeddings).sum(axis=-1).max() < 1e-3
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(half.init, jax.random.key(0)))} == {jnp.dtype("f4")}


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_finite(name):
    backbone, params, batch_stats = initialised(name)

    @jax.jit
    def gradient(images):
        def distance(params, images):
            embeddings, _ = backbone.apply(params, batch_stats, images, True)
            return jnp.square(embeddings[0] - embeddings[1]).sum()

        return jax.grad(distance, argnums=(0, 1))(params, images)

    for images in (jnp.zeros((2, *backbone.input_size, 3)), colour_fields(2, 2, backbone.input_size)):
        of_params, of_images = gradient(images)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((of_params, of_images)))
    assert all(leaf.any() for leaf in jax.tree.leaves(of_images))
    kernels = [leaf for path, leaf in jax.tree.leaves_with_path(of_params) if path[-1].key == "kernel"]
    assert all(bool(kernel.any()) for kernel in kernels)


def test_batch_norm_follows_the_batch_in_training_only():
    backbone, params, batch_stats = initialised("openface_nn4_small2")
    images = 3.0 + colour_fields(3, 4, backbone.input_size)
    apply = jax.jit(backbone.apply, static_argnums=3)
    trained, updated = apply(params, batch_stats, images, True)
    assert jax.tree.structure(updated) == jax.tree.structure(batch_stats)
    assert not jnp.allclose(updated["conv1_norm"]["mean"], batch_stats["conv1_norm"]["mean"])
    assert not jnp.allclose(trained, apply(params, batch_stats, images, False)[0], atol=1e-3)


def test_maxout_takes_the_larger_of_two_maps():
    backbone, params, _ = initialised("nn1")
    negated = {**params, "fc7128": {"kernel": jnp.eye(4096, 16)}}  # the embedding is the first 16 outputs of fc2
    image = colour_fields(4, 1, backbone.input_size)
    embedding, _ = backbone.apply(negated, {}, image, False)
    swapped = params["fc2"]["kernel"].reshape(4096, 4096, 2)[:, :, ::-1].reshape(4096, 8192)
    np.testing.assert_allclose(
        backbone.apply({**negated, "fc2": {"kernel": swapped}}, {}, image, False)[0], embedding, atol=1e-6
    )
    assert (embedding > 0).mean() > 0.5  # of two maps around zero the larger is positive in three of four cases


def test_initial_values():
    backbone = make_backbone("nns2", 128)
    params, batch_stats = backbone.init(jax.random.key(0))
    assert batch_stats == {}
    for path, leaf in jax.tree.leaves_with_path(params):
        if path[-1].key == "bias":
            assert not leaf.any()
            continue
        factor = 1.0 if path[0].key == "fc" else 2.0
        expected = np.sqrt(factor / np.prod(leaf.shape[:-1]))
        assert leaf.std() == pytest.approx(expected, rel=5.0 / np.sqrt(2 * leaf.size)), path
        assert abs(leaf.mean()) < 5.0 * expected / np.sqrt(leaf.size), path
    again, other = backbone.init(jax.random.key(0))[0], backbone.init(jax.random.key(1))[0]
    assert jax.tree.all(jax.tree.map(jnp.array_equal, params, again))
    assert not jnp.allclose(params["conv1"]["kernel"], other["conv1"]["kernel"])
    unit = [leaf.ravel()[:3] / leaf.std() for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    assert len({tuple(np.round(np.asarray(values), 3)) for values in unit}) == len(unit)  # no draw is used twice


def test_unknown_network_names_the_nearest():
    with pytest.raises(ConfigError, match=r'"nn22"; the nearest is "nn2"'):
        make_backbone("nn22", 128)


def test_images_of_another_size_are_refused():
    backbone = make_backbone("nn3", 128)
    with pytest.raises(ConfigError, match="nn3 is set up for images of 160x160x3 and was given 96x96x3"):
        jax.eval_shape(lambda images: backbone.apply({}, {}, images, False), jax.ShapeDtypeStruct((1, 96, 96, 3), "f4"))


def test_every_network_counts_and_builds():
    for name in NETWORKS:
        counted_parameters, counted_operations = count(name)
        assert counted_parameters["total"] > 0
        assert counted_operations["total"] > 0
