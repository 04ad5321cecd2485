"""Which people of one set another seems to contain, by the embeddings of their images, and how far to believe it.

Two scores speak for a pair of people: the cosine of their centres, in which what chance does to single images averages
out, and the highest cosine of an image of one with an image of the other, which finds a person among wrongly labelled
images, and the same photograph in both sets. Sets of usual size have hundreds of millions of pairs of images, so that a
cosine that one pair of strangers in a thousand reaches proposes hundreds of thousands of them. How high the cosines of
strangers go is seen within each set, where people of different names are different people, and a cosine is chosen that
a few of all pairs of strangers are expected to reach.

Few or no pairs of strangers are seen as high as that, and some of those that are seen are one person under two names.
So the cosine is looked up where there are enough of them and names are mostly right, and followed outwards along the
tail of a normal distribution, to which it is fitted there alone.

Not here: names (`faces.data.person_names`), embeddings, what becomes of the people.
"""

from dataclasses import dataclass

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Float32, Int, Int32, Int64
from scipy.special import ndtr, ndtri

from faces.cluster import similar_pairs
from faces.unit import unit_rows

LEVELS = (0.5, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Shares of strangers' pairs at which their cosines are looked up."""
BEHIND = 20
"""Pairs that must reach a level's cosine for the level to count."""
FITTED = 3
"""The rarest levels that count, along which the tail goes on."""
COMPARED = 4096
"""Images, or people, of each half of a set that are compared to see how strangers' cosines lie."""


def person_centres(
    embeddings: Float[np.ndarray, "n d"], people: Int[np.ndarray, " n"], count: int
) -> Float32[np.ndarray, "count d"]:
    """The mean of each person's embeddings of length 1, at length 1.

    Args:
        embeddings: of any length.
        people: 0 .. count - 1, each at least once.
        count: how many there are.
    Raises:
        EvaluationError: an embedding, or a mean, that is zero or not finite.
    """
    sums = np.zeros((count, embeddings.shape[1]), np.float64)
    np.add.at(sums, people, unit_rows(embeddings.astype(np.float64), "images'"))
    return unit_rows(sums, "people's mean").astype(np.float32)


def cosines_of_strangers(
    embeddings: Float[np.ndarray, "n d"], people: Int[np.ndarray, " n"], seed: int, most: int = COMPARED
) -> Float32[np.ndarray, " pairs"]:
    """Cosines of pairs of images of different people: all pairs between two halves of the people, in no order.

    Args:
        embeddings: of any length.
        people: of each image.
        seed: of who is in which half, and of the images that are taken.
        most: images of a half that are taken.
    """
    rng = np.random.default_rng(seed)
    everyone = rng.permutation(np.unique(people))
    is_first = np.isin(people, everyone[: len(everyone) // 2])
    halves = [rng.permutation(np.flatnonzero(is_half))[:most] for is_half in (is_first, ~is_first)]
    one, other = (unit_rows(embeddings[half].astype(np.float32), "images'") for half in halves)
    return (one @ other.T).ravel()


@dataclass(frozen=True)
class Strangers:
    """How the cosines of strangers' pairs lie.

    Args:
        cosines: of the pairs that were looked at, ascending, (pairs,).
        start, slope: of the line along which their tail goes on: the cosine that a share p of pairs reaches is
            start + slope z where a standard normal variable exceeds z with probability p.
        levels: the shares at which the line was fitted.
    """

    cosines: Float32[np.ndarray, " pairs"]
    start: float
    slope: float
    levels: tuple[float, ...]

    def share(self, cosine: float) -> float:
        """Share of strangers' pairs that reach a cosine: counted where enough do, on the line beyond."""
        reach = self.reach(cosine)
        if reach >= BEHIND or self.slope <= 0:
            return reach / self.cosines.size
        return float(ndtr(-(cosine - self.start) / self.slope))

    def reach(self, cosine: float) -> int:
        """How many of the pairs that were looked at reach a cosine."""
        return int(self.cosines.size - np.searchsorted(self.cosines, cosine))

    def cosine(self, share: float) -> float:
        """The cosine that a share of strangers' pairs reaches, at most 1."""
        if share * self.cosines.size >= BEHIND or self.slope <= 0:
            place = max(0, self.cosines.size - max(1, int(share * self.cosines.size)))
            return float(self.cosines[place])
        return min(1.0, self.start - self.slope * float(ndtri(share)))


def strangers_of(*cosines: Float[np.ndarray, " _"]) -> Strangers | None:
    """What is seen of strangers within several sets, together; None of too few pairs to see anything."""
    together = np.sort(np.concatenate([np.empty(0, np.float32), *cosines]).astype(np.float32))
    levels = tuple(level for level in LEVELS if level * together.size >= BEHIND)[-FITTED:]
    if len(levels) < 2:
        return None
    reached = together[[together.size - int(level * together.size) for level in levels]]
    slope, start = np.polyfit(-ndtri(np.array(levels)), reached.astype(np.float64), 1)
    return Strangers(together, float(start), float(slope), levels)


@dataclass(frozen=True)
class Proposals:
    """Pairs of people, one of each set, who seem to be one, the likeliest first.

    Args:
        first, second: a person of one set and of the other, (pairs,).
        centre: cosine of their centres, (pairs,).
        best: highest cosine of an image of one and an image of the other, (pairs,).
        image, other: rows of those two images in their sets, (pairs,).
        above: how many pairs of their images reach the cosine asked for images, (pairs,).
    """

    first: Int32[np.ndarray, " pairs"]
    second: Int32[np.ndarray, " pairs"]
    centre: Float32[np.ndarray, " pairs"]
    best: Float32[np.ndarray, " pairs"]
    image: Int64[np.ndarray, " pairs"]
    other: Int64[np.ndarray, " pairs"]
    above: Int64[np.ndarray, " pairs"]

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Embedded:
    """The images of a set.

    Args:
        embeddings: of length 1, (n, d).
        people: of each image, 0 .. count - 1, each at least once, (n,).
        count: how many people.
        centres: of the people, of length 1, (count, d).
    """

    embeddings: Float32[np.ndarray, "n d"]
    people: Int[np.ndarray, " n"]
    count: int
    centres: Float32[np.ndarray, "count d"]


def embedded(embeddings: Float[np.ndarray, "n d"], people: Int[np.ndarray, " n"]) -> Embedded:
    """A set of images with its people's centres; as `person_centres`."""
    unit = unit_rows(embeddings.astype(np.float32), "images'")
    count = int(people.max()) + 1 if len(people) else 0
    return Embedded(unit, people, count, person_centres(unit, people, count))


def propose(
    one: Embedded,
    other: Embedded,
    of_centres: float,
    of_images: float,
    also: Int[np.ndarray, "named 2"] | None = None,
    mesh: Mesh | None = None,
) -> Proposals:
    """The pairs of people whose centres reach one cosine, or two of whose images reach another.

    Args:
        one, other: the sets.
        of_centres, of_images: the two cosines.
        also: pairs of people who are proposed in any case, such as those of one name.
        mesh: see `similar_pairs`.

    Returns:
        Each pair once, by how far the better of its two scores lies above what was asked for it, descending.
    Raises:
        EvaluationError: more pairs of images than `faces.cluster.MOST_PAIRS`.
    """
    by_image = _across(one.embeddings, other.embeddings, of_images, mesh)
    by_centre = _across(one.centres, other.centres, of_centres, mesh)
    people = np.stack([one.people[by_image[:, 0]], other.people[by_image[:, 1]]], axis=1).astype(np.int64)
    pairs = np.unique(np.concatenate([people, by_centre, *([] if also is None else [also])]), axis=0)  # (pairs, 2)
    key = pairs[:, 0] * max(1, other.count) + pairs[:, 1]  # ascending
    above = np.bincount(
        np.searchsorted(key, people[:, 0] * max(1, other.count) + people[:, 1]), minlength=len(pairs)
    )
    centre = np.einsum("pd,pd->p", one.centres[pairs[:, 0]], other.centres[pairs[:, 1]])
    best, image, row = _best_images(one, other, pairs)
    order = np.argsort(-np.maximum(centre - of_centres, best - of_images), kind="stable")
    columns = (pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), centre, best, image, row, above)
    return Proposals(*(column[order] for column in columns))


def _across(
    one: Float32[np.ndarray, "n d"], other: Float32[np.ndarray, "m d"], threshold: float, mesh: Mesh | None
) -> Int64[np.ndarray, "pairs 2"]:
    """Rows of each pair of the two sets that reaches a cosine."""
    pairs = similar_pairs(np.concatenate([one, other]), threshold, mesh, border=len(one))
    return np.stack([pairs.first, pairs.second - len(one)], axis=1)


def _best_images(
    one: Embedded, other: Embedded, pairs: Int64[np.ndarray, "pairs 2"]
) -> tuple[Float32[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Of each pair of people the highest cosine of two images, and their rows; of equal ones the first."""
    rows = [_rows_of(one.people, one.count), _rows_of(other.people, other.count)]
    best, image, row = np.empty(len(pairs), np.float32), *(np.empty(len(pairs), np.int64) for _ in range(2))
    for at, (a, b) in enumerate(pairs.tolist()):
        cosine = one.embeddings[rows[0][a]] @ other.embeddings[rows[1][b]].T  # (images of a, images of b)
        i, j = np.unravel_index(int(np.argmax(cosine)), cosine.shape)
        best[at], image[at], row[at] = cosine[i, j], rows[0][a][i], rows[1][b][j]
    return best, image, row


def _rows_of(people: Int[np.ndarray, " n"], count: int) -> list[Int64[np.ndarray, " _"]]:
    """Each person's rows."""
    order = np.argsort(people, kind="stable")
    return np.split(order, np.cumsum(np.bincount(people, minlength=count))[:-1])
