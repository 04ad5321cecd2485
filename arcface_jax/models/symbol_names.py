"""Names and settings of batch norms in MXNet's files (of ArcFace's networks, arXiv 1801.07698, Sec. 3.1).

Not here: the networks' own names (`iresnet_names.py`, `mobilefacenet_names.py`), and what their graphs compute
(`symbols.py`).
"""

from collections.abc import Callable, Sequence

from faces.weights.graph import Node
from faces.weights.layouts import Norm
from faces.weights.symbol_steps import steps_of_symbol
from faces.weights.walk import NORM


def norm_tensors(name: str) -> tuple[str, str, str, str]:
    """The tensors of a batch norm: scale, shift, mean, variance."""
    return f"{name}_gamma", f"{name}_beta", f"{name}_moving_mean", f"{name}_moving_var"


def norms_of_symbol(symbol: Sequence[Node]) -> Callable[[str, float, bool], Norm]:
    """Batch norms by their name, with the eps that they have where no graph is at hand, and whether their scale is 1.

    Args:
        symbol: MXNet's graph, whose word goes before; it may be empty.
    """
    stated = {step.tensors[1]: step.settings for step in steps_of_symbol(symbol) if step.op == NORM and step.tensors}

    def norm(name: str, epsilon: float, is_fixed: bool) -> Norm:
        gamma, beta, mean, variance = norm_tensors(name)
        if beta in stated:
            epsilon, is_fixed = stated[beta]["epsilon"], stated[beta]["is_fixed"]
        return Norm(None if is_fixed else gamma, beta, mean, variance, epsilon)

    return norm
