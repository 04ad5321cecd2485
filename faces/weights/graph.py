"""A network's graph as data: what MXNet's symbol files, TensorFlow's GraphDef and ONNX say about its layers.

Not here: the readers of the three formats, and any meaning of an operation.
"""

from dataclasses import dataclass

import numpy as np

Value = bool | int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | np.ndarray


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a network.

    Args:
        name: of the node; in ONNX it may be empty.
        op: what it computes, in the words of its format; "null" is a parameter or an input of MXNet.
        inputs: names of the values it takes, in order. A node's output has the node's name; MXNet's and TensorFlow's
            further outputs are "name:1" and so on. TensorFlow's "^name" is a node that must run before.
        outputs: names of the values it gives; more than the node's own name in ONNX alone.
        attributes: as the file has them: text in MXNet, values in TensorFlow and ONNX.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Value]
