"""What a person says of the pixels that a file's network takes, where the file does not say so itself.

A network takes (x - mean) / scale of values x from 0 to 255, its channels red first ("rgb") or blue first ("bgr"). Mean
and scale are a number each, or three: of the first, second and third channel in the network's order. Programs that
write values from 0 to 1 have 255 times as much here: mean 0.5 and scale 0.5 are 127.5 and 127.5. A factor f of programs
that multiply, (x - mean) * f, is a scale of 1 / f.

Not here: what files say (`convert.py`), and how faces are aligned, which an evaluation may change at any time.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np

from faces.errors import ConfigError
from faces.ops import PerChannel
from faces.preprocessing import PIXELS, Preprocessing

MOST_SIDE = 2048
"""Pixels of a side: more than any network here is given, and no slip of the finger."""


@dataclass(frozen=True)
class Told:
    """What is said; None of what is not.

    Args:
        channels: "rgb" or "bgr".
        mean: subtracted from values of 0 to 255; one number, or one for each channel in the network's order.
        scale: divides them afterwards; likewise.
        size: rows and columns; one number for a square.
        insist: whether it holds even against what the file says.
    Raises:
        ConfigError: a value that no network takes.
    """

    channels: Literal["rgb", "bgr"] | None = None
    mean: PerChannel | Sequence[float] | None = None
    scale: PerChannel | Sequence[float] | None = None
    size: tuple[int, int] | int | None = None
    insist: bool = False

    def __post_init__(self):
        if self.channels not in (None, "rgb", "bgr"):
            raise ConfigError(f"channels {self.channels!r}: rgb or bgr is expected.")
        object.__setattr__(self, "mean", _per_channel("mean", self.mean))
        object.__setattr__(self, "scale", _per_channel("scale", self.scale))
        object.__setattr__(self, "size", _size(self.size))
        for divisor in () if self.scale is None else _listed(self.scale):
            if divisor <= 0:
                raise ConfigError(f"scale {divisor:g}: divides the pixels, and must be positive.")
            if divisor < 1:
                raise ConfigError(
                    f"scale {divisor:g}: divides pixels of 0 to 255, which this would stretch; of a factor give what "
                    f"it is one over, {1 / divisor:g}, and of pixels of 0 to 1 give mean and scale times 255."
                )
        if self.insist and not self.said:
            raise ConfigError("to insist changes nothing: channels, mean, scale or size is to insist on.")

    @property
    def said(self) -> dict[str, Any]:
        """What is said, by its key in `Preprocessing`, in its form there."""
        return {key: getattr(self, key) for key in PIXELS if getattr(self, key) is not None}


def heard(usual: Preprocessing, told: Told, stated: Mapping[str, str], whose: object) -> Preprocessing:
    """The preprocessing of a file with what a person says of it.

    A face that is cut by its box keeps its part of the photograph at another size.

    Args:
        usual: of the network, with what the file says.
        told: what the person says.
        stated: by its key, who says a value in `usual` that a person may not change unless they insist.
        whose: named in messages.
    Raises:
        ConfigError: the file says otherwise.
    """
    for key, value in told.said.items():
        own = getattr(usual, key)
        if key in stated and value != own and not told.insist:
            raise ConfigError(
                f"{whose}: {stated[key]} that its {key} is {plain(own)}, and {plain(value)} is asked for; leave that "
                "out, or insist on it if the file is wrong."
            )
    seen = dataclasses.replace(usual, **told.said)
    if seen.resized and seen.size != usual.size:
        seen = dataclasses.replace(seen, resized=round(seen.resized * max(seen.size) / max(usual.size)))
    return seen


def plain(value: Any) -> str:
    """A value of a preprocessing in a sentence: a word, a number, or numbers."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(f"{one:g}" for one in value)
    return value if isinstance(value, str) else f"{value:g}"


def _per_channel(key: str, given: Any) -> PerChannel | None:
    """One number, or three that differ."""
    if given is None:
        return None
    numbers = _listed(given)
    if len(numbers) not in (1, 3) or not all(_is_number(number) for number in numbers):
        raise ConfigError(f"{key} {given}: a number is expected, or three, one for each channel.")
    values = tuple(float(number) for number in numbers)
    return values[0] if len(set(values)) == 1 else (values[0], values[1], values[2])


def _size(given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    sides = _listed(given)
    whole = len(sides) in (1, 2) and all(_is_number(side) and side == int(side) for side in sides)
    if not whole or not all(1 <= side <= MOST_SIDE for side in sides):
        raise ConfigError(f"size {given}: rows and columns are expected, whole numbers from 1 to {MOST_SIDE:,}.")
    return int(sides[0]), int(sides[-1])


def _listed(given: Any) -> tuple[Any, ...]:
    values = given.tolist() if isinstance(given, np.ndarray) else given
    return tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else (values,)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


NOTHING = Told()
