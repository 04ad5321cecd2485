"""Several sets of labelled photographs as one.

Their people are different people, also where two have one name, unless they are merged by their names. Images are
called by the set that they come from, and their name there.

Not here: opening a set (`open.py`).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faces.data.prepared import EncodedSource


class Joined:
    """Sets one after the other, as an `EncodedSource`.

    Args:
        sources: the sets.
        merge_by_name: people of one name are one person; otherwise each of them is called after the set as well.

    Attributes:
        name: of all sets.
        identities: int32 (images,).
        identity_names: of each label; no two are equal.
        own_names: what each label's set calls the person.
        in_several: names that more than one set has.
    """

    def __init__(self, sources: Sequence[EncodedSource], merge_by_name: bool = False):
        self._sources, self._sets = tuple(sources), _distinct([source.name for source in sources])
        self._starts = np.cumsum([0, *map(len, sources)])  # (sets + 1,)
        self.name = ", ".join(source.name for source in sources)
        counts = Counter(name for source in sources for name in set(source.identity_names))
        self.in_several = sorted(name for name, sets in counts.items() if sets > 1)
        several, labels = set(self.in_several), list[np.ndarray]()
        self.identity_names, self.own_names = list[str](), list[str]()
        taken, label_of = {name for name in counts if name not in several}, dict[str, int]()
        for source, set_name in zip(sources, self._sets, strict=True):
            new = np.empty(len(source.identity_names), np.int32)
            for label, name in enumerate(source.identity_names):
                called = name
                if name in several and not merge_by_name:
                    called = _free(f"{name} ({set_name})", taken)
                if called not in label_of:
                    label_of[called] = len(self.identity_names)
                    self.identity_names.append(called)
                    self.own_names.append(name)
                new[label] = label_of[called]
            labels.append(new[source.identities])
        self.identities = np.concatenate(labels)

    def __len__(self) -> int:
        return len(self.identities)

    def __getitem__(self, index: int) -> np.ndarray:
        source, row = self._at(index)
        return self._sources[source][row]

    def encoded(self, index: int) -> bytes:
        """See `EncodedSource`."""
        source, row = self._at(index)
        return self._sources[source].encoded(row)

    def source_name(self, index: int) -> str:
        """The set's name and the image's name in it."""
        source, row = self._at(index)
        return f"{self._sets[source]}/{self._sources[source].source_name(row)}"

    def marks(self) -> np.ndarray:
        """See `faces.data.source.FaceSource`."""
        return np.concatenate([source.marks() for source in self._sources])

    def _at(self, index: int) -> tuple[int, int]:
        source = int(np.searchsorted(self._starts, index, side="right")) - 1
        return source, index - int(self._starts[source])


def own_names(source: EncodedSource) -> list[str]:
    """What a set, or each of the sets that a set was made of, calls the person of each label."""
    return getattr(source, "own_names", source.identity_names)


def _distinct(places: Sequence[str]) -> list[str]:
    """A short name for each place: the last part of its path."""
    taken = set[str]()
    return [_free(Path(place).absolute().name or "set", taken) for place in places]


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of NAME-2, NAME-3, ... that is not taken; it is taken then."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free
