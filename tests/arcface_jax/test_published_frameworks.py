"""Files that PyTorch and ONNX write and run themselves: the same embeddings from theirs and ours.

Both frameworks are needed by these tests alone, which are skipped without them.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.models import make_backbone, mobilefacenet, onnx_names
from arcface_jax.models.iresnet import IResNet
from arcface_jax.models.published import iresnet_rows, recognise
from faces import backbone
from faces.backbone import Backbone, Network
from faces.weights import read_onnx_graph, read_onnx_outputs, read_weights
from faces.weights.layouts import Published, receive
from tests.arcface_jax import published_networks as theirs

DIM = 8


def embed(published: Published | None, tensors: dict[str, np.ndarray], of: Backbone, images: np.ndarray) -> np.ndarray:
    assert published is not None
    params, batch_stats = receive(published, tensors, of, "FILE")
    return np.asarray(jax.jit(of.apply, static_argnums=3)(params, batch_stats, jnp.asarray(images), False)[0])


@pytest.mark.parametrize("name", ["weights.pth", "legacy.pt"])
def test_an_iresnet_that_pytorch_saved(name: str, tmp_path: Path):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    units = (2, 2, 2, 2)
    made = theirs.iresnet_tensors(units, (64, 128, 256, 512), 49, DIM)
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in made.items()}

    def forward(x, is_training: bool):
        """Training replaces all running statistics by the batch's, so that no values run away."""

        def norm(x, name: str):
            weight, bias, mean, variance = (
                tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
            )
            return functional.batch_norm(x, mean, variance, weight, bias, is_training, 1.0, 1e-5)

        def conv(x, name: str, stride: int = 1):
            kernel = tensors[f"{name}.weight"]
            return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2)

        x = functional.prelu(norm(conv(x, "conv1"), "bn1"), tensors["prelu.weight"])
        for stage, number in enumerate(units, start=1):
            for unit in range(number):
                name, stride = f"layer{stage}.{unit}", 2 if unit == 0 else 1
                y = norm(conv(norm(x, f"{name}.bn1"), f"{name}.conv1"), f"{name}.bn2")
                y = functional.prelu(y, tensors[f"{name}.prelu.weight"])
                y = norm(conv(y, f"{name}.conv2", stride), f"{name}.bn3")
                if unit == 0:
                    x = norm(conv(x, f"{name}.downsample.0", 2), f"{name}.downsample.1")
                x = x + y
        x = norm(x, "bn2").flatten(1)
        return norm(functional.linear(x, tensors["fc.weight"], tensors["fc.bias"]), "features")

    with torch.no_grad():
        forward(torch.rand(8, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1, True)
        images = np.random.default_rng(0).uniform(-1, 1, (2, 112, 112, 3)).astype(np.float32)
        expected = forward(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), False).numpy()
    file = tmp_path / name
    torch.save(tensors, file, _use_new_zipfile_serialization=name != "legacy.pt")
    given = read_weights(file)
    published = recognise(given)
    assert published is not None and published.network == "iresnet18"
    difference = abs(embed(published, given, make_backbone("iresnet18", DIM), images) - expected).max()
    assert 0 < difference < 1e-4, difference


def run_onnx(graph: theirs.Graph, file: Path, images: np.ndarray) -> np.ndarray:
    """Write a graph to a file, and run it there."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    nodes = [onnx.helper.make_node(node.op, node.inputs, node.outputs, **node.attributes) for node in graph.nodes]
    seen = images.transpose(0, 3, 1, 2)
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("input", seen.shape), (graph.nodes[-1].outputs[0], (len(seen), DIM)))
    ]
    tensors = [onnx.numpy_helper.from_array(np.ascontiguousarray(t), name) for name, t in graph.tensors.items()]
    opset = [onnx.helper.make_opsetid("", 13)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "net", values[:1], values[1:], tensors), opset_imports=opset, ir_version=8
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": np.ascontiguousarray(seen)})[0]


def named(file: Path) -> dict[str, np.ndarray]:
    return onnx_names.named(read_onnx_graph(file), read_weights(file), read_onnx_outputs(file)).tensors


@pytest.mark.parametrize("is_folded", [True, False])
def test_an_iresnet_that_onnx_runs(is_folded: bool, tmp_path: Path):
    units, widths, size = (2, 1), (8, 12), (12, 12)
    made = theirs.iresnet_tensors(units, widths, 9, DIM)
    images = np.random.default_rng(0).uniform(-1, 1, (2, *size, 3)).astype(np.float32)
    expected = run_onnx(theirs.iresnet_graph(units, made, is_folded), tmp_path / "a.onnx", images)
    given = named(tmp_path / "a.onnx")
    known = recognise(theirs.iresnet_tensors((2, 2, 2, 2), (4, 4, 4, 4), 1, 3))
    assert known is not None
    module = partial(IResNet, units=units, widths=widths, strides=(2, 2))
    short = backbone.make_backbone({"short": Network(module, size)}, "short", DIM)
    embeddings = embed(known._replace(rows=iresnet_rows(units, given)), given, short, images)
    np.testing.assert_allclose(embeddings, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("is_folded", [True, False])
def test_a_mobilefacenet_that_onnx_runs(is_folded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = ((1, 128, 1, 2), (2, 256, 1, 2), (2, 256, 1, 2), (1, 256, 1, 1))
    bottlenecks = theirs.mbf_bottlenecks((0, 0, 1))
    monkeypatch.setattr(mobilefacenet, "MBF_ROWS", rows)
    made = theirs.mbf_tensors(2, DIM, bottlenecks)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    expected = run_onnx(theirs.mbf_graph(2, made, is_folded, bottlenecks), tmp_path / "a.onnx", images)
    given = named(tmp_path / "a.onnx")
    module = partial(mobilefacenet.MobileFaceNet, rows=rows, stem=128, group=2, epsilon=1e-5)
    few = backbone.make_backbone({"few": Network(module, (32, 32))}, "few", DIM)
    embeddings = embed(recognise(given), given, few, images)
    np.testing.assert_allclose(embeddings, expected, atol=1e-5 * abs(expected).max())
