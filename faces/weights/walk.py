"""A network's graph followed from its input to its output, so that nothing in it that changes the output goes unseen.

A reader of weights knows what a network here computes. It walks the file's graph along that: `take` the convolution
that reads this value, with this stride and these zeros around it, then the batch norm that reads what comes out, and so
on; `end` makes sure that this is the output and that no node which the output needs was passed by. Whatever is not as
expected is a `WeightsError` that names the node. Nodes that the output does not need change nothing and are not looked
at.

Not here: what nodes mean in each format (`onnx_steps.py`, `symbol_steps.py`), and which network is walked along.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from faces.errors import WeightsError
from faces.unpickle.pickled_arrays import shown

CONV, NORM, PRELU, MATRIX, ADD = "conv", "norm", "prelu", "matrix", "add"
"""Convolution, batch norm, PReLU with a slope for each channel, a matrix, the sum of two values."""
AFFINE, BIAS, FLATTEN, UNKNOWN = "affine", "bias", "flatten", "unknown"
"""(value - mean) * factor; a vector that is added; a value's numbers in another shape; anything else."""
RELU, POOL, RESIZE, TRANSPOSE, SIGMOID = "relu", "pool", "resize", "transpose", "sigmoid"
"""max(x, 0); largest or mean value of windows; a map of another size; sides in another order; 1 / (1 + exp(-x))."""
INSTANCE, FACTORS, OFFSETS = "instance", "factors", "offsets"
"""Mean 0 and variance 1 of each channel of each image; a factor for each channel; a number for each that is added."""

_WORDS = {
    CONV: "a convolution",
    NORM: "a batch norm",
    PRELU: "a PReLU",
    MATRIX: "a matrix",
    ADD: "the sum of two values",
    FLATTEN: "a flattening",
    RELU: "a ReLU",
    POOL: "a pooling",
    RESIZE: "a change of the map's size",
    TRANSPOSE: "a change of the sides' order",
    SIGMOID: "a sigmoid",
    INSTANCE: "a norm of each channel",
    FACTORS: "a factor for each channel",
    OFFSETS: "a sum for each channel",
}


@dataclass(frozen=True)
class Step:
    """A node in terms that all formats share.

    Args:
        op: one of the words above.
        label: the node as a sentence names it.
        reads: the values that it takes, tensors of the file not among them.
        gives: the value that it makes.
        tensors: names of its tensors, in the order of its format; "" where one is not there.
        settings: of a convolution: stride, pad, group, and in ONNX features and window; of a batch norm: epsilon; of an
            affine step: mean, factor; of a pooling: kind, window; of a change of size: doubles, sizes, shapes_of; of
            an order of sides: order; of a norm of each channel: channels, epsilon.
        why: of an unknown one, what is not understood.
    """

    op: str
    label: str
    reads: tuple[str, ...]
    gives: str
    tensors: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    why: str = ""


class Walk:
    """What is left of a graph while one goes along it.

    Args:
        steps: all nodes, in any order.
        outputs: the values that are asked for.
    Attributes:
        input: the value that the outputs are computed from.
        taken: how many nodes have been taken.
    Raises:
        WeightsError: nothing makes an output, or it is computed from several inputs.
    """

    def __init__(self, steps: Sequence[Step], *outputs: str):
        made_by = {step.gives: step for step in steps}
        for output in outputs:
            if output not in made_by:
                raise WeightsError(f"no node of its graph makes the output '{shown(output)}'.")
        self._outputs, self._left, self.taken = outputs, dict[str, Step](), 0
        inputs, ahead = dict[str, None](), list(outputs)
        while ahead:
            value = ahead.pop()
            if value not in made_by:
                inputs[value] = None
            elif value not in self._left:
                self._left[value] = made_by[value]
                ahead += made_by[value].reads
        if len(inputs) != 1:
            named = ", ".join(map(shown, list(inputs)[:3])) or "none"
            raise WeightsError(f"its output is computed from {len(inputs)} inputs ({named}); the image is expected.")
        (self.input,) = inputs

    def reading(self, value: str) -> list[Step]:
        """The nodes that read a value and that the output needs, those taken already left out."""
        return [step for step in self._left.values() if value in step.reads]

    def has(self, value: str, op: str) -> bool:
        """Whether a node of this kind reads the value."""
        return any(step.op == op for step in self.reading(value))

    def take(self, value: str, op: str, **settings: Any) -> Step:
        """The node of this kind that reads a value; it is taken out of the graph.

        Args:
            value: read by it.
            op: what it must be.
            settings: what it must be set to; where several nodes of the kind read the value, they say which is meant.
        Raises:
            WeightsError: there is none, or it is set to something else.
        """
        there = self.reading(value)
        of_kind = [step for step in there if step.op == op]
        fitting = (step for step in of_kind if all(step.settings[key] == one for key, one in settings.items()))
        found = next(fitting, of_kind[0] if of_kind else None)
        if found is None:
            wanted = f"where {_WORDS[op]} is expected"
            if not there:
                raise WeightsError(f"its graph ends {wanted}.")
            one = next((step for step in there if step.op == UNKNOWN), there[0])
            raise WeightsError(f"{one.label} stands {wanted}{one.why and f', and {one.why}'}.")
        for key, expected in settings.items():
            if found.settings[key] != expected:
                raise WeightsError(f"{found.label} has {key} {found.settings[key]} where {expected} is expected.")
        del self._left[found.gives]
        self.taken += 1
        return found

    def along(self, value: str, op: str, **settings: Any) -> str:
        """The value that the node which `take` gives makes."""
        return self.take(value, op, **settings).gives

    def take_affine(self) -> tuple[str, float, float]:
        """What a graph does to its pixels before the network: (value - mean) * factor, in any number of nodes.

        Returns:
            The value that the network reads, mean and factor; 0 and 1 where there is nothing.
        """
        value, mean, factor = self.input, 0.0, 1.0
        while self.has(value, AFFINE):
            step = self.take(value, AFFINE)
            # ((x - mean) * factor - m) * f = (x - mean - m / factor) * factor * f
            mean, factor = mean + step.settings["mean"] / factor, factor * step.settings["factor"]
            value = step.gives
        return value, mean, factor

    def end(self, *values: str) -> None:
        """The network is at its end, or at all of its ends.

        Raises:
            WeightsError: more follows, or stands beside the way.
        """
        if self._left:
            after = [step for value in values for step in self.reading(value)]
            one = next(iter(after), next(iter(self._left.values())))
            where = "after" if after else "beside"
            raise WeightsError(f"{one.label} stands {where} the network{one.why and f', and {one.why}'}.")
        for output in self._outputs:
            if output not in values:
                raise WeightsError(f"its output '{shown(output)}' is not the end of the network.")
