"""Eq. (1) to (4) for many classes: the fast form of `scores.own_and_others`, a block of them at a time.

It equals `scores.own_and_others` on all classes at once, which a test holds it to, in memory for (batch, block) scores
in place of (batch, classes), for four matrix products instead of three. `python -m benchmarks.head_memory` measures
both beside scores all at once; RESULTS.md has what it found for a million classes and for ten.

Not here: margin, loss and devices (`head.py`).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from arcface_jax.scores import (
    OfOthers,
    log_sum_exp_along,
    of_other_classes,
    own_and_others,
    own_or_other,
    score_of_each,
)


def own_and_others_in_blocks(
    block: int,
    normalise: bool,
    of_others: OfOthers | None,
    x: Array,
    scale: Array,
    centres: Array,
    labels: Array,
    is_class: Array,
    *beside: Array,
) -> tuple[Array, Array]:
    """`scores.own_and_others`, `block` classes at a time; its other arguments and results."""
    block = min(block, centres.shape[0])
    own, others = _each_block(block, normalise, of_others, x, scale, centres, labels, is_class, *beside)
    return jnp.sum(own, axis=0), log_sum_exp_along(others, axis=0)  # of (blocks, batch) each


def _block_by_block(
    block: int,
    normalise: bool,
    of_others: OfOthers | None,
    x: Array,
    scale: Array,
    centres: Array,
    labels: Array,
    is_class: Array,
    *beside: Array,
) -> tuple[Array, Array]:
    def of_block(start: Array) -> tuple[Array, Array]:
        at, labels_here, is_class_here = _block_at(start, block, labels, is_class)
        centres_here = lax.dynamic_slice_in_dim(centres, at, block)
        return own_and_others(normalise, of_others, x, scale, centres_here, labels_here, is_class_here, *beside)

    return lax.map(of_block, jnp.arange(0, centres.shape[0], block))


_each_block = jax.custom_vjp(_block_by_block, nondiff_argnums=(0, 1, 2))


def _each_block_forward(
    block: int, normalise: bool, of_others: OfOthers | None, *arrays: Array
) -> tuple[tuple[Array, Array], tuple[Any, Array]]:
    own, others = _each_block(block, normalise, of_others, *arrays)
    return (own, others), (arrays, others)


def _each_block_backward(
    block: int,
    normalise: bool,
    of_others: OfOthers | None,
    saved: tuple[Any, Array],
    gradient: tuple[Array, Array],
) -> tuple[Array | None, ...]:
    """Score each block anew and pull its gradient back; one block's scores exist at a time.

    Written by hand because the gradient of the loop above would hold one of the whole of the centres for each block,
    and would take the log-sum-exp, which the forward pass has left, once more.
    """
    (x, scale, centres, labels, is_class, *beside), each_others = saved

    def add_block(total: tuple[Array, Array, Array], each: tuple[Array, ...]) -> tuple[Any, None]:
        start, others, own_grad, others_grad = each
        at, labels_here, is_class_here = _block_at(start, block, labels, is_class)
        centres_here = lax.dynamic_slice_in_dim(centres, at, block)
        scores, pull_back = jax.vjp(partial(score_of_each, normalise), x, centres_here)  # (batch, block)
        taken, to_scores = jax.vjp(lambda scores: of_other_classes(of_others, scores, tuple(beside)), scores)
        is_own, is_other = own_or_other(labels_here, is_class_here)
        # d others / d logit is the softmax over them; where a block holds none, others is -inf and nothing is used.
        softmax = jnp.exp(jnp.where(is_other, scale[:, None] * taken - others[:, None], -jnp.inf))
        logits_grad = others_grad[:, None] * softmax
        (others_scores_grad,) = to_scores(scale[:, None] * logits_grad)
        x_grad, here_grad = pull_back(jnp.where(is_own, own_grad[:, None], others_scores_grad))
        centres_grad = lax.dynamic_update_slice_in_dim(total[2], here_grad, at, 0)
        return (total[0] + x_grad, total[1] + jnp.sum(logits_grad * taken, axis=1), centres_grad), None

    starts = jnp.arange(0, centres.shape[0], block)
    zero = (jnp.zeros_like(x), jnp.zeros_like(scale), jnp.zeros_like(centres))
    # Last block first: what it overlaps of the one before is no class in it, and is overwritten next.
    total, _ = lax.scan(add_block, zero, (starts, each_others, *gradient), reverse=True)
    return *total, None, None, *[None] * len(beside)


_each_block.defvjp(_each_block_forward, _each_block_backward)


def _block_at(start: Array, block: int, labels: Array, is_class: Array) -> tuple[Array, Array, Array]:
    """First class of the block, labels relative to it, and which of its rows are classes.

    Where the block does not divide the classes, the last one starts early; what an earlier one had is no class in it.
    """
    at = jnp.minimum(start, is_class.shape[0] - block)
    is_new = at + jnp.arange(block) >= start  # (block,)
    return at, labels - at, lax.dynamic_slice_in_dim(is_class, at, block) & is_new
