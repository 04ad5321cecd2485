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
"""(value - mean) * factor; a vector that is added; a map as a row of numbers, channels outermost; anything else."""

_WORDS = {
    CONV: "a convolution",
    NORM: "a batch norm",
    PRELU: "a PReLU",
    MATRIX: "a matrix",
    ADD: "the sum of two values",
    FLATTEN: "a flattening",
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
        settings: of a convolution: stride, pad, group; of a batch norm: epsilon; of an affine step: mean, factor.
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
        output: the value that is asked for.
    Attributes:
        input: the value that the output is computed from.
        taken: how many nodes have been taken.
    Raises:
        WeightsError: nothing makes the output, or it is computed from several inputs.
    """

    def __init__(self, steps: Sequence[Step], output: str):
        made_by = {step.gives: step for step in steps}
        if output not in made_by:
            raise WeightsError(f"no node of its graph makes the output '{shown(output)}'.")
        self._output, self._left, self.taken = output, dict[str, Step](), 0
        inputs, ahead = dict[str, None](), [output]
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

    def take(self, value: str, op: str, **settings: int) -> Step:
        """The node of this kind that reads a value; it is taken out of the graph.

        Args:
            value: read by it.
            op: what it must be.
            settings: what it must be set to.
        Raises:
            WeightsError: there is none, or it is set to something else.
        """
        there = self.reading(value)
        found = next((step for step in there if step.op == op), None)
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

    def along(self, value: str, op: str, **settings: int) -> str:
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

    def end(self, value: str) -> None:
        """The network is at its end.

        Raises:
            WeightsError: more follows, or stands beside the way.
        """
        if self._left:
            one = next(iter(self.reading(value)), next(iter(self._left.values())))
            where = "after" if value in one.reads else "beside"
            raise WeightsError(f"{one.label} stands {where} the network{one.why and f', and {one.why}'}.")
        if value != self._output:
            raise WeightsError(f"its output '{shown(self._output)}' is not the end of the network.")
