"""A softmax classifier over the training identities beside the triplets.

FaceNet's Sec. 1 calls the bottleneck layer of classifiers indirect and trains on triplets alone. Practice often adds a
classifier's cross-entropy to them: from random weights it tells every image at once which of all people it shows,
where a triplet compares three. It is an option of ours, off in the paper's configs.

Not here: the triplets, and classifiers with margins, which are another paper's.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def init_classifier(key: jax.Array, classes: int, embedding_dim: int) -> Float[Array, "classes d"]:
    """One row a class, N(0, 0.01): standard deviation 0.01, float32."""
    return 0.01 * jax.random.normal(key, (classes, embedding_dim))


def classifier_loss(
    embeddings: Float[Array, "batch d"], weights: Float[Array, "classes d"], identities: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Cross-entropy of softmax over W x: -log( exp(w_y . x) / sum_j exp(w_j . x) ) of each image, without a bias.

    Args:
        embeddings: x, of length 1.
        weights: W, free in length, so that the classifier finds its own scale.
        identities: y, 0 .. classes - 1.

    Returns:
        One loss an image, float32.
    """
    logits = embeddings.astype(jnp.float32) @ weights.T  # (batch, classes)
    return optax.softmax_cross_entropy_with_integer_labels(logits, identities)
