"""Published IResNets of AdaFace, InsightFace_Pytorch and MXNet for tests: their tensors, what they compute, a graph."""

from collections.abc import Sequence

import numpy as np

from faces.weights.graph import Node
from tests import numpy_layers
from tests.arcface_jax.published_networks import EPSILON, Tensors, norm_of, norm_shapes
from tests.numpy_layers import conv, norm, per_channel, prelu, random_tensors

# AdaFace's and InsightFace_Pytorch's.


def ir_tensors(
    units: Sequence[int], widths: Sequence[int], places: int, dim: int, has_norm: bool = True, reduction: int = 0
) -> Tensors:
    """AdaFace's with `has_norm`, InsightFace_Pytorch's without."""
    shapes: dict[str, tuple[int, ...]] = {"input_layer.0.weight": (widths[0], 3, 3, 3)}
    shapes |= norm_shapes("input_layer.1", widths[0]) | {"input_layer.2.weight": (widths[0],)}
    inside, place = widths[0], 0
    for number, width in zip(units, widths, strict=True):
        for _ in range(number):
            name, slope = f"body.{place}.res_layer", 3 if has_norm else 2
            shapes |= norm_shapes(f"{name}.0", inside) | {f"{name}.1.weight": (width, inside, 3, 3)}
            shapes |= norm_shapes(f"{name}.2", width) if has_norm else {}
            shapes |= {f"{name}.{slope}.weight": (width,), f"{name}.{slope + 1}.weight": (width, width, 3, 3)}
            shapes |= norm_shapes(f"{name}.{slope + 2}", width)
            if reduction:
                attention = f"{name}.se_block" if has_norm else f"{name}.5"
                shapes |= {f"{attention}.fc1.weight": (width // reduction, width, 1, 1)}
                shapes |= {f"{attention}.fc2.weight": (width, width // reduction, 1, 1)}
            if inside != width:
                shapes |= {f"body.{place}.shortcut_layer.0.weight": (width, inside, 1, 1)}
                shapes |= norm_shapes(f"body.{place}.shortcut_layer.1", width)
            inside, place = width, place + 1
    shapes |= norm_shapes("output_layer.0", inside)
    shapes |= {"output_layer.3.weight": (dim, inside * places), "output_layer.3.bias": (dim,)}
    last = norm_shapes("output_layer.4", dim)
    shapes |= {name: shape for name, shape in last.items() if not has_norm or "running" in name}
    return random_tensors(shapes)


def ir(images: np.ndarray, units: Sequence[int], tensors: Tensors) -> np.ndarray:
    def normed(x: np.ndarray, name: str) -> np.ndarray:
        return norm(x, *norm_of(name, tensors), EPSILON)

    def convolved(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        kernel = tensors[f"{name}.weight"]
        return conv(x, kernel, stride, numpy_layers.same(kernel))

    x = normed(convolved(images.transpose(0, 3, 1, 2), "input_layer.0"), "input_layer.1")
    x = prelu(x, tensors["input_layer.2.weight"])
    strides = [1 if unit else 2 for number in units for unit in range(number)]
    for place, stride in enumerate(strides):
        name, slope = f"body.{place}.res_layer", 2
        y = convolved(normed(x, f"{name}.0"), f"{name}.1")
        if f"{name}.2.running_var" in tensors:
            y, slope = normed(y, f"{name}.2"), 3
        y = convolved(prelu(y, tensors[f"{name}.{slope}.weight"]), f"{name}.{slope + 1}", stride)
        y = normed(y, f"{name}.{slope + 2}")
        for attention in (f"{name}.se_block", f"{name}.5"):
            if f"{attention}.fc1.weight" in tensors:
                few = np.maximum(convolved(y.mean(axis=(2, 3), keepdims=True), f"{attention}.fc1"), 0)
                y = y / (1 + np.exp(-convolved(few, f"{attention}.fc2")))
        if f"body.{place}.shortcut_layer.0.weight" in tensors:
            beside = f"body.{place}.shortcut_layer"
            x = normed(convolved(x, f"{beside}.0", stride), f"{beside}.1")
        else:
            x = x[:, :, ::stride, ::stride]
        x = x + y
    x = normed(x, "output_layer.0").reshape(len(x), -1)
    x = x @ tensors["output_layer.3.weight"].T.astype(np.float64) + per_channel(tensors["output_layer.3.bias"], x)
    mean, variance = tensors["output_layer.4.running_mean"], tensors["output_layer.4.running_var"]
    gamma, beta = tensors.get("output_layer.4.weight", np.ones_like(mean)), tensors.get("output_layer.4.bias", 0 * mean)
    return norm(x, gamma, beta, mean, variance, EPSILON)


# MXNet's.


def mxnet_iresnet(units: Sequence[int], widths: Sequence[int], places: int, dim: int) -> tuple[Tensors, list[Node]]:
    """The tensors of ArcFace's release, and the graph from pixels to embedding."""
    nodes: list[Node] = [Node("data", "null", (), ("data",), {})]
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name: str, op: str, x: str, own: dict[str, tuple[int, ...]], **attributes: str) -> str:
        shapes.update(own)
        nodes.extend(Node(tensor, "null", (), (tensor,), {}) for tensor in own)
        nodes.append(Node(name, op, (*x.split(), *own), (name,), {**attributes}))
        return name

    def normed(x: str, name: str, size: int, fix_gamma: str = "False") -> str:
        own = {f"{name}_{part}": (size,) for part in ("gamma", "beta", "moving_mean", "moving_var")}
        return add(name, "BatchNorm", x, own, eps="2e-05", momentum="0.9", fix_gamma=fix_gamma)

    def convolved(x: str, name: str, inside: int, width: int, side: int, stride: int) -> str:
        return add(name, "Convolution", x, {f"{name}_weight": (width, inside, side, side)}, kernel=f"({side}, {side})",
                   stride=f"({stride}, {stride})", pad=f"({side // 2}, {side // 2})", num_filter=str(width),
                   no_bias="True", workspace="256")  # fmt: skip

    def slope(x: str, name: str, width: int) -> str:
        return add(name, "LeakyReLU", x, {f"{name}_gamma": (width,)}, act_type="prelu")

    x = add("id", "identity", "data", {})
    x = add("_mulscalar0", "_mul_scalar", add("_minusscalar0", "_minus_scalar", x, {}, scalar="127.5"), {},
            scalar="0.0078125")  # fmt: skip
    inside = widths[0]
    x = slope(normed(convolved(x, "conv0", 3, inside, 3, 1), "bn0", inside), "relu0", inside)
    for stage, (number, width) in enumerate(zip(units, widths, strict=True), start=1):
        for unit in range(1, number + 1):
            name, stride = f"stage{stage}_unit{unit}", 2 if unit == 1 else 1
            y = normed(x, f"{name}_bn1", inside)
            y = normed(convolved(y, f"{name}_conv1", inside, width, 3, 1), f"{name}_bn2", width)
            y = convolved(slope(y, f"{name}_relu1", width), f"{name}_conv2", width, width, 3, stride)
            y = normed(y, f"{name}_bn3", width)
            if unit == 1:
                x = normed(convolved(x, f"{name}_conv1sc", inside, width, 1, stride), f"{name}_sc", width)
            x, inside = add(f"_plus{len(nodes)}", "elemwise_add", f"{y} {x}", {}), width
    x = add("dropout0", "Dropout", normed(x, "bn1", inside), {}, p="0.4")
    matrix = {"pre_fc1_weight": (dim, inside * places), "pre_fc1_bias": (dim,)}
    normed(add("pre_fc1", "FullyConnected", x, matrix, num_hidden=str(dim)), "fc1", dim, "True")
    return random_tensors(shapes), nodes
