"""The circle loss of pairs (Sun et al., CVPR 2020), beside FaceNet's Eq. (3).

    L = log[ 1 + sum_j exp(gamma a_n^j (s_n^j - D_n)) sum_i exp(-gamma a_p^i (s_p^i - D_p)) ],
    a_p = max(0, O_p - s_p),  a_n = max(0, s_n - O_n),    O_p = 1 + m, O_n = -m, D_p = 1 - m, D_n = m,

with s the cosines between an anchor and its positives (s_p) and negatives (s_n); the weights a have no gradient.

Its place: in triplets and softmax alike, s_n - s_p decides and both are pushed with equal force, however well one of
them is. With weights by how far each is from its own optimum, the paper's unified loss has one form for pairs and for
classes; without them, gamma going to infinity, it is the triplet loss of the hardest positive and negative.

Geometry: the border s_n^2 + (1 - s_p)^2 = 2 m^2 is a circle in the plane of (s_n, s_p), where a triplet's is a line.

Not here: the form for classes, which is ArcFace's relative.
"""

import jax
from jaxtyping import Array, Float

from facenet_jax.related.pairs import Pairs, log_sum_exp


def circle_loss(
    similarity: Float[Array, "anchors batch"], pairs: Pairs, m: float, gamma: float
) -> Float[Array, "anchors"]:
    """Loss of each anchor.

    Args:
        similarity: cosines s, (anchors, batch).
        pairs: of the batch.
        m: the relaxation; 0.25 for faces.
        gamma: the scale; 256 for faces.
    Returns:
        float32 (anchors,), for the anchors that `pairs.meets_both` names; of others it is 0.
    """
    fixed = jax.lax.stop_gradient(similarity)
    a_p, a_n = jax.nn.relu(1 + m - fixed), jax.nn.relu(fixed + m)  # (anchors, batch) each
    of_positives = log_sum_exp(-gamma * a_p * (similarity - (1 - m)), pairs.is_positive)  # (anchors,)
    of_negatives = log_sum_exp(gamma * a_n * (similarity - m), pairs.is_negative)
    return jax.nn.softplus(of_positives + of_negatives)  # log(1 + exp(x))
