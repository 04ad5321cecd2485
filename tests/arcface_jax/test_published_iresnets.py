"""IResNets of AdaFace, InsightFace_Pytorch, MagFace and MXNet by their names, against networks in plain NumPy."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.models import make_backbone
from arcface_jax.models.iresnet import IResNet
from arcface_jax.models.iresnet_names import ir_rows, iresnet_rows, mxnet_iresnet_rows
from arcface_jax.models.published import FIRST, IRESNETS, recognise
from arcface_jax.models.symbols import follow_iresnet
from faces import backbone
from faces.backbone import Network
from faces.errors import WeightsError
from faces.weights.graph import Node
from faces.weights.layouts import Published, Row, receive
from tests import numpy_layers
from tests.arcface_jax import other_programs as theirs
from tests.arcface_jax import published_networks as arcface_torch

UNITS, WIDTHS, DIM = (1, 2), (8, 12), 6
SIZE = (12, 12)  # of images; the last map has 3x3 places
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, *SIZE, 3)).astype(np.float32)


def embed(rows: list[Row], tensors: dict[str, np.ndarray], **of_module: object) -> np.ndarray:
    """Our network of two stages with these rows."""
    module = partial(IResNet, units=UNITS, widths=WIDTHS, strides=(2, 2), **of_module)
    small = backbone.make_backbone({"small": Network(module, SIZE)}, "small", DIM)
    known = recognise({"pre_fc1_bias": np.zeros(1)})
    assert known is not None
    params, batch_stats = receive(known._replace(rows=rows), tensors, small, "FILE")
    return np.asarray(jax.jit(small.apply, static_argnums=3)(params, batch_stats, jnp.asarray(IMAGES), False)[0])


@pytest.mark.parametrize(("has_norm", "reduction"), [(True, 0), (False, 0), (True, 4), (False, 4)])
def test_ir_networks_are_the_functions_of_plain_numpy(has_norm: bool, reduction: int):
    tensors = theirs.ir_tensors(UNITS, WIDTHS, 9, DIM, has_norm, reduction)
    embeddings = embed(ir_rows(UNITS, tensors), tensors, subsampled=True, reduction=reduction)
    np.testing.assert_allclose(embeddings, theirs.ir(IMAGES, UNITS, tensors), rtol=1e-4, atol=2e-5)


def test_every_tensor_of_an_adaface_file_has_its_place():
    tensors = theirs.ir_tensors(IRESNETS["iresnet18"], (64, 128, 256, 512), 49, 5)
    published = recognise(tensors, wrapper="model.")
    assert published is not None and published.network == "ir_18"
    assert (published.preprocessing.channels, published.preprocessing.scale) == ("bgr", 127.5)
    receive(published, tensors, make_backbone("ir_18", 5), "FILE")
    with pytest.raises(WeightsError, match=r"'body.3.res_layer.0.running_var' is missing"):
        cut = {name: one for name, one in tensors.items() if name != "body.3.res_layer.0.running_var"}
        receive(published, cut, make_backbone("ir_18", 5), "FILE")


@pytest.mark.parametrize(("has_norm", "programs"), [(True, ("adaface", "tface")),
                                                    (False, ("insightface_pytorch", "face_evolve"))])  # fmt: skip
def test_names_of_several_programs_are_not_guessed(has_norm: bool, programs: tuple[str, str]):
    tensors = theirs.ir_tensors((3, 4, 14, 3), (2, 3, 4, 5), 1, 3, has_norm, 1)
    colours = "blue, green, red minus 127.5, divided by 127.5"
    say = rf"say by --network NAME \(.*\) which, {programs[0]} for {colours} or {programs[1]} for red"
    with pytest.raises(WeightsError, match=say):
        recognise(tensors)
    for program, channels in zip(programs, ("bgr", "rgb"), strict=True):
        published = recognise(tensors, program)
        assert published is not None
        assert (published.network, published.preprocessing.channels) == ("ir_se_50", channels)
    with pytest.raises(WeightsError, match="its names are not those of"):
        recognise(tensors, "face_evolve" if has_norm else "adaface")
    assert recognise(tensors, "iresnet50") is None
    with pytest.raises(WeightsError, match=r"an IResNet of 1, 1, 1, 1 units .* ir_18: 2, 2, 2, 2;"):
        recognise(theirs.ir_tensors((1, 1, 1, 1), (2, 3, 4, 5), 1, 3), "adaface")


def test_magface_is_told_by_what_stands_before_its_names():
    tensors = arcface_torch.iresnet_tensors(IRESNETS["iresnet18"], (2, 3, 4, 5), 1, 3)
    with pytest.raises(WeightsError, match="its names are not those of adaface, but of arcface_torch or magface"):
        recognise(tensors, "adaface")
    for published in (recognise(tensors, wrapper="features.module."), recognise(tensors, "magface")):
        assert published is not None and published.network == "iresnet18"
        seen = published.preprocessing
        assert (seen.channels, seen.mean, seen.scale, seen.flip) == ("bgr", 0.0, 255.0, "none")
        variance = next(row for row in published.rows if row.ours == "batch_stats/stem_norm/var")
        np.testing.assert_array_equal(variance.make(np.ones(2)), np.ones(2))  # its eps is ours
    usual = recognise(tensors, wrapper="module.")
    assert usual is not None and usual.preprocessing.channels == "rgb"


# MXNet's.


@pytest.mark.parametrize("with_symbol", [True, False])
def test_mxnets_iresnet_is_the_function_of_its_symbol(with_symbol: bool):
    tensors, symbol = theirs.mxnet_iresnet(UNITS, WIDTHS, 9, DIM)
    assert follow_iresnet(symbol, UNITS) == (127.5, 0.0078125)
    expected = by_symbol(symbol, tensors, IMAGES.transpose(0, 3, 1, 2) * 128.0 + 127.5)
    embeddings = embed(mxnet_iresnet_rows(UNITS, symbol if with_symbol else ()), tensors)
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=2e-5)


def by_symbol(symbol: list[Node], tensors: dict[str, np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """What the last node of a symbol gives, each node computed by MXNet's definition in float64."""
    values: dict[str, np.ndarray] = {**tensors, "data": pixels.astype(np.float64)}
    for node in symbol:
        if node.op == "null":
            continue
        x, *rest = [values[name] for name in node.inputs]
        match node.op:
            case "identity" | "Dropout":
                value = x
            case "_minus_scalar":
                value = x - float(str(node.attributes["scalar"]))
            case "_mul_scalar":
                value = x * float(str(node.attributes["scalar"]))
            case "Convolution":
                stride = int(str(node.attributes["stride"])[1])
                value = numpy_layers.conv(x, rest[0], stride, numpy_layers.same(rest[0]))
            case "BatchNorm":
                gamma = np.ones_like(rest[0]) if node.attributes["fix_gamma"] == "True" else rest[0]
                value = numpy_layers.norm(x, gamma, *rest[1:], float(str(node.attributes["eps"])))
            case "LeakyReLU":
                value = numpy_layers.prelu(x, rest[0])
            case "elemwise_add":
                value = x + rest[0]
            case "FullyConnected":
                value = x.reshape(len(x), -1) @ rest[0].T.astype(np.float64) + rest[1][None]
            case op:
                raise AssertionError(op)
        values[node.name] = value
    return values[symbol[-1].name]


def recognised(changed: list[Node] | None = None) -> Published | None:
    tensors, symbol = theirs.mxnet_iresnet(IRESNETS["iresnet18"], (2, 3, 4, 5), 1, 3)
    return recognise(tensors, None, symbol if changed is None else changed)


def test_mxnets_iresnets_are_told_by_their_units():
    for name in ("iresnet18", "iresnet50", "iresnet100"):
        tensors, symbol = theirs.mxnet_iresnet(IRESNETS[name], (2, 3, 4, 5), 1, 3)
        for graph in ((), symbol):
            published = recognise(tensors, None, graph)
            assert published is not None and published.has_symbol
            assert (published.network, published.embedding_dim, published.preprocessing.scale) == (name, 3, 128.0)
        used = {tensor for row in published.rows for tensor in row.names}
        assert used == {tensor for tensor in tensors if published.is_weight(tensor)}
    assert sorted(row.ours for row in published.rows) == sorted(row.ours for row in iresnet_rows(IRESNETS[name], {}))


@pytest.mark.parametrize(
    ("node", "attributes", "sentence"),
    [
        ("stage2_unit1_conv1", {"stride": "(2, 2)"}, "has stride 2 where 1 is expected"),
        ("stage2_unit1_conv2", {"stride": "(1, 1)"}, "has stride 1 where 2 is expected"),
        ("stage2_unit1_conv1sc", {"stride": "(1, 1)"}, "has stride 1 where 2 is expected"),
        ("conv0", {"num_group": "3"}, "has group 3.0 where 1 is expected"),
        ("stage1_unit2_relu1", {"act_type": "leaky"}, "stands where a PReLU is expected"),
    ],
)
def test_symbols_of_iresnets_that_compute_something_else_are_refused(node: str, attributes: dict, sentence: str):
    _, symbol = theirs.mxnet_iresnet(IRESNETS["iresnet18"], (2, 3, 4, 5), 1, 3)
    changed = [replace(one, attributes=one.attributes | attributes) if one.name == node else one for one in symbol]
    with pytest.raises(WeightsError, match=rf"node '{node}' .*{sentence}"):
        recognised(changed)


def test_names_with_numbers_in_place_of_tensors_are_not_recognised():
    for first in FIRST:
        assert recognise({name: np.zeros(()) for name in (first, "fc.bias", "bn.bias", "pre_fc1_bias")}) is None


@pytest.mark.parametrize("last", ["fc.bias", "pre_fc1_bias", "output_layer.3.bias", "features.layers.3.bias", "bn.bias",
                                  "linear1.bn.bias"])  # fmt: skip
@pytest.mark.parametrize("shape", [(4,), (0, 3), (64, 3, 3, 3)])
def test_files_that_are_cut_to_their_first_and_last_names_are_refused(last: str, shape: tuple[int, ...]):
    for first in FIRST:
        cut = {first: np.zeros(shape, np.float32), last: np.zeros(5, np.float32)}
        try:
            published = recognise(cut, wrapper="model.")
        except WeightsError:
            continue
        if published is not None:
            network = make_backbone(published.network, 5, input_size=published.preprocessing.size)
            with pytest.raises(WeightsError):
                receive(published, cut, network, "FILE")
