"""The range of a number in a config, beside its type: `rate: Annotated[float, Range(0, 1)]`.

A range holds what can mean anything at all, with room; NaN and infinity lie in none. It is written where the field is,
so that no number is without one and every way into a config, a file, an option or a program, meets the same sentence.

Not here: what values must fulfil together (`rules` of each schema), types (`faces.schema`).
"""

import dataclasses
import typing
from typing import Any, NamedTuple


class Range(NamedTuple):
    """Of a number, or of each number in a list."""

    low: float
    """The least."""
    high: float
    """The greatest."""
    above: bool = False
    """Whether `low` itself is outside."""
    below: bool = False
    """Whether `high` itself is outside."""

    def holds(self, value: float) -> bool:
        """Whether a number lies in it; NaN does not."""
        is_high = value > self.low if self.above else value >= self.low
        return is_high and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low = f"above {_count(self.low)}" if self.above else f"of at least {_count(self.low)}"
        return f"{low} and {'below' if self.below else 'at most'} {_count(self.high)}"


MOST = 2**31 - 1
"""The greatest number of steps, images or people: arrays count in 32 bits."""


def range_of(hint: Any) -> Range | None:
    """The range in a type as `typing.get_type_hints(..., include_extras=True)` gives it; None where there is none."""
    for one in getattr(hint, "__metadata__", ()):
        if isinstance(one, Range):
            return one
    found = (range_of(argument) for argument in typing.get_args(hint))
    return next((one for one in found if one is not None), None)


def outside(table: Any, place: str = "") -> str | None:
    """What is said of the first number of a config that lies outside of its range; None where there is none.

    Args:
        table: a config, or a table of one.
        place: of the table, with a dot behind it; "" for the config itself.
    """
    hints = typing.get_type_hints(type(table), include_extras=True)
    for field in dataclasses.fields(table):
        value, path = getattr(table, field.name), f"{place}{field.name}"
        if dataclasses.is_dataclass(value):
            if sentence := outside(value, f"{path}."):
                return sentence
            continue
        allowed = range_of(hints[field.name])
        each = value if isinstance(value, tuple | list) else (value,)
        if allowed is not None and not all(allowed.holds(one) for one in each if isinstance(one, int | float)):
            expected = f"numbers {allowed} are" if isinstance(value, tuple | list) else f"a number {allowed} is"
            return f"{path} = {_shown(value)}: {expected} expected"
    return None


def _count(bound: float) -> str:
    return f"{int(bound):,}" if float(bound).is_integer() else repr(bound)


def _shown(value: Any) -> str:
    """A number as it is written, unless it has more digits than anybody reads, or than Python writes."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return f"a number of {value.bit_length() * 30103 // 100000 + 1} digits"
    return repr(value)
