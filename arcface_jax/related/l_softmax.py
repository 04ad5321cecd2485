"""L-Softmax (Liu et al., ICML 2016, arXiv 1612.02295): an integer margin on the angle, lengths as they are.

It answered plain softmax (ArcFace's Eq. 1), which separates classes and asks no more: a score W . x is norm(W) norm(x)
cos(theta), and an image counts as learned once its own theta is the smallest. L-Softmax wants m theta to be:
    logit_y = norm(W_y) norm(x) psi(theta_y),   logit_j = W_j . x,   psi(theta) = (-1)^k cos(m theta) - 2 k.
SphereFace answered it with centres of length 1, so that a class cannot win by a longer centre; psi, and the lambda by
which it is mixed in, stayed (`sphereface.py`).

Geometry: between two classes of equally long centres the border is a sector instead of a ray, theta_1 = theta_2 / m.

Not here: psi and the annealing, which SphereFace took over (`sphereface.py`); a bias, which the loss has none of.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from arcface_jax.related.sphereface import annealed_target
from faces.ops import l2_normalise


def target_logit(
    score: Float[Array, "batch"],
    embeddings: Float[Array, "batch d"],
    own_centres: Float[Array, "batch d"],
    m: int,
    lam: float | Float[Array, ""],
) -> Float[Array, "batch"]:
    """The own class's logit, norm(W_y) norm(x) (lambda cos(theta) + psi(theta)) / (1 + lambda).

    Args:
        score: W_y . x of each image, (batch,).
        embeddings, own_centres: x and W_y, (batch, d).
        m: the integer margin, at least 1; 1 is plain softmax.
        lam: lambda, 0 or above; 0 is psi itself.
    Returns:
        float32 (batch,).
    Numerics: zero, with a zero gradient, where a vector has no length; psi is a polynomial, so that cos = +-1 is no
    special case.
    """
    lengths = length(embeddings) * length(own_centres)  # (batch,)
    has_angle = lengths > 0
    cos_theta = score.astype(jnp.float32) / jnp.where(has_angle, lengths, 1.0)
    return lengths * annealed_target(jnp.where(has_angle, cos_theta, 0.0), m, lam)


def length(x: Float[Array, "batch d"]) -> Float[Array, "batch"]:
    """The Euclidean length of each vector, float32 (batch,); its gradient is the direction, and zero at zero."""
    x = x.astype(jnp.float32)
    return jnp.sum(x * lax.stop_gradient(l2_normalise(x)), axis=1)  # norm(x) as x . x / norm(x)
