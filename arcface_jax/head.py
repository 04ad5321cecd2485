"""The classification head of ArcFace (arXiv 1801.07698): softmax cross-entropy over class centres, Eq. (1) to (4).

Every loss of the paper's Table 2 that is a softmax follows one scheme. An embedding x_i has a score with each class
centre W_j. The score of its own class alone passes through a function, the margin. Scores times a scale are logits, and
    l_i = log sum_j exp(logit_ij) - logit_iy.
So the head reduces the (B, C) scores to two numbers per image, the own class's score and the log-sum-exp of all OTHER
classes' logits. Margin and loss work on those: no one-hot, and no arccos of the full matrix. As
    l_i = log(1 + exp(others_i - logit_iy))
nothing cancels: a well-classified image's small loss and gradient keep their full relative precision.

PAPER v3 Appendix 5.1, parallel acceleration: centres are divided over the devices by class, embeddings are gathered,
each device scores its own classes, and only two numbers per image travel back. The gradient of a centre stays on its
device; that of the embeddings is summed over the devices.

Not here: the margins (`margins.py`), the array of centres and its memory (`centres.py`), sampling (`partial_fc.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from arcface_jax.margins import Margin, target_cosine
from faces import ops
from faces.mesh import DATA, split

_SPLIT, _COPIED = PartitionSpec(DATA), PartitionSpec()


@dataclass(frozen=True)
class Head:
    """How embeddings and class centres become logits."""

    scores: Literal["cosine", "cosine_times_norm", "linear"]
    """What an embedding x has with a centre W, and the scale that makes it a logit.

    "cosine": cos theta, times `s` (Eq. (2) to (4)). "cosine_times_norm": cos theta, times norm(x) (SphereFace as
    published). "linear": W . x + b, times 1 (Eq. (1)); b is the last column of the centres.
    """
    target: Callable[[Array], Array]
    """Score of the own class -> what takes its place, elementwise: cos theta -> cos(theta + m) in Eq. (3)."""
    s: float = 1.0
    """Scale of "cosine"; the others have no use for it."""


def margin_head(margin: Margin, s: float) -> Head:
    """The head of Eq. (2), (3) or (4), whichever the margin makes it."""
    return Head("cosine", partial(target_cosine, margin=margin), s)


def softmax_head() -> Head:
    """The head of Eq. (1): no normalisation, no margin."""
    return Head("linear", lambda score: score)


def margin_softmax_loss(
    embeddings: Float[Array, "batch d"],
    centres: Float[Array, "classes *k d"],
    labels: Int[Array, "batch"],
    margin: Margin,
    s: float,
) -> Float[Array, "batch"]:
    """Loss of each image by Eq. (4) before its mean; Eq. (2) and (3) are settings of the margin.

        l_i = -log( e^{s t(cos theta_iy)} / (e^{s t(cos theta_iy)} + sum_{j != y} e^{s cos theta_ij}) ),
        t(cos theta) = cos(m1 theta + m2) - m3,   cos theta_ij = x_i . W_j / (norm(x_i) norm(W_j))

    With K centres per class, cos theta_ij is the largest of the class's K cosines (v4 Sec. 3.2).

    Args:
        embeddings: (batch, d), any length and float type.
        centres: (classes, d) or (classes, K, d), any length.
        labels: class of each image, in 0 .. classes - 1: `check_labels` first.
        margin: m1, m2 in radians, m3, and the gradient that is taken.
        s: the scale, 64 in the paper.
    Returns:
        Loss per image, float32 (batch,).
    Numerics: float32 throughout; gradients are zero, not undefined, for vectors without a direction.
    """
    return _dense_loss(embeddings, centres, labels, margin_head(margin, s))


def softmax_loss(
    embeddings: Float[Array, "batch d"],
    centres: Float[Array, "classes d_plus_1"],
    labels: Int[Array, "batch"],
) -> Float[Array, "batch"]:
    """Loss of each image by Eq. (1) before its mean: plain softmax.

        l_i = -log( e^{W_y . x_i + b_y} / sum_j e^{W_j . x_i + b_j} )

    Args:
        embeddings: (batch, d), any float type.
        centres: (classes, d + 1), weights W_j with the bias b_j as last column.
        labels: class of each image, in 0 .. classes - 1.
    Returns:
        Loss per image, float32 (batch,).
    """
    return _dense_loss(embeddings, centres, labels, softmax_head())


def class_loss(
    embeddings: Float[Array, "batch d"],
    centres: Float[Array, "rows *k width"],
    labels: Int[Array, "batch"],
    head: Head,
    mesh: Mesh,
    valid: int | Bool[Array, "rows"],
    block: int = 0,
) -> Float[Array, "batch"]:
    """Loss of each image against class centres that are divided over the mesh: `class_loss_and_score` without score.

    Args: as `class_loss_and_score`.
    Returns:
        Loss per image, float32 (batch,), divided as the embeddings.
    """
    return class_loss_and_score(embeddings, centres, labels, head, mesh, valid, block)[0]


def class_loss_and_score(
    embeddings: Float[Array, "batch d"],
    centres: Float[Array, "rows *k width"],
    labels: Int[Array, "batch"],
    head: Head,
    mesh: Mesh,
    valid: int | Bool[Array, "rows"],
    block: int = 0,
) -> tuple[Float[Array, "batch"], Float[Array, "batch"]]:
    """Loss of each image against class centres that are divided over the mesh, for a training step.

    The numbers of `margin_softmax_loss` or `softmax_loss`, on any number of devices. Take gradients outside this
    function, as of any other: the centres' stay on their devices, the embeddings' are summed over them.

    Args:
        embeddings: (batch, d), divided over the mesh; the batch is a multiple of the devices.
        centres: (rows, d), (rows, K, d), or (rows, d + 1) for "linear" scores, divided over the mesh by rows:
            `padded_classes` of them.
        labels: row of each image's class, divided over the mesh.
        head: what the loss is.
        mesh: devices along one axis.
        valid: the number of classes, the rows behind them being padding; or which rows are classes. A row that is none
            has the logit -inf and the gradient zero.
        block: 0 scores all of a device's classes at once. Otherwise as many classes at a time, and anew in the backward
            pass: memory for (batch, block) scores in place of (batch, rows / devices), for four matrix products
            instead of three.
    Returns:
        Loss per image, and the score with its own class before the margin: cos theta_y, unless scores are "linear".
        Both float32 (batch,), divided as the embeddings; gradients flow through both.
    Numerics: as `margin_softmax_loss`.
    """
    x, scale = _directions(embeddings, head)
    is_class = jnp.arange(centres.shape[0]) < valid if isinstance(valid, int) else valid  # (rows,)
    own_and_others = _own_and_others if block == 0 else partial(_in_blocks, block)

    def on_one_device(x: Array, scale: Array, labels: Array, centres: Array, is_class: Array) -> tuple[Array, Array]:
        x, scale, labels = (lax.all_gather(part, DATA, tiled=True) for part in (x, scale, labels))
        labels = labels - lax.axis_index(DATA) * centres.shape[0]  # among this device's rows, or none of them
        own, others = own_and_others(head.scores != "linear", x, scale, centres, labels, is_class)  # (batch,) each
        over_devices = partial(lax.pmax, axis_name=DATA), partial(lax.psum, axis_name=DATA)
        return lax.psum(own, DATA), _log_sum_exp(others, *over_devices)

    run = jax.shard_map(on_one_device, mesh=mesh, in_specs=(_SPLIT,) * 5, out_specs=(_COPIED, _COPIED))
    own, others = run(x, scale, labels, centres, is_class)  # (batch,) each
    return lax.with_sharding_constraint((_loss(own, others, scale, head), own), split(mesh))


def _dense_loss(embeddings: Array, centres: Array, labels: Array, head: Head) -> Array:
    x, scale = _directions(embeddings, head)
    every = jnp.ones(centres.shape[0], bool)
    own, others = _own_and_others(head.scores != "linear", x, scale, centres, labels, every)
    return _loss(own, others, scale, head)


def _directions(embeddings: Array, head: Head) -> tuple[Array, Array]:
    """What is multiplied by the centres, (batch, width), and the scale of the scores, (batch,)."""
    x = embeddings.astype(jnp.float32)
    if head.scores == "linear":
        one = jnp.ones_like(x[:, 0])
        return jnp.concatenate([x, one[:, None]], axis=1), one
    direction = ops.l2_normalise(x)
    if head.scores == "cosine":
        return direction, jnp.full_like(x[:, 0], head.s)
    # norm(x) as x . x / norm(x): its gradient is the direction held constant, and finite where x = 0.
    return direction, jnp.sum(x * lax.stop_gradient(direction), axis=1)


def _own_and_others(
    normalise: bool, x: Array, scale: Array, centres: Array, labels: Array, is_class: Array
) -> tuple[Array, Array]:
    """Score of the own class (0 if it is not among these), and log-sum-exp of the others' logits, (batch,) each."""
    scores = _scores(normalise, x, centres)  # (batch, classes)
    is_own, is_other = _own_or_other(labels, is_class)
    own = jnp.sum(jnp.where(is_own, scores, 0.0), axis=1)
    logits = jnp.where(is_other, scale[:, None] * scores, -jnp.inf)
    return own, _log_sum_exp_along(logits, axis=1)


def _scores(normalise: bool, x: Array, centres: Array) -> Array:
    """Each image with each class, or the nearest of its K centres: (batch, classes)."""
    centres = ops.l2_normalise(centres) if normalise else centres.astype(jnp.float32)
    # One product for each k and a running maximum: half the memory and time of a (batch, classes, K) array.
    each_k = [centres] if centres.ndim == 2 else [centres[:, k] for k in range(centres.shape[1])]
    return reduce(jnp.maximum, [jnp.dot(x, w.T, precision=lax.Precision.HIGHEST) for w in each_k])


def _own_or_other(labels: Array, is_class: Array) -> tuple[Array, Array]:
    """Whether each class is the image's own, and whether it is another, (batch, classes) each; padding is neither."""
    is_own = labels[:, None] == jnp.arange(is_class.shape[0])[None, :]
    return is_own & is_class[None, :], ~is_own & is_class[None, :]


def _loss(own: Array, others: Array, scale: Array, head: Head) -> Array:
    return jax.nn.softplus(others - scale * head.target(own))  # Eq. (1) to (4)


def _log_sum_exp(x: Array, largest: Callable[[Array], Array], total: Callable[[Array], Array]) -> Array:
    """log sum exp(x), over what `largest` and `total` reduce; -inf, with a gradient of zero, where all x are -inf."""
    shift = largest(lax.stop_gradient(x))
    shift = jnp.where(jnp.isfinite(shift), shift, 0.0)
    summed = total(jnp.exp(x - shift))
    return shift + jnp.where(summed == 0, -jnp.inf, jnp.log(jnp.where(summed == 0, 1.0, summed)))


def _log_sum_exp_along(x: Array, axis: int) -> Array:
    along = {"axis": axis, "keepdims": True}
    return jnp.squeeze(_log_sum_exp(x, partial(jnp.max, **along), partial(jnp.sum, **along)), axis)


def _in_blocks(
    block: int, normalise: bool, x: Array, scale: Array, centres: Array, labels: Array, is_class: Array
) -> tuple[Array, Array]:
    """`_own_and_others`, a block of classes at a time."""
    block = min(block, centres.shape[0])
    own, others = _each_block(block, normalise, x, scale, centres, labels, is_class)  # (blocks, batch) each
    return jnp.sum(own, axis=0), _log_sum_exp_along(others, axis=0)


def _block_by_block(
    block: int, normalise: bool, x: Array, scale: Array, centres: Array, labels: Array, is_class: Array
) -> tuple[Array, Array]:
    def of_block(start: Array) -> tuple[Array, Array]:
        at, labels_here, is_class_here = _block_at(start, block, labels, is_class)
        centres_here = lax.dynamic_slice_in_dim(centres, at, block)
        return _own_and_others(normalise, x, scale, centres_here, labels_here, is_class_here)

    return lax.map(of_block, jnp.arange(0, centres.shape[0], block))


_each_block = jax.custom_vjp(_block_by_block, nondiff_argnums=(0, 1))


def _each_block_forward(block: int, normalise: bool, *arrays: Array) -> tuple[tuple[Array, Array], tuple[Any, Array]]:
    own, others = _each_block(block, normalise, *arrays)
    return (own, others), (arrays, others)


def _each_block_backward(
    block: int, normalise: bool, saved: tuple[Any, Array], gradient: tuple[Array, Array]
) -> tuple[Array | None, ...]:
    """Score each block anew and pull its gradient back; one block's scores exist at a time.

    Written by hand because the gradient of the loop above would hold one of the whole of the centres for each block,
    and would take the log-sum-exp, which the forward pass has left, once more.
    """
    (x, scale, centres, labels, is_class), each_others = saved

    def add_block(total: tuple[Array, Array, Array], each: tuple[Array, ...]) -> tuple[Any, None]:
        start, others, of_own, of_others = each
        at, labels_here, is_class_here = _block_at(start, block, labels, is_class)
        centres_here = lax.dynamic_slice_in_dim(centres, at, block)
        scores, pull_back = jax.vjp(partial(_scores, normalise), x, centres_here)  # (batch, block)
        is_own, is_other = _own_or_other(labels_here, is_class_here)
        # d others / d logit is the softmax over them; where a block holds none, others is -inf and nothing is used.
        softmax = jnp.exp(jnp.where(is_other, scale[:, None] * scores - others[:, None], -jnp.inf))
        of_logits = of_others[:, None] * softmax
        of_scores = jnp.where(is_own, of_own[:, None], scale[:, None] * of_logits)
        of_x, of_here = pull_back(of_scores)
        of_centres = lax.dynamic_update_slice_in_dim(total[2], of_here, at, 0)
        return (total[0] + of_x, total[1] + jnp.sum(of_logits * scores, axis=1), of_centres), None

    starts = jnp.arange(0, centres.shape[0], block)
    zero = (jnp.zeros_like(x), jnp.zeros_like(scale), jnp.zeros_like(centres))
    # Last block first: what it overlaps of the one before is no class in it, and is overwritten next.
    total, _ = lax.scan(add_block, zero, (starts, each_others, *gradient), reverse=True)
    return *total, None, None


_each_block.defvjp(_each_block_forward, _each_block_backward)


def _block_at(start: Array, block: int, labels: Array, is_class: Array) -> tuple[Array, Array, Array]:
    """First class of the block, labels relative to it, and which of its rows are classes.

    Where the block does not divide the classes, the last one starts early; what an earlier one had is no class in it.
    """
    at = jnp.minimum(start, is_class.shape[0] - block)
    is_new = at + jnp.arange(block) >= start  # (block,)
    return at, labels - at, lax.dynamic_slice_in_dim(is_class, at, block) & is_new
