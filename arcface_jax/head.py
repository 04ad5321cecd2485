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

Not here: the two numbers (`scores.py`; a block of classes at a time: `head_blocks.py`), the margins (`margins.py`), the
array of centres and its memory (`centres.py`), sampling (`partial_fc.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from arcface_jax.centres import own_centre
from arcface_jax.head_blocks import own_and_others_in_blocks
from arcface_jax.head_checks import check_known_labels, check_mesh, check_shapes
from arcface_jax.margins import Margin, target_cosine
from arcface_jax.scores import OfOthers, log_sum_exp, own_and_others, score_of_each
from faces import ops
from faces.mesh import DATA


def _no_number(own: Array) -> Array:
    return jnp.zeros((), own.dtype)


@dataclass(frozen=True)
class Head:
    """How embeddings and class centres become logits."""

    scores: Literal["cosine", "cosine_times_norm", "linear", "inner"]
    """What an embedding x has with a centre W, and the scale that makes it a logit.

    "cosine": cos theta, times `s` (Eq. (2) to (4)). "cosine_times_norm": cos theta, times norm(x) (SphereFace as
    published). "linear": W . x + b, times 1 (Eq. (1)); b is the last column of the centres. "inner": W . x, times 1.
    """
    target: Callable[[Array], Array]
    """Scores with the own classes, (batch,) -> what takes their place: cos theta -> cos(theta + m) in Eq. (3). It may
    hold arrays of the step, such as a margin for each image."""
    s: float | Array = 1.0
    """Scale of "cosine"; the others have no use for it."""
    of_others: OfOthers | None = None
    """What takes the place of scores with other classes; None: they stay, as in Eq. (1) to (4). It holds no arrays of
    the step: what it needs of those is given to it, the target, and `number`."""
    number: Callable[[Array], Array] = _no_number
    """Scores with the own classes, (batch,) -> the number that `of_others` is given, in some losses their mean."""

    @property
    def has_directions(self) -> bool:
        """Whether scores are cosines, which the lengths of centres have no part in."""
        return self.scores in ("cosine", "cosine_times_norm")


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
        labels: class of each image, in 0 .. classes - 1; the loss of any other is nan.
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
    head: Head | Margin,
    mesh: Mesh,
    valid: int | Bool[Array, "rows"] | None = None,
    block: int = 0,
    *,
    s: float = 64.0,
    axis: str = DATA,
) -> Float[Array, "batch"]:
    """Loss of each image against class centres that are divided over a mesh, for any network and step.

    The numbers of `class_loss_and_score`, which this calls, with less asked of the caller: batches and classes of any
    number (what the devices cannot share evenly is padded, and the padding counts for nothing), a `Margin` where no
    other head is wanted, and labels that are checked where that is possible.

    Args:
        embeddings, centres, labels: as `class_loss_and_score`, (batch, d), (classes, d) and (batch,), of any numbers.
        head: a `Head`, or a margin, which stands for `margin_head(head, s)`.
        mesh: devices; over other axes than `axis` everything is replicated.
        valid, block: as `class_loss_and_score`; all rows are classes if `valid` is None.
        s: the scale of a margin's logits; PAPER 64.
        axis: of the mesh, over which images and classes are divided.
    Returns:
        Loss per image, float32 (batch,).
    Raises:
        DataError: a label that is no class, or arrays that do not belong together. Under `jax.jit` the labels' values
            cannot be checked; there such a loss is nan.
        ConfigError: a mesh without that axis, or not of `AxisType.Auto` (`head_checks.py`).
    """
    head = margin_head(head, s) if isinstance(head, Margin) else head
    rows, labels = centres.shape[0], jnp.asarray(labels) if isinstance(labels, list | tuple) else labels
    valid = rows if valid is None else jnp.asarray(valid) if jnp.ndim(valid) else valid
    check_mesh(mesh, axis)
    check_shapes(embeddings, centres, labels, valid, embeddings.shape[1] + (head.scores == "linear"), block)
    check_known_labels(labels, valid, rows)
    if not embeddings.shape[0]:
        return jnp.zeros(0)
    pad = partial(_padded, devices=mesh.shape[axis])
    of_rows = pad(valid) if isinstance(valid, Array) else int(valid)
    loss, _ = class_loss_and_score(
        pad(embeddings), pad(centres), pad(labels), head, mesh, of_rows, block, axis=axis
    )  # (padded batch,)
    loss = loss[: embeddings.shape[0]]
    return jnp.where(valid[labels], loss, jnp.nan) if isinstance(valid, Array) else loss


def class_logits(
    embeddings: Float[Array, "batch d"], centres: Float[Array, "rows *k width"], head: Head | Margin, *, s: float = 64.0
) -> Float[Array, "batch rows"]:
    """Logits of each image with each class, without a margin: what a classifier says when it is not trained.

        s cos theta_ij, or norm(x_i) cos theta_ij, or W_j . x_i + b_j, as the head has it

    Args: as `class_loss`. Divided centres give logits divided by class.
    Returns:
        float32 (batch, rows).
    """
    head = margin_head(head, s) if isinstance(head, Margin) else head
    x, scale = _directions(embeddings, head)
    return scale[:, None] * score_of_each(head.has_directions, x, centres)


def class_loss_and_score(
    embeddings: Float[Array, "batch d"],
    centres: Float[Array, "rows *k width"],
    labels: Int[Array, "batch"],
    head: Head,
    mesh: Mesh,
    valid: int | Bool[Array, "rows"],
    block: int = 0,
    *,
    axis: str = DATA,
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
        mesh: devices.
        valid: the number of classes, the rows behind them being padding; or which rows are classes. A row that is none
            has the logit -inf and the gradient zero.
        block: 0 scores all of a device's classes at once. Otherwise as many classes at a time, and anew in the backward
            pass: memory for (batch, block) scores in place of (batch, rows / devices), for four matrix products
            instead of three.
        axis: of the mesh, over which images and classes are divided.
    Returns:
        Loss per image, and the score with its own class before the margin: cos theta_y, unless scores are "linear".
        Both float32 (batch,), divided as the embeddings; gradients flow through both. A label that is no class, which
        nothing can refuse in a compiled step, has the loss nan.
    Numerics: as `margin_softmax_loss`.
    """
    x, scale = _directions(embeddings, head)
    is_class = jnp.arange(centres.shape[0]) < valid if isinstance(valid, int) else valid  # (rows,)
    classes = valid if isinstance(valid, int) else centres.shape[0]
    of_a_part = own_and_others if block == 0 else partial(own_and_others_in_blocks, block)
    own_first: tuple[Array, ...] = ()
    beside: tuple[Array, ...] = ()
    if head.of_others is not None:  # which compares with the own class, wherever that is: it comes first
        rows = own_centre(centres, labels, mesh, x, axis=axis)  # (batch, width)
        own_first = (jnp.sum(x * (ops.l2_normalise(rows) if head.has_directions else rows), axis=1),)  # (batch,)
        beside = lax.stop_gradient((head.target(*own_first), head.number(*own_first)))

    def on_one_device(
        x: Array, scale: Array, labels: Array, centres: Array, is_class: Array, *beside: Array
    ) -> tuple[Array, Array]:
        x, scale, labels = (lax.all_gather(part, axis, tiled=True) for part in (x, scale, labels))
        labels = labels - lax.axis_index(axis) * centres.shape[0]  # among this device's rows, or none of them
        arrays = (x, scale, centres, labels, is_class, *beside)
        own, others = of_a_part(head.has_directions, head.of_others, *arrays)  # (batch,) each
        over_devices = partial(lax.pmax, axis_name=axis), partial(lax.psum, axis_name=axis)
        return lax.psum(own, axis), log_sum_exp(others, *over_devices)

    divided, whole = PartitionSpec(axis), PartitionSpec()
    in_specs = ((divided,) * 5, (whole,) * len(beside))
    run = jax.shard_map(on_one_device, mesh=mesh, in_specs=sum(in_specs, ()), out_specs=(whole, whole))
    own, others = run(x, scale, labels, centres, is_class, *beside)  # (batch,) each
    own = own_first[0] if own_first else own
    loss = _of_classes_alone(_loss(own, others, scale, head), labels, classes)
    return lax.with_sharding_constraint((loss, own), NamedSharding(mesh, divided))


def _padded(rows: Array, devices: int) -> Array:
    """Rows of zeros added at the end, so that the devices share all evenly."""
    missing = -rows.shape[0] % devices
    return jnp.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1)) if missing else rows


def _dense_loss(embeddings: Array, centres: Array, labels: Array, head: Head) -> Array:
    x, scale = _directions(embeddings, head)
    every = jnp.ones(centres.shape[0], bool)
    own, others = own_and_others(head.has_directions, None, x, scale, centres, labels, every)
    return _of_classes_alone(_loss(own, others, scale, head), labels, centres.shape[0])


def _of_classes_alone(loss: Array, labels: Array, classes: int) -> Array:
    """The losses, (batch,), nan where a label is none of 0 .. classes - 1."""
    return jnp.where((labels >= 0) & (labels < classes), loss, jnp.nan)


def _directions(embeddings: Array, head: Head) -> tuple[Array, Array]:
    """What is multiplied by the centres, (batch, width), and the scale of the scores, (batch,)."""
    x = embeddings.astype(jnp.float32)
    if not head.has_directions:
        one = jnp.ones_like(x[:, 0])
        return (jnp.concatenate([x, one[:, None]], axis=1) if head.scores == "linear" else x), one
    direction = ops.l2_normalise(x)
    if head.scores == "cosine":
        return direction, jnp.full_like(x[:, 0], head.s)
    # norm(x) as x . x / norm(x): its gradient is the direction held constant, and finite where x = 0.
    return direction, jnp.sum(x * lax.stop_gradient(direction), axis=1)


def _loss(own: Array, others: Array, scale: Array, head: Head) -> Array:
    return jax.nn.softplus(others - scale * head.target(own))  # Eq. (1) to (4)
