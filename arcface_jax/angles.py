"""Where embeddings and class centres come to lie: the angle statistics of Table 3 of ArcFace (arXiv 1801.07698 v3).

Two wishes for an embedding are that a person's faces lie together and that people lie apart. Sec. 3.2 measures both
in degrees, by the class centres W_j that the loss has learnt, and by embedding centres, the mean faces of people, which
any network has and test sets have too:

| row | mean of |
|---|---|
| W-EC | the angle between W_j and the embedding centre of class j, over classes |
| W-Inter | the smallest angle between W_j and another W_k, over classes |
| Intra | the angle between an embedding and the embedding centre of its person, over images |
| Inter | the smallest angle between a person's embedding centre and another's, over people |

The table has Intra and Inter twice: 1 of the training set, 2 of LFW.

Angles are taken in float64: in float32 the arc cosine of 1 is uncertain by 0.02 degrees.

Not here: the angles as terms of a loss (`losses.py`), the embedding of the images.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float64, Int

from arcface_jax import sub_center
from arcface_jax.centres import check_labels
from faces.errors import DataError, EvaluationError

VECTORS_AT_ONCE = 4096
"""Vectors that are normalised at a time."""
COSINES_AT_ONCE = 1 << 24
"""Cosines of vectors with all others that are held at a time."""


class Table3(NamedTuple):
    """Means in degrees; those of W are None without class centres."""

    w_ec: float | None
    w_inter: float | None
    intra: float
    inter: float
    alone: int
    """People with a single image, who are left out of `intra`."""


def table3(
    embeddings: Float[np.ndarray, "images d"],
    labels: Int[np.ndarray, "images"],
    class_centres: Float[np.ndarray, "people d"] | None = None,
) -> Table3:
    """The rows of Table 3 for one set of images.

    CHOICE: a person's only image is its own embedding centre, at 0 degrees; the paper does not say whether it counts
    (of LFW's 5,749 people 4,069 have one image). Here it is left out of Intra, and kept in the rest.

    Args:
        embeddings: of the whole set, (images, d), any length.
        labels: person of each image; each of 0 .. people - 1 occurs.
        class_centres: W, one for each person, any length (`class_directions`). A network trained without classes, by
            triplets alone, has none.
    Raises:
        DataError: labels that are no class, a person without an image, a single person, or no person with two images.
        EvaluationError: embeddings that are not finite.
    """
    if not np.isfinite(embeddings).all():
        raise EvaluationError("some embeddings are not finite; the network's weights are broken.")
    centres = embedding_centres(embeddings, labels)  # (people, d)
    person = np.arange(len(centres))  # (people,)
    images_of = np.bincount(labels)  # (people,)
    in_company = images_of[labels] > 1  # (images,)
    if not in_company.any():
        raise DataError("nobody has two images, so that there is no angle within a person; take more images.")
    w_ec = w_inter = None
    if class_centres is not None:
        w_ec = float(own_angle(class_centres, centres, person).mean())
        w_inter = float(nearest_other_angle(class_centres, class_centres, person).mean())
    return Table3(
        w_ec,
        w_inter,
        float(own_angle(embeddings, centres, labels)[in_company].mean()),
        float(nearest_other_angle(centres, centres, person).mean()),
        int((images_of == 1).sum()),
    )


def embedding_centres(
    embeddings: Float[np.ndarray, "images d"], labels: Int[np.ndarray, "images"]
) -> Float64[np.ndarray, "people d"]:
    """The mean face of each person: the sum of its embeddings' directions, brought to length 1.

    CHOICE: the paper does not say whether embeddings are normalised before the mean. They are here, so that an image
    counts by its direction alone, as it does for the loss.

    Args:
        embeddings, labels: as `table3`.
    Returns:
        (people, d), of length 1; zero, which is 90 degrees from everything, where the directions cancel.
    Raises:
        DataError: labels that are no class, or a person without an image.
    """
    people = int(labels.max(initial=-1)) + 1
    check_labels(labels, people)
    images_of = np.bincount(labels, minlength=people)
    if (images_of == 0).any():
        raise DataError(f"person {int(images_of.argmin())} of {people:,} has no image; number the people without gaps.")
    total = np.zeros((people, embeddings.shape[1]))
    for start in range(0, len(labels), VECTORS_AT_ONCE):
        part = slice(start, start + VECTORS_AT_ONCE)
        np.add.at(total, labels[part], _unit(embeddings[part]))
    return _unit(total)


def class_directions(
    centres: Float[np.ndarray, "classes *k width"],
    embeddings: Float[np.ndarray, "images d"],
    labels: Int[np.ndarray, "images"],
) -> Float[np.ndarray, "classes d"]:
    """One W_j for each class, of any head.

    CHOICE: of Eq. (1)'s weights the bias is dropped, since it has no part in a direction; of K sub-centres (v4, Sec.
    3.2) the dominant one stands for its class, the one that cleaning keeps.

    Args:
        centres: (classes, d), (classes, K, d), or either with a last column of biases (`centres.init_centres`).
        embeddings, labels: of the images by which the dominant sub-centre is found, (images, d) and (images,).
    """
    centres = centres[..., : embeddings.shape[1]]
    if centres.ndim == 2:
        return centres
    _, index = sub_center.dominant(embeddings, labels, centres)
    return sub_center.drop_sub_centres(centres, index)


def own_angle(
    x: Float[np.ndarray, "n d"], centres: Float[np.ndarray, "people d"], labels: Int[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """The angle between each vector and its person's centre: arccos(x_i . c_{y_i} / (|x_i| |c_{y_i}|)), in degrees.

    Args:
        x: embeddings or centres, (n, d); centres: (people, d), of any length. A zero vector is 90 degrees from all.
        labels: row of `centres` that is each vector's own.
    """
    angle = np.empty(len(x))
    for start in range(0, len(x), VECTORS_AT_ONCE):
        part = slice(start, start + VECTORS_AT_ONCE)
        angle[part] = _angle(_unit(x[part]), _unit(centres[labels[part]]))
    return angle


def nearest_other_angle(
    x: Float[np.ndarray, "n d"], centres: Float[np.ndarray, "people d"], labels: Int[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """The smallest angle between each vector and a centre that is not its own person's, in degrees.

        min_{k != y_i} arccos(x_i . c_k / (|x_i| |c_k|))

    The nearest centre is found by cosines in float32, on the accelerator where there is one; its angle is then taken in
    float64. Of centres that float32 cannot tell apart any may be taken: hundredths of a degree at most, near 0 degrees.

    Args:
        x, centres, labels: as `own_angle`.
    Raises:
        DataError: there is no other centre.

    Cost: n x people x d multiply-adds; 64 MB of cosines at a time.
    """
    if len(centres) < 2:
        raise DataError("a single person has nobody to be apart from; take two people or more.")
    unit = _unit(centres)
    centres32 = jnp.asarray(unit, jnp.float32)
    block = max(1, COSINES_AT_ONCE // len(centres))
    angle = np.empty(len(x))
    for start in range(0, len(x), block):
        part = slice(start, start + block)
        rows = _unit(x[part])
        nearest = _nearest_other(jnp.asarray(rows, jnp.float32), centres32, jnp.asarray(labels[part]))
        angle[part] = _angle(rows, unit[np.asarray(nearest)])
    return angle


@jax.jit
def _nearest_other(x: Array, centres: Array, labels: Array) -> Array:
    cosines = jnp.dot(x, centres.T, precision=lax.Precision.HIGHEST)  # (block, people)
    is_own = labels[:, None] == jnp.arange(centres.shape[0])[None, :]
    return jnp.argmax(jnp.where(is_own, -jnp.inf, cosines), axis=1)


def _angle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Between rows of length 1, (n, d) each: degrees (n,)."""
    return np.degrees(np.arccos(np.clip(np.einsum("nd,nd->n", x, y), -1.0, 1.0)))


def _unit(x: np.ndarray) -> np.ndarray:
    """Float64 vectors of length 1; zero where they have no direction."""
    x = x.astype(np.float64)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)
