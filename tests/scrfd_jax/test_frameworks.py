"""SCRFD against PyTorch and onnxruntime, on files that PyTorch exports as the authors do; skipped without them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.weights import read_onnx_graph, read_onnx_outputs, read_weights
from scrfd_jax import from_onnx, from_pytorch, make_network
from scrfd_jax.weights import Weights

NAMES = [f"{kind}_{stride}" for kind in ("score", "bbox", "kps") for stride in (8, 16, 32)]


@pytest.mark.parametrize("is_dynamic", [True, False])
@pytest.mark.parametrize(
    ("name", "is_grouped", "is_scaled"),
    [("scrfd_500m", False, False), ("scrfd_2.5g", False, True), ("scrfd_10g", False, True), ("scrfd_500m", True, True)],
)
@pytest.mark.filterwarnings("ignore")
def test_files_that_pytorch_writes(name: str, is_grouped: bool, is_scaled: bool, is_dynamic: bool, tmp_path: Path):
    torch, runtime = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from tests.scrfd_jax import torch_network as theirs

    network = theirs.shaken(theirs.Network(name, is_grouped, is_shared=is_grouped, is_scaled=is_scaled), 1)
    x = torch.randn(1, 3, 64, 96)
    torch.save({"meta": {}, "state_dict": network.state_dict()}, tmp_path / "model.pth")
    axes = {"input.1": {0: "?", 2: "?", 3: "?"}} | {output: {0: "?"} for output in NAMES}
    torch.onnx.export(
        network, (x,), str(tmp_path / "model.onnx"), input_names=["input.1"], output_names=NAMES, opset_version=11,
        dynamic_axes=axes if is_dynamic else None, dynamo=False,
    )  # fmt: skip
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    by_runtime = session.run(NAMES, {"input.1": x.numpy()})
    by_torch = [output.detach().numpy() for output in network(x)]
    file = tmp_path / "model.onnx"
    by_graph = from_onnx(read_onnx_graph(file), read_weights(file), read_onnx_outputs(file))
    for weights in (by_graph, from_pytorch(read_weights(tmp_path / "model.pth"))):
        assert weights[:2] == (name, is_grouped)
        for expected in (by_runtime, by_torch):
            for ours, reference in zip(_outputs(weights, x.numpy()), _joined(expected), strict=True):
                np.testing.assert_allclose(ours, reference, atol=2e-5 * abs(reference).max())


def _outputs(weights: Weights, x: np.ndarray) -> list[np.ndarray]:
    apply = jax.jit(make_network(weights.network, weights.is_grouped).apply)
    outputs = apply(weights.params, jnp.asarray(x.transpose(0, 2, 3, 1)))
    return [np.asarray(jax.nn.sigmoid(outputs.scores[0]))[:, None], *(np.asarray(part[0]) for part in outputs[1:])]


def _joined(nine: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate(nine[first : first + 3]) for first in (0, 3, 6)]
