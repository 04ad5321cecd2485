"""AdaFace (Kim, Jain, Liu, CVPR 2022, arXiv 2204.00964): the margin's kind follows the image's quality.

It answered ArcFace and CosFace (ArcFace's Eq. 4), which ask as much of an unrecognisable picture as of a sharp one, and
CurricularFace, which asks most of what is hard, and some of that is beyond recognition. The length of an embedding
tells the quality well enough, without a gradient. Over all images of late,
    z = clip( h (norm(x) - mean) / std, -1, 1 ),   target = cos(theta_y - m z) - (m z + m).
A sharp image, z = 1, has an additive margin of 2 m and an angle that is turned back; a poor one, z = -1, has ArcFace's
cos(theta + m), whose gradient is small where theta is large; z = 0 is CosFace.

Geometry: m z tilts the border between ArcFace's, parallel on the sphere, and one that gives way towards hard images.

CHOICE: past theta + m = pi the formula is kept as published, as in `margins.py`; the authors' code clips the angle.

Not here: the softmax (`head.py`), what remembers the statistics (`train_step.py`).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from arcface_jax.margins import cos_of_sum

SHORTEST, LONGEST = 0.001, 100.0
"""Lengths between which embeddings count, in the authors' code."""
_EPSILON = 0.001  # beside the spread, in the authors' code


def lengths(embeddings: Float[Array, "batch d"]) -> Float[Array, "batch"]:
    """The quality of each image: norm(x), 0.001 at least and 100 at most, float32 (batch,), without a gradient."""
    x = lax.stop_gradient(embeddings.astype(jnp.float32))
    return jnp.clip(jnp.sqrt(jnp.sum(jnp.square(x), axis=1)), SHORTEST, LONGEST)


def statistics(
    lengths: Float[Array, "batch"], before: dict[str, Float[Array, ""]], momentum: float
) -> dict[str, Float[Array, ""]]:
    """"norm_mean" and "norm_std" of a step: momentum times this batch's, 1 - momentum times those of the step before.

    Args:
        lengths: of the images of all devices, (batch,), at least 2.
        before: of the step before.
        momentum: weight of this batch, 0 to 1.
    Returns:
        As `before`; the spread is that of a sample, divided by n - 1.
    """
    now = {"norm_mean": jnp.mean(lengths), "norm_std": jnp.std(lengths, ddof=1)}
    return {name: momentum * now[name] + (1 - momentum) * before[name] for name in now}


def quality(
    lengths: Float[Array, "batch"], norm_mean: Float[Array, ""], norm_std: Float[Array, ""], h: float
) -> Float[Array, "batch"]:
    """z of each image, -1 to 1: clip( h (norm(x) - mean) / std, -1, 1 ); h = 0.333 clips what is beyond 3 std."""
    return jnp.clip(h * (lengths - norm_mean) / (norm_std + _EPSILON), -1, 1)


def target(
    cos_theta: Float[Array, "batch"], z: Float[Array, "batch"], m: float
) -> Float[Array, "batch"]:
    """What takes the place of the cosine with the own class: cos(theta - m z) - (m z + m).

    Args:
        cos_theta: of each image with its own centre, (batch,).
        z: of `quality`, (batch,).
        m: radians, and a cosine too.
    Returns:
        float32 (batch,); derivatives are finite everywhere, see `margins.cos_of_sum`.
    """
    return cos_of_sum(cos_theta, -m * z) - (m * z + m)
