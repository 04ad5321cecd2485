"""Batch-all: every valid triplet of a batch (Hermans, Beyer, Leibe, arXiv 1703.07737), beside FaceNet's Sec. 3.2.

    L = sum over all (a, p, n) of max(0, m + D(a, p) - D(a, n)),    id(a) = id(p) != id(n), a != p,

divided by the number of triplets whose loss is above zero: most are solved soon, and the mean over all would vanish.

Its place: the plainest answer to "which triplets?". FaceNet's Sec. 3.2 mines because most triplets teach nothing; here
none is left out, and those that teach are averaged. Batch-hard is the other end.

Geometry: an anchor is pulled to each of its own by as many strangers as lie inside that one's distance plus m.

A batch of P people with K images has P K (K - 1) (P K - K) triplets, 10^8 of them for FaceNet's 1,800 images. This file
is the definition, which looks at each; `batch_all_fast.py` gives the same without.

Not here: the fast form; soft margins, which have no sums to share.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from facenet_jax.related.pairs import Pairs


class TripletsOfPairs(NamedTuple):
    """All triplets of each pair (a, p), summed."""

    loss: Float[Array, "anchors positives"]
    """Sum of the losses over the negatives."""
    active: Int[Array, "anchors positives"]
    """Number of negatives with which the loss is above zero."""


def batch_all(distance: Float[Array, "anchors batch"], pairs: Pairs, alpha: float) -> TripletsOfPairs:
    """Sum over n of max(0, alpha + D(a, p) - D(a, n)), for each pair (a, p).

    Args:
        distance: D, of whatever kind, at least 0.
        pairs: of the batch.
        alpha: m, in units of D, above 0.
    Returns:
        Of entries that are no positive pair both are 0. A pair has as many triplets as its anchor has negatives.
    """

    def of_anchor(anchor: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        d, is_positive, is_negative = anchor  # (batch,) each
        of_triplets = jax.nn.relu(alpha + d[:, None] - d[None, :])  # (positives, negatives)
        of_triplets = jnp.where(is_positive[:, None] & is_negative[None, :], of_triplets, 0.0)
        return jnp.sum(of_triplets, axis=1), jnp.sum(of_triplets > 0, axis=1, dtype=jnp.int32)

    return TripletsOfPairs(*jax.lax.map(of_anchor, (distance, *pairs)))
