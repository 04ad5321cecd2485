"""The batches of a run, read ahead by threads, and what any of them showed.

Element t of a run's `Steps` is the batch of its step t + 1, whatever was read before, so that a batch can be looked at
once more when its step went wrong, and nothing has to be kept of those that went well.

Not here: which images a batch has and what is done to them (`loader.py`, and `examples.py` of each detector).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

import grain
import numpy as np

B = TypeVar("B", bound=Mapping[str, Any])
"""A batch: arrays by name, "images" among them."""
B_co = TypeVar("B_co", bound=Mapping[str, Any], covariant=True)


class Steps(Protocol[B_co]):
    """Random access to a run's batches."""

    def __len__(self) -> int:
        """Steps of the run."""
        ...

    def __getitem__(self, index: int, /) -> B_co:
        """The batch of step `index` + 1, or this process's part of it."""
        ...

    def whole(self, index: int) -> B_co:
        """The same of all processes together."""
        ...

    def indices(self, index: int) -> np.ndarray:
        """Which images of the training set the whole batch shows, int64 (batch,)."""
        ...

    def people(self, indices: np.ndarray) -> list[str]:
        """Who is seen in these images of the training set; [] where that is not known."""
        ...


class Batches(Generic[B]):
    """An iterator over the batches of a run; `get_state()` and `set_state()` give and take its place.

    Args:
        steps: of the run.
        threads: batches read at the same time.
        ahead: how many are read before they are asked for.
    """

    def __init__(self, steps: Steps[B], threads: int, ahead: int):
        self._steps = steps
        read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        source: Any = steps
        self._iterator = iter(grain.MapDataset.source(source).to_iter_dataset(read))

    def __iter__(self) -> Iterator[B]:
        return self

    def __next__(self) -> B:
        return next(self._iterator)

    def get_state(self) -> dict[str, Any]:
        return self._iterator.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        self._iterator.set_state(state)

    def indices(self, step: int) -> np.ndarray:
        """Which images of the training set a step sees, in the order of its batch, int64 (batch,).

        Args:
            step: from 1, as logs count.
        """
        return self._steps.indices(step - 1)

    def people(self, indices: np.ndarray) -> list[str]:
        """See `Steps`."""
        return self._steps.people(indices)

    def images(self, step: int) -> np.ndarray:
        """What a step sees, as the network is given it: uint8 (batch, rows, columns, 3), RGB; read anew."""
        return self._steps.whole(step - 1)["images"]
