"""ElasticFace (Boutros et al., CVPR Workshops 2022, arXiv 2109.09416): each image draws its margin anew.

It answered ArcFace and CosFace (ArcFace's Eq. 3 and 4), whose one margin supposes that all people vary alike:
    target = cos(theta_y + E(m, sigma)), or cos(theta_y) - E(m, sigma),   E normal, of mean m and spread sigma.
ElasticFace+ deals the same draws out in order: the image farthest from its centre has the largest. AdaFace and MagFace
let the image decide instead of chance.

Geometry: the border of a class breathes from step to step around ArcFace's or CosFace's.

CHOICE: sorted, the largest margin goes to the smallest cosine, the second to the second, as the idea has it; the
authors' code orders the margins by the places of the sorted images and not by their ranks, which deals them out at
random.

Not here: the softmax (`head.py`); sigma = 0, which is a setting of Eq. (4) (`margins.py`).
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from arcface_jax.margins import cos_of_sum

AddedTo = Literal["angle", "cosine"]


def draw(key: Key[Array, ""], images: int, m: float, sigma: float) -> Float[Array, "batch"]:
    """A margin for each image of a batch over all devices, float32 (batch,): normal, of mean m and spread sigma."""
    return m + sigma * jax.random.normal(key, (images,))


def dealt(margins: Float[Array, "batch"], cos_theta: Float[Array, "batch"]) -> Float[Array, "batch"]:
    """The margins in the order of ElasticFace+: the smaller an image's own cosine, the larger its margin.

    Args:
        margins: of `draw`, (batch,).
        cos_theta: of each image with its own centre, (batch,).
    Returns:
        The same margins, (batch,); of equal cosines the first image has the smaller one. Carries no gradient.
    """
    nearest_first = jnp.argsort(-lax.stop_gradient(cos_theta), stable=True)  # (batch,)
    return jnp.zeros_like(margins).at[nearest_first].set(jnp.sort(margins))


def target(
    cos_theta: Float[Array, "batch"], margins: Float[Array, "batch"], added_to: AddedTo
) -> Float[Array, "batch"]:
    """What takes the place of the cosine with the own class: cos(theta + E), or cos(theta) - E with "cosine"."""
    return cos_of_sum(cos_theta, margins) if added_to == "angle" else cos_theta - margins
