"""DeepFace, DeepID2, VGG-Face and vision transformers: sizes layer by layer, functions against plain NumPy, names.

PyTorch runs two of them a second time; those tests are skipped without it.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.models import LAST_LAYER, NETWORKS, make_backbone, vgg_face_names, vit_names
from arcface_jax.models.layers import LocallyConnected
from arcface_jax.models.published import recognise
from arcface_jax.models.vgg_face import VGGFace
from arcface_jax.models.vit import VisionTransformer, attention
from faces import backbone
from faces.backbone import Network, check_size, has_dropout
from faces.counts import multiply_adds, parameters
from faces.errors import ConfigError, WeightsError
from faces.weights import read_weights
from faces.weights.layouts import receive
from tests.numpy_layers import conv, random_tensors


def counts(name: str, dim: int) -> tuple[dict[str, int], dict[str, int]]:
    """Parameters and multiply-adds, layer by layer; no array is made."""
    network, key = make_backbone(name, dim), jax.random.key(0)
    return parameters(jax.eval_shape(network.init, key)[0]), multiply_adds(network.init, key)


def test_deepface_layer_by_layer():
    """Worked from C1 32x11x11, M2, C3 16x9x9, L4 16x9x9, L5 16x7x7 of stride 2, L6 16x5x5, F7 4096."""
    weights, adds = counts("deepface", 4096)
    assert weights == {
        "C1": 11 * 11 * 3 * 32 + 32,
        "C3": 9 * 9 * 32 * 16 + 16,
        "L4": 55**2 * (9 * 9 * 16 * 16 + 16),
        "L5": 25**2 * (7 * 7 * 16 * 16 + 16),
        "L6": 21**2 * (5 * 5 * 16 * 16 + 16),
        LAST_LAYER: 21**2 * 16 * 4096 + 4096,
        "total": 102_412_864,
    }
    assert adds == {
        "C1": 142**2 * 11 * 11 * 3 * 32,
        "C3": 63**2 * 9 * 9 * 32 * 16,
        "L4": 55**2 * 9 * 9 * 16 * 16,
        "L5": 25**2 * 7 * 7 * 16 * 16,
        "L6": 21**2 * 5 * 5 * 16 * 16,
        LAST_LAYER: 21**2 * 16 * 4096,
        "total": 501_117_568,
    }
    # With F8 over 4,030 people the layers as drawn come to 1% less than the paper's "more than 120 million".
    whole = weights["total"] + 4096 * 4030 + 4030
    assert whole == 118_923_774 and whole > 0.99 * 120e6
    # Most are in the locally connected and the fully connected layers.
    assert (weights["C1"] + weights["C3"]) / whole < 0.05


def test_deepid2_layer_by_layer():
    """The third layer has a kernel for each 2x2 places of 10x8, the fourth one for each of 4x3."""
    weights, adds = counts("deepid2", 160)
    assert weights == {
        "conv1": 4 * 4 * 3 * 20 + 20,
        "conv2": 3 * 3 * 20 * 40 + 40,
        "conv3": 5 * 4 * (3 * 3 * 40 * 60 + 60),
        "conv4": 4 * 3 * (2 * 2 * 60 * 80 + 80),
        LAST_LAYER: (5 * 4 * 60 + 4 * 3 * 80) * 160 + 160,
        "total": 1_018_540,
    }
    assert adds == {
        "conv1": 52 * 44 * 4 * 4 * 3 * 20,
        "conv2": 24 * 20 * 3 * 3 * 20 * 40,
        "conv3": 10 * 8 * 3 * 3 * 40 * 60,
        "conv4": 4 * 3 * 2 * 2 * 60 * 80,
        LAST_LAYER: (5 * 4 * 60 + 4 * 3 * 80) * 160,
        "total": 7_956_480,
    }


VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def test_vgg_face_layer_by_layer():
    weights, adds, inside, side = {}, {}, 3, 224
    for stage, (out, number) in enumerate(VGG, start=1):
        for place in range(1, number + 1):
            weights[f"conv{stage}_{place}"] = 9 * inside * out + out
            adds[f"conv{stage}_{place}"] = side**2 * 9 * inside * out
            inside = out
        side //= 2
    assert len(weights) == 13 and side == 7
    for name, (given, out) in {"fc6": (7 * 7 * 512, 4096), "fc7": (4096, 4096), LAST_LAYER: (4096, 2622)}.items():
        weights[name], adds[name] = given * out + out, given * out
    found = counts("vgg_face", 2622)
    assert found == ({**weights, "total": 145_002_878}, {**adds, "total": sum(adds.values())})
    assert sum(weights.values()) == 145_002_878


@pytest.mark.parametrize(
    ("name", "width", "total", "operations"),
    [("vit_tiny", 256, 19_137_536, 1_504_882_688), ("vit_small", 512, 76_022_784, 5_746_548_736)],
)
def test_vision_transformers_layer_by_layer(name: str, width: int, total: int, operations: int):
    """144 patches of 9x9; each block 12 width^2 weights, of queries, keys, values, projection and two layers."""
    matrices, patches = 12 * width**2, 12 * 12
    weights = {"patches": 9 * 9 * 3 * width + width, "places": patches * width}
    weights |= {f"block{number}": matrices + 4 * width + width + 4 * width + width for number in range(1, 13)}
    weights |= {"norm": 2 * width, "feature": patches * width**2, "feature_norm": 2 * width}
    weights |= {LAST_LAYER: 512 * width, "embedding_norm": 2 * 512}
    adds = {"patches": patches * 9 * 9 * 3 * width}
    adds |= {f"block{number}": patches * matrices + 2 * patches**2 * width for number in range(1, 13)}
    adds |= {"feature": patches * width**2, LAST_LAYER: 512 * width}
    assert counts(name, 512) == ({**weights, "total": total}, {**adds, "total": operations})
    assert (sum(weights.values()), sum(adds.values())) == (total, operations)


# Layers.


@pytest.mark.parametrize(
    ("size", "window", "stride", "region"), [((6, 5), 3, 1, 1), ((7, 9), 3, 2, 1), ((6, 8), 3, 1, 2), ((6, 5), 2, 1, 2)]
)
def test_locally_connected_is_a_loop_over_places(size: tuple[int, int], window: int, stride: int, region: int):
    """Of 5x4 places with squares of 2x2, the last row of squares is half a square."""
    layer = LocallyConnected(4, window, stride, region)
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    variables = layer.init(jax.random.key(0), x)
    bias = np.random.default_rng(1).normal(size=variables["params"]["bias"].shape).astype(np.float32)
    kernel = np.asarray(variables["params"]["kernel"], np.float64)
    rows, columns = ((side - window) // stride + 1 for side in size)
    assert kernel.shape == (-(-rows // region), -(-columns // region), window**2 * 3, 4)
    expected = np.zeros((2, rows, columns, 4))
    for i in range(rows):
        for j in range(columns):
            seen = x[:, i * stride : i * stride + window, j * stride : j * stride + window].reshape(2, -1)
            place = (i // region, j // region)
            expected[:, i, j] = seen @ kernel[place] + bias.reshape(*kernel.shape[:2], 4)[place]
    found = layer.apply({"params": {**variables["params"], "bias": bias}}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_one_kernel_for_all_places_is_a_convolution():
    layer = LocallyConnected(4, 3, region=8)
    x = np.random.default_rng(0).normal(size=(2, 10, 9, 3)).astype(np.float32)
    variables = layer.init(jax.random.key(0), x)
    kernel = np.asarray(variables["params"]["kernel"]).reshape(3, 3, 3, 4).transpose(3, 2, 0, 1)
    expected = conv(x.transpose(0, 3, 1, 2), kernel).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-5, atol=1e-5)


def test_attention_is_a_loop_over_heads_and_patches():
    batch, patches, heads, each = 2, 5, 3, 4
    given = np.random.default_rng(0).normal(size=(batch, patches, 3 * heads * each))
    expected = np.zeros((batch, patches, heads * each))
    for b in range(batch):
        q, k, v = np.split(given[b], 3, axis=1)
        for h in range(heads):
            own = slice(h * each, (h + 1) * each)
            for p in range(patches):
                weight = np.exp([q[p, own] @ k[other, own] / np.sqrt(each) for other in range(patches)])
                expected[b, p, own] = weight / weight.sum() @ v[:, own]
    np.testing.assert_allclose(attention(jnp.asarray(given, jnp.float32), heads), expected, rtol=2e-5, atol=1e-6)


def test_stochastic_depth_leaves_out_whole_branches():
    """With all of a block's branches left out, an image is what it was; the first, of rate 0, always counts."""
    module = Network(partial(VisionTransformer, width=8, depth=2, heads=2, patch=4, dropout=0.999), (8, 8))
    network = backbone.make_backbone({"short": module}, "short", 4)
    params, batch_stats = network.init(jax.random.key(0))
    other = {**params, "block2": jax.tree.map(lambda value: value + 1.0, params["block2"])}
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    apply = jax.jit(network.apply, static_argnums=3)
    trained = [apply(given, batch_stats, images, True, jax.random.key(2))[0] for given in (params, other)]
    np.testing.assert_array_equal(*trained)
    used = [apply(given, batch_stats, images, False)[0] for given in (params, other)]
    assert not np.allclose(*used, atol=1e-3)


def test_dropout_is_asked_of_the_networks_that_have_it():
    having = {name for name, network in NETWORKS.items() if has_dropout(network)}
    assert having >= {"iresnet50", "ir_se_50", "deepface", "vgg_face", "vit_tiny"}
    assert not having & {"mobilefacenet", "mobilefacenet_mbf", "sphereface20", "deepid2"}
    with pytest.raises(ConfigError, match="deepid2 has no dropout and was given a rate of"):
        make_backbone("deepid2", 160, dropout=0.4)
    assert make_backbone("vgg_face", 512, dropout=0.0).input_size == (224, 224)


@pytest.mark.parametrize("name", ["deepface", "deepid2", "vgg_face", "vit_tiny"])
def test_images_of_which_the_layers_leave_nothing_are_refused(name: str):
    with pytest.raises(ConfigError, match=rf"the layers of {name} cannot divide images of this size; it was published"):
        check_size(make_backbone(name, 16, input_size=(8, 8)), name, NETWORKS)


# Published names.


def vgg_tensors(before: str, stages: Any = VGG, hidden: int = 4096, side: int = 7, dim: int = 2622) -> dict[str, Any]:
    shapes: dict[str, tuple[int, ...]] = {}
    inside = 3
    for stage, (out, number) in enumerate(stages, start=1):
        for place in range(1, number + 1):
            shapes |= {f"{before}{stage}_{place}.weight": (out, inside, 3, 3), f"{before}{stage}_{place}.bias": (out,)}
            inside = out
    matrices = {"fc6": (inside * side**2, hidden), "fc7": (hidden, hidden), "fc8": (hidden, dim)}
    for name, (given, out) in matrices.items():
        shapes |= {f"{name}.weight": (out, given), f"{name}.bias": (out,)}
    return random_tensors(shapes)


def vgg_by_numpy(images: np.ndarray, given: dict[str, Any], before: str, stages: Any) -> np.ndarray:
    x = images.transpose(0, 3, 1, 2)
    for stage, (_, number) in enumerate(stages, start=1):
        for place in range(1, number + 1):
            name = f"{before}{stage}_{place}"
            x = np.maximum(conv(x, given[f"{name}.weight"], 1, (1, 1)) + given[f"{name}.bias"].reshape(1, -1, 1, 1), 0)
        x = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max(axis=(3, 5))
    x = x.reshape(len(x), -1)
    for name in ("fc6", "fc7", "fc8"):
        x = x @ given[f"{name}.weight"].T.astype(np.float64) + given[f"{name}.bias"]
        x = x if name == "fc8" else np.maximum(x, 0)
    return x


@pytest.mark.parametrize(("before", "channels"), [("conv", "rgb"), ("conv_", "bgr")])
def test_vgg_faces_names_and_function(before: str, channels: str, monkeypatch: pytest.MonkeyPatch):
    stages = ((6, 2), (8, 1), (9, 2))
    monkeypatch.setattr(vgg_face_names, "STAGES", stages)
    given = vgg_tensors(before, stages, 12, 3, 5)
    published = recognise(given)
    assert published is not None
    assert (published.network, published.embedding_dim) == ("vgg_face", 5)
    seen = published.preprocessing
    assert (seen.size, seen.channels, seen.mean, seen.scale) == (
        (224, 224), channels, (129.1863, 104.7624, 93.5940), 1.0)  # fmt: skip
    short = backbone.make_backbone({"short": Network(partial(VGGFace, stages=stages, hidden=12), (24, 24))}, "short", 5)
    params, batch_stats = receive(published, given, short, "FILE")
    images = np.random.default_rng(0).normal(size=(2, 24, 24, 3)).astype(np.float32)
    found = jax.jit(short.apply, static_argnums=3)(params, batch_stats, images, False)[0]
    expected = vgg_by_numpy(images, given, before, stages)
    np.testing.assert_allclose(found, expected, atol=1e-5 * abs(expected).max())


def test_every_parameter_of_vgg_face_has_a_row():
    rows = {row.ours for row in vgg_face_names.vgg_face_rows("conv1_1.weight")}
    params, _ = jax.eval_shape(make_backbone("vgg_face", 2622).init, jax.random.key(0))
    assert rows == {"params/" + "/".join(entry.key for entry in path) for path, _ in jax.tree.leaves_with_path(params)}


def vit_tensors(width: int, blocks: int, side: int, patch: int, dim: int) -> dict[str, Any]:
    def linear(name: str, given: int, out: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (out, given)} | ({f"{name}.bias": (out,)} if bias else {})

    shapes: dict[str, tuple[int, ...]] = {
        "mask_token": (1, 1, width),
        "pos_embed": (1, side**2, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for block in range(blocks):
        name = f"blocks.{block}"
        shapes |= {f"{name}.{one}.{part}": (width,) for one in ("norm1", "norm2") for part in ("weight", "bias")}
        shapes |= linear(f"{name}.attn.qkv", width, 3 * width, False) | linear(f"{name}.attn.proj", width, width)
        shapes |= linear(f"{name}.mlp.fc1", width, 4 * width) | linear(f"{name}.mlp.fc2", 4 * width, width)
    shapes |= linear("feature.0", side**2 * width, width, False) | linear("feature.2", width, dim, False)
    for name, size in (("feature.1", width), ("feature.3", dim)):
        shapes |= {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}
    return random_tensors(shapes) | {"feature.1.num_batches_tracked": np.array(3)}


def test_a_vision_transformers_names_in_pytorch(tmp_path: Path):
    """PyTorch's own attention, layer norm and batch norm give the same embeddings of the same saved file."""
    torch = pytest.importorskip("torch", reason="PyTorch runs the other network")
    of = torch.nn.functional
    width, blocks, heads, patch, dim = 24, 2, 3, 4, 6
    given = {name: torch.from_numpy(value) for name, value in vit_tensors(width, blocks, 3, patch, dim).items()}
    torch.save(given, tmp_path / "model.pt")
    pixels = torch.rand(2, 3, 13, 14, generator=torch.Generator().manual_seed(0)) * 2 - 1

    x = of.conv2d(pixels, given["patch_embed.proj.weight"], given["patch_embed.proj.bias"], stride=patch)
    x = x.flatten(2).transpose(1, 2) + given["pos_embed"]
    for block in range(blocks):
        own = {name.removeprefix(f"blocks.{block}."): value for name, value in given.items()}
        y = of.layer_norm(x, (width,), own["norm1.weight"], own["norm1.bias"]) @ own["attn.qkv.weight"].T
        q, k, v = (part.reshape(2, 9, heads, -1).transpose(1, 2) for part in y.split(width, dim=2))
        y = of.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 9, width)
        x = x + of.linear(y, own["attn.proj.weight"], own["attn.proj.bias"])
        y = of.layer_norm(x, (width,), own["norm2.weight"], own["norm2.bias"])
        y = of.relu6(of.linear(y, own["mlp.fc1.weight"], own["mlp.fc1.bias"]))
        x = x + of.linear(y, own["mlp.fc2.weight"], own["mlp.fc2.bias"])
    x = of.layer_norm(x, (width,), given["norm.weight"], given["norm.bias"]).flatten(1)
    for matrix, one in (("feature.0", "feature.1"), ("feature.2", "feature.3")):
        statistics = given[f"{one}.running_mean"], given[f"{one}.running_var"]
        x = of.batch_norm(x @ given[f"{matrix}.weight"].T, *statistics, given[f"{one}.weight"], given[f"{one}.bias"],
                          eps=2e-5)  # fmt: skip

    tensors = read_weights(tmp_path / "model.pt")
    whole = recognise(vit_tensors(256, 12, 1, 1, 3))
    assert whole is not None and (whole.network, whole.embedding_dim) == ("vit_tiny", 3)
    published = whole._replace(rows=vit_names.vit_rows(blocks))
    module = partial(VisionTransformer, width=width, depth=blocks, heads=heads, patch=patch)
    short = backbone.make_backbone({"short": Network(module, (13, 14))}, "short", dim)
    params, batch_stats = receive(published, tensors, short, "FILE")
    images = jnp.asarray(pixels.permute(0, 2, 3, 1).numpy())
    found = jax.jit(short.apply, static_argnums=3)(params, batch_stats, images, False)[0]
    np.testing.assert_allclose(found, x.numpy(), atol=2e-5 * abs(x.numpy()).max())


def test_vision_transformers_are_told_by_their_width():
    small = recognise(vit_tensors(512, 12, 1, 1, 3))
    assert small is not None and (small.network, small.preprocessing.scale) == ("vit_small", 127.5)
    shapes = jax.eval_shape(make_backbone("vit_small", 3).init, jax.random.key(0))
    ours = {"params": shapes[0], "batch_stats": shapes[1]}
    assert {row.ours for row in small.rows} == {
        "/".join(entry.key for entry in path) for path, _ in jax.tree.leaves_with_path(ours)
    }
    for width, blocks in ((96, 12), (256, 11)):
        with pytest.raises(WeightsError, match=f"a vision transformer of width {width} and {blocks} blocks; those"):
            recognise(vit_tensors(width, blocks, 1, 1, 3))
