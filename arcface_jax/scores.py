"""Scores of images with classes, and the two numbers that the head needs of them: Eq. (1) to (4) of ArcFace.

Of an image's scores with all classes, `own_and_others` keeps the own class's score and the log-sum-exp of all OTHER
classes' logits. The classes may be some of all, a device's share or a block: the own scores of several parts add up,
and the log-sum-exps of several parts are one more log-sum-exp.

A loss may put something else in the place of the others' scores (`OfOthers`), as those do that look for hard classes.

Not here: margin, loss and devices (`head.py`), classes a block at a time (`head_blocks.py`).
"""

from collections.abc import Callable
from functools import partial, reduce

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from faces import ops

OfOthers = Callable[[Array, Array, Array], Array]
"""(scores with classes (batch, classes), the own class's target (batch, 1), a number of the step ()) -> what takes the
place of the scores where a class is not the image's own, elementwise. No gradient is asked of the last two."""


def own_and_others(
    normalise: bool,
    of_others: OfOthers | None,
    x: Array,
    scale: Array,
    centres: Array,
    labels: Array,
    is_class: Array,
    *beside: Array,
) -> tuple[Array, Array]:
    """Score of the own class (0 if it is not among these), and log-sum-exp of the others' logits, (batch,) each.

    Args:
        normalise: the centres.
        of_others: what takes the place of the others' scores, given `beside`; None: they stay.
        x, scale, centres: what is multiplied, (batch, width), by what, (batch,), and with what, (classes, [K,] width).
        labels, is_class: as `own_or_other`.
        beside: with `of_others` the target of each image's own class, (batch,), and a number.
    """
    scores = score_of_each(normalise, x, centres)  # (batch, classes)
    is_own, is_other = own_or_other(labels, is_class)
    own = jnp.sum(jnp.where(is_own, scores, 0.0), axis=1)
    logits = jnp.where(is_other, scale[:, None] * of_other_classes(of_others, scores, beside), -jnp.inf)
    return own, log_sum_exp_along(logits, axis=1)


def of_other_classes(of_others: OfOthers | None, scores: Array, beside: tuple[Array, ...]) -> Array:
    """What takes the place of scores with other classes, (batch, classes)."""
    if of_others is None:
        return scores
    target, number = beside
    return of_others(scores, target[:, None], number)


def score_of_each(normalise: bool, x: Array, centres: Array) -> Array:
    """Each image with each class, or the nearest of its K centres: (batch, classes)."""
    centres = ops.l2_normalise(centres) if normalise else centres.astype(jnp.float32)
    # One product for each k and a running maximum: half the memory and time of a (batch, classes, K) array.
    each_k = [centres] if centres.ndim == 2 else [centres[:, k] for k in range(centres.shape[1])]
    return reduce(jnp.maximum, [jnp.dot(x, w.T, precision=lax.Precision.HIGHEST) for w in each_k])


def own_or_other(labels: Array, is_class: Array) -> tuple[Array, Array]:
    """Whether each class is the image's own, and whether it is another, (batch, classes) each; padding is neither."""
    is_own = labels[:, None] == jnp.arange(is_class.shape[0])[None, :]
    return is_own & is_class[None, :], ~is_own & is_class[None, :]


def log_sum_exp(x: Array, largest: Callable[[Array], Array], total: Callable[[Array], Array]) -> Array:
    """log sum exp(x), over what `largest` and `total` reduce; -inf, with a gradient of zero, where all x are -inf."""
    shift = largest(lax.stop_gradient(x))
    shift = jnp.where(jnp.isfinite(shift), shift, 0.0)
    summed = total(jnp.exp(x - shift))
    return shift + jnp.where(summed == 0, -jnp.inf, jnp.log(jnp.where(summed == 0, 1.0, summed)))


def log_sum_exp_along(x: Array, axis: int) -> Array:
    along = {"axis": axis, "keepdims": True}
    return jnp.squeeze(log_sum_exp(x, partial(jnp.max, **along), partial(jnp.sum, **along)), axis)
