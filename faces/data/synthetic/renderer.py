"""Draws a face from two vectors: who it is, and how it was photographed.

The head is an ellipsoid. For every pixel the ray to the viewer is met with it, and the point where they meet, in the
head's own frame, says what lies there: eyes, brows and lips are regions of the head's surface, so that they move,
narrow and hide as a head turns. The nose has no surface of its own: it bends the normal that light falls on, and its
parts are shifted against the face by how far they stand out. Hair is a second, larger ellipsoid with a hairline, before
a curtain that hangs behind the head. The image is painted from back to front.

Frames: x to the right of the image, y up, z to the viewer; the unit is about half the height of a head.

Not here: the vectors and how they are drawn (`face_parameters.py`), the geometry (`shapes.py`).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from faces.data.synthetic.face_parameters import Identity, Nuisance
from faces.data.synthetic.shapes import (
    Surface,
    between,
    box,
    cover,
    ellipse,
    from_hue,
    meet,
    paint,
    ramp,
    rotation,
    unit,
    wave,
)

VIEW = 1.28  # the image shows -VIEW .. VIEW
HEAD_DEPTH = 0.86

SKIN = ((0.97, 0.82, 0.73), (0.88, 0.68, 0.53), (0.66, 0.45, 0.31), (0.36, 0.23, 0.17))  # light to dark
HAIR = ((0.07, 0.06, 0.06), (0.22, 0.13, 0.08), (0.45, 0.28, 0.14), (0.87, 0.71, 0.42))  # dark to fair
RED_HAIR, GREY_HAIR = (0.62, 0.25, 0.08), (0.74, 0.74, 0.73)
IRIS = ((0.25, 0.13, 0.07), (0.45, 0.29, 0.12), (0.30, 0.45, 0.28), (0.30, 0.50, 0.72))  # brown to blue
EYEBALL, TEETH, MOUTH, FRAME = (0.95, 0.94, 0.92), (0.93, 0.91, 0.87), (0.22, 0.06, 0.06), (0.10, 0.09, 0.10)


class Scene(NamedTuple):
    """What every part of the drawing needs besides the two vectors."""

    u: Array  # (size, size) place of each pixel once roll, scale and shift are undone
    v: Array
    pixel: Array  # width of a pixel there
    turn: Array  # (3, 3) head's frame to viewer's
    towards: Array  # (3,) to the lamp, in the head's frame
    half: Array  # (3,) half way between lamp and viewer, in the head's frame
    lamp: Array  # (3,) colour of the lamp's light
    room: Array  # (3,) colour of the light that comes from everywhere
    skin: Array  # (3,) colours of the person
    hair: Array


def render(identity: Identity, nuisance: Nuisance, size: int) -> Array:
    """Draw one face.

    Args:
        identity: who; every field a float32 scalar.
        nuisance: how photographed; every field a float32 scalar.
        size: width and height of the image in pixels (static).

    Returns:
        RGB image, float32 (size, size, 3), 0..255.
    """
    pixel = 2.0 * VIEW / size
    axis = (jnp.arange(size, dtype=jnp.float32) + 0.5) * pixel - VIEW
    x, y = jnp.meshgrid(axis, -axis)  # (size, size) each
    scene = _scene(identity, nuisance, x, y, pixel)
    head, hair = _head(identity, scene), _skull_hair(identity, scene)

    face = _skin(identity, scene, head)
    face = _eyes(face, identity, nuisance, scene, head)
    face = _brows(face, identity, nuisance, scene, head)
    face = _mouth(face, identity, nuisance, scene, head)

    canvas = _background(nuisance, x, y)
    canvas = _shoulders(canvas, nuisance, scene)
    canvas = _hair_behind(canvas, identity, scene, hair)
    canvas = _neck(canvas, identity, scene)
    canvas = _ears(canvas, identity, scene, before_head=False)
    canvas = paint(canvas, face, cover(head.outline, scene.pixel))
    canvas = _ears(canvas, identity, scene, before_head=True)
    canvas = _hair_before(canvas, identity, scene, hair)
    canvas = _glasses(canvas, identity, nuisance, scene, head)
    canvas = _occluder(canvas, nuisance, scene)
    return jnp.moveaxis(255.0 * jnp.clip(_develop(canvas, nuisance, size), 0.0, 1.0), 0, -1)


def _scene(identity: Identity, nuisance: Nuisance, x: Array, y: Array, pixel: float) -> Scene:
    x, y = (x - nuisance.shift_x) / nuisance.scale, (y - nuisance.shift_y) / nuisance.scale
    cos, sin = jnp.cos(nuisance.roll), jnp.sin(nuisance.roll)
    turn = rotation(nuisance.yaw, nuisance.pitch)

    azimuth, elevation = nuisance.light_azimuth, nuisance.light_elevation
    flat = jnp.cos(elevation)
    towards = jnp.stack([jnp.sin(azimuth) * flat, jnp.sin(elevation), jnp.cos(azimuth) * flat])
    half = towards + jnp.array([0.0, 0.0, 1.0])
    warm = 1.0 + nuisance.light_warmth * jnp.array([1.0, 0.1, -1.0])

    skin = between(SKIN, identity.skin) * (1.0 + identity.skin_red * jnp.array([0.3, -0.5, -0.6]))
    # dark skin goes with dark hair: without it, half of the people look painted
    hair = between(HAIR, identity.hair_tone * (1.0 - 0.8 * identity.skin))
    hair = _mix(hair, jnp.array(RED_HAIR), jnp.clip(identity.hair_red, 0.0, 1.0) * (1.0 - identity.skin))
    hair = _mix(hair, jnp.array(GREY_HAIR), jnp.clip(identity.hair_grey, 0.0, 1.0))
    return Scene(
        u=cos * x + sin * y,
        v=cos * y - sin * x,
        pixel=pixel / nuisance.scale,
        turn=turn,
        towards=turn.T @ towards,
        half=turn.T @ (half / jnp.linalg.norm(half)),
        lamp=nuisance.exposure * nuisance.light_strength * warm,
        room=nuisance.exposure * (1.05 - 0.75 * nuisance.light_strength) * jnp.ones(3),
        skin=skin,
        hair=hair,
    )


def _mix(first: Array, second: Array, share: Array) -> Array:
    return first + share * (second - first)


def _present(amount: Array) -> Array:
    """1 for what is there (above 0), 0 for what is absent."""
    return (amount > 0.0).astype(jnp.float32)


def _head(identity: Identity, scene: Scene) -> Surface:
    chin = jnp.clip(-scene.v / identity.head_height, 0.0, 1.0)
    u = scene.u / (1.0 + identity.jaw * chin**2)
    return meet(u, scene.v, scene.turn, (0.0, 0.0, 0.0), (identity.head_width, identity.head_height, HEAD_DEPTH))


def _skull_hair(identity: Identity, scene: Scene) -> Surface:
    sides = 0.7 * identity.hair_volume
    radii = (identity.head_width + sides, identity.head_height + identity.hair_volume, HEAD_DEPTH + sides)
    u = scene.u + 0.03 * identity.hair_curl * wave(13.0 * scene.v)
    v = scene.v + 0.03 * identity.hair_curl * wave(13.0 * scene.u)
    return meet(u, v, scene.turn, (0.0, 0.03, -0.05), radii)


def _even_light(scene: Scene, share: float) -> Array:
    """Light (3,) on what is drawn flat: the room's, and a `share` of the lamp's."""
    return scene.room + share * scene.lamp


def _front_light(scene: Scene, share: float) -> Array:
    """Light (3,) on what looks straight ahead from the face."""
    return scene.room + share * jnp.maximum(scene.towards[2], 0.0) * scene.lamp


def _light(scene: Scene, normal: tuple[Array, Array, Array], gloss: float) -> tuple[Array, Array]:
    """Light on a surface with this unit normal, and its highlight; (3, size, size) each."""
    facing = sum(n * scene.towards[i] for i, n in enumerate(normal))
    mirrored = jnp.clip(sum(n * scene.half[i] for i, n in enumerate(normal)), 0.0, 1.0) ** 16
    light = scene.room[:, None, None] + jnp.maximum(facing, 0.0)[None] * scene.lamp[:, None, None]
    return light, (gloss * mirrored)[None] * scene.lamp[:, None, None]


def _background(nuisance: Nuisance, x: Array, y: Array) -> Array:
    """Two colours that run into one another in bent waves."""
    cos, sin = jnp.cos(nuisance.background_angle), jnp.sin(nuisance.background_angle)
    bend = wave(2.0 * (y * cos - x * sin) + nuisance.background_angle)
    share = 0.5 + 0.5 * wave(nuisance.background_waves * (x * cos + y * sin) + bend)
    other = jnp.clip(nuisance.background_value + nuisance.background_contrast, 0.05, 1.0)
    near = from_hue(nuisance.background_hue, nuisance.background_saturation, nuisance.background_value)
    far = from_hue(nuisance.background_hue + 0.3, nuisance.background_saturation, other)
    return paint(jnp.broadcast_to(near[:, None, None], (3, *x.shape)), far, share)


def _shoulders(canvas: Array, nuisance: Nuisance, scene: Scene) -> Array:
    cloth = from_hue(nuisance.clothes_hue, 0.5, nuisance.clothes_value) * _even_light(scene, 0.6)
    fade = jnp.clip(1.0 - 0.5 * jnp.abs(scene.u), 0.3, 1.0)
    shape = ellipse(scene.u, scene.v + 1.95, 1.25, 0.72)
    return paint(canvas, cloth[:, None, None] * fade[None], cover(shape, scene.pixel))


def _neck(canvas: Array, identity: Identity, scene: Scene) -> Array:
    shape = box(scene.u, scene.v + 0.95, 0.55 * identity.head_width, 0.5, 0.25)
    return paint(canvas, 0.85 * scene.skin * _even_light(scene, 0.25), cover(shape, scene.pixel))


def _ears(canvas: Array, identity: Identity, scene: Scene, before_head: bool) -> Array:
    """Both ears, for the head to hide what it hides; or, before the head, the one that is turned to the viewer."""
    colour = scene.skin * _even_light(scene, 0.5)
    for side in (-1.0, 1.0):
        at = scene.turn @ jnp.stack([side * identity.head_width, jnp.float32(-0.06), -0.08 * identity.head_width])
        u, v = scene.u - at[0] - 0.03 * side, scene.v - at[1]
        shown = jnp.clip(6.0 * side * scene.turn[2, 0], 0.0, 1.0) if before_head else 1.0
        rim = ellipse(u, v, 0.5 * identity.ear_size, identity.ear_size)
        shell = ellipse(u, v - 0.01, 0.25 * identity.ear_size, 0.6 * identity.ear_size)
        canvas = paint(canvas, colour, shown * cover(rim, scene.pixel))
        canvas = paint(canvas, 0.72 * colour, shown * cover(shell, 2.0 * scene.pixel))
    return canvas


def _hair_behind(canvas: Array, identity: Identity, scene: Scene, skull: Surface) -> Array:
    """The rim of hair around the head, and what hangs down behind it."""
    top, swing = 0.3, -0.15 * scene.turn[0, 2]  # the back of the head swings against the face
    length = jnp.maximum(0.5 * (top - identity.hair_end), 0.05)
    u = scene.u - swing + 0.05 * identity.hair_curl * wave(14.0 * scene.v)
    curtain = box(u, scene.v - top + length, identity.head_width + identity.hair_volume + 0.02, length, 0.2)
    curtain = jnp.where(identity.hair_end < -0.1, curtain, 1.0)  # shorter hair does not hang
    rim = jnp.maximum(skull.outline, identity.hair_end - scene.v)
    strands = 0.62 + 0.08 * wave(30.0 * scene.u + 2.0 * wave(5.0 * scene.v))
    colour = (scene.hair * _even_light(scene, 0.4))[:, None, None] * strands[None]
    return paint(canvas, colour, _present(identity.hair) * cover(jnp.minimum(curtain, rim), scene.pixel))


def _hair_before(canvas: Array, identity: Identity, scene: Scene, skull: Surface) -> Array:
    """Hair on the skull: above the hairline in front, down to `hair_end` at the sides."""
    across = skull.x / identity.head_width
    line = identity.hair_line - 0.45 * jnp.maximum(identity.hair_fringe, 0.0)
    line = line - 0.35 * across**2 + 0.35 * identity.hair_parting * across + 0.025 * wave(19.0 * skull.x)
    line = line - 2.6 * jnp.maximum(0.42 - skull.z - 0.2 * identity.hair_end, 0.0)
    line = jnp.maximum(line, identity.hair_end)
    strands = 0.94 + 0.08 * wave(24.0 * skull.x + 3.0 * wave(4.0 * skull.y))
    curls = 0.18 * identity.hair_curl * wave(21.0 * skull.x + 2.0) * wave(21.0 * skull.y)
    light, highlight = _light(scene, (skull.normal_x, skull.normal_y, skull.normal_z), gloss=0.12)
    colour = scene.hair[:, None, None] * (strands + curls)[None] * light + highlight
    mask = _present(identity.hair) * cover(skull.outline, scene.pixel) * ramp(skull.y - line, -0.03, 0.03)
    return paint(canvas, colour, mask)


class Nose(NamedTuple):
    """What the nose does to the skin; each field is (size, size)."""

    bend_x: Array  # added to the normal
    bend_y: Array
    nostrils: Array  # masks
    wings: Array


def _nose(identity: Identity, scene: Scene, head: Surface) -> Nose:
    start, tip, width = identity.eye_height + 0.02, identity.eye_height - identity.nose_length, identity.nose_width
    along = jnp.clip((start - head.y) / (start - tip), 0.0, 1.0)
    rise = 0.22 * along
    # what stands out by h is seen before the point of the surface that lies h d_x / d_z, h d_y / d_z beside its foot
    x = head.x - rise * scene.turn[2, 0] / scene.turn[2, 2]
    y = head.y - rise * scene.turn[2, 1] / scene.turn[2, 2]
    s = jnp.clip(x / (identity.nose_bridge + (width - identity.nose_bridge) * along**2), -1.0, 1.0)
    flank = 1.9 * s * (1.0 - s * s) * (0.35 + 0.65 * along)
    under = ellipse(x, y - tip + 0.05, width, 0.07)
    nostril = ellipse(jnp.abs(x) - 0.5 * width, y - tip + 0.055, 0.32 * width, 0.028)
    wing = jnp.abs(ellipse(x, y - tip, width, 0.085)) - 0.008
    return Nose(
        bend_x=flank * ramp(y, tip - 0.06, tip + 0.02) * ramp(start - y, 0.0, 0.2),
        bend_y=-0.9 * jnp.clip(1.0 - jnp.abs(under + 0.02) / 0.06, 0.0, 1.0) * ramp(tip - y, -0.02, 0.05),
        nostrils=cover(nostril, 1.5 * scene.pixel),
        wings=cover(wing, 2.0 * scene.pixel) * ramp(jnp.abs(x), 0.6 * width, width),
    )


def _skin(identity: Identity, scene: Scene, head: Surface) -> Array:
    """The bare head under its light, with cheeks, eye sockets, nose, beard and mole."""
    colour = jnp.broadcast_to(scene.skin[:, None, None], (3, *head.x.shape))
    cheek = ellipse(jnp.abs(head.x) - 0.36, head.y + 0.32, 0.24, 0.2)
    colour = paint(colour, scene.skin * jnp.array([1.03, 0.85, 0.84]), 0.6 * ramp(-cheek, -0.12, 0.2))
    socket = ellipse(jnp.abs(head.x) - identity.eye_spacing, head.y - identity.eye_height - 0.03, 0.22, 0.17)
    colour = paint(colour, 0.7 * scene.skin, 0.55 * ramp(-socket, -0.08, 0.12))

    jaw = head.y - identity.mouth_height - 0.06 - 0.95 * head.x**2
    moustache = box(head.x, head.y - identity.mouth_height - 0.11, 0.85 * identity.mouth_width, 0.055, 0.05)
    beard = ramp(-jnp.minimum(jaw, moustache), -0.06, 0.10) * jnp.clip(identity.beard, 0.0, 0.92)
    colour = paint(colour, 0.85 * scene.hair, beard)
    mole = ellipse(head.x - identity.mole_x, head.y - identity.mole_y, 0.035, 0.035)
    colour = paint(colour, 0.35 * scene.skin, _present(identity.mole) * cover(mole, scene.pixel))

    nose = _nose(identity, scene, head)
    colour = paint(colour, 0.3 * scene.skin, 0.8 * nose.nostrils)
    colour = paint(colour, 0.6 * scene.skin, 0.35 * nose.wings)
    normal = unit(head.normal_x + nose.bend_x, head.normal_y + nose.bend_y, head.normal_z)
    light, highlight = _light(scene, normal, gloss=0.14)
    return colour * light + highlight * (1.0 - 0.8 * beard)[None]


def _eyes(face: Array, identity: Identity, nuisance: Nuisance, scene: Scene, head: Surface) -> Array:
    """Both eyes at once: the face is folded at its middle, so that x grows outwards on either side."""
    side = jnp.sign(head.x)
    x = jnp.abs(head.x) - identity.eye_spacing
    y = head.y - identity.eye_height - identity.eye_tilt * x
    arc = 1.0 - (x / identity.eye_width) ** 2
    upper = identity.eye_opening * nuisance.eyelids * arc
    lower = -0.3 * identity.eye_opening * (1.0 + nuisance.eyelids) * arc
    opening = cover(jnp.maximum(y - upper, lower - y), scene.pixel)
    light = 0.95 * _front_light(scene, 0.7)
    face = paint(face, jnp.array(EYEBALL) * light, opening)
    iris_x, iris_y = x - 0.05 * nuisance.gaze_x * side, y - 0.03 * nuisance.gaze_y - 0.01
    iris = between(IRIS, identity.eye_tone * (1.0 - 0.7 * identity.skin))
    face = paint(face, iris * light, opening * cover(ellipse(iris_x, iris_y, 0.082, 0.082), scene.pixel))
    face = paint(face, jnp.full(3, 0.03), opening * cover(ellipse(iris_x, iris_y, 0.038, 0.038), scene.pixel))
    glint = ellipse(iris_x - 0.03 * side, iris_y - 0.03, 0.018, 0.018)
    face = paint(face, light, opening * cover(glint, scene.pixel))
    lids = ramp(arc, -0.15, 0.2)
    face = paint(face, 0.2 * scene.skin, 0.9 * lids * cover(jnp.abs(y - upper) - 0.018, scene.pixel))
    return paint(face, 0.45 * scene.skin, 0.4 * lids * cover(jnp.abs(y - lower) - 0.008, scene.pixel))


def _brows(face: Array, identity: Identity, nuisance: Nuisance, scene: Scene, head: Surface) -> Array:
    reach = (jnp.abs(head.x) - identity.eye_spacing - 0.02) / 0.19  # -1 at the inner end, 1 at the outer
    height = identity.brow_height + 0.05 * nuisance.brow_raise + identity.brow_tilt * reach
    height = height - identity.brow_arch * (reach - 0.25) ** 2
    thickness = identity.brow_thickness * (1.0 - 0.45 * ramp(reach, -0.2, 1.0))
    shape = jnp.maximum(jnp.abs(head.y - identity.eye_height - height) - thickness, 0.19 * (jnp.abs(reach) - 1.0))
    return paint(face, 0.7 * scene.hair * _front_light(scene, 0.7), 0.9 * cover(shape, 1.3 * scene.pixel))


def _mouth(face: Array, identity: Identity, nuisance: Nuisance, scene: Scene, head: Surface) -> Array:
    opened = jnp.maximum(nuisance.mouth_open, 0.0)
    width = identity.mouth_width * (1.0 + 0.14 * nuisance.smile - 0.1 * opened)
    s = head.x / width
    y = head.y - identity.mouth_height - 0.07 * nuisance.smile * (s * s - 0.6)
    arc, ends = jnp.maximum(1.0 - s * s, 0.0), jnp.abs(head.x) - width
    bow = 0.72 + 0.5 * jnp.clip(2.2 * jnp.abs(s), 0.0, 1.0) * (1.0 - jnp.abs(s))  # the upper lip dips in its middle
    gap = 0.14 * opened * arc
    above, below = y - 0.3 * gap, -y - gap
    lips = jnp.maximum(above - identity.lip_upper * arc * bow, below - identity.lip_lower * arc)
    inside = jnp.maximum(jnp.maximum(above, below), ends)
    teeth = jnp.maximum(inside, -0.25 * gap - y)
    seam = jnp.maximum(jnp.abs(y) - 0.01, ends)

    light = _front_light(scene, 0.8)
    lip = 0.93 * scene.skin * (1.0 + identity.lip_red * jnp.array([-0.05, -0.6, -0.5]))
    face = paint(face, lip * light, cover(jnp.maximum(lips, ends), scene.pixel))
    face = paint(face, jnp.array(MOUTH), cover(inside, scene.pixel) * ramp(gap, 0.0, 0.02))
    face = paint(face, jnp.array(TEETH) * light, cover(teeth, scene.pixel) * ramp(gap, 0.01, 0.04))
    return paint(face, 0.3 * scene.skin, 0.8 * cover(seam, scene.pixel) * (1.0 - ramp(gap, 0.0, 0.02)))


def _glasses(canvas: Array, identity: Identity, nuisance: Nuisance, scene: Scene, head: Surface) -> Array:
    x, y = jnp.abs(head.x) - identity.eye_spacing, head.y - identity.eye_height
    rims = jnp.abs(box(x - 0.01, y, 0.205, 0.155, 0.1)) - 0.016
    bridge = jnp.maximum(jnp.abs(y - 0.05) - 0.016, x + 0.2)
    temples = jnp.maximum(jnp.abs(y - 0.07) - 0.02, 0.2 - x)
    frame = jnp.minimum(jnp.minimum(rims, bridge), temples)
    mask = cover(frame, scene.pixel) * cover(head.outline, scene.pixel)
    return paint(canvas, jnp.array(FRAME), _present(nuisance.glasses) * mask)


def _occluder(canvas: Array, nuisance: Nuisance, scene: Scene) -> Array:
    """Something flat that reaches into the face from one side: a scarf, a hand, somebody else."""
    cos, sin = jnp.cos(nuisance.occluder_angle), jnp.sin(nuisance.occluder_angle)
    edge = 0.95 - 0.6 * nuisance.occluder + 0.06 * wave(5.0 * (scene.v * cos - scene.u * sin))
    colour = from_hue(nuisance.occluder_hue, 0.45, nuisance.occluder_value)
    mask = cover(edge - scene.u * cos - scene.v * sin, 2.0 * scene.pixel)
    return paint(canvas, colour, _present(nuisance.occluder) * mask)


def _develop(canvas: Array, nuisance: Nuisance, size: int) -> Array:
    """Blur, as a Gaussian band matrix from either side, and grain."""
    at = jnp.arange(size, dtype=jnp.float32)
    deviation = jnp.maximum(nuisance.blur * size, 0.25)
    band = jnp.exp(-0.5 * ((at[:, None] - at[None, :]) / deviation) ** 2)
    band = band / jnp.sum(band, axis=1, keepdims=True)
    exact = jax.lax.Precision.HIGHEST  # accelerators multiply in half precision unless told
    blurred = jnp.matmul(band[None], jnp.matmul(canvas, band.T, precision=exact), precision=exact)
    key = jax.random.key(nuisance.noise_seed.astype(jnp.uint32))
    grain = jax.random.uniform(key, (size, size), jnp.float32, -math.sqrt(3.0), math.sqrt(3.0))  # deviation 1
    return blurred + (nuisance.noise * grain)[None]
