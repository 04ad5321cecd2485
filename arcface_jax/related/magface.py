"""MagFace (Meng et al., CVPR 2021, arXiv 2103.06627): the length of an embedding learns to say its quality.

It answered ArcFace (Eq. 3), which throws the length away. With a = norm(x), kept within l_a .. u_a, the margin grows
with it and a second term pulls it up:
    target = cos(theta_y + m(a)),   m(a) = l_m + (u_m - l_m) (a - l_a) / (u_a - l_a),
    lambda_g g(a),   g(a) = 1 / a + a / u_a^2.
An easy image can afford a long embedding and a large margin, a poor one cannot, so the length becomes a measure of
quality that nobody labelled. AdaFace answered it, with a length that is read and not trained.

Geometry: an image's cap around its centre is the narrower the longer its embedding; the unrecognisable
lie near the middle of the ball.

CHOICE: past theta + m = pi the formula is kept as published, as in `margins.py`; the authors' code stops at 90 degrees.

Not here: the softmax (`head.py`).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from arcface_jax.margins import cos_of_sum
from arcface_jax.related.l_softmax import length


def magnitude(embeddings: Float[Array, "batch d"], lower: float, upper: float) -> Float[Array, "batch"]:
    """a of each image, norm(x) within l_a .. u_a, float32 (batch,); beyond them it has no gradient."""
    return jnp.clip(length(embeddings), lower, upper)


def margin(
    a: Float[Array, "batch"], lower: float, upper: float, lower_margin: float, upper_margin: float
) -> Float[Array, "batch"]:
    """m(a), radians: linear from `lower_margin` at the length `lower` to `upper_margin` at `upper`.

    Args:
        a: of `magnitude`, (batch,).
        lower, upper: l_a and u_a, 10 and 110 in the authors' code.
        lower_margin, upper_margin: l_m and u_m.
    """
    return lower_margin + (upper_margin - lower_margin) * (a - lower) / (upper - lower)


def target(cos_theta: Float[Array, "batch"], margin: Float[Array, "batch"]) -> Float[Array, "batch"]:
    """What takes the place of the cosine with the own class, cos(theta + m(a)); gradients reach both, (batch,)."""
    return cos_of_sum(cos_theta, margin)


def regulariser(a: Float[Array, "batch"], upper: float) -> Float[Array, "batch"]:
    """g(a) of each image, 1 / a + a / u_a^2, (batch,): it falls all the way to a = u_a, where its derivative is 0."""
    return 1 / a + a / upper**2
