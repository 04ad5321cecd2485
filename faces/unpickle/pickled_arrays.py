"""The names by which NumPy's arrays are written in a pickle, each with the step that stands for it here.

`restricted_pickle.py` compares the names of a file with such a table and calls the table's step, never what Python
knows under the name. An array is a view of the bytes that the pickle brought; its shape is compared with them first.

Not here: the machine that reads the pickle, and the names of other libraries.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_DTYPES = frozenset({"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"})
_MAX_DIMENSIONS = 32


class ForeignError(Exception):
    """A name that is used as its library does not use it. The machine adds the file and the byte."""


class RefusedError(ForeignError):
    """What a well-formed pickle may ask for and is not given."""


@dataclass(frozen=True, eq=False, slots=True)
class Name:
    """A name that a file may hold. It is compared with, never looked up.

    Args:
        text: the name, as the file has it.
        call: what takes the place of a call of it; None where it is named only.
    """

    text: str
    call: Callable[..., Any] | None = None


@dataclass(eq=False, slots=True)
class Opaque:
    """What a pickle makes in a way that is not known here: it was not made, and no more is known of it than this.

    Args:
        what: what the pickle asks for.
        byte: of the file, where it asks.
        items: what was set in it by key, as in a class derived from dict; None where nothing was.
    """

    what: str
    byte: int
    items: dict[Any, Any] | None = None


@dataclass(eq=False, slots=True)
class PickledArray:
    """A NumPy array of the file.

    Args:
        array: a read-only view of the file's bytes; None where the file never fills it, or fills it with objects.
        objects: the values of an array of objects, where such arrays are allowed, and its shape.
    """

    array: np.ndarray | None = None
    objects: tuple[tuple[int, ...], list[Any]] | None = None

    def fill(self, state: Any) -> None:
        match state:
            case (int(), tuple() as shape, _Dtype() as dtype, int() as by_column, bytes() as data):
                self.array = _view(shape, dtype, "F" if by_column else "C", data)
            case (int(), tuple() as shape, _ObjectDtype(), int(), list() as values) if _fits(shape, 1, len(values)):
                self.objects = shape, values
            case _:
                raise ForeignError("the state of what is no plain NumPy array")


@dataclass(eq=False, slots=True)
class _Dtype:
    code: str
    order: str = "<"

    def fill(self, state: Any) -> None:
        match state:
            case (int(), "<" | "|" | b"<" | b"|", None, None, None, *_):
                self.order = "<"
            case (int(), ">" | b">", None, None, None, *_):
                self.order = ">"
            case _:
                raise ForeignError("the state of what is no plain NumPy array")


class _ObjectDtype:
    """Kept apart from `_Dtype`: bytes of the file must never become pointers to objects."""

    __slots__ = ()

    def fill(self, state: Any) -> None:
        """Its state says nothing that is needed."""


def _fits(shape: tuple[Any, ...], itemsize: int, size: int) -> bool:
    if len(shape) > _MAX_DIMENSIONS or not all(type(side) is int and 0 <= side <= size for side in shape):
        return False
    return math.prod(shape) * itemsize == size


def _view(shape: tuple[Any, ...], dtype: _Dtype, order: Any, data: bytes) -> np.ndarray:
    if not _fits(shape, int(dtype.code[1]), len(data)):
        raise ForeignError(f"a NumPy array whose shape does not fit its {len(data):,} bytes")
    return np.ndarray(shape, dtype.order + dtype.code, data, order=order)


def _dtype(*arguments: Any) -> _Dtype:
    match arguments:
        case (str() | bytes() as code, int(), int()):
            code = code if isinstance(code, str) else code.decode("latin-1")
            if code not in _DTYPES:
                raise RefusedError(f"a NumPy array of dtype {shown(code)}")
            return _Dtype(code)
        case _:
            raise other_arguments("numpy.dtype")


def _dtype_or_objects(*arguments: Any) -> _Dtype | _ObjectDtype:
    return _ObjectDtype() if arguments[:1] in (("O8",), (b"O8",)) else _dtype(*arguments)


def _reconstruct(*arguments: Any) -> PickledArray:
    match arguments:
        case (Name(text="numpy.ndarray"), tuple(), str() | bytes()):
            return PickledArray()
        case _:
            raise other_arguments("numpy.core.multiarray._reconstruct")


def _scalar(*arguments: Any) -> Any:
    match arguments:
        case (_Dtype() as dtype, bytes() as data):
            return _view((), dtype, "C", data).item()
        case _:
            raise other_arguments("numpy.core.multiarray.scalar")


def _from_buffer(*arguments: Any) -> PickledArray:
    match arguments:
        case (bytes() as data, _Dtype() as dtype, tuple() as shape, "C" | "F" as order):
            return PickledArray(_view(shape, dtype, order, data))
        case _:
            raise other_arguments("numpy.core.numeric._frombuffer")


def other_arguments(name: str) -> ForeignError:
    """The error for a call with arguments that the library of the name never writes."""
    return ForeignError(f"{name} with other arguments than its library writes")


def shown(text: str) -> str:
    """Text of the file for a sentence: short, and without control characters."""
    return text[:60].encode("unicode_escape").decode("ascii")


def table(*names: Name) -> dict[str, Name]:
    """Names by their text."""
    return {name.text: name for name in names}


ARRAY_NAMES = table(
    Name("numpy.ndarray"),
    Name("numpy.dtype", _dtype),
    Name("numpy.core.multiarray._reconstruct", _reconstruct),
    Name("numpy.core.multiarray.scalar", _scalar),
    Name("numpy.core.numeric._frombuffer", _from_buffer),
)
OBJECT_ARRAY_NAMES = table(Name("numpy.dtype", _dtype_or_objects))
"""For files that may also hold arrays of objects."""
