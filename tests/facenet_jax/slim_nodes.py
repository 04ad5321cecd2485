"""The graph of Inception-ResNet-v1 as slim wrote it and a freezing for use left it, without its large constants."""

from collections.abc import Sequence

import numpy as np

from faces.weights import Node

SLIM = "InceptionResnetV1"
Step = tuple[str, int, str]
"""Name of a convolution in its scope, stride, padding."""

BLOCK_35 = [["Conv2d_1x1"], ["Conv2d_0a_1x1", "Conv2d_0b_3x3"], ["Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_0c_3x3"]]
BLOCK_17 = [["Conv2d_1x1"], ["Conv2d_0a_1x1", "Conv2d_0b_1x7", "Conv2d_0c_7x1"]]
BLOCK_8 = [["Conv2d_1x1"], ["Conv2d_0a_1x1", "Conv2d_0b_1x3", "Conv2d_0c_3x1"]]
MIXED_6A = [["Conv2d_1a_3x3"], ["Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_1a_3x3"], []]
MIXED_7A = [["Conv2d_0a_1x1", "Conv2d_1a_3x3"], ["Conv2d_0a_1x1", "Conv2d_1a_3x3"],
            ["Conv2d_0a_1x1", "Conv2d_0b_3x3", "Conv2d_1a_3x3"], []]  # fmt: skip


class Graph:
    """Nodes, and the constants that the walk looks at."""

    def __init__(self, is_folded: bool):
        self.nodes: list[Node] = []
        self.tensors: dict[str, np.ndarray] = {}
        self._is_folded = is_folded

    def add(self, name: str, op: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(Node(name, op, inputs, (name,), attributes))  # pyright: ignore[reportArgumentType]
        return name

    def constant(self, name: str, value: object) -> str:
        self.tensors[name] = np.asarray(value)
        return self.add(name, "Const")

    def conv(self, x: str, scope: str, stride: int = 1, padding: str = "SAME", has_norm: bool = True) -> str:
        weights = self.add(f"{scope}/weights/read", "Identity", self.constant(f"{scope}/weights", 0.0))
        x = self.add(f"{scope}/Conv2D", "Conv2D", x, weights, strides=(1, stride, stride, 1), padding=padding,
                     data_format="NHWC", dilations=(1, 1, 1, 1))  # fmt: skip
        if not has_norm:
            return self.add(f"{scope}/BiasAdd", "BiasAdd", x, self.constant(f"{scope}/biases", 0.0))
        return self.add(f"{scope}/Relu", "Relu", self.norm(x, scope))

    def norm(self, x: str, scope: str, is_last: bool = False) -> str:
        if self._is_folded and not is_last:
            return self.add(f"{scope}/bn", "BiasAdd", x, self.constant(f"{scope}/Conv2D_bn_offset", 0.0))
        inputs = [self.add(f"{scope}/BatchNorm/{name}/read", "Identity",
                           self.constant(f"{scope}/BatchNorm/{name}", 1.0))
                  for name in ("Const", "beta", "moving_mean", "moving_variance")]  # fmt: skip
        # tf.cond sends all that a branch reads through a switch of its own.
        switched = [self.add(f"{scope}/cond/FusedBatchNorm_1/Switch_{number}", "Switch", value, "phase_train")
                    for number, value in enumerate((x, *inputs))]  # fmt: skip
        of_use = self.add(f"{scope}/cond/FusedBatchNorm_1", "FusedBatchNorm", *switched, is_training=False,
                          epsilon=float(np.float32(1e-3)), data_format="NHWC")  # fmt: skip
        of_training = self.add(f"{scope}/cond/FusedBatchNorm", "FusedBatchNorm", x, *inputs, is_training=True)
        return self.add(f"{scope}/cond/Merge", "Merge", of_use, of_training)

    def pool(self, x: str, name: str) -> str:
        return self.add(name, "MaxPool", x, ksize=(1, 3, 3, 1), strides=(1, 2, 2, 1), padding="VALID")

    def joined(self, x: str, scope: str, branches: Sequence[Sequence[str]]) -> str:
        ends = []
        for number, names in enumerate(branches):
            y = x if names else self.pool(x, f"{scope}/Branch_{number}/MaxPool_1a_3x3/MaxPool")
            for name in names:
                halves = "_1a_" in name
                y = self.conv(y, f"{scope}/Branch_{number}/{name}", 1 + halves, "VALID" if halves else "SAME")
            ends.append(y)
        return self.add(f"{scope}/concat", "ConcatV2", *ends, self.constant(f"{scope}/concat/axis", 3))

    def residual(
        self, x: str, scope: str, branches: Sequence[Sequence[str]], scale: float, has_relu: bool = True
    ) -> str:
        y = self.conv(self.joined(x, scope, branches), f"{scope}/Conv2d_1x1", has_norm=False)
        y = self.add(f"{scope}/mul", "Mul", self.constant(f"{scope}/mul/x", np.float32(scale)), y)
        y = self.add(f"{scope}/add", "Add", x, y)
        return self.add(f"{scope}/Relu", "Relu", y) if has_relu else y


def inception_resnet_v1(is_folded: bool) -> Graph:
    """From the image to the embedding."""
    graph = Graph(is_folded)
    x = graph.add("input", "Placeholder")
    for name, stride, padding in (("1a_3x3", 2, "VALID"), ("2a_3x3", 1, "VALID"), ("2b_3x3", 1, "SAME")):
        x = graph.conv(x, f"{SLIM}/Conv2d_{name}", stride, padding)
    x = graph.pool(x, f"{SLIM}/MaxPool_3a_3x3/MaxPool")
    for name, stride in (("3b_1x1", 1), ("4a_3x3", 1), ("4b_3x3", 2)):
        x = graph.conv(x, f"{SLIM}/Conv2d_{name}", stride, "VALID")
    for number in range(1, 6):
        x = graph.residual(x, f"{SLIM}/Repeat/block35_{number}", BLOCK_35, 0.17)
    x = graph.joined(x, f"{SLIM}/Mixed_6a", MIXED_6A)
    for number in range(1, 11):
        x = graph.residual(x, f"{SLIM}/Repeat_1/block17_{number}", BLOCK_17, 0.10)
    x = graph.joined(x, f"{SLIM}/Mixed_7a", MIXED_7A)
    for number in range(1, 6):
        x = graph.residual(x, f"{SLIM}/Repeat_2/block8_{number}", BLOCK_8, 0.20)
    x = graph.residual(x, f"{SLIM}/Block8", BLOCK_8, 1.0, has_relu=False)
    x = graph.add(f"{SLIM}/Logits/AvgPool_1a_8x8/AvgPool", "AvgPool", x, ksize=(1, 3, 3, 1), strides=(1, 1, 1, 1),
                  padding="VALID")  # fmt: skip
    x = graph.add(f"{SLIM}/Logits/Flatten", "Reshape", x, graph.constant("shape", (-1, 1792)))
    x = graph.add(f"{SLIM}/Bottleneck/MatMul", "MatMul", x, graph.constant(f"{SLIM}/Bottleneck/weights", 0.0))
    x = graph.norm(x, f"{SLIM}/Bottleneck", is_last=True)
    square = graph.add("embeddings/Square", "Square", x)
    total = graph.add("embeddings/Sum", "Sum", square, graph.constant("embeddings/Sum/axis", (1,)), keep_dims=True)
    least = graph.add("embeddings/Maximum", "Maximum", total, graph.constant("embeddings/least", np.float32(1e-10)))
    graph.add("embeddings", "Mul", x, graph.add("embeddings/Rsqrt", "Rsqrt", least))
    return graph
