"""Generated faces aligned as crops of photographs are: the five points at the template's places.

The renderer knows where eyes, nose and mouth are: they are places on its ellipsoid of a head, turned and shown as the
two vectors of an image say. So a generated image has exact points, and the same alignment as any photograph's turns
it into a crop that composed scenes can paste.

Not here: the drawing (`faces.data.synthetic.renderer`), scenes (`scenes.py`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from faces.align import TEMPLATE, align_by_points
from faces.data.source import ArraySource
from faces.data.synthetic.face_parameters import Identity, Nuisance
from faces.data.synthetic.generated import BLOCK, render_batch, vectors_of
from faces.data.synthetic.renderer import HEAD_DEPTH, VIEW
from faces.data.synthetic.shapes import rotation
from faces.errors import DataError

_CROP = 112
DRAWN = 128
"""Pixels a side of the image from which the crop is cut; a head fills three quarters of it."""
_TIP = 0.22  # how far the tip of the nose stands out; the renderer moves it on the surface by this, as heads turn


def generated_crops(people: int, images_per_person: int, seed: int, first_person: int = 0) -> ArraySource:
    """Draw people and align them.

    Args:
        people: how many.
        images_per_person: images of each.
        seed: another seed gives other people.
        first_person: number of the first; people with other numbers of the same seed are others.

    Returns:
        Crops of 112x112, person by person.

    Raises:
        DataError: a number of people or images below 1, or a negative `first_person`.
    """
    if min(people, images_per_person) < 1 or first_person < 0:
        raise DataError(
            f"Generated crops: {people} people from number {first_person}, {images_per_person} images each asked; ask "
            "for at least 1 person and image, from number 0 or above."
        )
    total = people * images_per_person
    label, picture = np.divmod(np.arange(total, dtype=np.int32), np.int32(images_per_person))
    crops = np.empty((total, _CROP, _CROP, 3), np.uint8)
    for start in range(0, total, BLOCK):
        rows = np.minimum(np.arange(start, start + BLOCK), total - 1)  # the last block is filled with its last image
        identity, nuisance = vectors_of(jax.random.key(seed), label[rows] + np.int32(first_person), picture[rows])
        images = render_batch(identity, nuisance, DRAWN)
        points = face_points(identity, nuisance, DRAWN)
        aligned = align_by_points(images, points, jnp.asarray(TEMPLATE), (_CROP, _CROP))
        crops[start : start + BLOCK] = np.asarray(aligned)[: total - start]
    name = f"generated crops (seed {seed}, {people} people from {first_person})"
    return ArraySource(name, crops, label, f"{name}, {images_per_person} images of each")


def face_points(identity: Identity, nuisance: Nuisance, size: int) -> Float[Array, "batch 5 2"]:
    """Where the renderer draws eyes, tip of the nose and corners of the mouth.

    Args:
        identity: who; every field float32 (batch,).
        nuisance: how photographed; every field float32 (batch,).
        size: width and height of the image in pixels.

    Returns:
        (x, y) in pixels of left eye, right eye, nose, left and right corner of the mouth as seen in the image.
    """
    return jax.vmap(lambda who, how: _points(who, how, size))(identity, nuisance)


def _points(identity: Identity, nuisance: Nuisance, size: int) -> Array:
    """Of one image, (5, 2)."""
    opened = jnp.maximum(nuisance.mouth_open, 0.0)
    corner = identity.mouth_width * (1.0 + 0.14 * nuisance.smile - 0.1 * opened)
    mouth = identity.mouth_height + 0.028 * nuisance.smile
    turn = rotation(nuisance.yaw, nuisance.pitch)
    nose_x, nose_y = (_TIP * turn[2, axis] / turn[2, 2] for axis in (0, 1))
    nose_y = nose_y + identity.eye_height - identity.nose_length
    x = jnp.stack([-identity.eye_spacing, identity.eye_spacing, nose_x, -corner, corner])  # (5,)
    y = jnp.stack([identity.eye_height, identity.eye_height, nose_y, mouth, mouth])
    round_off = 1.0 - (x / identity.head_width) ** 2 - (y / identity.head_height) ** 2
    u, v, _ = turn @ jnp.stack([x, y, HEAD_DEPTH * jnp.sqrt(jnp.maximum(round_off, 0.0))])  # (5,) each
    u = u * (1.0 + identity.jaw * jnp.clip(-v / identity.head_height, 0.0, 1.0) ** 2)
    cos, sin = jnp.cos(nuisance.roll), jnp.sin(nuisance.roll)
    across = nuisance.scale * (cos * u - sin * v) + nuisance.shift_x
    up = nuisance.scale * (sin * u + cos * v) + nuisance.shift_y
    return jnp.stack([across + VIEW, VIEW - up], axis=1) * (size / (2.0 * VIEW)) - 0.5
