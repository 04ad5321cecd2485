"""ONNX models whose graph or tensors are not what they were: sound files, each of another network or of none.

Bytes that change at random damage a file before they reach a node. Here nodes lose and gain inputs, get other
operations and attributes, are left out and doubled; tensors get other shapes, types and values; outputs are exchanged.

Not here: changes of bytes (`damage.py`), what is demanded of the readers (`fuzz_weights.py`).
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from faces.weights.graph import Node
from scrfd_jax.architectures import ARCHITECTURES
from tests.arcface_jax import published_networks as arcface
from tests.scrfd_jax import published as scrfd

_OPS = (
    *("Conv", "Relu", "PRelu", "Add", "Mul", "Sub", "Div", "Resize", "Reshape", "Transpose", "Sigmoid", "Shape"),
    *("Slice", "Concat", "Cast", "Gather", "Identity", "Dropout", "Constant", "MaxPool", "AveragePool"),
    *("BatchNormalization", "InstanceNormalization", "Gemm", "MatMul", "Flatten", "Squeeze", "Unsqueeze", "Nothing"),
)
_KEYS = (
    *("strides", "pads", "group", "kernel_shape", "dilations", "auto_pad", "epsilon", "perm", "axis", "axes", "mode"),
    *("nearest_mode", "coordinate_transformation_mode", "ceil_mode", "to", "transB", "alpha", "value", "rounding"),
)
_VALUES: tuple[Any, ...] = (
    *(0, 1, 2, -1, 2**62, 0.0, 1e-5, -1.0, 3e38, float("nan"), "", "nearest", "floor", "asymmetric", (), (1, 1)),
    *((2, 2), (1, 1, 1, 1), (0, 1, 1, 0), (0, 2, 3, 1), (0, -1), (2**40, 2), (3,)),
)
_SHAPES: tuple[tuple[int, ...], ...] = (
    *((), (0,), (1,), (2,), (4,), (0, 3, 1, 1), (1, 1, 1, 1), (4, 1, 1), (4, 4, 3, 3), (4, 3, 3, 3), (2, 2)),
    (1, 1, 3, 0),
)
_NUMBERS = (0.0, 1.0, -1.0, 2.0, 1e38, 1e-38, float("inf"), float("nan"))
_KINDS = ("op", "key", "attribute", "input", "inputs", "drop", "double", "swap", "shape", "numbers", "type", "output")

Model = tuple[list[Node], dict[str, np.ndarray], list[str]]


def small_networks() -> Any:
    """A context in which networks of SCRFD are known whose files are small."""
    return mock.patch.dict(ARCHITECTURES, scrfd.TINY)


def models() -> list[Model]:
    """Sound graphs of a few layers: SCRFD's of each kind and an IResNet's."""
    found = list[Model]()
    with small_networks():
        for name, is_grouped in itertools.product(scrfd.TINY, (False, True)):
            graph = scrfd.Graph(scrfd.state_dict(name, is_shared=is_grouped, is_grouped=is_grouped))
            found.append((graph.nodes, graph.tensors, scrfd.outputs_of(graph, name, "input")))
    tensors = arcface.iresnet_tensors((2, 1), (4, 6), 1, 6)
    for is_folded in (False, True):
        graph = arcface.iresnet_graph((2, 1), tensors, is_folded)
        found.append((graph.nodes, graph.tensors, [graph.nodes[-1].outputs[0]]))
    return found


def sound_graphs() -> list[bytes]:
    """The files of `models`."""
    return [scrfd.onnx_file(*model) for model in models()]


def changed_graphs(files: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of so many files, each with one to three changes of a sound graph."""
    sound = models()
    for number in range(files):
        rng = np.random.default_rng([seed, number, 1])
        nodes, tensors, outputs = sound[rng.integers(len(sound))]
        model, names = (list(nodes), dict(tensors), list(outputs)), list[str]()
        for _ in range(1 + int(rng.random() < 0.4) + int(rng.random() < 0.2)):
            names.append(_change(rng, *model))
        yield f"{number} ({', '.join(names)})", scrfd.onnx_file(*model)


def _change(rng: np.random.Generator, nodes: list[Node], tensors: dict[str, np.ndarray], outputs: list[str]) -> str:
    at = int(rng.integers(len(nodes)))
    node = nodes[at]
    values = [*tensors, *(name for one in nodes for name in one.outputs), "input", ""]
    kind = str(rng.choice(_KINDS))
    tensor = str(rng.choice(list(tensors)))
    match kind:
        case "op":
            nodes[at] = replace(node, op=str(rng.choice(_OPS)))
        case "key":
            kept = {key: value for key, value in node.attributes.items() if rng.random() < 0.6}
            nodes[at] = replace(node, attributes=kept)
        case "attribute":
            key = str(rng.choice([*node.attributes, *_KEYS]))
            nodes[at] = replace(node, attributes=node.attributes | {key: _VALUES[rng.integers(len(_VALUES))]})
        case "input":
            inputs = list(node.inputs) or [""]
            inputs[rng.integers(len(inputs))] = str(rng.choice(values))
            nodes[at] = replace(node, inputs=tuple(inputs))
        case "inputs":
            few = node.inputs[: int(rng.integers(len(node.inputs) + 1))]
            nodes[at] = replace(node, inputs=few if rng.random() < 0.5 else (*node.inputs, str(rng.choice(values))))
        case "drop":
            nodes.pop(at)
        case "double":
            nodes.insert(int(rng.integers(len(nodes))), node)
        case "swap":
            other = int(rng.integers(len(nodes)))
            nodes[at], nodes[other] = nodes[other], nodes[at]
        case "shape":
            shape = _SHAPES[rng.integers(len(_SHAPES))]
            tensors[tensor] = np.resize(tensors[tensor], shape) if np.prod(shape) else np.zeros(shape, np.float32)
        case "numbers":
            changed = np.array(tensors[tensor], np.float32)
            changed[rng.random(changed.shape) < rng.choice([0.1, 1.0])] = rng.choice(_NUMBERS)
            tensors[tensor] = changed
        case "type":
            dtype = str(rng.choice(["float32", "int64"]))
            tensors[tensor] = np.nan_to_num(tensors[tensor], posinf=1.0, neginf=-1.0).astype(dtype)
        case _:
            outputs[rng.integers(len(outputs))] = str(rng.choice(values))
            if len(outputs) > 1 and rng.random() < 0.3:
                outputs.pop()
    return kind
