"""A TensorFlow graph of Inception-ResNet-v1 compared with the network here (of FaceNet's Sec. 3.3), node by node.

The names of its constants say where they belong; what is computed with them, only the graph says. It is followed from
the embedding back to the image. Batch norms may be folded into biases, or stand there with the two ways, of training
and of use, that slim's graphs have; the way of use is taken.

Not here: the names of the constants (`published.py`), and reading the file (`faces.weights`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from facenet_jax.models.inception_resnet_v1 import (
    AFTER_POOL,
    BLOCK_8,
    BLOCK_17,
    BLOCK_35,
    EPSILON,
    MIXED_6A,
    MIXED_7A,
    STEM,
    Branch,
    ConvSpec,
    Residual,
)
from facenet_jax.models.published import SLIM, conv_scope, order
from faces.errors import WeightsError
from faces.unpickle.pickled_arrays import shown
from faces.weights import Node

_COPIES = ("Identity", "StopGradient", "Switch", "Merge")  # of tf.cond's Merge the first is the way of use
_INPUTS = ("Placeholder", "PlaceholderWithDefault", "QueueDequeueUpToV2", "QueueDequeueManyV2", "QueueDequeueV2")
OUTPUT = "embeddings"


def follow(nodes: Sequence[Node], tensors: Mapping[str, np.ndarray]) -> None:
    """Make sure that a graph computes what `inception_resnet_v1.py` does.

    Args:
        nodes: of the graph.
        tensors: its constants, by the names of their nodes.
    Raises:
        WeightsError: a node, which is named, computes something else.
    """
    back = _Back(nodes, tensors)
    value = back.embedding(OUTPUT if OUTPUT in back.nodes else nodes[-1].name)
    value = back.residual(value, f"{SLIM}/Block8", BLOCK_8._replace(scale=1.0), ends_in_relu=False)
    value = back.residuals(value, "Repeat_2/block8", BLOCK_8)
    value = back.reduction(value, f"{SLIM}/Mixed_7a", MIXED_7A)
    value = back.residuals(value, "Repeat_1/block17", BLOCK_17)
    value = back.reduction(value, f"{SLIM}/Mixed_6a", MIXED_6A)
    value = back.residuals(value, "Repeat/block35", BLOCK_35)
    for name, conv in zip(("4b", "4a", "3b"), reversed(AFTER_POOL), strict=True):
        value = back.convolution(value, conv_scope(name, conv), conv)
    value = back.pooling(value)
    for name, conv in zip(("2b", "2a", "1a"), reversed(STEM), strict=True):
        value = back.convolution(value, conv_scope(name, conv), conv)
    back.image(value)


class _Back:
    """A walk against the graph's direction."""

    def __init__(self, nodes: Sequence[Node], tensors: Mapping[str, np.ndarray]):
        self.nodes, self._tensors = {node.name: node for node in nodes}, tensors

    def node(self, value: str) -> Node:
        """What makes a value, copies passed over."""
        for _ in range(len(self.nodes) + 1):
            node = self.nodes.get(value.split(":")[0])
            if node is None:
                raise WeightsError(f"no node of its graph makes '{shown(value)}'.")
            if node.op not in _COPIES or not node.inputs:
                return node
            value = node.inputs[0]
        raise WeightsError(f"node '{shown(value)}' of its graph leads back to itself.")

    def take(self, value: str, *ops: str) -> tuple[Node, list[str]]:
        """The node that makes a value, which must be one of these operations, and its inputs."""
        node = self.node(value)
        if node.op not in ops:
            raise _differs(node, f"stands where {' or '.join(ops)} is expected")
        return node, [name for name in node.inputs if not name.startswith("^")]

    def constant(self, value: str) -> np.ndarray | None:
        """The constant that a value is, or None."""
        return self._tensors.get(self._source(value))

    def _source(self, value: str) -> str:
        """The name of the node that a value is, or is a copy of; tf.cond makes one of all that its branches read."""
        name = value.split(":")[0]
        for _ in range(len(self.nodes) + 1):
            node = self.nodes.get(name)
            if node is None or node.op not in ("Identity", "Switch") or not node.inputs:
                return name
            name = node.inputs[0].split(":")[0]
        raise WeightsError(f"node '{shown(name)}' of its graph leads back to itself.")

    def split(self, node: Node, inputs: Sequence[str]) -> tuple[str, np.ndarray]:
        """Of two inputs the value and the constant, in either order."""
        for value, other in ((inputs[0], inputs[1]), (inputs[1], inputs[0])):
            constant = self.constant(other)
            if constant is not None:
                return value, constant
        raise _differs(node, "has no constant among its inputs")

    def check(self, node: Node, **expected: object) -> None:
        """Refuse attributes that are others; those that the graph leaves out count as expected."""
        for key, value in expected.items():
            if (given := node.attributes.get(key, value)) != value:
                raise _differs(node, f"has {key} {given} where {value} is expected")

    def named(self, node: Node, value: str, name: str) -> None:
        """Refuse an input that is another constant than the one of this name."""
        found = self._source(value)
        if found != name:
            raise _differs(node, f"takes '{shown(found)}' where '{name}' is expected")

    def embedding(self, value: str) -> str:
        """Length 1, batch norm, a matrix, the mean over the map's places: back to the map."""
        node, inputs = self.take(value, "Mul", "L2Normalize")
        lengths = [self.node(name) for name in inputs]
        inner = next((name for name, at in zip(inputs, lengths, strict=True) if at.op != "Rsqrt"), "")
        if sum(at.op == "Rsqrt" for at in lengths) != 1:
            raise _differs(node, "is no division by the length")
        _, (at,) = self.take(next(name for name, at in zip(inputs, lengths, strict=True) if at.op == "Rsqrt"), "Rsqrt")
        maximum, sides = self.take(at, "Maximum")
        at, least = self.split(maximum, sides)
        if not 0 <= float(least) <= 1e-9:
            raise _differs(maximum, f"takes at least {float(least)}")
        total, (at, _) = self.take(at, "Sum")
        _, (at,) = self.take(at, "Square")
        if self.node(at) is not self.node(inner):
            raise _differs(total, "sums the squares of something else")
        value = self._norm(self._without_reshape(inner), f"{SLIM}/Bottleneck")
        matrix, (value, weights) = self.take(self._without_reshape(value), "MatMul")
        self.check(matrix, transpose_a=False, transpose_b=False)
        self.named(matrix, weights, f"{SLIM}/Bottleneck/weights")
        pool, inputs = self.take(self._without_reshape(value), "AvgPool", "Mean")
        if pool.op == "AvgPool":
            self.check(pool, ksize=(1, 3, 3, 1), strides=(1, 1, 1, 1), padding="VALID", data_format="NHWC")
        return inputs[0]

    def residuals(self, value: str, scope: str, modules: Residual) -> str:
        """All modules of one map size."""
        for number in range(modules.number, 0, -1):
            value = self.residual(value, f"{SLIM}/{scope}_{number}", modules)
        return value

    def residual(self, value: str, scope: str, module: Residual, ends_in_relu: bool = True) -> str:
        """x + scale * projection(branches of x): back to x."""
        if ends_in_relu:
            _, (value,) = self.take(value, "Relu")
        add, sides = self.take(value, "Add", "AddV2")
        added = next((side for side in sides if self.node(side).op in ("Mul", "BiasAdd")), None)
        if added is None:
            raise _differs(add, "adds no projection")
        x = sides[1 - sides.index(added)]
        scale, projected = 1.0, added
        if self.node(added).op == "Mul":
            node, inputs = self.take(added, "Mul")
            projected, constant = self.split(node, inputs)
            scale = float(constant) if constant.size == 1 else np.nan
        if not abs(scale - module.scale) < 1e-6:
            raise _differs(self.node(added), f"multiplies by {scale} where {module.scale} is expected")
        bias, (value, offset) = self.take(projected, "BiasAdd")
        self.named(bias, offset, f"{scope}/Conv2d_1x1/biases")
        joined = self._conv(value, f"{scope}/Conv2d_1x1", ConvSpec(0, (1, 1)))
        for branch, end in self._branches(joined, scope, module.branches):
            if self.node(end) is not self.node(x):
                raise _differs(add, f"adds another value than branch {branch} of {scope} reads")
        return x

    def reduction(self, value: str, scope: str, branches: Sequence[Branch]) -> str:
        """Branches side by side: back to the value that all of them read."""
        starts = [end for _, end in self._branches(value, scope, branches)]
        for start in starts[1:]:
            if self.node(start) is not self.node(starts[0]):
                raise _differs(self.node(start), f"is read by a branch of {scope}, and other values by others")
        return starts[0]

    def _branches(self, value: str, scope: str, branches: Sequence[Branch]) -> list[tuple[int, str]]:
        """Number of each branch, and the value at which it starts."""
        join, inputs = self.take(value, "ConcatV2")
        axis = self.constant(inputs[-1])
        if axis is None or int(axis) not in (3, -1) or len(inputs) != len(branches) + 1:
            raise _differs(join, f"does not join the channels of {len(branches)} branches")
        starts = []
        for branch, (convs, end) in enumerate(zip(branches, inputs, strict=False)):
            at = end if convs else self.pooling(end)
            for number in range(len(convs) - 1, -1, -1):
                name = f"{scope}/Branch_{branch}/Conv2d_{order(convs, number)}"
                at = self.convolution(at, name + "x".join(map(str, convs[number].window)), convs[number])
            starts.append((branch, at))
        return starts

    def convolution(self, value: str, scope: str, conv: ConvSpec) -> str:
        """Convolution, batch norm, ReLU: back to what is convolved."""
        _, (value,) = self.take(value, "Relu")
        return self._conv(self._norm(value, scope), scope, conv)

    def _conv(self, value: str, scope: str, conv: ConvSpec) -> str:
        node, (value, weights) = self.take(value, "Conv2D")
        self.check(node, strides=(1, conv.stride, conv.stride, 1), dilations=(1, 1, 1, 1), data_format="NHWC")
        if conv.window != (1, 1):  # which no padding changes
            self.check(node, padding=conv.padding)
        self.named(node, weights, f"{scope}/weights")
        return value

    def _norm(self, value: str, scope: str) -> str:
        """A batch norm, as such or folded into a bias: back to what it normalises."""
        node, inputs = self.take(value, "BiasAdd", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
        if node.op == "BiasAdd":
            self.named(node, inputs[1], f"{scope}/Conv2D_bn_offset")
            return inputs[0]
        self.check(node, is_training=False, data_format="NHWC")
        if abs(float(str(node.attributes.get("epsilon", EPSILON))) - EPSILON) > 1e-8:
            raise _differs(node, f"has epsilon {node.attributes['epsilon']} where {EPSILON} is expected")
        scale = self.constant(inputs[1])
        if scale is None or not (scale == 1).all():
            raise _differs(node, "has a scale")
        for given, name in zip(inputs[2:5], ("beta", "moving_mean", "moving_variance"), strict=True):
            self.named(node, given, f"{scope}/BatchNorm/{name}")
        return inputs[0]

    def pooling(self, value: str) -> str:
        """The largest of 3x3, every second: back to what is pooled."""
        node, (value, *_) = self.take(value, "MaxPool")
        self.check(node, ksize=(1, 3, 3, 1), strides=(1, 2, 2, 1), padding="VALID", data_format="NHWC")
        return value

    def image(self, value: str) -> None:
        """The graph is at its beginning."""
        node = self.node(value)
        if node.op not in _INPUTS:
            raise _differs(node, "stands before the network")

    def _without_reshape(self, value: str) -> str:
        while self.node(value).op in ("Reshape", "Squeeze"):
            value = self.node(value).inputs[0]
        return value


def _differs(node: Node, how: str) -> WeightsError:
    return WeightsError(f"its graph is no Inception-ResNet-v1 that is known here: node '{shown(node.name)}' "
                        f"({shown(node.op)}) {how}.")  # fmt: skip
