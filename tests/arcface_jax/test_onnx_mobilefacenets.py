"""MobileFaceNets of any exporter are told by what their ONNX graphs compute, and refused where it is something else."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.models import make_backbone, mobilefacenet, onnx_names
from arcface_jax.models.published import recognise
from faces import backbone
from faces.backbone import Backbone, Network
from faces.errors import WeightsError
from faces.weights.layouts import receive
from tests.arcface_jax import published_networks as theirs
from tests.arcface_jax.test_published import changed

DIM, SIDE = 6, 2  # rows and columns of the last map
SIZE = (16 * SIDE, 16 * SIDE)
ROWS = {64: ((2, 64, 1, 2), (4, 128, 1, 2), (4, 128, 1, 2), (2, 128, 1, 1)),
        128: ((1, 128, 1, 2), (2, 256, 1, 2), (2, 256, 1, 2), (1, 256, 1, 1))}  # fmt: skip
IMAGES = np.random.default_rng(1).uniform(-1, 1, (2, *SIZE, 3)).astype(np.float32)


def few(stem: int, flat: int = 0) -> Backbone:
    """Our network with fewer bottlenecks, which compiles sooner."""
    module = partial(mobilefacenet.MobileFaceNet, rows=ROWS[stem], stem=stem, group=stem // 64, flat=flat,
                     epsilon=1e-3 if stem == 64 else 1e-5)  # fmt: skip
    return backbone.make_backbone({"few": Network(module, SIZE)}, "few", DIM)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobilefacenet, "MBF_ROWS", ROWS[128])
    monkeypatch.setattr(mobilefacenet, "TABLE_1_ROWS", ROWS[64])
    # The table of networks holds the rows themselves.
    patched = {64: ("mobilefacenet", ROWS[64]), 128: ("mobilefacenet_mbf", None)}
    monkeypatch.setattr("arcface_jax.models.published._MBFS", patched)


def made(stem: int) -> tuple[theirs.Tensors, list[theirs.Bottleneck]]:
    bottlenecks = theirs.mbf_bottlenecks((0, 0, 1), stem)
    return theirs.mbf_tensors(SIDE, DIM, bottlenecks, stem), bottlenecks


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("is_folded", [True, False])
@pytest.mark.parametrize(
    ("stem", "head", "name"),
    [(64, "matrix", "mobilefacenet"), (64, "conv", "mobilefacenet"), (128, "conv", "mobilefacenet_mbf"),
     (128, "flat", "mobilefacenet_mbf_flat")],
)  # fmt: skip
def test_mobilefacenets_of_any_width_and_head(stem: int, head: str, name: str, is_folded: bool):
    tensors, bottlenecks = made(stem)
    tensors |= theirs.flat_head(SIDE, DIM, 24) if head == "flat" else {}
    graph = theirs.mbf_graph(SIDE, tensors, is_folded, bottlenecks, is_head_conv=head == "conv")
    named = onnx_names.named(graph.nodes, graph.tensors)
    published = recognise(named.tensors)
    assert published is not None and (published.network, published.embedding_dim) == (name, DIM)
    of = few(stem, 24 if head == "flat" else 0)
    params, batch_stats = receive(published, named.tensors, of, "FILE")
    embeddings = jax.jit(of.apply, static_argnums=3)(params, batch_stats, jnp.asarray(IMAGES), False)[0]
    expected = theirs.mbf(IMAGES, SIDE, tensors, bottlenecks)
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=2e-5 * abs(expected).max())


@cache
def whole(columns: int, dim: int) -> theirs.Tensors:
    return theirs.mbf_tensors(7, dim, theirs.mbf_bottlenecks(stem=64), 64, columns)


@pytest.mark.parametrize(("columns", "dim"), [(7, 128), (6, 128), (7, 512), (6, 512)])
def test_sizes_and_dimensions(columns: int, dim: int):
    """Of 112x112 and of 112x96, whose last map has 7x6 places."""
    graph = theirs.mbf_graph(7, whole(columns, dim), True, theirs.mbf_bottlenecks(stem=64), is_head_conv=True)
    last = next(name for name, tensor in graph.tensors.items() if tensor.shape == (512, 1, 7, columns))
    named = onnx_names.named(graph.nodes, graph.tensors)
    published = recognise(named.tensors)
    assert last and published is not None
    assert (published.network, published.embedding_dim) == ("mobilefacenet", dim)
    assert published.preprocessing.size == (112, 16 * columns)
    network = make_backbone("mobilefacenet", dim, input_size=published.preprocessing.size)
    receive(published, named.tensors, network, "FILE")


def test_the_head_of_w600k_mbf():
    """A convolution from 512 to 64 channels and a matrix from 3,136 values to 512; the published file has 13.6 MB."""
    bottlenecks = theirs.mbf_bottlenecks()
    tensors = theirs.mbf_tensors(7, 512, bottlenecks) | theirs.flat_head(7, 512, 64)
    graph = theirs.mbf_graph(7, tensors, True, bottlenecks)
    named = onnx_names.named(graph.nodes, graph.tensors)
    published = recognise(named.tensors)
    assert published is not None
    assert (published.network, published.embedding_dim) == ("mobilefacenet_mbf_flat", 512)
    assert (published.preprocessing.size, published.preprocessing.channels) == ((112, 112), "rgb")
    receive(published, named.tensors, make_backbone("mobilefacenet_mbf_flat", 512), "FILE")
    assert 13.55e6 < sum(tensor.nbytes for tensor in graph.tensors.values()) < 13.65e6


@pytest.mark.usefixtures("short")
def test_a_bias_before_a_batch_norm_goes_into_its_mean():
    tensors, bottlenecks = made(64)
    graph = theirs.mbf_graph(SIDE, tensors, False, bottlenecks)
    biased = []
    for node in graph.nodes:
        if node.op == "Conv":
            channels = len(graph.tensors[node.inputs[1]])
            bias = graph.tensor(np.full(channels, 0.25, np.float32))
            node = replace(node, inputs=(*node.inputs, bias))
        biased.append(node)
    plain, found = (onnx_names.named(nodes, graph.tensors).tensors for nodes in (graph.nodes, biased))
    assert found.keys() == plain.keys()
    np.testing.assert_allclose(found["layers.0.layers.1.running_mean"], plain["layers.0.layers.1.running_mean"] - 0.25)
    np.testing.assert_array_equal(found["features.layers.3.running_mean"], plain["features.layers.3.running_mean"])


@pytest.mark.usefixtures("short")
def test_a_map_of_one_place_without_its_sides_is_a_row():
    tensors, bottlenecks = made(64)
    graph = theirs.mbf_graph(SIDE, tensors, True, bottlenecks, is_head_conv=True)
    expected, last = onnx_names.named(graph.nodes, graph.tensors).tensors, graph.nodes[-1]
    sides = {"sides": np.array([-1, 2]), "one": np.array([3])}
    for inputs, attributes in (((), {"axes": (2, 3)}), (("sides",), {})):
        squeezed = replace(last, op="Squeeze", inputs=(last.inputs[0], *inputs), attributes=attributes)
        found = onnx_names.named([*graph.nodes[:-1], squeezed], graph.tensors | sides).tensors
        assert found.keys() == expected.keys()
    others = [((), {"axes": axes}) for axes in ((0, 2), 2, ("a", "b"))]
    for inputs, attributes in [((), {}), (("one",), {}), (("none",), {}), *others]:
        squeezed = replace(last, op="Squeeze", inputs=(last.inputs[0], *inputs), attributes=attributes)
        with pytest.raises(WeightsError):
            onnx_names.named([*graph.nodes[:-1], squeezed], graph.tensors | sides)


@pytest.mark.usefixtures("short")
def test_a_head_without_prelu_is_one_whose_slope_changes_nothing():
    tensors, bottlenecks = made(128)
    tensors |= theirs.flat_head(SIDE, DIM, 24)
    tensors["flat.2.weight"] = np.ones(24, np.float32)
    graph = theirs.mbf_graph(SIDE, tensors, True, bottlenecks)
    expected = onnx_names.named(graph.nodes, graph.tensors).tensors
    slope = [node for node in graph.nodes if node.op == "PRelu"][-1]
    nodes = [node for node in graph.nodes if node is not slope]
    at = next(place for place, node in enumerate(nodes) if slope.outputs[0] in node.inputs)
    nodes[at] = nodes[at].__class__("", "Flatten", slope.inputs[:1], nodes[at].outputs, {"axis": 1})
    found = onnx_names.named(nodes, graph.tensors).tensors
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(np.ravel(found[name]), np.ravel(tensor))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("number", "attributes", "sentence"),
    [
        (0, {"strides": (1, 1)}, "stands where"),  # as an IResNet begins
        (1, {"group": 1}, "has group 1 where 64 is expected"),
        (1, {"strides": (2, 2)}, "has stride 2 where 1 is expected"),
        (2, {"strides": (2, 2)}, "has stride 2 where 1 is expected"),
        (3, {"strides": (1, 1)}, "stands where"),  # as mbf_large goes on
        (3, {"group": 1}, "has group 1 where 128 is expected"),
        (3, {"pads": (0, 0, 0, 0)}, "has pad 0 where 1 is expected"),
        (-1, {"pads": (1, 1, 1, 1)}, "has pad 1 where 0 is expected"),
        (-1, {"group": 1}, "has group 1 where 512 is expected"),
    ],
)
def test_graphs_that_compute_something_else_are_refused(number: int, attributes: dict, sentence: str):
    tensors, bottlenecks = made(64)
    graph = theirs.mbf_graph(SIDE, tensors, True, bottlenecks)
    with pytest.raises(WeightsError, match=f"its graph is no .* that is known here: node .*{sentence}"):
        onnx_names.named(changed(graph.nodes, "Conv", number, **attributes), graph.tensors)
