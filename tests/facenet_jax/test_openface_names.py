"""OpenFace's nn4.small2 as thnkim/OpenFacePytorch names it: every tensor has its place; PyTorch gives the same."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from facenet_jax.models import make_backbone
from facenet_jax.models.published import recognise
from faces.errors import WeightsError
from faces.weights import read_weights
from faces.weights.layouts import receive
from recognizer.convert import convert
from tests.numpy_layers import random_tensors


class Module(NamedTuple):
    """An inception module of the definition nn4.small2, typed a second time: channels in, branches, the pooling's
    projection, the 1x1 convolution; the pooling."""

    inside: int
    branches: tuple[tuple[int, int, int], ...]  # reduction, output, side
    stride: int
    projection: int
    one: int
    pool: str


MODULES = {
    14: Module(192, ((96, 128, 3), (16, 32, 5)), 1, 32, 64, "max"),
    15: Module(256, ((96, 128, 3), (32, 64, 5)), 1, 64, 64, "l2"),
    16: Module(320, ((128, 256, 3), (32, 64, 5)), 2, 0, 0, "max"),
    17: Module(640, ((96, 192, 3), (32, 64, 5)), 1, 128, 256, "l2"),
    18: Module(640, ((160, 256, 3), (64, 128, 5)), 2, 0, 0, "max"),
    19: Module(1024, ((96, 384, 3),), 1, 96, 256, "l2"),
    21: Module(736, ((96, 384, 3),), 1, 96, 256, "max"),
}
WHOLE = make_backbone("openface_nn4_small2", 128)


def tensors() -> dict[str, np.ndarray]:
    shapes: dict[str, tuple[int, ...]] = {"layer25.weight": (128, 736), "layer25.bias": (128,)}

    def unit(conv: str, norm: str, inside: int, out: int, side: int) -> None:
        shapes.update({f"{conv}.weight": (out, inside, side, side), f"{conv}.bias": (out,)})
        shapes.update({f"{norm}.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")})

    unit("layer1", "layer2", 3, 64, 7)
    unit("layer6", "layer7", 64, 64, 1)
    unit("layer9", "layer10", 64, 192, 3)
    for number, module in MODULES.items():
        name = f"layer{number}.seq_list"
        for place, (reduced, out, side) in enumerate(module.branches):
            unit(f"{name}.{place}.1_conv", f"{name}.{place}.2_bn", module.inside, reduced, 1)
            unit(f"{name}.{place}.4_conv", f"{name}.{place}.5_bn", reduced, out, side)
        if module.projection:
            after = len(module.branches)
            unit(f"{name}.{after}.2_conv", f"{name}.{after}.3_bn", module.inside, module.projection, 1)
            unit(f"{name}.{after + 1}.1_conv", f"{name}.{after + 1}.2_bn", module.inside, module.one, 1)
    return random_tensors(shapes) | {"layer2.num_batches_tracked": np.array(1)}


def test_what_a_file_is_and_takes(tmp_path: Path):
    given = tensors()
    published = recognise(given)
    assert published is not None
    assert (published.network, published.embedding_dim) == ("openface_nn4_small2", 128)
    assert recognise(given, "mobilenet_v1") is None
    params, _ = receive(published, given, WHOLE, "FILE")
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 3_733_968  # as Torch counts them
    np.testing.assert_array_equal(params["inception_5b"]["conv_1x1"]["bias"], given["layer21.seq_list.2.1_conv.bias"])
    with pytest.raises(WeightsError, match=r"tensor 'layer20.weight', of shape .* has no place in openface_nn4_small2"):
        receive(published, given | {"layer20.weight": np.ones(3, np.float32)}, WHOLE, "FILE")
    np.savez(tmp_path / "a.npz", **{f"module.{name}": value for name, value in given.items()})
    seen = convert(tmp_path / "a.npz").description.preprocessing
    assert (seen.size, seen.channels, seen.mean, seen.scale) == ((96, 96), "rgb", 0, 255)


def test_the_whole_file_in_pytorch(tmp_path: Path):
    torch = pytest.importorskip("torch", reason="PyTorch runs the other network")
    of = torch.nn.functional
    given = {name: torch.from_numpy(np.asarray(value)) for name, value in tensors().items()}
    torch.save(given, tmp_path / "openface.pth")
    pixels = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))

    def unit(x: Any, conv: str, norm: str, stride: int = 1) -> Any:
        kernel = given[f"{conv}.weight"]
        x = of.conv2d(x, kernel, given[f"{conv}.bias"], stride, kernel.shape[2] // 2)
        statistics = given[f"{norm}.running_mean"], given[f"{norm}.running_var"]
        return of.relu(of.batch_norm(x, *statistics, given[f"{norm}.weight"], given[f"{norm}.bias"]))

    def lrn(x: Any) -> Any:
        return of.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    x = lrn(of.max_pool2d(unit(pixels, "layer1", "layer2", 2), 3, 2, 1))
    x = unit(unit(x, "layer6", "layer7"), "layer9", "layer10")
    x = of.max_pool2d(lrn(x), 3, 2, 1)
    for number, module in MODULES.items():
        name = f"layer{number}.seq_list"
        parts = [
            unit(unit(x, f"{name}.{place}.1_conv", f"{name}.{place}.2_bn"),
                 f"{name}.{place}.4_conv", f"{name}.{place}.5_bn", module.stride)
            for place in range(len(module.branches))
        ]  # fmt: skip
        pooled = of.max_pool2d(x, 3, 2) if module.pool == "max" else of.lp_pool2d(x, 2.0, 3, 3)
        after = len(module.branches)
        if module.projection:
            pooled = unit(pooled, f"{name}.{after}.2_conv", f"{name}.{after}.3_bn")
        missing = parts[0].shape[2] - pooled.shape[2]
        before = missing // 2
        parts.append(of.pad(pooled, (before, missing - before, before, missing - before)))
        if module.projection:
            parts.append(unit(x, f"{name}.{after + 1}.1_conv", f"{name}.{after + 1}.2_bn"))
        x = torch.cat(parts, 1)
    assert x.shape == (2, 736, 3, 3)
    x = of.linear(x.mean((2, 3)), given["layer25.weight"], given["layer25.bias"])
    expected = of.normalize(x).numpy()

    read = read_weights(tmp_path / "openface.pth")
    published = recognise(read)
    assert published is not None
    params, batch_stats = receive(published, read, WHOLE, "FILE")
    images = jnp.asarray(pixels.permute(0, 2, 3, 1).numpy())
    found = jax.jit(WHOLE.apply, static_argnums=3)(params, batch_stats, images, False)[0]
    np.testing.assert_allclose(found, expected, atol=5e-6)
