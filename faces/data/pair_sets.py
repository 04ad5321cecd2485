"""A list of pairs in LFW's layout and the set that it belongs to, of anybody's people; and people who are held out.

LFW's layout names image i of a person `name/name_%04d.jpg`. Where images are called otherwise, `LfwNames` calls them
so, and a table beside them says what each was called.

Not here: which pairs (`pair_draw.py`), reading such a list (`lfw.py`), the commands (`experiments/pairs.py`,
`experiments/prepare.py`).
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faces.data.joined import own_names
from faces.data.lfw import PAIRS
from faces.data.named_files import folded
from faces.data.pair_draw import Drawn
from faces.data.prepared import EncodedSource, PreparedFaces
from faces.data.preparing import Box, Summary, write_prepared
from faces.errors import DataError
from faces.outputs import write_text

HELD_OUT = "held_out"
"""Within a prepared set: the set of the people who were kept apart from it."""
ORIGINS = "names.csv"
"""In a set whose images were named anew: the name of each, and what it was called in its source."""
_IN_LFW = re.compile(r"(?P<person>[^/\\\0:\t\n\r]+)/(?P=person)_(?P<number>\d{4,9})\.\w+")


def pair_text(drawn: Drawn, name_of: Callable[[int], str]) -> str:
    """The list as a file holds it.

    Args:
        drawn: of a source.
        name_of: name of an image by its row, as LFW has them (`has_lfw_name`).
    """
    lines = [f"{drawn.folds}\t{drawn.n}"]
    for row, (first, second) in enumerate(zip(drawn.first.tolist(), drawn.second.tolist(), strict=True)):
        (a, i), (b, j) = _parts(name_of(first)), _parts(name_of(second))
        lines.append(f"{a}\t{i}\t{j}" if row // drawn.n % 2 == 0 else f"{a}\t{i}\t{b}\t{j}")
    return "\n".join(lines) + "\n"


def _parts(name: str) -> tuple[str, int]:
    """Person and number in the name of an image."""
    match = _IN_LFW.fullmatch(name)
    assert match, name
    return match["person"], int(match["number"])


def has_lfw_name(name: str) -> bool:
    """Whether a list in LFW's layout can name an image by this path."""
    match = _IN_LFW.fullmatch(name)
    return match is not None and match["person"].strip() == match["person"] and match["person"] not in (".", "..")


class SomeImages:
    """Some images of a source on disk, with identities numbered anew from 0.

    Args:
        source: where the images come from.
        rows: which of them, integers (images,).
    """

    def __init__(self, source: EncodedSource, rows: np.ndarray):
        self._source, self._rows = source, rows
        self.name = source.name
        kept, labels = np.unique(source.identities[rows], return_inverse=True)
        self.identities = labels.astype(np.int32)  # (images,)
        self.identity_names = [source.identity_names[label] for label in kept]
        own = own_names(source)
        self.own_names = [own[label] for label in kept]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._source[int(self._rows[index])]

    def encoded(self, index: int) -> bytes:
        """See `EncodedSource`."""
        return self._source.encoded(int(self._rows[index]))

    def source_name(self, index: int) -> str:
        """See `EncodedSource`."""
        return self._source.source_name(int(self._rows[index]))

    def marks(self) -> np.ndarray:
        """See `faces.data.source.FaceSource`."""
        return self._source.marks()[self._rows]


class LfwNames(SomeImages):
    """The same, each image called as LFW calls them, by its person and a number from 1.

    Images that are all called so already keep their names. A person whose name cannot stand in a list is called after
    the label, as in person_00012.
    """

    def __init__(self, source: EncodedSource, rows: np.ndarray):
        super().__init__(source, rows)
        origins = [source.source_name(int(row)) for row in rows]
        self.is_named_anew = not all(map(has_lfw_name, origins)) or not _differ_in_more_than_case(origins)
        self._origins, self._names = origins, self._named() if self.is_named_anew else origins

    def _named(self) -> list[str]:
        people = [_folder_name(name, label) for label, name in enumerate(self.identity_names)]
        alike = Counter(map(folded, people))
        people = [name if alike[folded(name)] == 1 else _by_label(label) for label, name in enumerate(people)]
        seen, names = [0] * len(people), list[str]()
        for label in self.identities.tolist():
            seen[label] += 1
            names.append(f"{people[label]}/{people[label]}_{seen[label]:04d}.jpg")
        return names

    def source_name(self, index: int) -> str:
        """The image's name in LFW's layout."""
        return self._names[index]

    def origins_text(self) -> str:
        """`ORIGINS`: what each image was called."""
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("name", "source"), *zip(self._names, self._origins, strict=True)])
        return text.getvalue()


def _differ_in_more_than_case(names: list[str]) -> bool:
    """Whether a list can tell the images apart, which minds neither case nor extension."""
    return len({folded(name.rpartition(".")[0]) for name in names}) == len(names)


def _folder_name(name: str, label: int) -> str:
    """A person's name as it may stand in a list."""
    return name if has_lfw_name(f"{name}/{name}_0001.jpg") and len(name.encode()) < 100 else _by_label(label)


def _by_label(label: int) -> str:
    return f"person_{label:05d}"


def split_people(source: EncodedSource, part: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a source to train on, and rows of the people who are kept apart, each ascending.

    Args:
        source: labelled images.
        part: of the people, above 0 and below 1, who are kept apart.
        seed: of the choice, which the order of the people's names does not change.
    Raises:
        DataError: fewer than four people could be kept apart or trained on, which no list of two folds can be made of.
    """
    people = len(source.identity_names)
    apart = round(part * people)
    if min(apart, people - apart) < 4:
        raise DataError(
            f"{source.name}: {part:g} of its {people:,} people are {apart}; at least 4 must be held out, and 4 stay."
        )
    by_name = sorted(range(people), key=lambda label: source.identity_names[label])
    held = np.array(by_name)[np.random.default_rng(seed).permutation(people)[:apart]]
    is_held = np.isin(source.identities, held)  # (images,)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def write_pair_set(
    source: LfwNames,
    out: Path,
    list_of: Callable[[PreparedFaces], str],
    *,
    aligned: bool,
    crop: Box | None = None,
    size: int | None = None,
    cut_as: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda images: None,
) -> Summary:
    """Write a prepared dataset with its list of pairs.

    Args:
        source: the images, by names that a list can name them by.
        out: as for `write_prepared`.
        list_of: the set, without the images that were no good -> its list, as `pair_text` gives it.
        aligned, crop, size, cut_as, overwrite, progress: as for `write_prepared`.
    Raises:
        DataError: as `list_of` and `write_prepared`. Nothing is left behind.
    """

    def add(folder: Path) -> None:
        write_text(folder / PAIRS, list_of(PreparedFaces(folder)))
        if source.is_named_anew:
            write_text(folder / ORIGINS, source.origins_text())

    return write_prepared(
        source,
        out,
        crop=crop,
        size=size,
        aligned=aligned,
        cut_as=cut_as,
        overwrite=overwrite,
        progress=progress,
        finish=add,
    )
