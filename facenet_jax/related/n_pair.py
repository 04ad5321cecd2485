"""The multi-class N-pair loss (Sohn, NIPS 2016), beside FaceNet's Eq. (3).

    L_i = log( 1 + sum over j != i of exp(f_i . f_j+ - f_i . f_i+) ),

for N pairs (x_i, x_i+) of N different people: an anchor's positive against one image of every other person.

Its place: a triplet pushes from one stranger at a time, perhaps towards the next. Here all other people of the batch
push at once, and that is a softmax whose classes are the batch's people: the bridge from triplets to classifiers.

Geometry: as a softmax classifier, with one image of each person in the place of his centre.

CHOICE: a batch has more than two images of a person, and any two of them are an anchor and its positive. In the place
of the one image f_j+ of another person stands the mean of exp over all of his, which is what drawing one gives on
average; where a person's images coincide it is the paper's formula. CHOICE: inner products of unit vectors lie between
-1 and 1, where the loss can hardly fall; they are multiplied by a scale, the square of a length common to all.

Not here: the penalty on the length of embeddings, which have length 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from facenet_jax.related.pairs import Pairs, log_sum_exp


def n_pair_loss(similarity: Float[Array, "anchors batch"], pairs: Pairs, scale: float) -> Float[Array, "anchors batch"]:
    """Loss of each pair (a, p): log(1 + sum over other people j of mean over his images n of exp(s_an - s_ap)).

    Args:
        similarity: inner products of every image of the batch, (anchors, batch).
        pairs: of the batch.
        scale: factor of the inner products.
    Returns:
        float32 (anchors, batch), for positive pairs; others' entries mean nothing and are finite. Without a negative
        in the batch it is 0.
    """
    s = scale * similarity
    images = jnp.sum(~pairs.is_negative, axis=1)  # (batch,): of each image's person
    of_others = log_sum_exp(s - jnp.log(images.astype(jnp.float32))[None, :], pairs.is_negative)  # (anchors,)
    return jax.nn.softplus(of_others[:, None] - s)  # log(1 + exp(x))
