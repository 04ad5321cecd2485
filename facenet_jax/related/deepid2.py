"""DeepID2: identification and verification at once (Sun, Wang, Tang, NIPS 2014), which FaceNet's Sec. 3.1 answers.

    L = Ident + lambda Verif,
    Ident = -log p_t, of a softmax over all people of the training set,
    Verif = 1/2 ||f_i - f_j||^2 for two images of one person, 1/2 max(0, m - ||f_i - f_j||)^2 for two people's.

Its place: classifying alone spreads people out and does not draw a person's images together; DeepID2 adds the
contrastive loss for that. FaceNet set one loss of triplets in the place of both, which has no rows of people to learn;
the centre loss, later, kept the classifier and drew images to a centre instead of to each other.

Geometry: a direction for each person, and within it all of his images on one point.

CHOICE: the margin is on the distance, as in Hadsell's loss; some who rebuilt DeepID2 have put it on its square. It is
a fixed number here. CHOICE: an image meets all others of the batch, its positives and its negatives weighing as much as
each other, however many there are.

Not here: Verif itself, which is `contrastive.contrastive_loss`; the softmax, which is `facenet_jax.auxiliary`'s; the
25 patches of a face and the Joint Bayesian model behind them.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from facenet_jax.related.pairs import Pairs


def joint_loss(
    identification: Float[Array, "anchors"],
    verification: Float[Array, "anchors batch"],
    pairs: Pairs,
    weight: float,
) -> Float[Array, "anchors"]:
    """Ident + lambda Verif of each image.

    Args:
        identification: -log p_t of each image.
        verification: the contrastive loss of each pair.
        pairs: which pairs are of one person, and which of two.
        weight: lambda.
    Returns:
        float32 (anchors,): Verif is the mean over an image's positives plus that over its negatives.
    """
    of_kinds = [_mean_of_rows(verification, kind) for kind in pairs]  # (anchors,) each
    return identification + weight * (of_kinds[0] + of_kinds[1])


def _mean_of_rows(values: Float[Array, "anchors batch"], counts: Array) -> Float[Array, "anchors"]:
    return jnp.sum(jnp.where(counts, values, 0.0), axis=1) / jnp.maximum(jnp.sum(counts, axis=1), 1)
