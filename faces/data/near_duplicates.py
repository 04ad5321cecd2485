"""Images that show nearly the same: the same photograph saved twice, cut otherwise, or a next frame; by embedding.

The same image twice under one name teaches nothing new and counts for two; under two names it says that one of them is
wrong, or that two names are one person. Pairs at or above a cosine, much higher than that of one person's photographs,
are found as `faces.cluster.similar_pairs` finds them, in blocks, without all cosines of all images.

Of one person's images a first one stays, and later ones that are nearly the same as one that stayed are its copies. A
copy's copy that is not near one that stayed stays itself: chains, as of a video's frames, are thinned, not swallowed.

Not here: copies byte for byte (`faces.cache.digest_of`), embeddings, what becomes of the images that are found.
"""

from dataclasses import dataclass

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Float64, Int, Int64

from faces.cluster import ROUNDING, similar_pairs
from faces.unit import unit_rows

AT_ONCE = 2**20
"""Numbers of embeddings that are multiplied at a time."""


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of images at or above a cosine, each once, in the order of `first`, then `second`.

    Args:
        first, second: rows, first < second, (pairs,).
        cosine: of each pair, (pairs,).
        is_across: whether the two are of two people, (pairs,).
        copy_of: of each image the earlier image of the same person that it is a copy of, the nearest of several; its
            own row where it stays, (n,).
    """

    first: Int64[np.ndarray, " pairs"]
    second: Int64[np.ndarray, " pairs"]
    cosine: Float64[np.ndarray, " pairs"]
    is_across: Bool[np.ndarray, " pairs"]
    copy_of: Int64[np.ndarray, " n"]

    @property
    def is_copy(self) -> Bool[np.ndarray, " n"]:
        """Whether each image is a copy of an earlier one of the same person."""
        return self.copy_of != np.arange(len(self.copy_of))


def near_duplicates(
    embeddings: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], threshold: float, mesh: Mesh | None = None
) -> NearDuplicates:
    """The pairs of images whose cosine is at least `threshold`, within people and across them.

    Args:
        embeddings: of any length.
        labels: the person of each image, any whole numbers.
        threshold: a cosine.
        mesh: see `similar_pairs`; the result does not depend on it.

    Raises:
        EvaluationError: an embedding that is zero or not finite; more pairs than `faces.cluster.MOST_PAIRS`.

    Numerics: pairs are looked for in float32, a little below the threshold; of those the cosine is that of the float32
    embeddings in float64.
    """
    pairs = similar_pairs(embeddings, threshold - ROUNDING, mesh)
    cosine = _cosines(embeddings, pairs.first, pairs.second)
    order = np.lexsort((pairs.second, pairs.first))
    order = order[cosine[order] >= threshold]
    first, second, cosine = pairs.first[order], pairs.second[order], cosine[order]
    is_across = labels[first] != labels[second]
    within = ~is_across
    copy_of = _copies(first[within], second[within], cosine[within], len(labels))
    return NearDuplicates(first, second, cosine, is_across, copy_of)


def _cosines(
    embeddings: Float[np.ndarray, "n d"], first: Int64[np.ndarray, " pairs"], second: Int64[np.ndarray, " pairs"]
) -> Float64[np.ndarray, " pairs"]:
    """Of pairs of rows, in float64, a few at a time."""
    cosine = np.empty(first.size, np.float64)
    step = max(1, AT_ONCE // max(1, embeddings.shape[1]))
    for start in range(0, first.size, step):
        part = slice(start, start + step)
        one, other = (unit_rows(embeddings[rows[part]].astype(np.float64), "pictures'") for rows in (first, second))
        cosine[part] = np.einsum("pd,pd->p", one, other)
    return cosine


def _copies(
    first: Int64[np.ndarray, " pairs"],
    second: Int64[np.ndarray, " pairs"],
    cosine: Float64[np.ndarray, " pairs"],
    n: int,
) -> Int64[np.ndarray, " n"]:
    """Of each image the nearest of those before it that stay, in the order of the images; itself where none is near."""
    copy_of, nearest = np.arange(n, dtype=np.int64), dict[int, float]()
    order = np.lexsort((first, second))  # all that is said of an image is known before a later one asks
    for one, other, near in zip(first[order].tolist(), second[order].tolist(), cosine[order].tolist(), strict=True):
        if copy_of[one] == one and near > nearest.get(other, -np.inf):
            copy_of[other], nearest[other] = one, near
    return copy_of
