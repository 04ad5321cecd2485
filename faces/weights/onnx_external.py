"""Tensors of an ONNX model whose values lie in a file beside it, `model.onnx.data` or one for each tensor.

The model names the file and the bytes. It is looked for in the model's own folder and below, and nowhere else: neither
a path that leads out nor a link that does is followed. The bytes must be there, as many as the tensor's shape takes.

Not here: the model itself (`onnx.py`).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from faces.unpickle.pickled_arrays import shown
from faces.weights.weights_file import WeightsFile

_NUMBER = re.compile(r"[0-9]{1,18}")
_OUTSIDE = re.compile(r"[/\\]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL)
"""A path that is absolute, of either kind of system, or goes up."""


class ExternalFiles:
    """The files that a model's tensors name, each opened once.

    Args:
        model: its file.
    """

    def __init__(self, model: WeightsFile):
        self._model, self._opened = model, dict[str, WeightsFile]()

    def tensor(self, name: str, shape: Sequence[int], dtype: str, entries: Mapping[str, str]) -> np.ndarray:
        """A tensor's values.

        Args:
            name, shape, dtype: as `WeightsFile.size_of`.
            entries: what the model says of it: location, and offset and length in bytes where they are not 0 and all
                that the shape takes.

        Raises:
            WeightsError: the file is not in the model's folder, is no file of data, or lacks these bytes.
        """
        location = entries.get("location", "")
        if location not in self._opened:
            self._opened[location] = WeightsFile(self.path(name, location))
        file = self._opened[location]
        at, size = self._number(name, entries, "offset", 0), file.size_of(shape, dtype, name)
        length = self._number(name, entries, "length", size)
        return file.array(shape, dtype, name, at, at + length)

    def _number(self, name: str, entries: Mapping[str, str], key: str, default: int) -> int:
        text = entries.get(key, str(default))
        if not _NUMBER.fullmatch(text):
            raise self._model.damaged(f"{shown(name)} has the {key} {shown(text)}")
        return int(text)

    def path(self, name: str, location: str) -> Path:
        """The file at a location that a model says a tensor lies at.

        Raises:
            WeightsError: it is none in the model's folder.
        """
        if not location or "\0" in location or _OUTSIDE.match(location):
            raise self._model.error(
                f"{shown(name)} lies in {shown(location)!r}, which is no file beside the model and is not opened; save "
                "the model in one file"
            )
        folder = Path(self._model.name).parent
        try:
            path, within = (folder / location).resolve(), folder.resolve()
            is_there = path.is_file()
        except (OSError, RuntimeError, ValueError):  # a name too long, links in a circle
            raise self._model.error(f"{shown(location)!r}, where {shown(name)} lies, cannot be opened") from None
        if not path.is_relative_to(within):
            raise self._model.error(
                f"{shown(location)!r}, where {shown(name)} lies, is a link out of the model's folder and is not "
                "opened; copy the file itself there"
            )
        if not is_there:
            raise self._model.error(f"its weights lie in {shown(location)!r}, which is not beside it; copy it there")
        return folder / location
