"""What MTCNN's errors cost (Zhang et al. 2016, Sec. II-C): three tasks, of which each window teaches only some.

With beta_i^j whether window i teaches task j, and alpha_j the weight of the task,

    L = sum_j alpha_j mean { L_i^j : beta_i^j = 1 }.

L^det is cross-entropy, Eq. (1), over negatives and positives, and of these only over the hardest 70% of the batch;
L^box, Eq. (2), the squared distance of four offsets, over positives and parts; L^landmark, Eq. (3), that of ten, over
the windows that teach points.

DEVIATION D23: Eq. (4) sums over the windows of a batch; the mean of each task makes the weights independent of how
many of its windows a batch has.

Not here: which window is what (`windows.py`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from faces.detect.losses import cross_entropy, largest
from faces.ops import masked_mean
from mtcnn_jax.networks import Outputs
from mtcnn_jax.windows import NEGATIVE, PART, POINTS, POSITIVE


class Terms(NamedTuple):
    """Means over the windows of a batch that teach a task, 0 where there is none."""

    classification: Float[Array, ""]
    boxes: Float[Array, ""]
    points: Float[Array, ""]
    accuracy: Float[Array, ""]
    """Share of the negatives and positives that are told apart."""


def hardest(losses: Float[Array, "batch"], counts: Bool[Array, "batch"], share: float) -> Bool[Array, "batch"]:
    """The windows of the largest loss: floor(share * n) of the n that count, at least one; the first of equals.

    Args:
        losses: finite, of each window.
        counts: the windows to choose from.
        share: of them, 0 to 1.
    """
    number = jnp.maximum(jnp.floor(share * jnp.sum(counts) + 1e-4), 1)  # 0.7 of 10 is 7 in float32 too
    return largest(losses, counts, number)


def losses_of_batch(
    outputs: Outputs,
    kinds: Int[Array, "batch"],
    boxes: Float[Array, "batch 4"],
    points: Float[Array, "batch 5 2"],
    hard_share: float,
) -> Terms:
    """The three terms, before their weights.

    Args:
        outputs: of a network with a head for points: (batch, 2), (batch, 4), (batch, 5, 2).
        kinds: of `windows.py`.
        boxes, points: what the network should answer; any finite numbers of windows that do not teach them.
        hard_share: of the classified windows that count.

    Returns:
        float32 scalars; their gradients are finite for finite outputs.
    """
    if outputs.points is None:
        raise ValueError("a network without a head for points is not what is trained")
    is_face = kinds == POSITIVE
    classified = is_face | (kinds == NEGATIVE)
    losses = cross_entropy(outputs.face, is_face)  # (batch,)  Eq. (1)
    hard = hardest(jax.lax.stop_gradient(losses), classified, hard_share)
    of_boxes = jnp.sum(jnp.square(outputs.box - boxes), axis=1)  # (batch,)  Eq. (2)
    of_points = jnp.sum(jnp.square(outputs.points - points), axis=(1, 2))  # (batch,)  Eq. (3)
    is_right = (outputs.face[:, 1] > outputs.face[:, 0]) == is_face
    return Terms(
        classification=masked_mean(losses, hard),
        boxes=masked_mean(of_boxes, is_face | (kinds == PART)),
        points=masked_mean(of_points, kinds == POINTS),
        accuracy=masked_mean(is_right.astype(jnp.float32), classified),
    )
