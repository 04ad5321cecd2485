"""Weights published under the names of arcface_torch, of MXNet and of nobody (ONNX) compute what they should."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.models import make_backbone, mobilefacenet, onnx_names
from arcface_jax.models.iresnet import IResNet
from arcface_jax.models.published import IRESNETS, iresnet_rows, recognise
from faces import backbone
from faces.backbone import Backbone, Network
from faces.errors import WeightsError
from faces.weights import Node, read_symbol, read_weights
from faces.weights.layouts import receive
from tests import numpy_layers
from tests.arcface_jax import published_networks as theirs

UNITS, WIDTHS, DIM = (2, 1), (8, 12), 6
SIZE = (12, 12)  # of images; the last map has 3x3 places
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, *SIZE, 3)).astype(np.float32)


@cache
def short() -> tuple[Backbone, object]:
    module = partial(IResNet, units=UNITS, widths=WIDTHS, strides=(2, 2))
    of_two_stages = backbone.make_backbone({"short": Network(module, SIZE)}, "short", DIM)
    return of_two_stages, jax.jit(of_two_stages.apply, static_argnums=3)


def embed(tensors: dict[str, np.ndarray]) -> np.ndarray:
    of_two_stages, apply = short()
    known = recognise(theirs.iresnet_tensors((2, 2, 2, 2), (4, 4, 4, 4), 1, 3))
    assert known is not None
    published = known._replace(rows=iresnet_rows(UNITS, tensors))
    params, batch_stats = receive(published, tensors, of_two_stages, "FILE")
    return np.asarray(apply(params, batch_stats, jnp.asarray(IMAGES), False)[0])


@cache
def tensors() -> dict[str, np.ndarray]:
    return theirs.iresnet_tensors(UNITS, WIDTHS, 9, DIM)


def test_arcface_torchs_iresnet_is_the_function_of_plain_numpy():
    expected = theirs.iresnet(IMAGES, UNITS, tensors())
    np.testing.assert_allclose(embed(tensors()), expected, rtol=1e-4, atol=2e-5)


FOLDED = [(True, False), (False, False), (True, True)]
"""Whether batch norms are folded, and the last one."""


@pytest.mark.parametrize(("is_folded", "is_head_folded"), FOLDED)
def test_an_iresnet_in_onnx_is_found_by_its_graph(is_folded: bool, is_head_folded: bool):
    graph = theirs.iresnet_graph(UNITS, tensors(), is_folded, is_head_folded)
    named = onnx_names.named(graph.nodes, graph.tensors)
    assert (named.mean, named.factor) == (0, 1)
    expected = theirs.iresnet(IMAGES, UNITS, tensors())
    np.testing.assert_allclose(embed(named.tensors), expected, rtol=1e-4, atol=2e-5)


@cache
def y1_network() -> Backbone:
    return make_backbone("mobilefacenet_y1", 128)


def paths_of(network: Backbone) -> list[str]:
    params, batch_stats = jax.eval_shape(network.init, jax.random.key(0))
    tree = {"params": params, "batch_stats": batch_stats}
    return sorted("/".join(entry.key for entry in path) for path, _ in jax.tree.leaves_with_path(tree))


def test_iresnets_are_told_by_their_units():
    for name, units in IRESNETS.items():
        given = theirs.iresnet_tensors(units, (2, 2, 2, 2), 1, 3)
        for network in (None, name):
            published = recognise(given, network)
            assert published is not None and (published.network, published.embedding_dim) == (name, 3)
        used = {tensor for row in published.rows for tensor in row.names}
        assert used == {tensor for tensor in given if published.is_weight(tensor)}
        if name == "iresnet18":
            assert sorted(row.ours for row in published.rows) == paths_of(make_backbone(name, 3))


def test_a_depth_that_is_not_ours_is_refused():
    given = theirs.iresnet_tensors((3, 4, 14, 4), (2, 2, 2, 2), 1, 3)
    with pytest.raises(WeightsError, match=r"an IResNet of 3, 4, 14, 4 units .* iresnet50: 3, 4, 14, 3;"):
        recognise(given)


def test_a_network_that_is_named_is_taken_at_its_word():
    given = theirs.iresnet_tensors(IRESNETS["iresnet18"], (64, 128, 256, 512), 49, 3)
    published = recognise(given, "iresnet34")
    assert published is not None and published.network == "iresnet34"
    missing = [name for row in published.rows for name in row.names if name not in given]
    assert missing[0] == "layer1.2.bn1.weight"
    assert recognise(given, "mobilefacenet_y1") is None
    assert recognise({"conv1.weight": np.zeros((64, 3, 3, 3))}) is None


# Fewer bottlenecks than in the published network, which takes long to compile; the last map has 2x2 pixels.
SIDE, BOTTLENECKS = 2, theirs.mbf_bottlenecks((1, 0, 1))
FEW_ROWS = ((1, 128, 2, 2), (2, 256, 1, 2), (2, 256, 1, 2), (1, 256, 1, 1))


def test_arcface_torchs_mobilefacenet_is_the_function_of_plain_numpy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mobilefacenet, "MBF_ROWS", FEW_ROWS)
    size = (16 * SIDE, 16 * SIDE)
    images = np.random.default_rng(1).uniform(-1, 1, (2, *size, 3)).astype(np.float32)
    given = theirs.mbf_tensors(SIDE, DIM, BOTTLENECKS)
    expected = theirs.mbf(images, SIDE, given, BOTTLENECKS)
    module = partial(mobilefacenet.MobileFaceNet, rows=FEW_ROWS, stem=128, group=2, epsilon=1e-5)
    few = backbone.make_backbone({"few": Network(module, size)}, "few", DIM)
    apply = jax.jit(few.apply, static_argnums=3)
    graphs = [theirs.mbf_graph(SIDE, given, folded, BOTTLENECKS, head_folded) for folded, head_folded in FOLDED]
    for one in (given, *(onnx_names.named(graph.nodes, graph.tensors).tensors for graph in graphs)):
        assert one is not None
        published = recognise(one)
        assert published is not None
        assert (published.network, published.embedding_dim) == ("mobilefacenet_mbf", DIM)
        params, batch_stats = receive(published, one, few, "FILE")
        embeddings = apply(params, batch_stats, jnp.asarray(images), False)[0]
        np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


def test_mobilefacenet_has_the_names_of_arcface_torch():
    given = theirs.mbf_tensors(7, DIM, theirs.mbf_bottlenecks())
    published = recognise(given)
    assert published is not None
    assert sorted(name for row in published.rows for name in row.names) == sorted(given)


def changed(nodes: list[Node], op: str, number: int, **attributes: object) -> list[Node]:
    """The graph with other attributes of the node of this kind with this number."""
    place = [at for at, node in enumerate(nodes) if node.op == op][number]
    return [
        replace(node, attributes=node.attributes | attributes) if at == place else node for at, node in enumerate(nodes)
    ]


def fronted(nodes: list[Node], *front: Node) -> list[Node]:
    """The graph with nodes before it, the last of which makes "pixels", which the network then reads."""
    renamed = [replace(node, inputs=tuple("pixels" if name == "input" else name for name in node.inputs))
               for node in nodes]  # fmt: skip
    return [*front, *renamed]


def given_to(nodes: list[Node], op: str, inputs: tuple[str, ...]) -> list[Node]:
    """The graph with other inputs of the first node of this kind."""
    place = next(at for at, node in enumerate(nodes) if node.op == op)
    return [replace(node, inputs=inputs) if at == place else node for at, node in enumerate(nodes)]


NUMBER = {"number": np.float32(127.5), "factor": np.float32(0.5), "order": np.array([2, 1, 0]), "one": np.array([1]),
          "nothing": np.zeros((4, 0, 3, 3), np.float32)}  # fmt: skip
UNLIKE: dict[str, tuple[Callable[[list[Node]], list[Node]], str]] = {
    "the stride on another convolution": (
        lambda nodes: changed(changed(nodes, "Conv", 1, strides=(2, 2)), "Conv", 2, strides=(1, 1)),
        r"node '/Conv_3_output' \(Conv\) has stride 2 where 1 is expected",
    ),
    "no zeros around": (lambda n: changed(n, "Conv", 0, pads=(0,) * 4), r"has pad 0 where 1 is expected"),
    "zeros on one side": (
        lambda n: changed(n, "Conv", 0, pads=(0, 0, 2, 2)), r"strides \(1, 1\) and pads \(0, 0, 2, 2\)"),
    "dilated": (lambda n: changed(n, "Conv", 1, dilations=(2, 2)), r"it has dilations \(2, 2\)"),
    "groups": (lambda n: changed(n, "Conv", 1, group=2), r"has group 2 where 1 is expected"),
    "padded by itself": (lambda n: changed(n, "Conv", 1, auto_pad="SAME_LOWER"), r"it has auto_pad SAME_LOWER"),
    "an attribute of tomorrow": (lambda n: changed(n, "Conv", 1, rounding=1), r"its rounding is not known here"),
    "half a matrix": (lambda n: changed(n, "Gemm", 0, alpha=0.5), r"it has alpha 0.5"),
    "a norm that trains": (
        lambda n: changed(n, "BatchNormalization", 0, training_mode=1), r"it has training_mode 1"),
    "flattened elsewhere": (
        lambda n: changed(n, "Flatten", 0, axis=2), r"\(Flatten\) stands where a flattening is .*axis 2"),
    "channels swapped": (
        lambda n: fronted(n, Node("swap", "Gather", ("input", "order"), ("pixels",), {"axis": 1})),
        r"node 'swap' \(Gather\) stands where a convolution is expected",
    ),
    "channels swapped by slices": (
        lambda n: fronted(n, Node("", "Slice", ("input", "one", "one"), ("pixels",), {})), r"node 'pixels' \(Slice\)"),
    "negated": (lambda n: fronted(n, Node("minus", "Neg", ("input",), ("pixels",), {})), r"node 'minus' \(Neg\)"),
    "the pixels added to themselves": (
        lambda n: fronted(n, Node("twice", "Add", ("input", "input"), ("pixels",), {})), r"node 'twice' \(Add\)"),
    "a number for each channel": (
        lambda n: fronted(n, Node("means", "Sub", ("input", "order"), ("pixels",), {})),
        r"node 'means' \(Sub\) stands where a convolution is expected, and it is no number for all channels",
    ),
    "negative": (lambda n: fronted(n, Node("", "Sub", ("number", "input"), ("pixels",), {})), r"'pixels' \(Sub\)"),
    "whole numbers": (lambda n: fronted(n, Node("", "Cast", ("input",), ("pixels",), {"to": 6})), r"it rounds values"),
    "length 1 at the end": (
        lambda n: [*n, Node("unit", "LpNormalization", n[-1].outputs, ("y",), {})], r"node 'unit' .* stands after the"),
    "another activation": (
        lambda n: [replace(node, op="Relu", inputs=node.inputs[:1]) if node.op == "PRelu" else node for node in n],
        r"\(Relu\) stands where a PReLU is expected\.",
    ),
    "cut": (lambda n: n[:-3], r"its graph ends where a matrix is expected"),
    "a tensor in the image's place": (
        lambda n: given_to(n, "Conv", (n[0].inputs[1], n[0].inputs[1], "input")), r"its weights are no tensors of"),
    "a matrix of values": (
        lambda n: [replace(node, inputs=(node.inputs[1], node.inputs[0], *node.inputs[2:])) if node.op == "Gemm"
                   else node for node in n], r"\(Gemm\) .*its weights are no tensors of the file"),
    "a kernel of nothing": (lambda n: given_to(n, "Conv", ("input", "nothing")), r"it is not of two dimensions"),
    "a sum of one value": (
        lambda n: fronted(n, Node("sum", "Add", ("input",), ("pixels",), {})), r"node 'sum' .* it has not two values"),
    "a constant of a value": (lambda n: fronted(n, Node("", "Constant", ("input",), ("pixels",), {})), r"\(Constant\)"),
    "one stride": (lambda n: changed(n, "Conv", 0, strides=1), r"it has strides of another kind"),
    "dilations in a tensor": (
        lambda n: changed(n, "Conv", 0, dilations=np.ones(2)), r"it has dilations of another kind"),
    "an eps in words": (
        lambda n: changed(n, "BatchNormalization", 0, epsilon="1e-5"), r"it has epsilon of another kind"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNLIKE)
def test_a_graph_that_computes_something_else_is_refused_by_the_node(what: str):
    graph = theirs.iresnet_graph(UNITS, tensors(), True)
    change, sentence = UNLIKE[what]
    with pytest.raises(WeightsError, match=f"its graph is no (IResNet|MobileFaceNet) that is known here: .*{sentence}"):
        onnx_names.named(change(graph.nodes), graph.tensors | NUMBER)


def test_units_joined_otherwise_are_refused():
    """The sum takes the unit's output and the stem's, not the unit's input."""
    graph = theirs.iresnet_graph((3, 1), tensors_of_three(), True)
    places = [at for at, node in enumerate(graph.nodes) if node.op == "Add"]
    first, third = graph.nodes[places[0]], graph.nodes[places[2]]
    wrong = list(graph.nodes)
    wrong[places[2]] = replace(third, inputs=(third.inputs[0], first.outputs[0]))
    with pytest.raises(WeightsError, match=r"\(Add\) .*not a unit's input and output|stands where|beside the network"):
        onnx_names.named(wrong, graph.tensors)


def tensors_of_three() -> dict[str, np.ndarray]:
    return theirs.iresnet_tensors((3, 1), WIDTHS, 9, DIM)


def test_an_empty_graph_and_lost_tensors_are_refused():
    graph = theirs.iresnet_graph(UNITS, tensors(), True)
    with pytest.raises(WeightsError, match="its graph is empty"):
        onnx_names.named([], graph.tensors)
    with pytest.raises(WeightsError, match="computed from 0 inputs"):
        onnx_names.named(fronted(graph.nodes, Node("", "Identity", (), ("pixels",), {})), graph.tensors)
    without = {name: tensor for name, tensor in graph.tensors.items() if name != next(reversed(graph.tensors))}
    with pytest.raises(WeightsError, match="inputs"):
        onnx_names.named(graph.nodes, without)


def test_what_changes_nothing_is_passed_over():
    """Copies, dropout that does not train, a second output, nodes that no output needs, constants as nodes."""
    graph = theirs.iresnet_graph(UNITS, tensors(), True)
    last = graph.nodes[-1].outputs[0]
    nodes = [
        Node("", "Neg", ("input",), ("unused",), {}),
        *fronted(graph.nodes, Node("", "Cast", ("input",), ("pixels",), {"to": 1})),
        Node("", "Dropout", (last,), ("kept",), {"ratio": 0.4}),
        Node("", "Identity", ("kept",), ("embedding",), {}),
    ]
    named = onnx_names.named(nodes, graph.tensors, ("unused", "embedding"))
    for name, tensor in onnx_names.named(graph.nodes, graph.tensors).tensors.items():
        np.testing.assert_array_equal(named.tensors[name], tensor)


def test_one_number_taken_off_and_one_multiplied_are_the_preprocessing():
    graph = theirs.iresnet_graph(UNITS, tensors(), True)
    minus = Node("", "Sub", ("input", "number"), ("centred",), {})
    for op, factor in (("Mul", 0.5), ("Div", 2.0)):
        nodes = fronted(graph.nodes, minus, Node("", op, ("centred", "factor"), ("pixels",), {}))
        named = onnx_names.named(nodes, graph.tensors | NUMBER)
        assert (named.mean, named.factor) == (127.5, factor)


def test_an_eps_in_onnx_goes_into_the_variance():
    graph = theirs.iresnet_graph(UNITS, tensors(), True)
    named = onnx_names.named(changed(graph.nodes, "BatchNormalization", -1, epsilon=1e-3), graph.tensors)
    variance = tensors()["features.running_var"]
    np.testing.assert_allclose(named.tensors["features.running_var"] - variance, 1e-3 - 1e-5, rtol=1e-3)


# MXNet's y1.


@cache
def y1(folder: Path) -> tuple[dict[str, np.ndarray], tuple[Node, ...]]:
    return read_weights(folder / "model-0000.params"), read_symbol(folder / "model-symbol.json")


@pytest.fixture
def y1_folder(faces_data: Path) -> Path:
    folder = faces_data.parent / "weights" / "mobilefacenet_y1"
    if not folder.is_dir():
        pytest.skip(f"needs the published weights of MobileFaceNet y1 in {folder}")
    return folder


def test_every_parameter_of_y1_has_one_row():
    published = recognise({"pre_fc1_bias": np.zeros(128)})
    assert published is not None
    assert sorted(row.ours for row in published.rows) == paths_of(y1_network())
    names = [name for row in published.rows for name in row.names]
    assert len(names) == len(set(names)) == 283  # of 284, one being the fixed scale


@pytest.mark.realdata
def test_y1_uses_every_tensor_of_the_file(y1_folder: Path):
    given, symbol = y1(y1_folder)
    with_symbol, without = recognise(given, None, symbol), recognise(given)
    assert with_symbol is not None and without is not None
    assert with_symbol.preprocessing == without.preprocessing
    assert with_symbol.preprocessing.scale == 128.0
    received = [receive(published, given, y1_network(), "FILE") for published in (with_symbol, without)]
    jax.tree.map(np.testing.assert_array_equal, *received)


@pytest.mark.realdata
def test_y1_is_the_function_of_its_symbol(y1_folder: Path):
    given, symbol = y1(y1_folder)
    published = recognise(given, None, symbol)
    assert published is not None
    params, batch_stats = receive(published, given, y1_network(), "FILE")
    pixels = np.random.default_rng(2).integers(0, 256, (1, 112, 112, 3))
    seen = (pixels.astype(np.float32) - published.preprocessing.mean) / published.preprocessing.scale
    embeddings = jax.jit(y1_network().apply, static_argnums=3)(params, batch_stats, jnp.asarray(seen), False)[0]
    expected = by_symbol(y1_folder / "model-symbol.json", given, pixels.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(embeddings, expected, atol=2e-5)


def by_symbol(path: Path, given: dict[str, np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """What the last node of an MXNet symbol gives, each node computed by MXNet's definition in float64."""
    nodes = json.loads(path.read_text())["nodes"]
    values: list[np.ndarray] = []
    for node in nodes:
        x, *rest = [values[place] for place, *_ in node["inputs"]] or [np.zeros(0)]
        attributes = {key: value for part in ("attr", "attrs", "param") for key, value in node.get(part, {}).items()}

        def pair(key: str, attributes: dict[str, str] = attributes) -> tuple[int, int]:
            return tuple(map(int, re.findall(r"\d+", attributes[key])))  # pyright: ignore[reportReturnType]

        match node["op"]:
            case "null":
                value = pixels.astype(np.float64) if node["name"] == "data" else given[node["name"]]
            case "_minus_scalar":
                value = x - float(attributes["scalar"])
            case "_mul_scalar":
                value = x * float(attributes["scalar"])
            case "Convolution":
                (stride, other), groups = pair("stride"), int(attributes["num_group"])
                assert stride == other and attributes["no_bias"] == "True" and pair("kernel") == rest[0].shape[2:]
                value = numpy_layers.conv(x, rest[0], stride, pair("pad"), groups)
            case "BatchNorm":
                gamma = np.ones_like(rest[0]) if attributes.get("fix_gamma", "True") == "True" else rest[0]
                value = numpy_layers.norm(x, gamma, *rest[1:], float(attributes.get("eps", 1e-3)))
            case "LeakyReLU":
                assert attributes["act_type"] == "prelu"
                value = numpy_layers.prelu(x, rest[0])
            case "elemwise_add":
                value = x + rest[0]
            case "FullyConnected":
                value = x.reshape(len(x), -1) @ rest[0].T.astype(np.float64) + rest[1][None]
            case op:
                raise AssertionError(op)
        values.append(value)
    return values[-1]


def with_attributes(name: str, **attributes: str) -> list[Node]:
    """y1's symbol with other attributes of a node."""
    return [replace(node, attributes=node.attributes | attributes) if node.name == name else node
            for node in theirs.y1_symbol()]  # fmt: skip


Y1 = {"pre_fc1_bias": np.zeros(128)}


def test_a_symbol_of_another_eps_and_range_counts():
    published = recognise(Y1, None, with_attributes("conv_1_batchnorm", eps="0.004"))
    assert published is not None
    rows = {row.ours: row for row in published.rows}
    np.testing.assert_allclose(rows["batch_stats/conv1_norm/var"].make(np.ones(2)), 1.003)
    assert rows["params/conv1_norm/scale"].names == ("conv_1_batchnorm_gamma",)
    fixed = recognise(Y1, None, with_attributes("conv_1_batchnorm", fix_gamma="True"))
    assert fixed is not None
    scale = next(row for row in fixed.rows if row.ours == "params/conv1_norm/scale")
    np.testing.assert_array_equal(scale.make(np.full(3, 5.0)), np.ones(3))
    other = recognise(Y1, None, with_attributes("_mulscalar0", scalar="0.5"))
    assert other is not None and (other.preprocessing.mean, other.preprocessing.scale) == (127.5, 2.0)


@pytest.mark.parametrize(
    ("name", "attributes", "sentence"),
    [
        ("conv_1_conv2d", {"stride": "(1, 1)"}, r"'conv_1_conv2d' \(Convolution\) has stride 1 where 2 is expected"),
        ("conv_1_conv2d", {"pad": "(0, 0)"}, "has pad 0 where 1 is"),
        ("conv_1_conv2d", {"dilate": "(2, 2)"}, r"it has dilate \(2, 2\)"),
        ("conv_1_conv2d", {"kernel": "(3, 5)"}, r"it has kernel \(3, 5\)"),
        ("dconv_34_conv_dw_conv2d", {"num_group": "1"}, "has group 1.0 where 256.0 is expected"),
        ("dconv_34_conv_dw_conv2d", {"stride": "(1, 1)"}, "has stride 1 where 2 is expected"),
        ("dconv_34_conv_sep_conv2d", {"stride": "(2, 2)"}, "has stride 2 where 1 is expected"),
        ("conv_1_relu", {"act_type": "leaky"}, r"'conv_1_relu' \(LeakyReLU\) stands where a PReLU is expected, and"),
        ("conv_1_batchnorm", {"axis": "3"}, "it has axis 3"),
        ("conv_1_batchnorm", {"fix_gamma": "(2, 2)"}, r"its fix_gamma, \(2, 2\), is neither true nor false"),
        ("conv_1_batchnorm", {"eps": "small"}, "its eps, small, is no number"),
        ("_mulscalar0", {"scalar": "0"}, r"multiplies pixels by 0\.0"),
        ("_mulscalar0", {"scalar": "-0.0078125"}, "multiplies pixels by -0.0078125"),
        ("_mulscalar0", {"scalar": "much"}, "it has the scalar much"),
    ],
)
def test_a_symbol_that_computes_something_else_is_refused(name: str, attributes: dict[str, str], sentence: str):
    with pytest.raises(WeightsError, match=sentence):
        recognise(Y1, None, with_attributes(name, **attributes))


def test_a_symbol_with_nodes_in_front_behind_or_otherwise_joined_is_refused():
    nodes = theirs.y1_symbol()
    front = [Node("data", "null", (), ("data",), {}), Node("flipped", "SwapAxis", ("data",), ("flipped",), {})]
    behind = [replace(one, inputs=("flipped",)) if one.name == "_minusscalar0" else one for one in nodes[1:]]
    with pytest.raises(WeightsError, match=r"node 'flipped' \(SwapAxis\) stands where a convolution is expected"):
        recognise(Y1, None, [*front, *behind])
    drops = [replace(one, inputs=("drops", *one.inputs[1:])) if one.name == "pre_fc1" else one for one in nodes]
    place = next(at for at, one in enumerate(drops) if one.name == "pre_fc1")
    dropped = Node("drops", "Dropout", ("conv_6dw7_7_batchnorm",), ("drops",), {"p": "0.4", "mode": "always"})
    drops.insert(place, dropped)
    with pytest.raises(WeightsError, match=r"node 'drops' \(Dropout\) stands where a matrix is expected"):
        recognise(Y1, None, drops)
    drops[place] = replace(drops[place], attributes={"p": "0.4"})
    assert recognise(Y1, None, drops) is not None
    with pytest.raises(WeightsError, match=r"node 'unit' \(L2Normalization\) stands after the network"):
        recognise(Y1, None, [*nodes, Node("unit", "L2Normalization", ("fc1",), ("unit",), {})])
    joined = [replace(node, inputs=(node.inputs[0], "conv_2_dw_relu")) if node.name == "res_3_block0_sum" else node
              for node in nodes]  # fmt: skip
    with pytest.raises(WeightsError, match=r"other values than a unit's input and output|stands"):
        recognise(Y1, None, joined)
    other = [replace(node, inputs=(node.inputs[0], "conv_2_dw_conv2d_weight", *node.inputs[2:]))
             if node.name == "conv_1_conv2d" else node for node in nodes]  # fmt: skip
    with pytest.raises(WeightsError, match="has the tensors conv_2_dw_conv2d_weight instead of conv_1_conv2d_weight"):
        recognise(Y1, None, other)
