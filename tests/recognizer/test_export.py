"""A model and what is exported of it are one function, whatever its preprocessing; what is not, is refused."""

import dataclasses
import re
from typing import Any

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from faces import depthwise_fast, ops
from faces.backbone import Network, make_backbone
from faces.errors import ConfigError, WeightsError
from faces.layers import Depthwise, PReLU, padded_conv
from faces.mesh import make_mesh
from faces.preprocessing import WHOLE, Preprocessing
from recognizer import export
from recognizer.model import Description, Model, NetworkConfig, Origin, embedder_of
from tests.recognizer.test_network_steps import SHORT

SIZE, DIM = (8, 6), 4


class Small(nn.Module):
    """What MobileFaceNet is made of: convolutions, depthwise ones, PReLU, batch norm."""

    embedding_dim: int
    dtype: Any

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        x = PReLU(name="prelu")(padded_conv(4, 3, 2, self.dtype, name="first")(images))
        x = Depthwise(1, self.dtype, name="each")(x)
        x = Depthwise(2, self.dtype, channels_per_group=2, name="pairs")(x)
        x = padded_conv(self.embedding_dim, 1, dtype=self.dtype, name="last")(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


SMALL = Network(Small, SIZE)


def small_model(dtype: Any = jnp.float32, network: Network = SMALL, **changes: Any) -> Model:
    backbone = make_backbone({"small": network}, "small", DIM, dtype)
    preprocessing = Preprocessing(
        size=network.input_size, channels="rgb", mean=120.0, scale=60.0, alignment="five_points", margin=0.0, resized=0,
        box=WHOLE, flip="none",
    )  # fmt: skip
    described = Description(
        NetworkConfig("small", DIM), dataclasses.replace(preprocessing, **changes), Origin("nowhere", "")
    )
    params, batch_stats = jax.tree.map(np.asarray, backbone.init(jax.random.key(0)))
    return Model(described, params, batch_stats, backbone.apply)


def pictures(number: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (number, *SIZE, 3)).astype(np.uint8)


def assert_same(model: Model, name: export.Format) -> bytes:
    """The exported function gives the model's embeddings, of five pictures and of one."""
    content = export.WRITERS[name](model)
    run = export.READERS[name](content)
    expected = embedder_of(model, make_mesh(1))(pictures(5))
    np.testing.assert_allclose(run(pictures(5)), expected, atol=1e-5)
    np.testing.assert_allclose(run(pictures(1)), expected[:1], atol=1e-5)
    assert export.parity(model, run, name) <= export.BOUND
    return content


@pytest.mark.parametrize(("channels", "flip"), [("rgb", "none"), ("bgr", "sum"), ("bgr", "concatenate")])
def test_stablehlo_is_the_model(channels: str, flip: str):
    pytest.importorskip("flatbuffers", reason="jax.export writes with flatbuffers")
    content = assert_same(small_model(channels=channels, flip=flip), "stablehlo")
    exported = jax.export.deserialize(bytearray(content))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [str(dim) for dim in exported.in_avals[0].shape] == ["n", "8", "6", "3"]


def test_what_is_exported_says_nothing_of_this_machine():
    pytest.importorskip("flatbuffers", reason="jax.export writes with flatbuffers")
    content = export.to_stablehlo(small_model())
    assert not re.findall(rb"[\w./-]+\.py", content)

    def of_another_place() -> bytes:
        return export.to_stablehlo(small_model())

    assert of_another_place() == content


@pytest.mark.parametrize(("channels", "flip"), [("bgr", "sum"), ("rgb", "concatenate")])
def test_onnx_is_the_model(channels: str, flip: str):
    pytest.importorskip("jax2onnx", reason="ONNX needs the extra [export]")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small_model(channels=channels, flip=flip)
    before = embedder_of(model, make_mesh(1))(pictures(5))
    content = assert_same(model, "onnx")
    session = onnxruntime.InferenceSession(content)
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["n", 8, 6, 3])
    assert (made.name, made.type, made.shape[1]) == ("embeddings", "tensor(float)", 8 if flip == "concatenate" else 4)
    np.testing.assert_array_equal(embedder_of(model, make_mesh(1))(pictures(5)), before)  # jax2onnx leaves JAX as it is


@pytest.mark.parametrize("name", SHORT)
def test_networks_of_other_layers_in_onnx(name: str):
    """Locally connected layers, max pooling, attention, layer norm: as jax2onnx wants to be asked."""
    pytest.importorskip("jax2onnx", reason="ONNX needs the extra [export]")
    pytest.importorskip("onnxruntime")
    model = small_model(network=SHORT[name])
    assert export.parity(model, export.READERS["onnx"](export.WRITERS["onnx"](model)), "onnx") <= export.BOUND


@pytest.mark.parametrize("light", ["histogram", "tan_triggs"])
@pytest.mark.parametrize(("name", "package"), [("stablehlo", "flatbuffers"), ("onnx", "jax2onnx")])
def test_light_brought_to_one_is_inside(name: export.Format, package: str, light: str):
    pytest.importorskip(package, reason="needs the extra [export]")
    model = small_model(illumination=light)
    assert_same(model, name)
    assert export.notes(model, {})["inside"]["illumination"] == light


def test_an_operation_that_onnx_has_not_is_named(monkeypatch: pytest.MonkeyPatch):
    """Here the depthwise convolution's choice by platform, which would be in the graph without `by_definition`."""
    pytest.importorskip("jax2onnx", reason="ONNX needs the extra [export]")
    monkeypatch.setattr(export, "by_definition", lambda: export._quiet())
    with pytest.raises(WeightsError, match=r"small: jax2onnx cannot .*'platform_index'.* --format stablehlo"):
        export.to_onnx(small_model())


def test_a_format_whose_packages_are_missing_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'jax2onnx and onnxruntime: not installed.*pip install "\.\[export\]"'):
        export.to_onnx(small_model())
    with pytest.raises(ConfigError, match=r"flatbuffers: not installed.* --format onnx"):
        export.to_stablehlo(small_model())


@pytest.mark.parametrize("wrong", [1e-3, np.nan])
def test_what_differs_is_refused(wrong: float):
    model = small_model()
    embed = embedder_of(model, make_mesh(1))
    assert export.parity(model, embed, "copy") <= export.BOUND
    with pytest.raises(WeightsError, match=r"small: its copy gives embeddings that differ .*, more than 0\.0001"):
        export.parity(model, lambda images: embed(images) + np.float32(wrong), "copy")


def test_the_definition_is_traced_within_its_block_alone():
    x, kernel = jnp.ones((2, 5, 5, 3)), jnp.ones((3, 3, 3))

    def traced() -> str:
        return str(jax.make_jaxpr(lambda x, k: depthwise_fast.depthwise_conv2d(x, k, 1))(x, kernel))

    with pytest.raises(ZeroDivisionError), ops.by_definition():
        within = traced()
        raise ZeroDivisionError
    assert within == str(jax.make_jaxpr(lambda x, k: ops.depthwise_conv2d(x, k, 1))(x, kernel))
    assert "platform_index" in traced() and "platform_index" not in within


def test_the_notes_say_what_a_program_must_do():
    model = small_model(size=(112, 96), flip="concatenate", channels="bgr")
    told = export.notes(model, {"onnx": 1e-6})
    assert told["files"] == {"model.onnx": {"largest_difference": 1e-6}}
    assert told["input"] == {"name": "images", "dtype": "uint8", "shape": ["n", 112, 96, 3], "channels": "rgb"}
    assert told["output"] == {"name": "embeddings", "dtype": "float32", "shape": ["n", 8], "length": 1}
    values = {"channels": "bgr", "mean": 120.0, "scale": 60.0, "flip": "concatenate"}
    assert told["inside"] == {**values, "illumination": None}
    assert told["alignment"]["template"]["left eye"] == pytest.approx([30.2946, 51.6963])
    by_box = export.notes(small_model(alignment="box_margin", margin=2.0, resized=9), {})["alignment"]
    assert by_box == {"name": "box_margin", "margin": 2.0, "resized": 9}
