"""Networks behave: units against plain NumPy, finite gradients, both dtypes, dropout, initial values, refusals."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax import models
from arcface_jax.models import LAST_LAYER, make_backbone
from arcface_jax.models.deepface import DeepFace, Layer
from arcface_jax.models.deepid2 import DeepID2
from arcface_jax.models.iresnet import IResNet, Unit, blocks_to_channels
from arcface_jax.models.mobilefacenet import Bottleneck, MobileFaceNet
from arcface_jax.models.sphereface import SphereFaceNet
from arcface_jax.models.vgg_face import VGGFace
from arcface_jax.models.vit import VisionTransformer
from faces.backbone import Network
from faces.errors import ConfigError
from faces.layers import Depthwise
from tests import network_laws as laws

# One short network of each kind: a whole one takes longer to compile than everything else here.
KINDS = {
    "iresnet_short": Network(partial(IResNet, units=(1, 1), widths=(8, 8), strides=(2, 1), dropout=0.5), (16, 24)),
    "mobilefacenet_short": Network(partial(MobileFaceNet, rows=((2, 8, 2, 2),), stem=8, group=2), (24, 16)),
    "sphereface_short": Network(partial(SphereFaceNet, units=(1,), widths=(8,)), (16, 24)),
    "deepface_short": Network(
        partial(DeepFace, convolutions=(Layer(8, 3), Layer(6, 3)), local=(Layer(6, 3), Layer(5, 2, 2))), (22, 20)
    ),
    "deepid2_short": Network(partial(DeepID2, widths=(5, 6, 7, 8), windows=(2, 2, 2, 2)), (27, 24)),
    "vgg_short": Network(partial(VGGFace, stages=((6, 1), (8, 2)), hidden=24), (12, 8)),
    "vit_short": Network(partial(VisionTransformer, width=24, depth=2, heads=3, patch=4, dropout=0.5), (13, 17)),
}


@cache
def initialised(name: str, dtype: jnp.dtype = jnp.float32):
    return laws.initialise(models, KINDS, name, dtype)


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Convolution with as many zeros on both sides, plainly; a kernel (h, w, 1, C) is depthwise. float64."""
    side, depthwise = kernel.shape[0] // 2, kernel.shape[2] == 1
    padded = np.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
    rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    out = np.zeros((len(x), rows, columns, kernel.shape[3]))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            seen = padded[:, top : top + kernel.shape[0], left : left + kernel.shape[1]]
            rule = "bijc,ijc->bc" if depthwise else "bijc,ijcd->bd"
            out[:, row, column] = np.einsum(rule, seen, kernel[:, :, 0] if depthwise else kernel)
    return out


def norm(x: np.ndarray, params: dict, statistics: dict, epsilon: float) -> np.ndarray:
    return (x - statistics["mean"]) / np.sqrt(statistics["var"] + epsilon) * params["scale"] + params["bias"]


def prelu(x: np.ndarray, params: dict) -> np.ndarray:
    return np.where(x > 0, x, params["slope"] * x)


def random_variables(module, x: jax.Array) -> tuple[dict, dict]:
    """Parameters and running statistics of a module at random values, positive where they must be."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, False))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.uniform(0.2, 0.8, leaf.shape).astype(np.float32), shapes)
    return jax.tree.map_with_path(
        lambda path, leaf: rng.normal(size=leaf.shape).astype(np.float32) / 4 if path[-1].key == "kernel" else leaf,
        variables,
    )


@pytest.mark.parametrize(("features", "stride"), [(6, 1), (6, 2), (10, 1)])
def test_residual_unit_equals_plain_numpy(features, stride):
    x = np.random.default_rng(1).normal(size=(2, 6, 4, 6)).astype(np.float32)
    unit = Unit(features, stride, jnp.float32)
    variables = random_variables(unit, jnp.asarray(x))
    p, s = variables["params"], variables["batch_stats"]
    inner = convolve(norm(x, p["norm1"], s["norm1"], 2e-5), p["conv1"]["kernel"], 1)
    inner = convolve(prelu(norm(inner, p["norm2"], s["norm2"], 2e-5), p["prelu"]), p["conv2"]["kernel"], stride)
    expected = norm(inner, p["norm3"], s["norm3"], 2e-5)
    if (features, stride) == (6, 1):
        assert "shortcut_conv" not in p
        expected += x
    else:
        shortcut = convolve(x, p["shortcut_conv"]["kernel"], stride)
        expected += norm(shortcut, p["shortcut_norm"], s["shortcut_norm"], 2e-5)
    given = jax.jit(unit.apply, static_argnums=2)(variables, x, False)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("features", "stride"), [(6, 1), (6, 2), (8, 1)])
def test_bottleneck_equals_plain_numpy(features, stride):
    x = np.random.default_rng(1).normal(size=(2, 6, 4, 6)).astype(np.float32)
    bottleneck = Bottleneck(12, features, stride, 1e-3, jnp.float32)
    variables = random_variables(bottleneck, jnp.asarray(x))
    p, s = variables["params"], variables["batch_stats"]
    y = x
    for name, step in (("widen", 1), ("depthwise", stride)):
        y = norm(convolve(y, p[name]["kernel"], step), p[f"{name}_norm"], s[f"{name}_norm"], 1e-3)
        y = prelu(y, p[f"{name}_prelu"])
    y = norm(convolve(y, p["narrow"]["kernel"], 1), p["narrow_norm"], s["narrow_norm"], 1e-3)
    expected = x + y if (features, stride) == (6, 1) else y
    given = jax.jit(bottleneck.apply, static_argnums=2)(variables, x, False)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


def test_grouped_convolution_equals_xla():
    x = jax.random.normal(jax.random.key(0), (2, 5, 6, 8))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 8))
    given = jax.jit(Depthwise(1, jnp.float32, channels_per_group=2).apply)({"params": {"kernel": kernel}}, x)
    layout = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=4)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


def test_blocks_to_channels():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    given = blocks_to_channels(jnp.asarray(x), 2)
    assert given.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(given[1, 1, 2], x[1, 2:4, 4:6].reshape(-1))
    np.testing.assert_array_equal(blocks_to_channels(jnp.asarray(x), 1), x)


@pytest.mark.parametrize("name", KINDS)
def test_embeddings_and_gradients(name):
    embeddings = laws.embeddings_with_finite_gradients(initialised(name), never_zero=("kernel", "slope"))
    lengths = np.linalg.norm(embeddings, axis=-1)
    assert lengths.std() > 1e-3
    assert ((embeddings @ embeddings.T) / np.outer(lengths, lengths))[np.triu_indices(4, 1)].max() < 0.99


@pytest.mark.parametrize("name", ["iresnet_short", "mobilefacenet_short", "deepface_short", "vit_short"])
def test_bfloat16_agrees_with_float32(name):
    rounded, exact = laws.embeddings_in_both_types(initialised(name), initialised(name, jnp.bfloat16))
    assert np.linalg.norm(rounded - exact) < 0.02 * np.linalg.norm(exact)


def test_batch_norm_follows_the_batch_in_training_only():
    network = initialised("iresnet_short")
    images = 3.0 + laws.colour_fields(3, 4, network[0].input_size)
    trained, updated = laws.outputs_by_batch_and_by_statistics(network, images)
    np.testing.assert_allclose(trained.mean(axis=0), 0.0, atol=1e-5)  # the last batch norm's shift, at first
    # MXNet's momentum: what is kept of the old mean, here 0
    stem = updated["stem_norm"]["mean"] / 0.1
    kernel = np.asarray(network[1]["stem_conv"]["kernel"], np.float64)
    np.testing.assert_allclose(stem, convolve(np.asarray(images), kernel, 1).mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-4)


def test_dropout_draws_from_the_key_in_training_only():
    backbone, params, batch_stats = initialised("iresnet_short")
    images = laws.colour_fields(1, 4, backbone.input_size)
    apply = jax.jit(backbone.apply, static_argnums=3)
    first, again, other = (apply(params, batch_stats, images, True, jax.random.key(seed))[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.1)
    used = [apply(params, batch_stats, images, False, key)[0] for key in (None, jax.random.key(1))]
    assert np.array_equal(*used)


def test_dropout_rate_is_settable(monkeypatch):
    monkeypatch.setitem(models.NETWORKS, "iresnet_short", KINDS["iresnet_short"])
    backbone = make_backbone("iresnet_short", 16, dropout=0.0)
    _, params, batch_stats = initialised("iresnet_short")
    images = laws.colour_fields(1, 4, backbone.input_size)
    jax.eval_shape(lambda: backbone.apply(params, batch_stats, images, True))  # needs no key
    assert make_backbone("mobilefacenet", 128, dropout=0.0).input_size == (112, 112)
    with pytest.raises(ConfigError, match="mobilefacenet has no dropout and was given a rate of"):
        make_backbone("mobilefacenet", 128, dropout=0.4)


@pytest.mark.parametrize("name", KINDS)
def test_initial_values(name):
    _, params, _ = initialised(name)
    linear = ("conv2" if name == "iresnet_short" else "-", "shortcut_conv", "narrow", "global", LAST_LAYER)

    def variance_times_fan_in(path, leaf: np.ndarray) -> float:
        owner = path[-2].key
        if name == "sphereface_short":
            return 1e-4 * np.prod(leaf.shape[:-1]) if "unit" in owner else 1.0
        if name == "vit_short":
            return 0.02**2 * np.prod(leaf.shape[:-1])
        if owner == LAST_LAYER and name in ("deepface_short", "deepid2_short"):
            return 2.0  # before a ReLU
        if owner in {"deepface_short": ("L4", "L5"), "deepid2_short": ("conv3", "conv4")}.get(name, ()):
            return 2.0 * np.prod(leaf.shape[:2])  # a kernel for each place: its fan-in is its window
        return 1.0 if owner in linear else 2.0

    laws.check_initial_kernels(params, variance_times_fan_in)
    constant = {"slope": 0.25, "scale": 1.0, "bias": 0.0}
    others = [(path[-1].key, leaf) for path, leaf in jax.tree.leaves_with_path(params) if path[-1].key != "kernel"]
    assert all((leaf == constant[kind]).all() for kind, leaf in others)


def test_depthwise_fan_in_is_the_window():
    _, params, _ = initialised("mobilefacenet_short")
    assert params["conv2"]["kernel"].shape == (3, 3, 2, 8)
    assert params["bottleneck1"]["depthwise"]["kernel"].shape == (3, 3, 1, 16)
    assert params["global"]["kernel"].shape == (6, 4, 1, 512)


def test_last_scale_is_fixed():
    assert set(initialised("iresnet_short")[1]["embedding_norm"]) == {"bias"}
    assert set(initialised("mobilefacenet_short")[1]["embedding_norm"]) == {"bias", "scale"}


def test_refusals():
    with pytest.raises(ConfigError, match=r'"iresnet51"; the nearest is "iresnet50"'):
        make_backbone("iresnet51", 512)
    odd = make_backbone("iresnet_small", 64, input_size=(64, 65))
    with pytest.raises(ConfigError, match=r"must be multiples of 2, not \(64, 65\)"):
        jax.eval_shape(odd.init, jax.random.key(0))
