"""The two vectors behind a generated face, one field a property: who it is, and how it was photographed.

Every field is a float32 scalar (an array of them under `jax.vmap`) and is drawn uniformly in the range written beside
it. The unit of length is about half the height of a head, angles are in radians. What some people have and others have
not (`beard`, `mole`, ...) is absent below 0, so that the share of the range above 0 is the share of people who have it.

The nuisances' ranges are set for verification that is neither trivial nor hopeless: images of one person differ so
much that raw pixels tell same from different in about two pairs of three.

Not here: what the properties look like (`renderer.py`); which seed gives which person (`generated.py`).
"""

import math
from typing import Annotated, NamedTuple, get_type_hints

import jax
import jax.numpy as jnp
from jax import Array


class Range(NamedTuple):
    """Ends of the interval that a property is drawn from."""

    low: float
    high: float


class Identity(NamedTuple):
    """Who: what stays the same in every image of a person."""

    head_width: Annotated[Array, Range(0.62, 0.80)]
    head_height: Annotated[Array, Range(0.92, 1.06)]
    jaw: Annotated[Array, Range(-0.30, 0.22)]  # pointed to square
    skin: Annotated[Array, Range(0.0, 1.0)]  # light to dark
    skin_red: Annotated[Array, Range(-0.08, 0.08)]
    eye_height: Annotated[Array, Range(-0.02, 0.16)]
    eye_spacing: Annotated[Array, Range(0.25, 0.36)]  # from the middle of the face
    eye_width: Annotated[Array, Range(0.15, 0.21)]
    eye_opening: Annotated[Array, Range(0.065, 0.13)]
    eye_tilt: Annotated[Array, Range(-0.16, 0.22)]
    eye_tone: Annotated[Array, Range(0.0, 1.0)]  # brown to blue
    brow_height: Annotated[Array, Range(0.19, 0.29)]  # above the eye
    brow_thickness: Annotated[Array, Range(0.014, 0.05)]
    brow_arch: Annotated[Array, Range(0.0, 0.06)]
    brow_tilt: Annotated[Array, Range(-0.055, 0.025)]
    nose_length: Annotated[Array, Range(0.32, 0.50)]
    nose_width: Annotated[Array, Range(0.10, 0.19)]
    nose_bridge: Annotated[Array, Range(0.05, 0.09)]
    mouth_height: Annotated[Array, Range(-0.66, -0.54)]
    mouth_width: Annotated[Array, Range(0.19, 0.32)]
    lip_upper: Annotated[Array, Range(0.02, 0.075)]
    lip_lower: Annotated[Array, Range(0.03, 0.10)]
    lip_red: Annotated[Array, Range(0.1, 0.7)]
    ear_size: Annotated[Array, Range(0.13, 0.21)]
    hair: Annotated[Array, Range(-0.12, 1.0)]  # bald below 0
    hair_tone: Annotated[Array, Range(0.0, 1.0)]  # dark to fair
    hair_red: Annotated[Array, Range(-2.0, 0.9)]
    hair_grey: Annotated[Array, Range(-2.5, 1.0)]
    hair_line: Annotated[Array, Range(0.50, 0.80)]
    hair_volume: Annotated[Array, Range(0.03, 0.24)]
    hair_end: Annotated[Array, Range(-1.3, 0.35)]  # height at which the hair at the sides ends
    hair_parting: Annotated[Array, Range(-1.0, 1.0)]
    hair_fringe: Annotated[Array, Range(-1.0, 0.6)]
    hair_curl: Annotated[Array, Range(-1.0, 1.0)]
    beard: Annotated[Array, Range(-1.8, 1.0)]
    mole: Annotated[Array, Range(-0.7, 0.3)]
    mole_x: Annotated[Array, Range(-0.4, 0.4)]
    mole_y: Annotated[Array, Range(-0.75, -0.25)]


class Nuisance(NamedTuple):
    """How photographed: what changes from image to image."""

    yaw: Annotated[Array, Range(-0.5, 0.5)]  # above 0 looks to the right of the image
    pitch: Annotated[Array, Range(-0.25, 0.25)]  # above 0 looks up
    roll: Annotated[Array, Range(-0.15, 0.15)]
    scale: Annotated[Array, Range(0.92, 1.08)]
    shift_x: Annotated[Array, Range(-0.06, 0.06)]
    shift_y: Annotated[Array, Range(-0.06, 0.06)]
    light_azimuth: Annotated[Array, Range(-1.2, 1.2)]
    light_elevation: Annotated[Array, Range(-0.2, 0.9)]
    light_strength: Annotated[Array, Range(0.2, 0.75)]  # of the lamp against the room's even light
    light_warmth: Annotated[Array, Range(-0.15, 0.2)]
    exposure: Annotated[Array, Range(0.8, 1.12)]
    smile: Annotated[Array, Range(-0.4, 1.2)]
    mouth_open: Annotated[Array, Range(-0.8, 0.8)]
    brow_raise: Annotated[Array, Range(-1.0, 1.0)]
    eyelids: Annotated[Array, Range(0.55, 1.15)]  # a factor of the person's eye_opening
    gaze_x: Annotated[Array, Range(-1.0, 1.0)]
    gaze_y: Annotated[Array, Range(-1.0, 1.0)]
    glasses: Annotated[Array, Range(-0.85, 0.15)]
    clothes_hue: Annotated[Array, Range(0.0, 1.0)]
    clothes_value: Annotated[Array, Range(0.1, 0.9)]
    background_hue: Annotated[Array, Range(0.0, 1.0)]
    background_saturation: Annotated[Array, Range(0.0, 0.4)]
    background_value: Annotated[Array, Range(0.25, 0.9)]
    background_contrast: Annotated[Array, Range(-0.3, 0.3)]
    background_angle: Annotated[Array, Range(0.0, 2.0 * math.pi)]
    background_waves: Annotated[Array, Range(0.5, 3.5)]
    occluder: Annotated[Array, Range(-0.85, 0.25)]  # how far it reaches into the face
    occluder_angle: Annotated[Array, Range(0.0, 2.0 * math.pi)]
    occluder_hue: Annotated[Array, Range(0.0, 1.0)]
    occluder_value: Annotated[Array, Range(0.2, 0.8)]
    blur: Annotated[Array, Range(0.0, 0.014)]  # standard deviation, of the image's width
    noise: Annotated[Array, Range(0.0, 0.03)]  # standard deviation, of white
    noise_seed: Annotated[Array, Range(0.0, 2.0**24)]


def sample_identity(key: Array) -> Identity:
    """Draw a person from a PRNG key; every field is a float32 scalar."""
    return Identity(*_uniform(Identity, key))


def sample_nuisance(key: Array) -> Nuisance:
    """Draw the circumstances of an image from a PRNG key; every field is a float32 scalar."""
    return Nuisance(*_uniform(Nuisance, key))


def _uniform(kind: type, key: Array) -> Array:
    """A value for each field of `kind`, in its range: float32 (fields,)."""
    ranges = [hint.__metadata__[0] for hint in get_type_hints(kind, include_extras=True).values()]
    low, high = jnp.array(ranges, jnp.float32).T  # (fields,) each
    return low + (high - low) * jax.random.uniform(key, low.shape, jnp.float32)
