"""The list of people whom two sets seem to share, and the cosines from which on they are proposed.

Not here: the command (`experiments/overlap.py`), the scores (`faces.evaluate.overlap`), pictures (`pair_sheets.py`).
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.common.face_sets import EmbeddedSet
from experiments.common.threshold import WAY
from faces.data.person_names import Alike, Likeness
from faces.errors import ConfigError
from faces.evaluate.overlap import Proposals, Strangers, cosines_of_strangers, propose, strangers_of
from recognizer.model import Model

COLUMNS = ("person", "of_eval", "found_by", "centre_cosine", "best_cosine", "pairs_above", "image", "image_of_eval")
BY_NAME: dict[Likeness, str] = {"same": "name", "near": "near name"}
CENTRES, IMAGES = "centres", "images"


@dataclass(frozen=True)
class Level:
    """From which cosine on something is proposed, and what that costs.

    Args:
        what: is compared.
        compared: how many pairs.
        own: the model's cosine for two faces, if it has one.
        cosine: from which on pairs are proposed.
        strangers: what is seen of strangers; None where the sets have too few.
    """

    what: str
    compared: int
    own: float | None
    cosine: float
    strangers: Strangers | None

    def expected(self, cosine: float) -> float | None:
        """How many of the pairs are strangers' that reach a cosine; None where nothing is known."""
        return None if self.strangers is None else self.compared * self.strangers.share(cosine)

    def said(self) -> str:
        """A sentence for the screen."""
        begin = f"{self.what}: {self.compared:,} pairs compared"
        if self.strangers is None:
            return f"{begin}, proposed from {self.cosine:g} on; too few people to say how many strangers reach that"
        own = ""
        if self.own is not None and self.own < self.cosine:
            own = f", about {self.expected(self.own):,.0f} of strangers from {self.own:g} on, the model's for two faces"
        return (
            f"{begin}{own}, about {self.expected(self.cosine):,.2g} from {self.cosine:g} on, where they are proposed; "
            f"{self.strangers.reach(self.cosine):,} of {self.strangers.cosines.size:,} pairs of different people "
            "within one set reach it"
        )

    def record(self) -> dict[str, Any]:
        """What `result.json` says of it."""
        seen = self.strangers
        return {
            "pairs": self.compared,
            "cosine": self.cosine,
            "expected_false": self.expected(self.cosine),
            "own_cosine": self.own,
            "expected_false_at_own": None if self.own is None else self.expected(self.own),
            "strangers": None if seen is None else int(seen.cosines.size),
            "strangers_above": None if seen is None else seen.reach(self.cosine),
        }


def levels(
    sets: Sequence[EmbeddedSet], model: Model, given: float | None, false: float, seed: int
) -> tuple[Level, Level]:
    """The cosines for two images and for two centres.

    Args:
        sets: the two sets.
        model: whose cosine for two faces is the least.
        given: on the command line; None to choose.
        false: strangers' pairs to expect among those that are compared.
        seed: of the people who are looked at.
    Raises:
        ConfigError: none was given, the model has none, and the people are too few to choose one.
    """
    seen = [one.embedded for one in sets if one.faces.names_people]
    of_images = strangers_of(*(cosines_of_strangers(one.embeddings, one.people, seed) for one in seen))
    of_centres = strangers_of(*(cosines_of_strangers(one.centres, np.arange(one.count), seed) for one in seen))
    found = list[Level]()
    for what, strangers, sizes in (
        (IMAGES, of_images, [len(one.rows) for one in sets]),
        (CENTRES, of_centres, [len(one.labels) for one in sets]),
    ):
        compared = math.prod(sizes)
        cosine = given
        if cosine is None and strangers is not None:
            chosen = math.ceil(100 * strangers.cosine(false / compared)) / 100
            cosine = chosen if model.threshold is None else max(chosen, model.threshold)
        if cosine is None:  # of few people the images may still be enough
            cosine = found[0].cosine if found else model.threshold
        if cosine is None:
            raise ConfigError(
                "the people of both sets are too few to choose a cosine on, and "
                f"{model.description.origin.file} has none; give one by --threshold ({WAY})."
            )
        found.append(Level(what, compared, model.threshold, cosine, strangers))
    return found[0], found[1]


@dataclass(frozen=True)
class Line:
    """A pair of people.

    Args:
        first, second: the person of each set, by number among those compared; None of whom there is no face.
        names: of both.
        found_by: "name" or "near name", "centres", "images".
        centre, best: the two cosines.
        above: pairs of their images that reach the cosine for images.
        image, other: the two images of the highest cosine, by number among those compared.
    """

    first: int | None
    second: int | None
    names: tuple[str, str]
    found_by: tuple[str, ...]
    centre: float | None = None
    best: float | None = None
    above: int = 0
    image: int | None = None
    other: int | None = None


def lines_of(
    train: EmbeddedSet, test: EmbeddedSet, images: Level, centres: Level, named: Sequence[Alike], candidates: int
) -> list[Line]:
    """Everybody who is proposed, the likeliest first; people of like names of whom there is no face come last.

    Args:
        train, test: the sets.
        images, centres: from which cosines on.
        named: people of like names, by their labels.
        candidates: pairs of a person of `train` at most, besides those of like names.
    """
    numbers = [{label: person for person, label in enumerate(one.labels.tolist())} for one in (train, test)]
    by_name, faceless = dict[tuple[int, int], str](), list[Line]()
    for alike in named:
        first, second, how = numbers[0].get(alike.first), numbers[1].get(alike.second), BY_NAME[alike.likeness]
        if first is not None and second is not None:
            by_name[first, second] = how
        else:
            names = train.faces.source.identity_names[alike.first], test.faces.source.identity_names[alike.second]
            faceless.append(Line(first, second, names, (how,)))
    also = np.array(list(by_name), np.int64).reshape(-1, 2)
    found = propose(train.embedded, test.embedded, centres.cosine, images.cosine, also)
    return [*_scored(found, train, test, images, centres, by_name, candidates), *faceless]


def _scored(
    found: Proposals,
    train: EmbeddedSet,
    test: EmbeddedSet,
    images: Level,
    centres: Level,
    by_name: dict[tuple[int, int], str],
    candidates: int,
) -> list[Line]:
    lines, of_person = list[Line](), Counter[int]()
    columns = (found.first, found.second, found.centre, found.best, found.above, found.image, found.other)
    for first, second, centre, best, above, image, other in zip(*(one.tolist() for one in columns), strict=True):
        named = by_name.get((first, second))
        of_person[first] += 1
        if named is None and of_person[first] > candidates:
            continue
        found_by = (*([named] if named else []), *([CENTRES] if centre >= centres.cosine else []),
                    *([IMAGES] if best >= images.cosine else []))  # fmt: skip
        names = train.name_of(first), test.name_of(second)
        lines.append(Line(first, second, names, found_by, centre, best, above, image, other))
    return lines


def table_of(lines: Sequence[Line], train: EmbeddedSet, test: EmbeddedSet) -> str:
    """The list as a file holds it; `experiments.prepare --without` reads its column `person`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        scores = ["" if score is None else f"{score:.4f}" for score in (line.centre, line.best)]
        images = ["" if image is None else one.image_name(image)
                  for one, image in ((train, line.image), (test, line.other))]  # fmt: skip
        writer.writerow((*line.names, " + ".join(line.found_by), *scores, line.above, *images))
    return text.getvalue()
