"""What RetinaFace's errors cost: the multi-task loss of arXiv 1905.00641, Eq. (1), without its dense term.

For anchor i with p the probability of a face, p* = 1 where it stands for a face and 0 where it is background,

    L = L_cls(p, p*) + w_box p* L_box(t, t*) + w_points p* L_points(l, l*).

There are hundreds of times more background anchors than faces; only those that are taken for faces most surely count.

Not here: p*, t* and l* (`matching.py`), the mean over a batch (`train_step.py`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from faces.detect.losses import cross_entropy, largest
from retinaface_jax.matching import Targets
from retinaface_jax.network import Outputs


class Sums(NamedTuple):
    """Sums over the anchors of one image, and over how many."""

    classification: Float[Array, ""]
    boxes: Float[Array, ""]
    points: Float[Array, ""]
    faces: Float[Array, ""]
    """Anchors that stand for faces: what classification and boxes are divided by."""
    faces_with_points: Float[Array, ""]
    """What points are divided by."""


def smooth_l1(difference: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """d^2 / 2 where |d| < 1, |d| - 1/2 beyond; its derivative lies between -1 and 1.

    The values are those of `optax.huber_loss`. The derivative is d to the last bit where |d| < 1; there it comes out as
    (d - 1) + 1, whose rounding is a part in 3,000 of a d of 1e-4.
    """
    distance = jnp.abs(difference)
    return jnp.where(distance < 1, 0.5 * jnp.square(difference), distance - 0.5)



def losses_of_image(outputs: Outputs, targets: Targets, negatives_per_face: int) -> Sums:
    """The three terms of Eq. (1) for one image, before weights and division. `jax.vmap` does a batch.

    Classification counts anchors of faces and `negatives_per_face` times as many hard negatives: an image without
    faces costs nothing, as in biubug6/Pytorch_Retinaface. Boxes count for anchors of faces, points for those whose
    points are annotated, each the sum over 4 or 10 offsets of the smooth L1.

    Args:
        outputs: the network's: (anchors, 2), (anchors, 4), (anchors, 10).
        targets: as `match` gives them.
        negatives_per_face: ratio of the hard negatives.

    Returns:
        float32 `Sums`; their gradients are finite for finite outputs.
    """
    losses = cross_entropy(outputs.classes, targets.is_face)  # (anchors,)
    faces = jnp.sum(targets.is_face, dtype=jnp.float32)
    # The hard negatives (Sec. 4.2).
    negatives = largest(jax.lax.stop_gradient(losses), targets.is_background, negatives_per_face * faces)

    def error(offsets: jax.Array, wanted: jax.Array, counts: jax.Array) -> jax.Array:
        difference = jnp.where(counts[:, None], offsets.astype(jnp.float32) - wanted, 0.0)
        return jnp.sum(smooth_l1(difference))

    return Sums(
        classification=jnp.sum(jnp.where(targets.is_face | negatives, losses, 0.0)),
        boxes=error(outputs.boxes, targets.boxes, targets.is_face),
        points=error(outputs.points, targets.points, targets.has_points),
        faces=faces,
        faces_with_points=jnp.sum(targets.has_points, dtype=jnp.float32),
    )
