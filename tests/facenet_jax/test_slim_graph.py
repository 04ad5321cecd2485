"""A TensorFlow graph under Inception-ResNet-v1's names computes that network, or the node that differs is named."""

from dataclasses import replace

import numpy as np
import pytest

from facenet_jax.models.slim_graph import follow
from faces.errors import WeightsError
from faces.weights import Node
from tests.facenet_jax import slim_nodes

SLIM = slim_nodes.SLIM


@pytest.fixture(scope="module", params=[True, False], ids=["folded", "with batch norms"])
def graph(request) -> slim_nodes.Graph:
    return slim_nodes.inception_resnet_v1(request.param)


def test_the_published_graph_is_followed_to_its_end(graph):
    follow(graph.nodes, graph.tensors)
    follow([*graph.nodes, Node("aside", "Neg", ("input",), ("aside",), {})], graph.tensors)


@pytest.mark.parametrize(
    ("name", "attributes", "sentence"),
    [
        ("Conv2d_1a_3x3/Conv2D", {"strides": (1, 1, 1, 1)}, r"has strides \(1, 1, 1, 1\) where \(1, 2, 2, 1\) is"),
        ("Conv2d_2a_3x3/Conv2D", {"padding": "SAME"}, "has padding SAME where VALID is expected"),
        ("Mixed_6a/Branch_1/Conv2d_0b_3x3/Conv2D", {"dilations": (1, 2, 2, 1)}, "has dilations"),
        ("MaxPool_3a_3x3/MaxPool", {"ksize": (1, 2, 2, 1)}, "has ksize"),
        ("Mixed_6a/Branch_2/MaxPool_1a_3x3/MaxPool", {"padding": "SAME"}, "has padding SAME"),
        ("Logits/AvgPool_1a_8x8/AvgPool", {"strides": (1, 2, 2, 1)}, "has strides"),
        ("Bottleneck/cond/FusedBatchNorm_1", {"is_training": True}, "has is_training True"),
        ("Bottleneck/cond/FusedBatchNorm_1", {"epsilon": 1e-5}, "has epsilon"),
    ],
)
def test_a_node_that_is_set_otherwise_is_named(graph, name, attributes, sentence):
    nodes = [
        replace(node, attributes=node.attributes | attributes) if node.name == f"{SLIM}/{name}" else node
        for node in graph.nodes
    ]
    with pytest.raises(WeightsError, match=f"node '{SLIM}/{name}' .*{sentence}"):
        follow(nodes, graph.tensors)


@pytest.mark.parametrize(
    ("name", "op"),
    [("Conv2d_1a_3x3/Relu", "Relu6"), ("Repeat_1/block17_3/add", "Sub"), ("Repeat_2/block8_1/concat", "AddN"),
     ("Mixed_7a/Branch_3/MaxPool_1a_3x3/MaxPool", "AvgPool"), ("Logits/AvgPool_1a_8x8/AvgPool", "MaxPool")],
)  # fmt: skip
def test_another_operation_is_named(graph, name, op):
    nodes = [replace(node, op=op) if node.name == f"{SLIM}/{name}" else node for node in graph.nodes]
    with pytest.raises(WeightsError, match=f"node '{SLIM}/{name}' \\({op}\\) stands where"):
        follow(nodes, graph.tensors)


def rewired(graph: slim_nodes.Graph, name: str, old: str, new: str) -> list[Node]:
    """The graph with another input of one node."""
    return [replace(node, inputs=tuple(new if value == old else value for value in node.inputs))
            if node.name == name else node for node in graph.nodes]  # fmt: skip


def test_what_stands_before_and_between_is_named(graph):
    front = Node("swapped", "ReverseV2", ("input",), ("swapped",), {})
    nodes = [front, *rewired(graph, f"{SLIM}/Conv2d_1a_3x3/Conv2D", "input", "swapped")]
    with pytest.raises(WeightsError, match=r"node 'swapped' \(ReverseV2\) stands before the network"):
        follow(nodes, graph.tensors)
    old, new = (f"{SLIM}/Repeat/block35_{number}/Relu" for number in (3, 1))
    with pytest.raises(WeightsError, match=r"block35_4/add' \(Add\) adds another value than branch 0"):
        follow(rewired(graph, f"{SLIM}/Repeat/block35_4/add", old, new), graph.tensors)
    stem = f"{SLIM}/Conv2d_2a_3x3"
    other = rewired(graph, f"{stem}/Conv2D", f"{stem}/weights/read", f"{SLIM}/Conv2d_2b_3x3/weights/read")
    with pytest.raises(WeightsError, match="takes 'InceptionResnetV1/Conv2d_2b_3x3/weights' where"):
        follow(other, graph.tensors)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [("Repeat/block35_1/mul/x", np.float32(0.34), "multiplies by 0.34"), ("Mixed_6a/concat/axis", 1, "does not join"),
     ("Bottleneck/BatchNorm/Const", np.float32(2.0), "has a scale")],
)  # fmt: skip
def test_another_constant_counts(graph, name, value, sentence):
    with pytest.raises(WeightsError, match=sentence):
        follow(graph.nodes, graph.tensors | {f"{SLIM}/{name}": np.asarray(value)})


def test_a_graph_that_leads_back_to_itself_ends(graph):
    circle = [Node("a", "Identity", ("b",), ("a",), {}), Node("b", "Identity", ("a",), ("b",), {})]
    with pytest.raises(WeightsError, match="leads back to itself"):
        follow([*circle, *rewired(graph, f"{SLIM}/Conv2d_1a_3x3/Conv2D", "input", "a")], graph.tensors)
    with pytest.raises(WeightsError, match="no node of its graph makes 'nothing'"):
        follow(rewired(graph, f"{SLIM}/Conv2d_1a_3x3/Conv2D", "input", "nothing"), graph.tensors)
