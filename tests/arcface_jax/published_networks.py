"""arcface_torch's networks for tests: the tensors of their state dicts, what they compute, and their ONNX graphs."""

from collections.abc import Iterator, Sequence

import numpy as np

from faces.weights.graph import Node
from tests import numpy_layers
from tests.numpy_layers import conv, norm, per_channel, prelu, random_tensors

Tensors = dict[str, np.ndarray]
EPSILON = 1e-5


def norm_shapes(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}


def norm_of(name: str, tensors: Tensors) -> list[np.ndarray]:
    return [tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]


# IResNet.


def iresnet_tensors(units: Sequence[int], widths: Sequence[int], places: int, dim: int) -> Tensors:
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (widths[0], 3, 3, 3), "prelu.weight": (widths[0],)}
    shapes |= norm_shapes("bn1", widths[0])
    inside = widths[0]
    for stage, (number, width) in enumerate(zip(units, widths, strict=True), start=1):
        for unit in range(number):
            name = f"layer{stage}.{unit}"
            shapes |= norm_shapes(f"{name}.bn1", inside) | {f"{name}.conv1.weight": (width, inside, 3, 3)}
            shapes |= norm_shapes(f"{name}.bn2", width) | {f"{name}.prelu.weight": (width,)}
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3)} | norm_shapes(f"{name}.bn3", width)
            if unit == 0:
                shapes |= {f"{name}.downsample.0.weight": (width, inside, 1, 1)}
                shapes |= norm_shapes(f"{name}.downsample.1", width)
            inside = width
    shapes |= norm_shapes("bn2", inside) | {"fc.weight": (dim, inside * places), "fc.bias": (dim,)}
    return random_tensors(shapes | norm_shapes("features", dim)) | {"bn1.num_batches_tracked": np.array(3)}


def iresnet(images: np.ndarray, units: Sequence[int], tensors: Tensors) -> np.ndarray:
    def normed(x: np.ndarray, name: str) -> np.ndarray:
        return norm(x, *norm_of(name, tensors), EPSILON)

    def convolved(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        kernel = tensors[f"{name}.weight"]
        return conv(x, kernel, stride, numpy_layers.same(kernel))

    x = prelu(normed(convolved(images.transpose(0, 3, 1, 2), "conv1"), "bn1"), tensors["prelu.weight"])
    for stage, number in enumerate(units, start=1):
        for unit in range(number):
            name, stride = f"layer{stage}.{unit}", 2 if unit == 0 else 1
            y = normed(convolved(normed(x, f"{name}.bn1"), f"{name}.conv1"), f"{name}.bn2")
            y = prelu(y, tensors[f"{name}.prelu.weight"])
            y = normed(convolved(y, f"{name}.conv2", stride), f"{name}.bn3")
            if unit == 0:
                x = normed(convolved(x, f"{name}.downsample.0", 2), f"{name}.downsample.1")
            x = x + y
    x = normed(x, "bn2").reshape(len(x), -1)
    return normed(x @ tensors["fc.weight"].T.astype(np.float64) + per_channel(tensors["fc.bias"], x), "features")


# MobileFaceNet.

_STEM, _FLAT = "layers.0.layers.0.weight", "flat.0.weight"
Bottleneck = tuple[str, int, int, int]
"""Name, inner and output channels, stride."""


def mbf_bottlenecks(following: Sequence[int] = (4, 6, 2), stem: int = 128) -> list[Bottleneck]:
    """The bottlenecks, of which so many follow each that halves the map; with a stem of 64 those of Table 1."""
    bottlenecks = []
    for halving, (number, of_halving, of_list) in enumerate(
        zip(following, ((128, 128), (256, 256), (512, 256)), ((128, 128), (256, 256), (256, 256)), strict=True)
    ):
        for name, (inner, out), stride in [(f"layers.{2 * halving + 2}", of_halving, 2)] + [
            (f"layers.{2 * halving + 3}.layers.{n}", of_list, 1) for n in range(number)
        ]:
            bottlenecks.append((name, inner, out * stem // 128, stride))
    return bottlenecks


Conv = tuple[str, tuple[int, ...], int, int, bool]
"""Name, kernel's shape, stride, groups, and whether PReLU follows."""


def mbf_convs(last_map: tuple[int, int], bottlenecks: Sequence[Bottleneck], stem: int) -> Iterator[Conv]:
    """Every convolution; the last map has as many rows and columns."""
    yield "layers.0", (stem, 3, 3, 3), 2, 1, True
    yield "layers.1", (stem, stem // 64, 3, 3), 1, 64, True
    inside = stem
    for name, inner, out, stride in bottlenecks:
        yield f"{name}.layers.0", (inner, inside, 1, 1), 1, 1, True
        yield f"{name}.layers.1", (inner, 1, 3, 3), stride, inner, True
        yield f"{name}.layers.2", (out, inner, 1, 1), 1, 1, False
        inside = out
    yield "conv_sep", (512, inside, 1, 1), 1, 1, True
    yield "features.layers.0", (512, 1, *last_map), 1, 512, False


def mbf_tensors(
    side: int, dim: int, bottlenecks: Sequence[Bottleneck], stem: int = 128, columns: int | None = None
) -> Tensors:
    """Of a network whose last map has `side` rows and as many columns, or other `columns`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, kernel, _, _, has_prelu in mbf_convs((side, columns or side), bottlenecks, stem):
        shapes |= {f"{name}.layers.0.weight": kernel} | norm_shapes(f"{name}.layers.1", kernel[0])
        shapes |= {f"{name}.layers.2.weight": kernel[:1]} if has_prelu else {}
    shapes |= {"features.layers.2.weight": (dim, 512)} | norm_shapes("features.layers.3", dim)
    return random_tensors(shapes)


def flat_head(side: int, dim: int, width: int) -> Tensors:
    """In place of the depthwise kernel: a convolution to `width` channels, and a matrix over all places."""
    shapes = {_FLAT: (width, 512, 1, 1), "flat.2.weight": (width,), "flat.4.weight": (dim, width * side**2)}
    return random_tensors(shapes | norm_shapes("flat.1", width) | {"flat.4.bias": (dim,)})


def mbf(images: np.ndarray, side: int, tensors: Tensors, bottlenecks: Sequence[Bottleneck]) -> np.ndarray:
    residuals = {name for name, _, _, stride in bottlenecks if stride == 1}
    x = before = images.transpose(0, 3, 1, 2)
    for name, _, stride, groups, has_prelu in mbf_convs((side, side), bottlenecks, len(tensors[_STEM])):
        bottleneck, _, part = name.rpartition(".layers.")
        if name == "features.layers.0" and _FLAT in tensors:
            x = prelu(norm(conv(x, tensors[_FLAT]), *norm_of("flat.1", tensors), EPSILON), tensors["flat.2.weight"])
            x = x.reshape(len(x), -1) @ tensors["flat.4.weight"].T.astype(np.float64)
            return norm(x + per_channel(tensors["flat.4.bias"], x), *norm_of("features.layers.3", tensors), EPSILON)
        before = x if part == "0" and bottleneck in residuals else before
        kernel = tensors[f"{name}.layers.0.weight"]
        padding = (0, 0) if name == "features.layers.0" else numpy_layers.same(kernel)
        x = norm(conv(x, kernel, stride, padding, groups), *norm_of(f"{name}.layers.1", tensors), EPSILON)
        x = prelu(x, tensors[f"{name}.layers.2.weight"]) if has_prelu else x
        x = x + before if part == "2" and bottleneck in residuals else x
    x = x.reshape(len(x), -1) @ tensors["features.layers.2.weight"].T.astype(np.float64)
    return norm(x, *norm_of("features.layers.3", tensors), EPSILON)


# ONNX as torch.onnx.export writes it: folded convolutions under numbers, all else under its name or a number.


class Graph:
    """Nodes and initialisers while a network is written out."""

    def __init__(self):
        self.nodes: list[Node] = []
        self.tensors: Tensors = {}

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        output = f"/{op}_{len(self.nodes)}_output"
        self.nodes.append(Node("", op, inputs, (output,), attributes))
        return output

    def tensor(self, tensor: np.ndarray) -> str:
        name = f"onnx::{600 + len(self.tensors)}"
        self.tensors[name] = tensor
        return name

    def conv(self, x: str, name: str, own_norm: str, theirs: Tensors, is_folded: bool, **attributes: object) -> str:
        kernel, of_norm = theirs[f"{name}.weight"], norm_of(own_norm, theirs)
        attributes["kernel_shape"] = kernel.shape[2:]
        if is_folded:
            kernel, bias = numpy_layers.folded(kernel, *of_norm, EPSILON)
            return self.add("Conv", x, self.tensor(kernel), self.tensor(bias), **attributes)
        return self.norm(self.add("Conv", x, self.tensor(kernel), **attributes), own_norm, theirs)

    def norm(self, x: str, name: str, theirs: Tensors) -> str:
        return self.add("BatchNormalization", x, *map(self.tensor, norm_of(name, theirs)), epsilon=EPSILON)

    def prelu(self, x: str, name: str, theirs: Tensors) -> str:
        return self.add("PRelu", x, self.tensor(theirs[f"{name}.weight"][:, None, None]))


def padded(kernel: int, stride: int, groups: int = 1) -> dict[str, object]:
    side = kernel // 2
    return {"strides": (stride, stride), "pads": (side,) * 4, "group": groups}


def iresnet_graph(units: Sequence[int], theirs: Tensors, is_folded: bool, is_head_folded: bool = False) -> Graph:
    graph = Graph()
    x = graph.prelu(graph.conv("input", "conv1", "bn1", theirs, is_folded, **padded(3, 1)), "prelu", theirs)
    for stage, number in enumerate(units, start=1):
        for unit in range(number):
            name, stride = f"layer{stage}.{unit}", 2 if unit == 0 else 1
            y = graph.norm(x, f"{name}.bn1", theirs)
            y = graph.conv(y, f"{name}.conv1", f"{name}.bn2", theirs, is_folded, **padded(3, 1))
            y = graph.prelu(y, f"{name}.prelu", theirs)
            y = graph.conv(y, f"{name}.conv2", f"{name}.bn3", theirs, is_folded, **padded(3, stride))
            if unit == 0:
                beside = f"{name}.downsample"
                x = graph.conv(x, f"{beside}.0", f"{beside}.1", theirs, is_folded, **padded(1, 2))
            x = graph.add("Add", y, x)
    x = graph.add("Flatten", graph.norm(x, "bn2", theirs), axis=1)
    if is_head_folded:
        weight, bias = folded_matrix(theirs["fc.weight"], theirs["fc.bias"], "features", theirs)
        graph.add("Gemm", x, graph.tensor(weight), graph.tensor(bias), transB=1)
        return graph
    shared = graph.add("Identity", graph.tensor(theirs["fc.bias"]))  # as the export does with equal tensors
    x = graph.add("Gemm", x, graph.tensor(theirs["fc.weight"]), shared, transB=1)
    graph.norm(x, "features", theirs)
    return graph


def folded_matrix(weight: np.ndarray, bias: np.ndarray | float, name: str, theirs: Tensors) -> tuple[np.ndarray, ...]:
    gamma, beta, mean, variance = norm_of(name, theirs)
    return numpy_layers.folded(weight, gamma, beta, mean - bias, variance, EPSILON)


def mbf_graph(
    side: int,
    theirs: Tensors,
    is_folded: bool,
    bottlenecks: Sequence[Bottleneck],
    is_head_folded: bool = False,
    is_head_conv: bool = False,
) -> Graph:
    graph, x, before = Graph(), "input", ""
    residuals = {name for name, _, _, stride in bottlenecks if stride == 1}
    for name, shape, stride, groups, has_prelu in mbf_convs((side, side), bottlenecks, len(theirs[_STEM])):
        bottleneck, _, part = name.rpartition(".layers.")
        if name == "features.layers.0" and _FLAT in theirs:
            x = graph.prelu(graph.conv(x, "flat.0", "flat.1", theirs, is_folded, **padded(1, 1)), "flat.2", theirs)
            matrix = (graph.tensor(theirs[f"flat.4.{part}"]) for part in ("weight", "bias"))
            x = graph.add("Gemm", graph.add("Flatten", x, axis=1), *matrix, transB=1)
            graph.norm(x, "features.layers.3", theirs)
            return graph
        before = x if part == "0" and bottleneck in residuals else before
        attributes = padded(1 if name == "features.layers.0" else shape[2], stride, groups)
        x = graph.conv(x, f"{name}.layers.0", f"{name}.layers.1", theirs, is_folded, **attributes)
        x = graph.prelu(x, f"{name}.layers.2", theirs) if has_prelu else x
        x = graph.add("Add", before, x) if part == "2" and bottleneck in residuals else x
    if is_head_conv:  # as MobileFaceNet_Pytorch and Paddle have it
        pointwise = {"features.layers.2.weight": theirs["features.layers.2.weight"][:, :, None, None]}
        x = graph.conv(x, "features.layers.2", "features.layers.3", theirs | pointwise, is_folded, **padded(1, 1))
        graph.add("Reshape", x, graph.tensor(np.array([0, -1])))
        return graph
    x = graph.add("Flatten", x, axis=1)
    if is_head_folded:
        weight, bias = folded_matrix(theirs["features.layers.2.weight"], 0.0, "features.layers.3", theirs)
        graph.add("Gemm", x, graph.tensor(weight), graph.tensor(bias), transB=1)
        return graph
    x = graph.add("MatMul", x, graph.tensor(theirs["features.layers.2.weight"].T))
    graph.norm(x, "features.layers.3", theirs)
    return graph


# MXNet's symbol of y1, as its authors' code writes it.


def y1_symbol() -> list[Node]:
    """The nodes of y1 from pixels to embedding, parameters first."""
    nodes: list[Node] = [Node("data", "null", (), ("data",), {})]

    def add(name: str, op: str, x: str, tensors: Sequence[str] = (), **attributes: str) -> str:
        nodes.extend(Node(tensor, "null", (), (tensor,), {}) for tensor in tensors)
        nodes.append(Node(name, op, (*x.split(), *tensors), (name,), {**attributes}))
        return name

    def norm(x: str, name: str, **attributes: str) -> str:
        return add(name, "BatchNorm", x, [f"{name}_{part}" for part in ("gamma", "beta", "moving_mean", "moving_var")],
                   momentum="0.9", **attributes)  # fmt: skip

    def conv(x: str, name: str, filters: int, side: int, stride: int, pad: int, group: int, has_prelu: bool) -> str:
        x = add(f"{name}_conv2d", "Convolution", x, [f"{name}_conv2d_weight"], kernel=f"({side}, {side})",
                stride=f"({stride}, {stride})", pad=f"({pad}, {pad})", num_filter=str(filters), num_group=str(group),
                no_bias="True")  # fmt: skip
        x = norm(x, f"{name}_batchnorm", fix_gamma="False")
        return add(f"{name}_relu", "LeakyReLU", x, [f"{name}_relu_gamma"], act_type="prelu") if has_prelu else x

    def bottleneck(x: str, name: str, inner: int, filters: int, stride: int) -> str:
        y = conv(x, f"{name}_conv_sep", inner, 1, 1, 0, 1, True)
        y = conv(y, f"{name}_conv_dw", inner, 3, stride, 1, inner, True)
        y = conv(y, f"{name}_conv_proj", filters, 1, 1, 0, 1, False)
        return y if stride == 2 else add(f"{name}_sum", "elemwise_add", f"{y} {x}")

    x = add("_minusscalar0", "_minus_scalar", "data", scalar="127.5")
    x = add("_mulscalar0", "_mul_scalar", x, scalar="0.0078125")
    x = conv(x, "conv_1", 64, 3, 2, 1, 1, True)
    x = conv(x, "conv_2_dw", 64, 3, 1, 1, 64, True)
    for place, (halving_inner, inner, filters, number) in enumerate(((128, 128, 64, 4), (256, 256, 128, 6),
                                                                     (512, 256, 128, 2)), start=2):  # fmt: skip
        x = bottleneck(x, f"dconv_{place}{place + 1}", halving_inner, filters, 2)
        for block in range(number):
            x = bottleneck(x, f"res_{place + 1}_block{block}", inner, filters, 1)
    x = conv(x, "conv_6sep", 512, 1, 1, 0, 1, True)
    x = conv(x, "conv_6dw7_7", 512, 7, 1, 0, 512, False)
    x = add("pre_fc1", "FullyConnected", x, ["fc1_weight", "pre_fc1_bias"], num_hidden="128")
    norm(x, "fc1", eps="2e-05", fix_gamma="True")
    return nodes
