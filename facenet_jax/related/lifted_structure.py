"""The lifted structured loss (Oh Song et al., CVPR 2016, arXiv 1511.06452), beside FaceNet's Sec. 3.2.

    J_ij = log( sum_k exp(alpha - D_ik) + sum_l exp(alpha - D_jl) ) + D_ij,
    L = 1 / (2 |P|)  sum over positive pairs (i, j) of max(0, J_ij)^2,

k over i's negatives, l over j's, D the Euclidean distance.

Its place: a triplet uses three images of a batch and mining throws most of the rest away. Here each positive pair meets
all negatives of both of its images, by a soft minimum in the place of the hardest, whose gradient jumps. N-pair, later,
has the same idea in inner products, without the square.

Geometry: a pair of one person, and a soft shell of width alpha around both ends that strangers must leave.

Not here: the mean over the pairs.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from facenet_jax.related.pairs import Pairs, log_sum_exp


def lifted_structure_loss(
    distance: Float[Array, "anchors batch"], pairs: Pairs, alpha: float
) -> Float[Array, "anchors batch"]:
    """Loss of each pair (i, j), 1/2 max(0, J_ij)^2; the same for (j, i).

    Args:
        distance: D, Euclidean, not squared, of every image of the batch.
        pairs: of the batch.
        alpha: the margin, in units of D.
    Returns:
        float32 (anchors, batch), for positive pairs; others' entries mean nothing and are finite. Without a negative
        in the batch it is 0.
    """
    of_negatives = log_sum_exp(alpha - distance, pairs.is_negative)  # (anchors,)
    j = jnp.logaddexp(of_negatives[:, None], of_negatives[None, :]) + distance  # J_ij (anchors, batch)
    return 0.5 * jnp.square(jax.nn.relu(j))
