"""Steps whose loss or gradient is NaN or infinite: counted, recorded with what they saw, and too many in a row are the
end of a run.

Such a step changes nothing (`faces.train_state.keep_if_finite`), and the next sees another batch: a run of weeks should
not end for one. `RECORD` in the run's folder has a line for each,

    {"step": 812, "loss": "nan", "gradient_norm": "inf", "indices": [40, 7, ...], "people": ["Ann", "Bob", ...]}

with the place of each of the batch's images in the training set. The count is that of the file's lines, so that a run
that is resumed goes on counting where the checkpoint stands.

Not here: what is said and drawn when training is lost (`lost_report.py`), losing it with finite numbers (`blown_up.py`,
and the monitor of each paper).
"""

import math
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from faces.run_record import NOT_FINITE, Log, read_log

MOST_IN_A_ROW = 10
"""`train.most_not_finite` of a config that does not say it."""

OF_STEP = ("loss", "gradient_norm")
"""The metrics by which a step is judged."""


@runtime_checkable
class Shown(Protocol):
    """A loader that tells what its batches showed; see `faces.data.batches.Batches`."""

    def indices(self, step: int) -> np.ndarray: ...

    def people(self, indices: np.ndarray) -> list[str]: ...

    def images(self, step: int) -> np.ndarray: ...


def is_finite(metrics: dict[str, float]) -> bool:
    """Whether a step has moved the weights."""
    return all(math.isfinite(metrics[name]) for name in OF_STEP)


def plain(value: float) -> float | str:
    """A number as JSON has it: "nan", "inf" and "-inf" are words."""
    return value if math.isfinite(value) else str(float(value))


class NotFinite:
    """The count of a run's steps that were not finite, and their record.

    Args:
        folder: of the run; None: nothing is written.
        start: steps done before; of the record what lies after is dropped.
        most: so many in a row are too many.
        loader: of the run; of one that is no `Shown` it is not recorded what a step saw.
        is_writer: whether this process writes.
    Raises:
        DataError: the record is damaged.
    """

    def __init__(self, folder: Path | None, start: int, most: int, loader: Any, is_writer: bool = True):
        there = [] if folder is None else read_log(folder / NOT_FINITE)
        steps = {row["step"] for row in there if 0 < row["step"] <= start}
        self.count, self.in_a_row = len(steps), 0
        while start - self.in_a_row in steps:
            self.in_a_row += 1
        self._most, self._loader = most, loader
        self._open = partial(Log, folder, NOT_FINITE, start, is_writer)
        self._log = self._open() if there else None  # most runs never have such a file
        self._writes = folder is not None and is_writer

    @property
    def may_be_last(self) -> bool:
        """Whether one more would be too many, so that the next step must be known before another begins."""
        return self.in_a_row + 1 >= self._most

    @property
    def is_too_many(self) -> bool:
        """Whether the run ends."""
        return self.in_a_row >= self._most

    def see(self, step: int, metrics: dict[str, float]) -> bool:
        """Whether a step was finite; if not it is counted, and recorded."""
        if is_finite(metrics):
            self.in_a_row = 0
            return True
        self.count, self.in_a_row = self.count + 1, self.in_a_row + 1
        if self._writes:
            self._log = self._log or self._open()
            self._log.add({"step": step, **{name: plain(metrics[name]) for name in OF_STEP}, **self._seen(step)})
        return False

    def _seen(self, step: int) -> dict[str, Any]:
        if not isinstance(self._loader, Shown):
            return {}
        indices = self._loader.indices(step)
        people = self._loader.people(indices)
        return {"indices": indices.tolist()} | ({"people": people} if people else {})
