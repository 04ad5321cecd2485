"""Pairs in LFW's manner drawn from anybody's people: what a choice is made on that is not to be made on LFW.

People are divided into folds, so that nobody is in two. Each fold has as many pairs of one person as of two people, n
of each, no pair twice. Pairs of one person are drawn person by person in turn, so that who has many images does not
fill the list; pairs of two people by two people, and then an image of each.

Not here: the list as a file, and the images that it names (`pair_sets.py`), pairs of generated faces
(`synthetic/generated.py`).
"""

import itertools
from dataclasses import dataclass

import numpy as np

from faces.data.source import FaceSource
from faces.errors import DataError, ImageError

FOLDS, PAIRS_OF_EACH = 10, 300
"""Of LFW's View 2: folds, and pairs of each kind in one."""


@dataclass(frozen=True)
class Drawn:
    """Rows of a source in pairs.

    Args:
        folds: how many.
        n: pairs of one person in each, and as many of two.
        first, second: int32 (folds x 2n,): in each fold the pairs of one person, then those of two.
    """

    folds: int
    n: int
    first: np.ndarray
    second: np.ndarray

    def said(self) -> str:
        """For a line on the screen."""
        return f"{self.folds} folds of {self.n:,} pairs of one person and {self.n:,} of two, nobody in two folds"


def draw_pairs(
    identities: np.ndarray, name: str, folds: int | None = None, n: int | None = None, seed: int = 0
) -> Drawn:
    """Draw a balanced list of pairs.

    Args:
        identities: person of each image, integers (images,).
        name: of the set, for messages.
        folds: how many; None for 10, or as many as there are two people for each, one of them with two images.
        n: pairs of each kind in a fold; None for 300, or as many as every fold's people have.
        seed: of people's folds and of the pairs.
    Raises:
        DataError: the people do not have so many folds or pairs.
    """
    random = np.random.default_rng(seed)
    people, counts = np.unique(identities, return_counts=True)
    several, single = people[counts > 1], people[counts == 1]
    most = min(len(several), len(people) // 2)
    if most < 2 or (folds or 2) > most:
        raise DataError(
            f"{name}: {len(people):,} people, {len(several):,} of them with two images or more, are too few for "
            f"{folds or 2} folds; each needs two people, and one with two images."
        )
    folds = folds or min(FOLDS, most)
    several, single = random.permutation(several), random.permutation(single)
    # one after the other, and those with a single image from the last fold on, so that folds are about equally large
    members = [[*several[fold::folds], *single[folds - 1 - fold :: folds]] for fold in range(folds)]
    images = [[np.flatnonzero(identities == person) for person in fold] for fold in members]
    room = min(min(_pairs_of_one(fold), _pairs_of_two(fold)) for fold in images)
    if (n or 1) > room:
        raise DataError(
            f"{name}: {n or 1} pairs of one person and as many of two in each of {folds} folds are asked for, and the "
            f"people of a fold have {room}; ask for fewer pairs or fewer folds."
        )
    n = n or min(PAIRS_OF_EACH, room)
    rows = [pair for fold in images for draw in (_draw_of_one, _draw_of_two) for pair in draw(fold, n, random)]
    first, second = np.array(rows, np.int32).T  # (pairs,) each
    return Drawn(folds, n, first, second)


def _pairs_of_one(images: list[np.ndarray]) -> int:
    return sum(len(own) * (len(own) - 1) // 2 for own in images)


def _pairs_of_two(images: list[np.ndarray]) -> int:
    counts = np.array([len(own) for own in images], np.int64)
    return int((counts.sum() ** 2 - (counts**2).sum()) // 2)


def _draw_of_one(images: list[np.ndarray], n: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """`n` pairs of one person, a pair of each person in turn."""
    left = []
    for own in (images[at] for at in random.permutation(len(images))):
        pairs = list(itertools.combinations(own.tolist(), 2))
        left.append([pairs[at] for at in random.permutation(len(pairs))])
    turns = (pair for turn in itertools.zip_longest(*left) for pair in turn if pair is not None)
    return list(itertools.islice(turns, n))


def _draw_of_two(images: list[np.ndarray], n: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """`n` pairs of two people: two people, then an image of each; in a fold that has hardly more, from all of them."""
    if _pairs_of_two(images) < 4 * n:
        twos = itertools.combinations(images, 2)
        every = [pair for a, b in twos for pair in itertools.product(a.tolist(), b.tolist())]
        return [every[at] for at in random.permutation(len(every))[:n]]
    drawn: dict[tuple[int, int], None] = {}
    limit = 100 * n  # draws, after which what is missing is drawn from the fold's images instead
    for _ in range(limit):
        if len(drawn) == n:
            return list(drawn)
        a, b = sorted(random.choice(len(images), 2, replace=False).tolist())
        drawn[int(random.choice(images[a])), int(random.choice(images[b]))] = None
    person = np.repeat(np.arange(len(images)), [len(own) for own in images])
    rows = np.concatenate(images)
    while len(drawn) < n:
        i, j = sorted(random.choice(len(rows), 2, replace=False).tolist())
        if person[i] != person[j]:
            drawn[int(rows[i]), int(rows[j])] = None
    return list(drawn)


def sound_pairs(source: FaceSource, folds: int | None, n: int | None, seed: int) -> Drawn:
    """As `draw_pairs`, of images that can be decoded: where a pair's cannot, all are drawn anew without it.

    Raises:
        DataError: as `draw_pairs`.
    """
    is_good, seen = np.ones(len(source), bool), np.zeros(len(source), bool)
    while True:
        rows = np.flatnonzero(is_good)
        drawn = draw_pairs(source.identities[rows], source.name, folds, n, seed)
        drawn = Drawn(drawn.folds, drawn.n, rows[drawn.first], rows[drawn.second])
        new = np.union1d(drawn.first, drawn.second)
        new = new[~seen[new]]
        seen[new] = True
        for row in new.tolist():
            try:
                source[row]
            except ImageError:
                is_good[row] = False
        if is_good[new].all():
            return drawn
