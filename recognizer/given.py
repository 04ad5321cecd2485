"""What a program gives, looked at before it is used: paths, numbers and photographs, each refused in one sentence.

Not here: what a file holds, which its reader looks at.
"""

import math
import os
from collections.abc import Iterable, Mapping, Set
from io import IOBase
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from faces.data.images import read_image
from faces.data.photographs import printable
from faces.errors import ConfigError, DataError, FacesError

Photograph = str | os.PathLike[str] | Any
"""The path of a file, or an array of uint8 (height, width, 3), RGB: NumPy's, JAX's, or another that NumPy can read."""

_NO_LIST = (str, os.PathLike, bytes, bytearray, memoryview, Mapping, Set, IOBase)
"""What can be gone through and is no list of photographs: text, bytes, or without an order of its own."""


def as_path(given: object, what: str, error: type[FacesError] = ConfigError) -> Path:
    """A path, from text or a path.

    Args:
        given: what should be one.
        what: it is of, for the message.
        error: to raise.
    Raises:
        FacesError: of the class `error`: it is none, or empty, which would mean the folder that the program runs in.
    """
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(text, str):
        raise error(f"{what}: a path is expected, {type(given).__name__} is given.")
    if not text:
        raise error(f"{what}: a path is expected, and this one is empty.")
    return Path(text)


def as_number(
    given: object, what: str, words: str, lowest: float = -math.inf, highest: float = math.inf
) -> float:
    """A number within bounds, from a number or an array of one.

    Args:
        given: what should be one.
        what: it is, for the message.
        words: what is expected, for the message.
        lowest, highest: the bounds, which are allowed.
    Raises:
        ConfigError: it is none, or beyond the bounds.
    """
    value = given.item() if hasattr(given, "item") and getattr(given, "shape", None) == () else given  # type: ignore
    if isinstance(value, Real) and not isinstance(value, bool) and lowest <= float(value) <= highest:
        return float(value)
    raise ConfigError(f"{what} = {given!r}: {words} is expected.")


def listed(photographs: Photograph | Iterable[Photograph]) -> Iterable[Photograph]:
    """Several photographs as they are, one as a list of one."""
    if is_array(photographs):
        array = np.asarray(photographs)
        if array.ndim == 0 and array.dtype.kind == "U":
            return [array.item()]
        is_one = array.ndim != 1 if array.dtype.kind in "OU" else array.ndim < 4  # of paths; of photographs
        return [array] if is_one else array
    if isinstance(photographs, _NO_LIST) or not isinstance(photographs, Iterable):
        return [photographs]
    return photographs


def is_array(value: object) -> bool:
    """Whether NumPy can read it as an array: its own, JAX's, and others of that form."""
    return isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "dtype"))


def read(photograph: Photograph, row: int) -> tuple[str, np.ndarray]:
    """Name and pixels of a photograph, the one at `row` of those that were given.

    Raises:
        ImageError: the file is no image, or cannot be read.
        DataError: it is neither a path nor an array of a photograph.
    """
    name = f"photographs[{row}]"
    if isinstance(photograph, str | os.PathLike):
        path = as_path(photograph, name, DataError)
        name = printable(str(path))
        return name, read_image(path, name)
    if not is_array(photograph):
        raise DataError(f"{name}: a path or an array is expected, {type(photograph).__name__} is given.")
    image = np.asarray(photograph)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            f"{name}: an array of uint8 (height, width, 3), RGB, is expected, {image.dtype} {image.shape} is given"
            f"{_instead(image)}."
        )
    return name, image


def _instead(image: np.ndarray) -> str:
    """The end of a sentence on an array that is no photograph: what makes one of it, where that is plain."""
    if image.dtype.kind in "OUSMmV":
        return ""
    if image.dtype != np.uint8:
        return "; bring values to 0 to 255 and round them to uint8"
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return "; give grey three times, as red, green and blue"
    if image.ndim == 3 and image.shape[2] == 4:
        return "; leave the fourth channel out, array[..., :3]"
    if image.ndim == 3 and image.shape[0] == 3:
        return "; channels come last, array.transpose(1, 2, 0)"
    return ""
