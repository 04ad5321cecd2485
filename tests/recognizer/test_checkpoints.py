"""Checkpoints of training programs, as they save them: the network in them, whatever lies beside it."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import arcface_jax.models
import arcface_jax.models.published as of_arcface
from arcface_jax.models.iresnet import IResNet
from faces.backbone import Network
from faces.errors import WeightsError
from recognizer.convert import convert
from tests.arcface_jax import other_programs, published_networks
from tests.faces.weights import makers
from tests.faces.weights.makers import Call, Global

UNITS, WIDTHS, SIZE, DIM = (1, 1, 1, 1), (2, 3, 4, 5), (16, 16), 6
IRESNET = published_networks.iresnet_tensors(UNITS, WIDTHS, 1, DIM)
IR = other_programs.ir_tensors(UNITS, WIDTHS, 1, DIM)
FORMS = {"zip": makers.torch_zip, "legacy": makers.torch_legacy}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IResNet and an `ir_` network of a unit in each stage, known by their names like the others."""
    for name, subsampled in (("iresnet4", False), ("ir_4", True)):
        module = partial(IResNet, units=UNITS, widths=WIDTHS, subsampled=subsampled)
        monkeypatch.setitem(arcface_jax.models.NETWORKS, name, Network(module, SIZE))
    monkeypatch.setattr(of_arcface, "IRESNETS", {"iresnet4": UNITS})
    monkeypatch.setattr(of_arcface, "IRS", {"ir_4": UNITS})
    monkeypatch.setattr(of_arcface, "PREPROCESSING", dataclasses.replace(of_arcface.PREPROCESSING, size=SIZE))


class Counter:
    """Keys for storages, no two alike in a file."""

    def __init__(self) -> None:
        self.last = 0

    def tensors(self, values: dict[str, np.ndarray], words: str = "") -> makers.Ordered:
        built = makers.Ordered()
        for name, array in values.items():
            self.last += 1
            flat = np.ascontiguousarray(array)
            strides = tuple(stride // flat.itemsize for stride in flat.strides)
            built[words + name] = makers.Tensor(makers.Storage(str(self.last), flat.ravel()), 0, flat.shape, strides)
        return built


def optimiser(counter: Counter) -> dict[str, Any]:
    moments = {number: {"momentum_buffer": tensor} for number, tensor in enumerate(counter.tensors(IRESNET).values())}
    return {"state": moments, "param_groups": [{"lr": 0.1, "momentum": 0.9, "params": list(range(len(moments)))}]}


def namespace(**values: Any) -> Call:
    return Call(Global("argparse", "Namespace"), (), values, "NEWOBJ")


def attributes(**values: Any) -> Call:
    return Call(Global("pytorch_lightning.utilities.parsing", "AttributeDict"), (), {}, "NEWOBJ", tuple(values.items()))


def arcface_torch(counter: Counter) -> dict[str, Any]:
    return {
        "epoch": 3, "global_step": 7_000, "state_dict_backbone": counter.tensors(IRESNET),
        "state_dict_softmax_fc": counter.tensors({"weight": np.ones((4, DIM), np.float32)}),
        "state_optimizer": optimiser(counter),
        "state_lr_scheduler": {"base_lrs": [0.1], "last_epoch": 7_000, "_get_lr_called_within_step": False},
    }  # fmt: skip


def adaface(counter: Counter) -> dict[str, Any]:
    head = {"head.kernel": np.ones((DIM, 4), np.float32), "head.t": np.ones(1, np.float32)}
    state = makers.Ordered(counter.tensors(IR, "model.") | counter.tensors(head))
    return {
        "epoch": 25, "global_step": 9, "pytorch-lightning_version": "1.4.4", "state_dict": state,
        "callbacks": {Global("pytorch_lightning.callbacks", "ModelCheckpoint"): {"best": 0.99}},
        "optimizer_states": [optimiser(counter)], "lr_schedulers": [{"milestones": {1, 2}}],
        "hparams_name": "kwargs", "hyper_parameters": attributes(arch="ir_4", args=namespace(lr=0.1)),
    }  # fmt: skip


def magface(counter: Counter) -> dict[str, Any]:
    classifier = {"fc.weight": np.ones((DIM, 4), np.float32)}
    state = makers.Ordered(counter.tensors(IRESNET, "features.module.") | counter.tensors(classifier))
    return {"epoch": 25, "arch": "iresnet4", "state_dict": state, "best_acc1": 0.0, "optimizer": optimiser(counter)}


def received(found: Any, tensors: dict[str, np.ndarray], first: str) -> None:
    kernel = np.asarray(found.params["stem_conv"]["kernel"])
    np.testing.assert_array_equal(kernel, tensors[first].transpose(2, 3, 1, 0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("make", "name", "seen"),
    [
        (arcface_torch, "iresnet4", ("rgb", 127.5, 127.5)),
        (adaface, "ir_4", ("bgr", 127.5, 127.5)),
        (magface, "iresnet4", ("bgr", 0.0, 255.0)),
    ],
)
def test_checkpoints_of_programs(form: str, make: Any, name: str, seen: tuple[str, float, float], tmp_path: Path):
    file = tmp_path / "checkpoint_gpu_0.pt"
    file.write_bytes(FORMS[form](make(Counter())))
    model = convert(file)
    preprocessing = model.preprocessing
    assert (model.name, (preprocessing.channels, preprocessing.mean, preprocessing.scale)) == (name, seen)
    received(model, *((IR, "input_layer.0.weight") if name == "ir_4" else (IRESNET, "conv1.weight")))


@pytest.mark.parametrize("key", ["net_state_dict", "model", "net", "state_dict", "backbone", "model_state_dict"])
@pytest.mark.parametrize("words", ["", "module.", "backbone.", "net.", "model.", "module.backbone.net."])
def test_keys_and_words_alone_and_together(key: str, words: str, tmp_path: Path):
    counter = Counter()
    checkpoint = {"iters": 1, "args": namespace(lr=0.1), "optimizer": optimiser(counter),
                  key: counter.tensors(IRESNET, words)}  # fmt: skip
    (tmp_path / "a.pth").write_bytes(makers.torch_zip(checkpoint))
    model = convert(tmp_path / "a.pth")
    received(model, IRESNET, "conv1.weight")
    assert jax.tree.leaves(model.params)


def test_two_networks_in_one_state_dict(tmp_path: Path):
    counter = Counter()
    both = makers.Ordered(counter.tensors(IRESNET, "model.") | counter.tensors(IRESNET, "ema_model."))
    (tmp_path / "a.pth").write_bytes(makers.torch_zip({"state_dict": both}))
    with pytest.raises(WeightsError, match=r"a\.pth: it holds a network under the names model\.\* and another"):
        convert(tmp_path / "a.pth")


def test_an_onnx_model_with_its_values_beside_it(tmp_path: Path):
    """Two sets of values beside equal graphs are two models."""
    graph = published_networks.iresnet_graph(UNITS, IRESNET, True)
    model = makers.message("ModelProto")(ir_version=8, producer_name="test")
    for node in graph.nodes:
        written = model.graph.node.add(op_type=node.op, input=node.inputs, output=node.outputs)
        for key, value in node.attributes.items():
            attribute = written.attribute.add(name=key, type=7 if isinstance(value, tuple) else 2)
            if isinstance(value, tuple):
                attribute.ints.extend(value)
            elif isinstance(value, float):
                attribute.type, attribute.f = 1, value
            else:
                attribute.i = value
    model.graph.output.add(name=graph.nodes[-1].outputs[0])
    values = b""
    for name, tensor in graph.tensors.items():
        initializer = model.graph.initializer.add(name=name, dims=tensor.shape, data_type=1, data_location=1)
        for key, value in (("location", "m.data"), ("offset", len(values)), ("length", tensor.nbytes)):
            initializer.external_data.add(key=key, value=str(value))
        values += tensor.tobytes()
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = []
    for factor in (1, 2):
        (tmp_path / "m.data").write_bytes((np.frombuffer(values, np.float32) * np.float32(factor)).tobytes())
        found.append(convert(tmp_path / "m.onnx"))
    one, other = (model.description.origin.sha256 for model in found)
    assert found[0].name == "iresnet4" and one != other
    (tmp_path / "m.data").write_bytes(values[:-4])
    with pytest.raises(WeightsError, match=r"m\.data: .* is cut: the file ends before its last value; copy"):
        convert(tmp_path / "m.onnx")
