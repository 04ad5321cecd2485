"""What programs put before the names of a network's tensors: the modules that it lay in, `module.model.` and so on.

Beside a network, other things may have been saved under names of their own: a classifier, a margin's centres. They are
left out; whether the network is whole, its table of names says. Two networks in one file are not chosen between.

Not here: checkpoints with several state dicts (`state_dicts.py`), and which network the names are of.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from faces.errors import WeightsError
from faces.unpickle.pickled_arrays import shown
from faces.weights.layouts import Tensors

_WORDS = re.compile(r"((module|_orig_mod|model|net|network|backbone|encoder|features)\.)*")
"""Of PyTorch's DataParallel, of its compiler, and what training programs call a network inside a module of theirs."""


class Unwrapped(NamedTuple):
    """A network's tensors without the words that stood before their names, and these."""

    tensors: Tensors
    wrapper: str


def unwrapped(tensors: Tensors, first: Collection[str]) -> Unwrapped:
    """The tensors of the network in a file by their own names.

    Args:
        tensors: of the file.
        first: for each naming that is known, a tensor that its networks have and nothing inside them is called by.
    Raises:
        WeightsError: there are two networks.
    """
    at = {name.removesuffix(one) for one in first for name in tensors if name == one or name.endswith(f".{one}")}
    wrappers = sorted((place for place in at if _WORDS.fullmatch(place)), key=len)
    if not wrappers:
        return Unwrapped(tensors, "")
    wrapper = wrappers[0]
    others = [place for place in at if not place.startswith(wrapper)]
    if others:
        raise WeightsError(
            f"it holds a network under the names {shown(wrapper)}* and another under {shown(min(others))}*; save the "
            "one that is wanted by itself."
        )
    inside = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items() if name.startswith(wrapper)}
    return Unwrapped(inside, wrapper)
