"""Margins on the target logit: Eq. (2) to (4) of ArcFace (arXiv 1801.07698), Sec. 2.1 and 2.2 of v3, Sec. 3.1 of v4.

With centres and embeddings scaled to length 1, a logit is the cosine of the angle theta between them. A margin makes
the logit of the true class smaller than it is, so that training goes on after the class is already the nearest one. All
three margins that the paper compares fit into one formula (its Eq. 4):
    cos(m1 theta + m2) - m3.
m1 stretches the angle (SphereFace), m2 adds to it (ArcFace, Eq. 3), m3 lowers the cosine (CosFace); (1, 0, 0) is
norm-softmax (Eq. 2). Adding to the angle moves the decision boundary by the same arc everywhere on the sphere, which is
the paper's argument for ArcFace (its Fig. 5; `python -m experiments.margins` draws it).

CHOICE: past m1 theta + m2 = pi the formula is kept as published, as the authors' later code does for all three margins;
their first, for m2 alone (`loss_type` 4 of its MXNet script), goes on there with cos theta - m2 sin(m2). The target
logit rises again there, and the exact gradient changes sign: such an embedding is pushed away from its centre. For m2 =
0.5 this is theta > 151 degrees, while training starts near 90 degrees and ends near 30 (PAPER Sec. 2.2, Fig. 4).

CHOICE: derivatives at |cos theta| = 1, and beyond by rounding, are those at the nearest float32 inside, 1 - 2^-24 (an
angle of 0.02 degrees). At 1 the true ones are infinite (arccos, and Eq. 3 for m2 > 0). The gradient that reaches an
embedding is bounded all the same: theta changes by at most the embedding's own turn.

Not here: the scale s and the softmax over classes (`head.py`), the terms added to the loss (`losses.py`), SphereFace
with an integer m and annealing (`related/sphereface.py`).
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from faces.errors import ConfigError

Gradient = Literal["exact", "straight_through"]

LARGEST_COSINE = 1 - 2**-24  # the float32 next to 1


@dataclass(frozen=True)
class Margin:
    """The three margins of Eq. (4) and how their gradient is taken. Hashable, so that a jitted step can be built on it.

    Raises:
        ConfigError: a value outside its range, or not a number.
    """

    m1: float = 1.0
    """Multiplies the target angle; above 0."""
    m2: float = 0.5
    """Is added to the target angle; radians, from 0 to below pi."""
    m3: float = 0.0
    """Is taken from the target cosine; from 0 to below 2."""
    gradient: Gradient = "exact"
    """Derivative of the target logit by cos theta: "exact" is that of the formula, m1 sin(m1 theta + m2) / sin(theta),
    and so the published loss; "straight_through" is 1 everywhere, what the authors' PyTorch code trains with."""

    def __post_init__(self) -> None:
        ranges = (
            ("m1", self.m1, 0 < self.m1 < math.inf, "a number above 0"),
            ("m2", self.m2, 0 <= self.m2 < math.pi, "radians, from 0 to below 3.1416,"),
            ("m3", self.m3, 0 <= self.m3 < 2, "a number from 0 to below 2"),
        )
        for name, value, holds, expected in ranges:
            if not holds:
                raise ConfigError(f"margin {name} = {value}: {expected} expected.")
        if self.gradient not in get_args(Gradient):
            raise ConfigError(f'margin gradient = "{self.gradient}": "exact" or "straight_through" expected.')


# The settings that the paper compares: Table 2 and Fig. 4.
NORM_SOFTMAX = Margin(1.0, 0.0, 0.0)  # Eq. (2)
SPHEREFACE = Margin(1.35, 0.0, 0.0)
ARCFACE = Margin(1.0, 0.5, 0.0)  # Eq. (3)
COSFACE = Margin(1.0, 0.0, 0.35)
CM1 = Margin(1.0, 0.3, 0.2)
CM2 = Margin(0.9, 0.4, 0.15)


def target_cosine(cos_theta: Float[Array, "*batch"], margin: Margin) -> Float[Array, "*batch"]:
    """The target logit before scaling, Eq. (4).

        cos(m1 theta + m2) - m3

    Args:
        cos_theta: cosine of the angle between an embedding and the centre of its own class, any shape and float type.
        margin: which margins, and the gradient.

    Returns:
        float32, same shape.

    Numerics: where m1 is 1 the sum of angles is expanded, cos theta cos m2 - sin theta sin m2, which needs no arccos
    and has a third of its error; where m2 is 0 as well, the result is cos theta - m3 and is not clipped. Otherwise a
    cosine beyond +-1 counts as +-1. Derivatives at +-1: see the module's header.
    """
    cos_theta = cos_theta.astype(jnp.float32)
    if margin.m1 == 1 and margin.m2 == 0:
        return cos_theta - margin.m3
    target = _with_exact_gradient(cos_theta, margin)  # Eq. (4)
    if margin.gradient == "straight_through":
        return lax.stop_gradient(target) + (cos_theta - lax.stop_gradient(cos_theta))
    return target


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _with_exact_gradient(cos_theta: Float[Array, "*batch"], margin: Margin) -> Float[Array, "*batch"]:
    return _cos_and_sin(jnp.clip(cos_theta, -1, 1), margin)[0] - margin.m3


@_with_exact_gradient.defjvp
def _exact_derivative(margin: Margin, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    inside = _inside(primals[0])
    slope = margin.m1 * _cos_and_sin(inside, margin)[1] / _sine(inside)
    return _with_exact_gradient(primals[0], margin), slope * tangents[0]


def _cos_and_sin(cos_theta: Array, margin: Margin) -> tuple[Array, Array]:
    """Cosine and sine of m1 theta + m2."""
    sine = _sine(cos_theta)
    if margin.m1 == 1:
        cos_m, sin_m = math.cos(margin.m2), math.sin(margin.m2)
        return cos_theta * cos_m - sine * sin_m, sine * cos_m + cos_theta * sin_m
    angle = margin.m1 * jnp.arctan2(sine, cos_theta) + margin.m2
    return jnp.cos(angle), jnp.sin(angle)


@jax.custom_jvp
def cos_of_sum(cos_theta: Float[Array, "*batch"], angle: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """cos(theta + angle), of a cosine and of an angle of its own for each: margins that differ from image to image.

    Args:
        cos_theta: any shape and float type; beyond +-1 it counts as +-1.
        angle: radians, of the same shape; gradients reach it too.

    Returns:
        float32, same shape. Derivatives at +-1: see the module's header.
    """
    cosine, angle = jnp.clip(cos_theta.astype(jnp.float32), -1, 1), angle.astype(jnp.float32)
    return cosine * jnp.cos(angle) - _sine(cosine) * jnp.sin(angle)


@cos_of_sum.defjvp
def _cos_of_sum_derivative(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    inside, angle = _inside(primals[0].astype(jnp.float32)), primals[1].astype(jnp.float32)
    sine = _sine(inside) * jnp.cos(angle) + inside * jnp.sin(angle)  # of theta + angle
    of_cosine, of_angle = (tangent.astype(jnp.float32) for tangent in tangents)
    return cos_of_sum(*primals), sine / _sine(inside) * of_cosine - sine * of_angle


@jax.custom_jvp
def arccos(cosine: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The angle of a cosine, with a finite derivative everywhere.

    Args:
        cosine: any shape and float type; beyond +-1 it counts as +-1.

    Returns:
        Radians from 0 to pi, float32, same shape.

    Numerics: as accurate as float32 for the cosine given; but near 0 a float32 cosine itself tells angles only
    0.0003 rad apart. The derivative is -1 / sin theta, at most 2896 in size (module's header).
    """
    cosine = jnp.clip(cosine.astype(jnp.float32), -1, 1)
    return jnp.arctan2(_sine(cosine), cosine)


@arccos.defjvp
def _arccos_derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    inside = _inside(primals[0].astype(jnp.float32))
    return arccos(primals[0]), -tangents[0].astype(jnp.float32) / _sine(inside)


def _inside(cosine: Array) -> Array:
    return jnp.clip(cosine, -LARGEST_COSINE, LARGEST_COSINE)


def _sine(cosine: Array) -> Array:
    return jnp.sqrt((1 - cosine) * (1 + cosine))  # 1 - cosine^2 would lose the small angles to rounding
