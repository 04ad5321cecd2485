"""MobileNetV1-FaceNet: its size, its function against plain NumPy and PyTorch, and its published names."""

from functools import partial
from pathlib import Path
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from facenet_jax.models import make_backbone
from facenet_jax.models.mobilenet_v1 import MobileNetV1
from facenet_jax.models.published import _INNER, recognise
from faces import backbone
from faces.backbone import Network
from faces.counts import multiply_adds, parameters
from faces.errors import WeightsError
from faces.weights import read_weights
from faces.weights.layouts import receive
from recognizer.convert import convert
from tests.facenet_jax.test_inception_resnet_v1 import torch_tensors
from tests.numpy_layers import conv, norm, random_tensors

# Output channels and stride of the blocks, stage by stage, typed a second time.
STAGES = (
    ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    ((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    ((1024, 2), (1024, 1)),
)
BLOCKS = [block for stage in STAGES for block in stage]
WHOLE = make_backbone("mobilenet_v1", 128)


def test_counts_layer_by_layer():
    """Worked from the table: 3x3 depthwise and 1x1 kernels, two batch norms; maps of 80, 40, 20, 10 and 5 pixels."""
    weights, adds, inside, side = {"conv1": 27 * 32, "conv1_norm": 64}, {"conv1": 80**2 * 27 * 32}, 32, 80
    for number, (out, stride) in enumerate(BLOCKS, start=1):
        side //= stride
        weights[f"block{number}"] = 9 * inside + 2 * inside + inside * out + 2 * out
        adds[f"block{number}"] = side**2 * (9 * inside + inside * out)
        inside = out
    weights |= {"fc": 1024 * 128, "embedding_norm": 256}
    adds["fc"] = 1024 * 128
    assert side == 5
    params, batch_stats = jax.eval_shape(WHOLE.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, 160, 160, 3), jnp.float32)
    counted = multiply_adds(lambda *args: WHOLE.apply(*args, False), params, batch_stats, image)
    total_weights, total_adds = sum(weights.values()), sum(adds.values())
    assert parameters(params) == {**weights, "total": total_weights}
    assert counted == {**adds, "total": total_adds}
    assert (total_weights, total_adds) == (3_338_304, 289_782_272)


# Half the widths and a block of each kind.

SHORT_STAGES = (((8, 1), (12, 2)), ((12, 1), (16, 2)), ((16, 1),))
SHORT = Network(
    partial(MobileNetV1, stem=4, blocks=tuple(block for stage in SHORT_STAGES for block in stage)), (32, 24)
)


def tensors(stages: Any = STAGES, stem: int = 32, dim: int = 128) -> dict[str, np.ndarray]:
    """A state dict of the public repository's names, random."""
    shapes: dict[str, tuple[int, ...]] = {"backbone.model.stage1.0.0.weight": (stem, 3, 3, 3)}
    norms, inside = {"backbone.model.stage1.0.1": stem, "last_bn": dim}, stem
    for stage, blocks in enumerate(stages, start=1):
        for place, (out, _) in enumerate(blocks):
            name = f"backbone.model.stage{stage}.{place + (stage == 1)}"
            shapes |= {f"{name}.0.weight": (inside, 1, 3, 3), f"{name}.3.weight": (out, inside, 1, 1)}
            norms |= {f"{name}.1": inside, f"{name}.4": out}
            inside = out
    for name, size in norms.items():
        shapes |= {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}
    made = random_tensors({**shapes, "Bottleneck.weight": (dim, inside)})
    others = {"classifier.weight": np.ones((3, dim), np.float32), "classifier.bias": np.ones(3, np.float32)}
    return made | others | {"last_bn.num_batches_tracked": np.array(7)}


def by_numpy(images: np.ndarray, given: dict[str, np.ndarray], stages: Any) -> np.ndarray:
    def unit(x: np.ndarray, name: str, number: int, stride: int, groups: int = 1) -> np.ndarray:
        kernel = given[f"{name}.{number}.weight"]
        x = conv(x, kernel, stride, (kernel.shape[2] // 2,) * 2, groups)
        of_norm = [given[f"{name}.{number + 1}.{p}"] for p in ("weight", "bias", "running_mean", "running_var")]
        return np.clip(norm(x, *of_norm, 1e-5), 0, 6)

    x = unit(images.transpose(0, 3, 1, 2), "backbone.model.stage1.0", 0, 2)
    for stage, blocks in enumerate(stages, start=1):
        for place, (_, stride) in enumerate(blocks):
            name = f"backbone.model.stage{stage}.{place + (stage == 1)}"
            x = unit(unit(x, name, 0, stride, x.shape[1]), name, 3, 1)
    x = x.mean(axis=(2, 3)) @ given["Bottleneck.weight"].T.astype(np.float64)
    x = norm(x, *[given[f"last_bn.{p}"] for p in ("weight", "bias", "running_mean", "running_var")], 1e-3)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_function_is_that_of_plain_numpy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("facenet_jax.models.mobilenet_v1_names.STAGES", [len(stage) for stage in SHORT_STAGES])
    given = tensors(SHORT_STAGES, 4, 8)
    published = recognise(given)
    assert published is not None
    short = backbone.make_backbone({"short": SHORT}, "short", 8)
    params, batch_stats = receive(published, given, short, "FILE")
    images = np.random.default_rng(3).uniform(0, 1, (3, 32, 24, 3)).astype(np.float32)
    found = jax.jit(short.apply, static_argnums=3)(params, batch_stats, jnp.asarray(images), False)[0]
    np.testing.assert_allclose(found, by_numpy(images, given, SHORT_STAGES), atol=2e-6)


def test_what_a_file_is_and_takes():
    given = tensors()
    published = recognise(given)
    assert published is not None
    assert (published.network, published.embedding_dim) == ("mobilenet_v1", 128)
    seen = published.preprocessing
    assert (seen.size, seen.channels, seen.mean, seen.scale, seen.alignment) == ((160, 160), "rgb", 0, 255, "two_eyes")
    assert recognise(given, "inception_resnet_v1") is None
    assert recognise(given, "mobilenet_v1") is not None
    params, batch_stats = receive(published, given, WHOLE, "FILE")
    assert params["block6"]["pointwise"]["kernel"].shape == (1, 1, 256, 512)
    np.testing.assert_array_equal(batch_stats["embedding_norm"]["var"], given["last_bn.running_var"])
    with pytest.raises(WeightsError, match=r"tensor 'backbone.model.stage2.5.3.weight' is missing"):
        receive(published, {n: v for n, v in given.items() if n != "backbone.model.stage2.5.3.weight"}, WHOLE, "FILE")


def test_a_saved_file_opens(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **{f"module.{name}": value for name, value in tensors().items()})
    model = convert(tmp_path / "a.npz")
    assert (model.description.network.name, model.description.network.embedding_dim) == ("mobilenet_v1", 128)


def test_the_same_programs_inception_resnet_v1():
    """The names of facenet-pytorch, all but the head's behind two words more; its pixels are of 0 to 1."""
    given = {
        {"last_linear.weight": "Bottleneck.weight"}.get(name, ("" if "last_bn" in name else _INNER) + name): x
        for name, x in torch_tensors().items()
        if not name.startswith("logits")
    }
    published, usual = recognise(given), recognise(torch_tensors())
    assert published is not None and usual is not None
    assert (published.network, published.preprocessing.scale) == ("inception_resnet_v1", 255)
    assert [row.ours for row in published.rows] == [row.ours for row in usual.rows]
    assert {name for name in given if published.is_weight(name)} <= {n for row in published.rows for n in row.names}


def test_dropout_draws_in_training_alone():
    short = backbone.make_backbone({"short": SHORT}, "short", 8)
    params, batch_stats = jax.eval_shape(short.init, jax.random.key(0))

    def trace(train: bool, key: jax.Array | None) -> None:
        jax.eval_shape(lambda p, b: short.apply(p, b, jnp.zeros((2, 32, 24, 3)), train, key), params, batch_stats)

    trace(True, jax.random.key(0))
    trace(False, None)
    with pytest.raises(flax.errors.InvalidRngError):
        trace(True, None)


def test_the_whole_file_in_pytorch(tmp_path: Path):
    """A network of PyTorch's own layers, its state dict saved and opened, embeds as ours does."""
    torch = pytest.importorskip("torch", reason="PyTorch runs the other network")
    nn = torch.nn

    def unit(inside: int, out: int, side: int, stride: int, groups: int = 1) -> list[Any]:
        conv2d = nn.Conv2d(inside, out, side, stride, side // 2, groups=groups, bias=False)
        return [conv2d, nn.BatchNorm2d(out), nn.ReLU6()]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            model, inside = nn.Module(), 32
            for number, blocks in enumerate(STAGES, start=1):
                stage = [nn.Sequential(*unit(3, 32, 3, 2))] if number == 1 else []
                for out, stride in blocks:
                    stage.append(nn.Sequential(*unit(inside, inside, 3, stride, inside), *unit(inside, out, 1, 1)))
                    inside = out
                model.add_module(f"stage{number}", nn.Sequential(*stage))
            self.backbone = nn.Module()
            self.backbone.add_module("model", model)
            self.Dropout, self.Bottleneck = nn.Dropout(0.5), nn.Linear(1024, 128, bias=False)
            self.last_bn = nn.BatchNorm1d(128, eps=1e-3, momentum=0.1)
            self.classifier = nn.Linear(128, 5)

        def forward(self, x: Any) -> Any:
            for stage in self.backbone.model.children():
                x = stage(x)
            x = self.last_bn(self.Bottleneck(self.Dropout(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))))
            return nn.functional.normalize(x, p=2, dim=1)

    network = Net()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for part in (module.weight, module.running_var):
                part.data.uniform_(0.5, 1.5, generator=generator)
            for part in (module.bias, module.running_mean):
                part.data.uniform_(-0.2, 0.2, generator=generator)
    torch.save(network.state_dict(), tmp_path / "facenet_mobilenet.pth")
    pixels = torch.rand(2, 3, 160, 160, generator=generator)
    with torch.no_grad():
        expected = network.eval()(pixels).numpy()
    given = read_weights(tmp_path / "facenet_mobilenet.pth")
    published = recognise(given)
    assert published is not None
    params, batch_stats = receive(published, given, WHOLE, "FILE")
    images = jnp.asarray(pixels.permute(0, 2, 3, 1).numpy())
    found = jax.jit(WHOLE.apply, static_argnums=3)(params, batch_stats, images, False)[0]
    np.testing.assert_allclose(found, expected, atol=2e-6)
