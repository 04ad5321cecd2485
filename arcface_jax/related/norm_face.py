"""NormFace (Wang et al., ACM MM 2017, arXiv 1704.06369): ArcFace's Eq. 2, softmax over cosines, with s learned.

It answered a puzzle: networks were trained by inner products and compared by cosines, and normalising in training too
made them worse. The reason is a bound. Cosines lie in -1 .. 1, so with C classes no image's loss can fall below log(1 +
(C - 1) e^(-s C / (C - 1))), whatever the network does; for s = 1 and 10,000 classes that is 8.2. Hence a scale:
    l_i = -log( e^(s cos theta_y) / sum_j e^(s cos theta_j) ),   s learned with the network.
CosFace and ArcFace, which answered it, keep the sphere, fix s at 64, and add what it has none of, a margin.

Geometry: C centres as far apart as they can be lie at cosines of -1 / (C - 1), a simplex; that is where the bound is
met.

Not here: the loss itself, which is a head without a margin (`head.py`), the update of s (`train_step.py`).
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def scale(s: Float[Array, ""], floor: float = 0.01) -> Float[Array, ""]:
    """The scale that a step uses: what was learned, but never below a floor, 0.01 in the authors' code.

    Args:
        s: as it was learned.
        floor: above 0; a negative scale would turn attraction into repulsion.
    Returns:
        float32 scalar; below the floor s has no gradient, and only what decays it could move it.
    """
    return jnp.maximum(s.astype(jnp.float32), floor)


def least_scale(classes: int, probability: float) -> float:
    """The scale that a probability needs: s >= (C - 1) / C log((C - 1) P / (1 - P)), as CosFace writes the bound.

    With it an image at its own centre has the softmax probability P where centres are as far apart as they can be; with
    less not even there.

    Args:
        classes: C, at least 2.
        probability: P, between 0 and 1.
    """
    return (classes - 1) / classes * math.log((classes - 1) * probability / (1 - probability))


def least_loss(classes: int, s: float) -> float:
    """The loss below which no image falls on average: log(1 + (C - 1) e^(-s C / (C - 1))); `least_scale` inverts it.

    Args:
        classes: C, at least 2.
        s: the scale.
    """
    return math.log1p((classes - 1) * math.exp(-s * classes / (classes - 1)))
