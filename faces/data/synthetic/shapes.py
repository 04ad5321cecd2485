"""What `renderer.py` draws with: signed distances, soft masks, colours, and an ellipsoid under parallel light rays.

A region of the image is given by its signed distance (negative inside), which `cover` turns into a mask with an edge
one pixel wide. An image is three planes, float32 (3, size, size), 0..1: the last axis runs along a row of pixels,
which compiles to code several times faster than colours side by side.

Not here: anything that knows what a face is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Scalar = Array | float
Point = tuple[Scalar, Scalar, Scalar]
Colour = tuple[float, float, float]


def cover(distance: Array, pixel: Array) -> Array:
    """Share of a pixel that lies inside a region: 1 inside, 0 outside, a ramp one `pixel` wide at its edge."""
    return jnp.clip(0.5 - distance / pixel, 0.0, 1.0)


def ramp(x: Array, low: Scalar, high: Scalar) -> Array:
    """0 up to `low`, 1 from `high`, smooth between."""
    t = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def wave(x: Array) -> Array:
    """A sine made of parabolas, within 0.06 of sin(x): at each pixel the true one would cost more than all the rest."""
    turns = x * (0.5 / jnp.pi)
    r = turns - jnp.round(turns)
    return r * (8.0 - 16.0 * jnp.abs(r))


def ellipse(x: Array, y: Array, radius_x: Scalar, radius_y: Scalar) -> Array:
    """Signed distance from an ellipse at the origin, near its edge."""
    # the 1e-9 under this root and the others keeps their derivatives finite
    return (jnp.sqrt((x / radius_x) ** 2 + (y / radius_y) ** 2 + 1e-9) - 1.0) * 0.5 * (radius_x + radius_y)


def box(x: Array, y: Array, half_x: Scalar, half_y: Scalar, corner: Scalar) -> Array:
    """Signed distance from a rectangle at the origin whose corners are rounded by the radius `corner`."""
    over_x, over_y = jnp.abs(x) - half_x + corner, jnp.abs(y) - half_y + corner
    outside = jnp.sqrt(jnp.maximum(over_x, 0.0) ** 2 + jnp.maximum(over_y, 0.0) ** 2 + 1e-9)
    return outside + jnp.minimum(jnp.maximum(over_x, over_y), 0.0) - corner


def paint(canvas: Array, colour: Array, mask: Array) -> Array:
    """Lay a colour, (3,) or (3, size, size), over `canvas` (3, size, size) where `mask` (size, size) is 1."""
    if colour.ndim == 1:
        colour = colour[:, None, None]
    return canvas + mask[None] * (colour - canvas)


def between(stops: tuple[Colour, ...], position: Array) -> Array:
    """The colour (3,) at `position` 0..1 on the line through `stops`."""
    where = jnp.linspace(0.0, 1.0, len(stops))
    return jnp.stack([jnp.interp(position, where, jnp.array(channel)) for channel in zip(*stops, strict=True)])


def from_hue(hue: Array, saturation: Scalar, value: Scalar) -> Array:
    """A colour (3,) by its place on the wheel of hues (0..1), saturation and brightness."""
    wheel = 0.5 + 0.5 * jnp.cos(2.0 * jnp.pi * (hue + jnp.array([0.0, 1.0 / 3.0, 2.0 / 3.0])))
    return value * (1.0 - saturation * (1.0 - wheel))


def rotation(yaw: Array, pitch: Array) -> Array:
    """The matrix (3, 3) from the head's frame to the viewer's: turn by yaw about y, then nod by pitch about x."""
    cy, sy, cp, sp = jnp.cos(yaw), jnp.sin(yaw), jnp.cos(pitch), jnp.sin(pitch)
    rows = [[cy, jnp.zeros_like(cy), sy], [-sp * sy, cp, sp * cy], [-cp * sy, -sp, cp * cy]]
    return jnp.stack([jnp.stack(row) for row in rows])


class Surface(NamedTuple):
    """Where the rays of all pixels meet an ellipsoid, in the head's frame; each field is (size, size)."""

    x: Array
    y: Array
    z: Array
    outline: Array  # signed distance, in the image, from the silhouette
    normal_x: Array  # unit outward normal
    normal_y: Array
    normal_z: Array


def meet(u: Array, v: Array, turn: Array, centre: Point, radii: Point) -> Surface:
    """Meet the ray of each pixel with an ellipsoid; where it passes by, take its point nearest to the centre.

    With lengths divided by the radii the ellipsoid is the unit ball and the ray o + t d; t is the larger root of
        |d|^2 t^2 + 2 (o.d) t + |o|^2 - 1 = 0,
    and the ray passes the centre at the distance sqrt(|o|^2 - (o.d)^2 / |d|^2).

    Args:
        u, v: the pixels' places in the viewer's frame, (size, size).
        turn: head's frame to viewer's, (3, 3).
        centre, radii: of the ellipsoid, in the head's frame.
    """
    o = [(u * turn[0, i] + v * turn[1, i] - centre[i]) / radii[i] for i in range(3)]
    d = [turn[2, i] / radii[i] for i in range(3)]
    dd = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
    nearest = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) / dd
    passing = o[0] ** 2 + o[1] ** 2 + o[2] ** 2 - nearest**2 * dd
    t = nearest + jnp.sqrt(jnp.maximum(1.0 - passing, 0.0) / dd)
    ball = [o[i] + t * d[i] for i in range(3)]
    outline = (jnp.sqrt(passing + 1e-9) - 1.0) * 0.5 * (radii[0] + radii[1])
    x, y, z = (ball[i] * radii[i] + centre[i] for i in range(3))
    normal_x, normal_y, normal_z = unit(ball[0] / radii[0], ball[1] / radii[1], ball[2] / radii[2])
    return Surface(x, y, z, outline, normal_x, normal_y, normal_z)


def unit(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Vectors scaled to length 1."""
    scale = jax.lax.rsqrt(x * x + y * y + z * z)
    return x * scale, y * scale, z * scale
