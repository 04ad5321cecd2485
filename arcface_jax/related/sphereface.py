"""SphereFace as published (Liu et al., CVPR 2017, arXiv 1704.08063): row "SphereFace" of ArcFace's Table 2, Sec. 2.2.

SphereFace multiplies the target angle by an integer m. cos(m theta) alone would turn up again after theta = pi / m; psi
continues it downwards, piece by piece:
    psi(theta) = (-1)^k cos(m theta) - 2 k,   k pi / m <= theta <= (k + 1) pi / m,   k = 0 .. m - 1,
which falls from 1 to 1 - 2 m over the half circle. That is too steep to begin training with, so the target logit starts
near the plain cosine, and psi is mixed in:
    (lambda cos(theta) + psi(theta)) / (1 + lambda),   lambda falling from 1,000 to 5.
ArcFace's authors find that the softmax part dominates to the end, and write cos(1.35 theta) through an arccos instead,
which needs no annealing: `margins.SPHEREFACE`.

Not here: that version (`margins.py`); the logits' scale, which in SphereFace is norm(x), the embedding's own length.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from faces.errors import ConfigError


def psi(cos_theta: Float[Array, "*batch"], m: int = 4) -> Float[Array, "*batch"]:
    """The published target, (-1)^k cos(m theta) - 2 k, where k counts the whole pieces of pi / m in theta.

    Args:
        cos_theta: cosine of the target angle, any shape and float type.
        m: the integer margin, at least 1; 1 is the plain cosine.

    Returns:
        float32, same shape.

    Raises:
        ConfigError: m is below 1.

    Numerics: cos(m theta) is a polynomial in cos(theta) (m = 4: 8 c^4 - 8 c^2 + 1), so no arccos is taken and every
    derivative is finite, at +-1 as well. Pieces meet with equal value and derivative.
    """
    if m < 1:
        raise ConfigError(f"SphereFace m = {m}: an integer above 0 expected.")
    cos_theta = cos_theta.astype(jnp.float32)
    previous, cos_m_theta = jnp.ones_like(cos_theta), cos_theta
    for _ in range(m - 1):
        previous, cos_m_theta = cos_m_theta, 2 * cos_theta * cos_m_theta - previous  # cos((n + 1) theta)
    k = sum((cos_theta < math.cos(piece * math.pi / m) for piece in range(1, m)), start=jnp.zeros_like(cos_theta))
    return jnp.where(k % 2 == 0, cos_m_theta, -cos_m_theta) - 2 * k


def annealed_target(cos_theta: Float[Array, "*batch"], m: int, lam: float | Float[Array, ""]) -> Float[Array, "*batch"]:
    """The target logit in training, before its scale: (lambda cos(theta) + psi(theta)) / (1 + lambda).

    Args:
        cos_theta: cosine of the target angle, any shape and float type.
        m: the integer margin.
        lam: lambda, 0 or above; 0 is psi itself.

    Returns:
        float32, same shape.
    """
    return (lam * cos_theta.astype(jnp.float32) + psi(cos_theta, m)) / (1 + lam)


def annealing(
    step: int | Int[Array, ""], base: float, gamma: float, minimum: float, power: float = 1.0
) -> Float[Array, ""]:
    """lambda at a step: max(minimum, base / (1 + gamma step)^power); 1000, 0.12, 5 and 1 in the authors' code.

    Args:
        step: steps taken so far, 0 at the first.
        base, gamma, minimum: where lambda starts, how fast it falls, where it stops (the authors' at step 1,659).
        power: of the fall; L-Softmax (`l_softmax.py`), which has the same rule, takes 35.

    Returns:
        float32 scalar.
    """
    return jnp.maximum(minimum, base * (1 + gamma * jnp.asarray(step, jnp.float32)) ** -power)
