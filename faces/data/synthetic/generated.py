"""Generated faces: any number of people, as many images of each, from an integer seed and without a download.

Person n is drawn from (seed, n) alone, and image k of that person from (seed, n, k) alone. So people 0 .. 399 and
people from 400 on have nothing in common, the first hundred are the same hundred however many are asked for, and three
numbers make an image again. The images do not depend on the number of devices: one device draws them, in blocks of
one size.

Not here: what a person and an image consist of (`face_parameters.py`) and how they are drawn (`renderer.py`).
"""

from functools import partial
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from faces.data.source import ArraySource, FaceSource
from faces.data.synthetic.face_parameters import Identity, Nuisance, sample_identity, sample_nuisance
from faces.data.synthetic.renderer import render
from faces.errors import DataError

BLOCK = 16  # images drawn by one call: small enough that what lies between two operations stays in the cache


class Pairs(NamedTuple):
    """A list of pairs in the manner of LFW's; each field is (pairs,)."""

    fold: np.ndarray  # int32, 0 .. folds - 1
    same: np.ndarray  # bool, whether the pair shows one person
    first: np.ndarray  # int32, index of an image in the source
    second: np.ndarray  # int32


@partial(jax.jit, static_argnames="size")
def render_batch(identity: Identity, nuisance: Nuisance, size: int) -> Array:
    """Draw faces, one for each row of the two vectors.

    Args:
        identity: who; every field float32 (B,).
        nuisance: how photographed; every field float32 (B,).
        size: width and height of an image in pixels.

    Returns:
        RGB images, uint8 (B, size, size, 3).
    """
    return jnp.moveaxis(_draw(identity, nuisance, size), 1, -1)


def generated_faces(
    identities: int, images_per_identity: int, size: int, seed: int, first_identity: int = 0
) -> ArraySource:
    """Draw `images_per_identity` images of each of `identities` people.

    Args:
        identities: number of people.
        images_per_identity: images of each.
        size: width and height of an image in pixels.
        seed: another seed gives other people.
        first_identity: number of the first person; sets with the same seed whose numbers do not overlap are disjoint.

    Returns:
        Source of identities x images_per_identity images, person by person; labels count from 0 in every source.

    Raises:
        DataError: a number of people, images or pixels below 1, or a negative `first_identity`.
    """
    if min(identities, images_per_identity, size) < 1 or first_identity < 0:
        raise DataError(
            f"Generated faces: {identities} identities from number {first_identity}, {images_per_identity} images each "
            f"of {size} pixels asked; ask for at least 1 identity, image and pixel, from number 0 or above."
        )
    total = identities * images_per_identity
    label, picture = np.divmod(np.arange(total, dtype=np.int32), np.int32(images_per_identity))
    images = np.empty((total, size, size, 3), np.uint8)
    key = jax.random.key(seed)
    for start in range(0, total, BLOCK):
        rows = np.minimum(np.arange(start, start + BLOCK), total - 1)  # the last block is filled with its last image
        planes = _draw_numbered(key, label[rows] + np.int32(first_identity), picture[rows], size)
        images[start : start + BLOCK] = np.moveaxis(np.asarray(planes), 1, -1)[: total - start]
    name = f"generated (seed {seed}, {identities} identities from {first_identity})"
    return ArraySource(name, images, label, f"{name}, {images_per_identity} images of each, {size} pixels")


@jax.jit
def vectors_of(key: Array, person: Array, picture: Array) -> tuple[Identity, Nuisance]:
    """The two vectors of images by number, (B,) each; fields of (B,)."""

    def sample(n: Array, k: Array) -> tuple[Identity, Nuisance]:
        who, how = jax.random.split(jax.random.fold_in(key, n))
        return sample_identity(who), sample_nuisance(jax.random.fold_in(how, k))

    return jax.vmap(sample)(person, picture)


def generated_nuisances(identities: int, images_per_identity: int, seed: int, first_identity: int = 0) -> Nuisance:
    """How each image of `generated_faces` with the same numbers was photographed: what measures only guess, exactly.

    Returns:
        Fields of NumPy, float32 (images,), in the order of the images.
    """
    label, picture = np.divmod(np.arange(identities * images_per_identity, dtype=np.int32), images_per_identity)
    _, nuisance = vectors_of(jax.random.key(seed), label + np.int32(first_identity), picture)
    return jax.device_get(nuisance)


def generated_pairs(source: FaceSource, folds: int = 10, pairs_per_fold: int = 300, seed: int = 0) -> Pairs:
    """Draw pairs of a source's images as LFW's View 2 has them: balanced folds that share no person.

    Every fold gets its own people, about equally many, and then half its pairs of one person and half of two people,
    no pair twice, each drawn evenly from all that the fold's people allow.

    Args:
        source: labelled images.
        folds: number of folds.
        pairs_per_fold: pairs of each, an even number.
        seed: of the draw.

    Returns:
        folds x pairs_per_fold pairs: fold by fold, in each the pairs of one person first.

    Raises:
        DataError: a fold's people do not have so many pairs, or `pairs_per_fold` is odd.
    """
    if pairs_per_fold % 2:
        raise DataError(f"{source.name}: {pairs_per_fold} pairs a fold cannot be half same and half different; ask for "
                        "an even number.")  # fmt: skip
    random = np.random.default_rng(seed)
    people = random.permutation(np.unique(source.identities))
    rows = []
    for fold, members in enumerate(np.array_split(people, folds)):
        images = [np.flatnonzero(source.identities == person) for person in members]
        for same, draw in ((True, _same_pairs), (False, _different_pairs)):
            pairs = draw(images, pairs_per_fold // 2, random)
            if pairs is None:
                raise DataError(
                    f"{source.name}: fold {fold + 1} of {folds} has {len(members)} identities, too few for "
                    f"{pairs_per_fold // 2} pairs of {'one person' if same else 'two people'}; ask for more "
                    "identities, more images of each, fewer folds or fewer pairs."
                )
            rows += [(fold, same, first, second) for first, second in pairs]
    fold, same, first, second = np.array(rows, np.int32).reshape(-1, 4).T
    return Pairs(fold, same.astype(bool), first, second)


def _draw(identity: Identity, nuisance: Nuisance, size: int) -> Array:
    images = jax.vmap(partial(render, size=size))(identity, nuisance)
    # in planes, uint8 (B, 3, size, size): this undoes the renderer's last step, which the compiler then leaves out;
    # to turn floats into pixels plane by plane is twice as fast
    return jnp.round(jnp.moveaxis(images, -1, 1)).astype(jnp.uint8)


@partial(jax.jit, static_argnames="size")
def _draw_numbered(key: Array, person: Array, picture: Array, size: int) -> Array:
    """Images by number, (B,) each, in planes: uint8 (B, 3, size, size)."""
    identity, nuisance = vectors_of(key, person, picture)
    return _draw(identity, nuisance, size)


def _same_pairs(images: list[np.ndarray], count: int, random: np.random.Generator) -> list[tuple[int, int]] | None:
    """`count` different pairs of one person, given each person's images; None if there are not so many."""
    pairs = [pair for own in images for pair in combinations(own.tolist(), 2)]
    if len(pairs) < count:
        return None
    return [pairs[i] for i in random.choice(len(pairs), count, replace=False)]


def _different_pairs(images: list[np.ndarray], count: int, random: np.random.Generator) -> list[tuple[int, int]] | None:
    """`count` different pairs of two people, given each person's images; None if there are not so many."""
    sizes = np.array([len(own) for own in images])
    if (sizes.sum() ** 2 - (sizes**2).sum()) // 2 < count:
        return None
    everyone, owner = np.concatenate(images), np.repeat(np.arange(len(images)), sizes)
    pairs: dict[tuple[int, int], None] = {}  # a set that keeps the order of the draw
    while len(pairs) < count:
        i, j = sorted(random.integers(len(everyone), size=2))
        if owner[i] != owner[j]:
            pairs[int(everyone[i]), int(everyone[j])] = None
    return list(pairs)
