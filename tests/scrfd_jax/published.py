"""SCRFD as its authors publish it, for tests: state dicts, what the network computes, and its ONNX graph.

One description of the network, `outputs_of`, is run by two builders: float64 NumPy, one image without padding, and the
writer of a graph.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faces.weights.graph import Node
from scrfd_jax.architectures import ARCHITECTURES, STRIDES, Architecture
from tests import numpy_layers
from tests.faces.weights import makers

Tensors = dict[str, np.ndarray]
EPSILON = 1e-5
TINY = {
    "tiny_separable": Architecture("separable", (4, 6), (1, 2, 1, 1), (6, 8, 10, 12), 4, 8, 1, 2),
    "tiny_basic": Architecture("basic", (4, 4, 6), (1, 2, 1, 1), (6, 8, 8, 12), 4, 6, 1, 2),
    "tiny_bottleneck": Architecture("bottleneck", (4, 4, 6), (2, 1, 1, 1), (4, 4, 6, 8), 6, 8, 1, 4),
}
"""Networks with a few layers of each kind."""


def state_dict(name: str, seed: int = 0, is_shared: bool = False, is_grouped: bool = False, is_scaled: bool = True):
    """Random tensors under the authors' names."""
    a, shapes = ARCHITECTURES[name], dict[str, tuple[int, ...]]()

    def conv(name: str, features: int, inputs: int, window: int, norm: str = "", kind: str = "bn") -> None:
        shapes[f"{name}.weight"] = (features, inputs, window, window)
        if norm:
            parts = ("weight", "bias") if kind == "gn" else ("weight", "bias", "running_mean", "running_var")
            shapes.update({f"{norm}.{part}": (features,) for part in parts})
        else:
            shapes[f"{name}.bias"] = (features,)

    def separable(prefix: str, inputs: int, features: int) -> None:
        conv(f"{prefix}.0", inputs, 1, 3, f"{prefix}.1")
        conv(f"{prefix}.3", features, inputs, 1, f"{prefix}.4")

    sizes = (3, *a.stem)
    if a.is_separable:
        conv("backbone.stem.0.0", a.stem[0], 3, 3, "backbone.stem.0.1")
        separable("backbone.stem.1", *a.stem)
    else:
        for i in range(3):
            conv(f"backbone.stem.{3 * i}", sizes[i + 1], sizes[i], 3, f"backbone.stem.{3 * i + 1}")
    inputs = a.stem[-1]
    for stage, (blocks, width, outputs) in enumerate(zip(a.blocks, a.widths, a.outputs, strict=True), start=1):
        for block in range(blocks):
            prefix = f"backbone.layer{stage}.{block}"
            if a.is_separable:
                separable(prefix, inputs, width)
            else:
                for number, (features, before, window) in enumerate(parts_of(a, inputs, width), start=1):
                    conv(f"{prefix}.conv{number}", features, before, window, f"{prefix}.bn{number}")
                if inputs != outputs or (block == 0 and stage > 1):
                    conv(f"{prefix}.downsample.1", outputs, inputs, 1, f"{prefix}.downsample.2")
            inputs = outputs
    for level in range(3):
        conv(f"neck.lateral_convs.{level}.conv", a.neck, a.outputs[level + 1], 1)
        conv(f"neck.fpn_convs.{level}.conv", a.neck, a.neck, 3)
    for level in range(2):
        conv(f"neck.downsample_convs.{level}.conv", a.neck, a.neck, 3)
        conv(f"neck.pafpn_convs.{level}.conv", a.neck, a.neck, 3)
    kind = "gn" if is_grouped else "bn"
    for key in ("0",) if is_shared else [f"({stride}, {stride})" for stride in STRIDES]:
        inputs = a.neck
        for number in range(a.depth):
            prefix = f"bbox_head.cls_stride_convs.{key}.{number}"
            if a.is_separable:
                depthwise, pointwise = f"{prefix}.depthwise_conv", f"{prefix}.pointwise_conv"
                conv(f"{depthwise}.conv", inputs, 1, 3, f"{depthwise}.{kind}", kind)
                conv(f"{pointwise}.conv", a.head, inputs, 1, f"{pointwise}.{kind}", kind)
            else:
                conv(f"{prefix}.conv", a.head, inputs, 3, f"{prefix}.{kind}", kind)
            inputs = a.head
        for output, numbers in (("cls", 1), ("reg", 4), ("kps", 10)):
            conv(f"bbox_head.stride_{output}.{key}", 2 * numbers, inputs, 3)
    if is_scaled:
        shapes.update({f"bbox_head.scales.{level}.scale": () for level in range(3)})
    tensors = numpy_layers.random_tensors(shapes, seed)
    for name in [name for name in tensors if "stride_cls" in name]:
        tensors[name] = tensors[name] / 8  # scores are to differ, and none to be 0 or 1
    for name in [name for name in tensors if name.endswith("bn3.weight")]:
        tensors[name] = tensors[name] / 4  # sums of many values grow
    return tensors | {"bbox_head.integral.project": np.arange(9.0), "backbone.n.num_batches_tracked": np.array(7)}


def parts_of(a: Architecture, inputs: int, width: int) -> list[tuple[int, int, int]]:
    """Features, inputs and window of the convolutions of a residual unit."""
    if a.block == "bottleneck":
        return [(width, inputs, 1), (width, width, 3), (4 * width, width, 1)]
    return [(width, inputs, 3), (width, width, 3)]


class Loops:
    """What the layers compute, float64, (1, channels, rows, columns)."""

    def __init__(self, tensors: Mapping[str, np.ndarray]):
        self.t = tensors

    def conv(self, x: np.ndarray, name: str, stride: int = 1, norm: str = "", groups: int = 0) -> np.ndarray:
        kernel = self.t[f"{name}.weight"]
        split = x.shape[1] // kernel.shape[1]
        x = numpy_layers.conv(x, kernel, stride, numpy_layers.same(kernel), split)
        if not norm:
            return x + numpy_layers.per_channel(self.t[f"{name}.bias"], x)
        weight, bias = self.t[f"{norm}.weight"], self.t[f"{norm}.bias"]
        if f"{norm}.running_var" in self.t:
            mean, variance = self.t[f"{norm}.running_mean"], self.t[f"{norm}.running_var"]
            return numpy_layers.norm(x, weight, bias, mean, variance, EPSILON)
        parts = [(part - part.mean()) / np.sqrt(part.var() + EPSILON) for part in np.split(x, groups, axis=1)]
        return np.concatenate(parts, axis=1) * numpy_layers.per_channel(weight, x) + numpy_layers.per_channel(bias, x)

    def relu(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def add(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x + y

    def pool(self, x: np.ndarray, largest: bool) -> np.ndarray:
        windows = x.reshape(1, x.shape[1], x.shape[2] // 2, 2, x.shape[3] // 2, 2)
        return windows.max(axis=(3, 5)) if largest else windows.mean(axis=(3, 5))

    def doubled(self, x: np.ndarray, finer: np.ndarray) -> np.ndarray:
        return x.repeat(2, axis=2).repeat(2, axis=3)[:, :, : finer.shape[2], : finer.shape[3]]

    def output(self, x: np.ndarray, numbers: int, scale: str) -> np.ndarray:
        x = x * self.t[scale] if scale in self.t else x
        x = x.transpose(0, 2, 3, 1).reshape(-1, numbers)
        return 1 / (1 + np.exp(-x)) if numbers == 1 else x


class Graph:
    """The same as nodes and tensors, as the exporter writes them, batch norms folded or not."""

    def __init__(self, tensors: Mapping[str, np.ndarray], is_folded: bool = True):
        self.t, self.is_folded = tensors, is_folded
        self.nodes: list[Node] = []
        self.tensors: Tensors = {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"/{op}_{len(self.nodes)}_output"
        self.nodes.append(Node("", op, inputs, (output,), attributes))
        return output

    def tensor(self, values: np.ndarray) -> str:
        name = f"onnx::{600 + len(self.tensors)}"
        self.tensors[name] = np.asarray(values)
        return name

    def conv(self, x: str, name: str, stride: int = 1, norm: str = "", groups: int = 0) -> str:
        kernel, bias = self.t[f"{name}.weight"], self.t.get(f"{name}.bias")
        parts = [self.t.get(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        if norm and parts[2] is not None and self.is_folded:
            kernel, bias = numpy_layers.folded(kernel, *parts, EPSILON)
        side = kernel.shape[2] // 2
        # A kernel that sees one channel is depthwise here: no other layer reads one channel.
        group = kernel.shape[0] if kernel.shape[1] == 1 else 1
        tensors = [self.tensor(one) for one in (kernel, bias) if one is not None]
        x = self.node("Conv", x, *tensors, dilations=(1, 1), group=group, kernel_shape=kernel.shape[2:],
                      pads=(side,) * 4, strides=(stride, stride))  # fmt: skip
        if not norm or (parts[2] is not None and self.is_folded):
            return x
        if parts[2] is not None:
            return self.node("BatchNormalization", x, *map(self.tensor, parts), epsilon=EPSILON)
        shape = self.node("Shape", x)
        x = self.node("Reshape", x, self.tensor(np.array([0, groups, -1])))
        ones = self.tensor(np.ones(groups, np.float32)), self.tensor(np.zeros(groups, np.float32))
        x = self.node("Reshape", self.node("InstanceNormalization", x, *ones, epsilon=EPSILON), shape)
        for op, part in (("Mul", parts[0]), ("Add", parts[1])):
            x = self.node(op, x, self.tensor(part[:, None, None]))
        return x

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def add(self, x: str, y: str) -> str:
        return self.node("Add", x, y)

    def pool(self, x: str, largest: bool) -> str:
        return self.node("MaxPool" if largest else "AveragePool", x, ceil_mode=int(not largest), kernel_shape=(2, 2),
                         pads=(0,) * 4, strides=(2, 2))  # fmt: skip

    def doubled(self, x: str, finer: str) -> str:
        ends = [self.tensor(np.array([place])) for place in (0, 2, 4)]
        first = self.node("Slice", self.node("Shape", x), *ends[:2])
        last = self.node("Slice", self.node("Shape", finer), *ends[1:])
        size = self.node("Concat", first, self.node("Cast", last, to=7), axis=0)
        return self.node("Resize", x, self.tensor(np.zeros(0, np.float32)), self.tensor(np.zeros(0, np.float32)), size,
                         coordinate_transformation_mode="asymmetric", cubic_coeff_a=-0.75, mode="nearest",
                         nearest_mode="floor")  # fmt: skip

    def output(self, x: str, numbers: int, scale: str) -> str:
        x = self.node("Mul", x, self.tensor(self.t[scale])) if scale in self.t else x
        x = self.node("Reshape", self.node("Transpose", x, perm=(0, 2, 3, 1)), self.tensor(np.array([-1, numbers])))
        return self.node("Sigmoid", x) if numbers == 1 else x


def outputs_of(build: Any, name: str, x: Any) -> list[Any]:
    """Scores, distances and points of strides 8, 16 and 32, in the order of the published files."""
    a = ARCHITECTURES[name]
    is_shared = "bbox_head.stride_cls.0.weight" in build.t

    def layer(x: Any, name: str, norm: str, stride: int = 1) -> Any:
        return build.relu(build.conv(x, name, stride, norm))

    def separable(x: Any, prefix: str, stride: int) -> Any:
        return layer(layer(x, f"{prefix}.0", f"{prefix}.1", stride), f"{prefix}.3", f"{prefix}.4")

    if a.is_separable:
        x = separable(layer(x, "backbone.stem.0.0", "backbone.stem.0.1", 2), "backbone.stem.1", 1)
    else:
        for i in range(3):
            x = layer(x, f"backbone.stem.{3 * i}", f"backbone.stem.{3 * i + 1}", 2 if i == 0 else 1)
        x = build.pool(x, largest=True)
    maps = []
    for stage, blocks in enumerate(a.blocks, start=1):
        for block in range(blocks):
            prefix, stride = f"backbone.layer{stage}.{block}", 2 if block == 0 and (a.is_separable or stage > 1) else 1
            if a.is_separable:
                x = separable(x, prefix, stride)
            else:
                x = residual(build, x, prefix, stride, len(parts_of(a, 1, 1)))
        maps.append(x)
    merged = [build.conv(x, f"neck.lateral_convs.{i}.conv") for i, x in enumerate(maps[1:])]
    for i in (1, 0):
        merged[i] = build.add(merged[i], build.doubled(merged[i + 1], merged[i]))
    merged = [build.conv(x, f"neck.fpn_convs.{i}.conv") for i, x in enumerate(merged)]
    for i in (0, 1):
        merged[i + 1] = build.add(merged[i + 1], build.conv(merged[i], f"neck.downsample_convs.{i}.conv", 2))
    merged[1:] = [build.conv(x, f"neck.pafpn_convs.{i}.conv") for i, x in enumerate(merged[1:])]
    kind = "gn" if any(".gn." in key for key in build.t) else "bn"
    found: dict[str, list[Any]] = {"cls": [], "reg": [], "kps": []}
    for level, (stride, x) in enumerate(zip(STRIDES, merged, strict=True)):
        key = "0" if is_shared else f"({stride}, {stride})"
        for number in range(a.depth):
            prefix = f"bbox_head.cls_stride_convs.{key}.{number}"
            for part in ("depthwise_conv.", "pointwise_conv.") if a.is_separable else ("",):
                x = build.relu(build.conv(x, f"{prefix}.{part}conv", 1, f"{prefix}.{part}{kind}", a.groups))
        for output, numbers in (("cls", 1), ("reg", 4), ("kps", 10)):
            scale = f"bbox_head.scales.{level}.scale" if output == "reg" else ""
            found[output].append(build.output(build.conv(x, f"bbox_head.stride_{output}.{key}"), numbers, scale))
    return [value for values in found.values() for value in values]


def residual(build: Any, x: Any, prefix: str, stride: int, count: int) -> Any:
    y = x
    for number in range(1, count + 1):
        is_strided = number == (2 if count == 3 else 1)
        y = build.conv(y, f"{prefix}.conv{number}", stride if is_strided else 1, f"{prefix}.bn{number}")
        y = build.relu(y) if number < count else y
    if f"{prefix}.downsample.1.weight" in build.t:
        x = build.pool(x, largest=False) if stride == 2 else x
        x = build.conv(x, f"{prefix}.downsample.1", 1, f"{prefix}.downsample.2")
    return build.relu(build.add(x, y))


def forward(tensors: Mapping[str, np.ndarray], name: str, image: np.ndarray) -> list[np.ndarray]:
    """uint8 (H, W, 3), RGB, of sides that 32 divides -> the nine outputs."""
    x = (image.astype(np.float64).transpose(2, 0, 1)[None] - 127.5) / 128
    return outputs_of(Loops(tensors), name, x)


def onnx_file(nodes: Sequence[Node], tensors: Mapping[str, np.ndarray], outputs: Sequence[str]) -> bytes:
    """A model as bytes, without the ONNX package."""
    model = makers.message("ModelProto")(ir_version=6, producer_name="test")
    for name, array in tensors.items():
        dtype = {"float32": 1, "int64": 7}[array.dtype.name]
        model.graph.initializer.add(name=name, dims=array.shape, data_type=dtype, raw_data=array.tobytes())
    for node in nodes:
        made = model.graph.node.add(name=node.name, op_type=node.op, input=node.inputs, output=node.outputs)
        for key, value in node.attributes.items():
            match value:
                case int():
                    made.attribute.add(name=key, i=value, type=2)
                case float():
                    made.attribute.add(name=key, f=value, type=1)
                case str():
                    made.attribute.add(name=key, s=value.encode(), type=3)
                case tuple():
                    made.attribute.add(name=key, ints=value, type=7)
    for output in outputs:
        model.graph.output.add(name=output)
    return model.SerializeToString()


def decode(outputs: Sequence[np.ndarray], height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All anchors' boxes (n, 4), points (n, 5, 2) and scores (n,), float64, by plain loops.

    Args:
        outputs: the nine of `forward`, of an image padded to sides that 32 divides.
        height, width: of the padded image.
    """
    boxes, points, scores = [], [], []
    for level, stride in enumerate(STRIDES):
        place = 0
        for i in range(height // stride):
            for j in range(width // stride):
                for _ in range(2):
                    left, top, right, bottom = outputs[3 + level][place] * stride
                    boxes.append((j * stride - left, i * stride - top, j * stride + right, i * stride + bottom))
                    pairs = outputs[6 + level][place].reshape(5, 2) * stride
                    points.append([(j * stride + x, i * stride + y) for x, y in pairs])
                    scores.append(outputs[level][place][0])
                    place += 1
    return np.array(boxes), np.array(points), np.array(scores)
