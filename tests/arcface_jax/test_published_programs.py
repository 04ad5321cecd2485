"""Files of many programs' networks, as PyTorch saves them: what they are, and the same embeddings from theirs and ours.

PyTorch, which runs them, is needed by these tests alone; they are skipped without it.
"""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.models import NETWORKS, make_backbone, onnx_names
from arcface_jax.models.iresnet import IResNet
from arcface_jax.models.iresnet_names import ir_rows
from arcface_jax.models.published import recognise
from faces import backbone
from faces.backbone import Backbone, Network
from faces.errors import WeightsError
from faces.weights import read_onnx_graph, read_onnx_outputs, read_weights
from faces.weights.layouts import Published, receive

pytest.importorskip("torch")
import torch

from tests.arcface_jax import torch_networks as theirs

DIM = 8
UNITS = (1, 2)


def saved(network: torch.nn.Module, size: tuple[int, int], file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write a network's state dict; two images as ours take them, and what the network makes of them."""
    pixels = torch.rand(8, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    theirs.randomised(network, pixels)
    torch.save(network.state_dict(), file)
    with torch.no_grad():
        expected = network(pixels[:2]).numpy()
    return pixels[:2].permute(0, 2, 3, 1).numpy(), expected


def embed(published: Published | None, tensors: Any, of: Backbone, images: np.ndarray) -> np.ndarray:
    assert published is not None
    params, batch_stats = receive(published, tensors, of, "FILE")
    return np.asarray(jax.jit(of.apply, static_argnums=3)(params, batch_stats, jnp.asarray(images), False)[0])


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("reduction", [0, 4])
@pytest.mark.parametrize("has_norm", [True, False])
def test_ir_networks(has_norm: bool, reduction: int, tmp_path: Path):
    """In small: AdaFace's with a batch norm before the PReLU, InsightFace_Pytorch's without."""
    widths = (8, 12)
    network = theirs.Ir(UNITS, widths, 3, DIM, has_norm, reduction)
    images, expected = saved(network, (12, 12), tmp_path / "a.pth")
    given = read_weights(tmp_path / "a.pth")
    module = partial(IResNet, units=UNITS, widths=widths, strides=(2, 2), subsampled=True, reduction=reduction)
    small = backbone.make_backbone({"small": Network(module, (12, 12))}, "small", DIM)
    told = "adaface" if has_norm else "face_evolve"
    known = recognise(dict(theirs.Ir((2, 2, 2, 2), (4, 5, 6, 7), 7, 3, has_norm).state_dict()), told)
    assert known is not None
    close(embed(known._replace(rows=ir_rows(UNITS, given)), given, small, images), expected)


IR = {"ir_18": ((2, 2, 2, 2), 0), "ir_50": ((3, 4, 14, 3), 0), "ir_101": ((3, 13, 30, 3), 0),
      "ir_se_50": ((3, 4, 14, 3), 16)}  # fmt: skip


@pytest.mark.parametrize("name", IR)
@pytest.mark.parametrize("has_norm", [True, False])
def test_ir_networks_are_told_by_their_units(name: str, has_norm: bool):
    units, reduction = IR[name]
    with torch.device("meta"):  # of no memory
        network = theirs.Ir(units, (64, 128, 256, 512), 7, 512, has_norm, reduction)
    given: Any = {key: np.broadcast_to(np.float32(1), value.shape) for key, value in network.state_dict().items()}
    programs = ("adaface", "tface") if has_norm else ("insightface_pytorch", "face_evolve")
    asked = f"several programs.*--network NAME .* which, {programs[0]} for .* or {programs[1]} for "
    with pytest.raises(WeightsError, match=asked):
        recognise(given)
    with pytest.raises(WeightsError, match="its names are not those of"):
        recognise(given, "insightface_pytorch" if has_norm else "adaface")
    channels = [found.preprocessing.channels for program in programs if (found := recognise(given, program))]
    assert channels == ["bgr", "rgb"]
    found = recognise(given, programs[0])
    assert found is not None
    assert (found.network, found.embedding_dim) == (name, 512)
    if has_norm:
        lightning = recognise(given, wrapper="model.")
        assert lightning is not None and lightning.preprocessing.channels == "bgr"
    if name != "ir_101":  # the shapes of every parameter
        jax.eval_shape(lambda: receive(found, given, make_backbone(name, 512), "FILE"))


MOBILEFACENETS: dict[str, tuple[Any, tuple[int, int], str, tuple[str, float, str]]] = {
    "mbf": (partial(theirs.ArcfaceTorch, DIM, (1, 4, 6, 2), 2), (112, 112), "mobilefacenet_mbf", ("rgb", 127.5, "sum")),
    "mbf at scale 1": (
        partial(theirs.ArcfaceTorch, DIM, (1, 4, 6, 2), 1), (112, 112), "mobilefacenet", ("rgb", 127.5, "sum")),
    "mbf_large": (
        partial(theirs.ArcfaceTorch, DIM, (2, 8, 12, 4), 4), (112, 112), "mobilefacenet_mbf_large",
        ("rgb", 127.5, "sum")),
    "InsightFace_Pytorch": (
        partial(theirs.InsightfacePytorch, DIM), (112, 112), "mobilefacenet", ("bgr", 127.5, "none")),
    "MobileFaceNet_Pytorch": (
        partial(theirs.MobilefacenetPytorch, DIM, (7, 6)), (112, 96), "mobilefacenet", ("rgb", 128.0, "concatenate")),
}  # fmt: skip


@pytest.mark.parametrize("name", MOBILEFACENETS)
def test_mobilefacenets(name: str, tmp_path: Path):
    make, size, network, seen = MOBILEFACENETS[name]
    images, expected = saved(make(), size, tmp_path / "a.pth")
    given = read_weights(tmp_path / "a.pth")
    published = recognise(given)
    assert published is not None and (published.network, published.embedding_dim) == (network, DIM)
    preprocessing = published.preprocessing
    assert (preprocessing.channels, preprocessing.scale, preprocessing.flip) == seen
    assert preprocessing.size == size
    assert network in NETWORKS
    close(embed(published, given, make_backbone(network, DIM, input_size=size), images), expected)


@pytest.mark.parametrize("name", ["InsightFace_Pytorch", "MobileFaceNet_Pytorch"])
def test_mobilefacenets_that_pytorch_exports(name: str, tmp_path: Path):
    """As its exporter writes them, with names and numbers of its own, onnxruntime runs them and ours is equal."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    make, size, network, _ = MOBILEFACENETS[name]
    exported, file = make(), tmp_path / "a.onnx"
    images, _ = saved(exported, size, tmp_path / "a.pth")
    seen = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is the older of two, which needs one package more
        torch.onnx.export(exported, (seen,), str(file), dynamo=False, opset_version=13)
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: seen.numpy()})
    named = onnx_names.named(read_onnx_graph(file), read_weights(file), read_onnx_outputs(file))
    published = recognise(named.tensors)
    assert published is not None and published.network == network and published.preprocessing.size == size
    close(embed(published, named.tensors, make_backbone(network, DIM, input_size=size), images), expected)
