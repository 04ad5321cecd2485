"""SCRFD equals a float64 oracle that knows no padding: network, decoding, and weights by name and by graph."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.errors import ConfigError, WeightsError
from faces.weights.onnx_meanings import MEANINGS
from scrfd_jax import architectures, from_onnx, from_pytorch, make_detector, make_network, make_places
from scrfd_jax.architectures import ARCHITECTURES, STRIDES
from scrfd_jax.decode import find_faces
from scrfd_jax.detector import Options
from scrfd_jax.network import Outputs, only_inside
from scrfd_jax.onnx_names import named
from tests.retinaface_jax.oracle import suppress
from tests.scrfd_jax import published as theirs

KINDS = [
    ("tiny_separable", False, False, True),
    ("tiny_separable", True, True, True),
    ("tiny_basic", False, False, False),
    ("tiny_basic", True, True, True),
    ("tiny_bottleneck", False, False, True),
]  # name, shared by all strides, group norm, a factor for each stride


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, architecture in theirs.TINY.items():
        monkeypatch.setitem(architectures.ARCHITECTURES, name, architecture)


@pytest.mark.parametrize(("name", "is_shared", "is_grouped", "is_scaled"), KINDS)
def test_images_of_several_sizes_in_one_batch_equal_each_alone(name, is_shared, is_grouped, is_scaled):
    tensors = theirs.state_dict(name, 0, is_shared, is_grouped, is_scaled)
    graph = theirs.Graph(tensors, is_folded=name != "tiny_bottleneck")
    outputs = theirs.outputs_of(graph, name, "input.1")
    by_name, by_graph = from_pytorch(tensors), from_onnx(graph.nodes, graph.tensors, outputs[::-1])
    assert by_name[:2] == by_graph[:2] == (name, is_grouped)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((64, 128), (45, 70), (33, 97))]
    # With these settings every anchor inside the image comes out.
    options = Options(confidence=0.0, overlap=1.0)
    found_by_graph = make_detector(by_graph, options)(images)
    for image, found, again in zip(images, make_detector(by_name, options)(images), found_by_graph, strict=True):
        height, width = (-(-side // 32) * 32 for side in image.shape[:2])
        black = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)))
        boxes, points, scores = theirs.decode(theirs.forward(tensors, name, black), height, width)
        own = (make_places(height, width)[:, 1::-1] < image.shape[:2]).all(axis=1)
        order = np.flatnonzero(own)[np.argsort(-scores[own], kind="stable")]
        assert len(found) == len(again) == len(order) and np.ptp(scores) > 0.02
        for one in (found, again):
            np.testing.assert_allclose(one.scores, scores[order], atol=1e-5)
            np.testing.assert_allclose(one.boxes, boxes[order], rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(one.points, points[order], rtol=1e-4, atol=1e-3)
            assert (one.boxes.dtype, one.points.shape) == (np.float32, (len(order), 5, 2))


def test_a_published_network_is_the_function_of_plain_numpy():
    tensors = theirs.state_dict("scrfd_500m", 3)
    weights = from_pytorch({f"module.{name}": tensor for name, tensor in tensors.items()})
    image = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)
    expected = theirs.forward(tensors, "scrfd_500m", image)
    x = (jnp.asarray(image, jnp.float32)[None] - 127.5) / 128
    outputs = jax.jit(make_network("scrfd_500m").apply)(weights.params, x)
    scores = np.concatenate(expected[:3])[:, 0]
    np.testing.assert_allclose(jax.nn.sigmoid(outputs.scores[0]), scores, atol=1e-5)
    for ours, parts in ((outputs.boxes[0], expected[3:6]), (outputs.points[0], expected[6:])):
        reference = np.concatenate(parts)
        np.testing.assert_allclose(ours, reference, atol=2e-5 * abs(reference).max())


@pytest.mark.parametrize(
    ("name", "size"), [("scrfd_500m", 2_524_817), ("scrfd_2.5g", 3_292_009), ("scrfd_10g", 16_923_827)]
)
def test_networks_have_as_many_weights_as_the_published_files_have_room_for(name, size):
    params = jax.eval_shape(make_network(name).init, jax.random.key(0))
    room = size - 4 * sum(leaf.size for leaf in jax.tree.leaves(params))
    assert 15_000 < room < 25_000  # the graph's nodes


@pytest.mark.parametrize("top_k", [30, 5000])
def test_faces_of_random_outputs_equal_loops(top_k):
    height, width = 64, 96
    places = make_places(height, width)
    rng = np.random.default_rng(1)
    shapes = [(height * width // stride**2 * 2, n) for n in (1, 4, 10) for stride in STRIDES]
    given = [rng.normal(size=shape) for shape in shapes]
    logits = np.concatenate(given[:3])[:, 0]
    boxes, points, scores = theirs.decode([1 / (1 + np.exp(-x)) for x in given[:3]] + given[3:], height, width)
    inside = rng.random(len(places)) < 0.7
    kinds = (logits, np.concatenate(given[3:6]), np.concatenate(given[6:]))
    outputs = Outputs(*(jnp.asarray(kind, jnp.float32) for kind in kinds))
    find = partial(find_faces, confidence=0.4, overlap=0.3, top_k=top_k, keep=12)
    found = jax.jit(find)(outputs, jnp.asarray(places), jnp.asarray(inside))
    rows = [row for row in np.argsort(-scores) if inside[row] and scores[row] >= 0.4][:top_k]
    rows = [rows[kept] for kept in suppress(boxes[rows], scores[rows], 0.3, pixel=1.0)]
    assert len(rows) > 12 or top_k == 30
    expected, n = rows[:12], min(len(rows), 12)
    np.testing.assert_allclose(found.boxes[:n], boxes[expected], atol=1e-3)
    np.testing.assert_allclose(found.points[:n], points[expected], atol=1e-3)
    np.testing.assert_allclose(found.scores, np.pad(scores[expected], (0, 12 - n)), atol=1e-6)


def test_places():
    places = make_places(64, 96)
    assert places.shape == (2 * (8 * 12 + 4 * 6 + 2 * 3), 3) and places.dtype == np.float32
    np.testing.assert_array_equal(places[[0, 1, 2, 24]], [[0, 0, 8], [0, 0, 8], [8, 0, 8], [0, 8, 8]])
    np.testing.assert_array_equal(places[[192, 240, -1]], [[0, 0, 16], [0, 0, 32], [64, 32, 32]])


def test_settings_that_make_no_sense():
    with pytest.raises(ConfigError, match=r"confidence 1\.0: at least 0 and less than 1"):
        Options(confidence=1.0)
    with pytest.raises(ConfigError, match=r"overlap 2\.0: 0 to 1"):
        Options(overlap=2.0)
    with pytest.raises(ConfigError, match="keep 0: at least 1"):
        Options(keep=0)
    with pytest.raises(ConfigError, match='no SCRFD "10g": one of scrfd_500m, '):
        make_network("10g")
    with pytest.raises(ConfigError, match="sides that 32 divides"):
        only_inside(jnp.zeros((1, 64, 40, 3)), None)


def changed(graph: theirs.Graph, op: str, number: int, kind: str = "", **attributes: object) -> str:
    """Change a node of a kind, the `number`-th, and give its output."""
    place = [index for index, node in enumerate(graph.nodes) if node.op == op][number]
    node = graph.nodes[place]
    graph.nodes[place] = type(node)(node.name, kind or op, node.inputs, node.outputs, node.attributes | attributes)
    return node.outputs[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: changed(g, "Conv", 0, strides=(1, 1)), "has stride 1 where 2 is expected"),
        (lambda g: changed(g, "Conv", 4, pads=(0, 0, 0, 0)), "has pad 0 where 1 is expected"),
        (lambda g: changed(g, "Conv", 4, dilations=(2, 2)), r"it has dilations \(2, 2\)"),
        (lambda g: changed(g, "Relu", 3, "LeakyRelu", alpha=0.1), "stands where a ReLU is expected, and what it does"),
        (lambda g: changed(g, "Relu", 3, "Sigmoid"), r"\(Sigmoid\) stands where a ReLU is expected"),
        (lambda g: changed(g, "MaxPool", 0, "AveragePool"), "has kind mean where largest is expected"),
        (lambda g: changed(g, "AveragePool", 0, "MaxPool"), "has kind largest where mean is expected"),
        (lambda g: changed(g, "MaxPool", 0, pads=(1, 1, 1, 1)), "it has zeros around"),
        (lambda g: changed(g, "MaxPool", 0, kernel_shape=(3, 3)), r"windows of \(3, 3\) and strides of \(2, 2\)"),
        (lambda g: changed(g, "Resize", 0, mode="linear"), "it has mode linear"),
        (lambda g: changed(g, "Resize", 1, nearest_mode="ceil"), "it takes its values asymmetric, ceil"),
        (lambda g: changed(g, "Transpose", 0, perm=(0, 1, 3, 2)), r"has order \(0, 1, 3, 2\) where \(0, 2, 3, 1\)"),
        (lambda g: changed(g, "Sigmoid", 0, "Tanh"), r"\(Tanh\) stands where a sigmoid is expected"),
        (lambda g: changed(g, "Add", 0, "Mul"), "joins two values otherwise than by their sum"),
        (lambda g: changed(g, "Add", 0, "Sum"), r"\(Sum\) stands where the sum of two values is expected"),
    ],
)
def test_a_graph_that_computes_something_else_is_refused_by_the_node(change, message):
    graph = theirs.Graph(theirs.state_dict("tiny_basic"))
    outputs = theirs.outputs_of(graph, "tiny_basic", "input.1")
    node = change(graph)
    with pytest.raises(WeightsError, match=message) as error:
        named(graph.nodes, graph.tensors, outputs)
    assert str(error.value).startswith("its graph is no SCRFD that is known here: ") and node in str(error.value)


def test_a_map_brought_to_a_foreign_size_is_refused():
    for sizes, is_refused in (([1, 4, 8, 12], False), ([1, 4, 9, 12], True), ([1, 4, 0, 0], True)):
        graph = theirs.Graph(theirs.state_dict("tiny_basic"))
        outputs = theirs.outputs_of(graph, "tiny_basic", "input.1")
        for times in (0, 1):
            place = [index for index, node in enumerate(graph.nodes) if node.op == "Resize"][times]
            node = graph.nodes[place]
            brought = graph.tensor(np.array(sizes) * [1, 1, 1 + times, 1 + times])
            graph.nodes[place] = type(node)("", "Resize", (*node.inputs[:3], brought), node.outputs, node.attributes)
        if is_refused:
            with pytest.raises(WeightsError, match=r"\(Resize\) brings a map to another size than twice its own"):
                named(graph.nodes, graph.tensors, outputs)
        else:
            assert named(graph.nodes, graph.tensors, outputs)


def test_other_outputs_than_nine_are_refused():
    graph = theirs.Graph(theirs.state_dict("tiny_basic"))
    outputs = theirs.outputs_of(graph, "tiny_basic", "input.1")
    with pytest.raises(WeightsError, match="gives 6 outputs, as SCRFD without the five points, which faces"):
        named(graph.nodes, graph.tensors, outputs[:6])
    with pytest.raises(WeightsError, match="gives 8 outputs, and SCRFD's gives 9"):
        named(graph.nodes, graph.tensors, outputs[:8])
    inner = next(node.outputs[0] for node in graph.nodes if node.op == "Relu")
    with pytest.raises(WeightsError, match="its graph ends where a convolution is expected"):
        named(graph.nodes, graph.tensors, [*outputs[:8], inner])
    with pytest.raises(WeightsError, match="no node of its graph makes the output 'absent'"):
        named(graph.nodes, graph.tensors, [*outputs[:8], "absent"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("neck.fpn_convs.1.conv.weight"), 'there is no "neck.fpn_convs.1.conv.weight" in them'),
        (lambda t: t.update({"backbone.stem.4.bias": np.ones(3)}), r'"backbone.stem.4.bias" is \(3,\), and SCRFD t'),
        (lambda t: t.update({"backbone.layer9.weight": np.ones(3)}), 'for 1 of the weights, such as "backbone.layer9'),
        (lambda t: t.update({"backbone.stem.0.weight": np.ones((5, 3, 3, 3))}), "none of SCRFD: its networks are s"),
        (lambda t: [t.pop(f"backbone.stem.4.{part}") for part in ("weight", "bias", "running_mean", "running_var")],
         '"backbone.stem.3" of SCRFD tiny_basic has neither bias nor batch norm'),
        (lambda t: [t.pop(name) for name in [*t] if "stride_kps" in name], "SCRFD without the five points"),
    ],
    ids=["missing", "other shape", "unknown", "other network", "no norm", "no points"],
)  # fmt: skip
def test_other_weights_are_refused(change, message):
    tensors = theirs.state_dict("tiny_basic")
    change(tensors)
    with pytest.raises(WeightsError, match=message):
        from_pytorch(tensors)


def test_the_table_is_of_the_published_networks():
    assert list(ARCHITECTURES)[:5] == ["scrfd_500m", "scrfd_1g", "scrfd_2.5g", "scrfd_10g", "scrfd_34g"]


@pytest.mark.parametrize("op", MEANINGS)
def test_a_node_with_few_inputs_is_refused(op: str):
    sound = theirs.Graph(theirs.state_dict("tiny_basic"))
    outputs = theirs.outputs_of(sound, "tiny_basic", "input.1")
    for count in (0, 1):
        nodes = list(sound.nodes)
        node = nodes[1]
        nodes[1] = type(node)("", op, node.inputs[:count], node.outputs, {})
        if op == "Relu" and count == 1:
            assert named(nodes, sound.tensors, outputs)
            continue
        with pytest.raises(WeightsError):
            named(nodes, sound.tensors, outputs)


def test_a_factor_of_no_number_is_refused():
    tensors = theirs.state_dict("tiny_basic")
    tensors["bbox_head.scales.1.scale"] = np.zeros((0,), np.float32)
    with pytest.raises(WeightsError, match=r'scales.1.scale" is \(0,\), and SCRFD tiny_basic needs one number'):
        from_pytorch(tensors)
