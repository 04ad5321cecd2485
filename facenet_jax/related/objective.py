"""A relative's loss of a batch, as the training step takes it in the place of FaceNet's Sec. 3.1.

What each learns beside the network (`learned`), and from the batch's embeddings to one number (`objective`).

Not here: the losses themselves, each in a file by the name of its kind; the step (`facenet_jax.train_step`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from facenet_jax import auxiliary, mining_fast, summary
from facenet_jax.related import (
    batch_all_fast,
    batch_hard,
    circle,
    contrastive,
    coupled_clusters,
    deepid2,
    lifted_structure,
    margin_loss,
    n_pair,
    triplet_variant,
)
from facenet_jax.related.config import AnyRelated, Distance, MarginLossConfig
from facenet_jax.related.pairs import Pairs, euclidean, meets_both, pairs_of, similarities
from facenet_jax.summary import Metrics, Summed, summed
from faces import ops, schedules
from faces.config import OptimiserConfig
from faces.mesh import gathered, replicated, sharded
from faces.train_state import check_classes


def learned(config: AnyRelated, key: jax.Array, classes: int, embedding_dim: int) -> Any:
    """What a loss has to learn beside the network: a classifier's rows, borders, or {} for nothing.

    Args:
        config: of the loss.
        key: a JAX random key.
        classes: identities of the training set.
        embedding_dim: d.
    Raises:
        ConfigError: there is one for each person, and `classes` is not given.
    """
    if config.kind == "deepid2":
        check_classes(classes)
        return auxiliary.init_classifier(key, classes, embedding_dim)
    if config.kind == "margin_loss":
        if config.beta_of == "person":
            check_classes(classes)
        return jnp.full((classes if config.beta_of == "person" else 1,), config.beta, jnp.float32)
    return {}


def with_own_rate(
    network: optax.GradientTransformation, loss: MarginLossConfig, optimiser: OptimiserConfig, steps: int
) -> optax.GradientTransformation:
    """The update of (network, borders): the network's as it is, the borders' by plain descent at `beta_rate`.

    The borders' rate goes by the network's schedule.
    """
    rate = schedules.learning_rate(dataclasses.replace(optimiser, learning_rate=loss.beta_rate), steps)
    both: dict[Any, optax.GradientTransformation] = {
        "network": network,
        "borders": optax.scale_by_learning_rate(rate),
    }
    return optax.partition(both, ("network", "borders"))


def objective(
    embeddings: jax.Array, identities: jax.Array, learned: Any, config: AnyRelated, key: jax.Array, mesh: Mesh
) -> tuple[jax.Array, Metrics]:
    """One number of a batch, and its metrics.

    Args:
        embeddings: (B, d); identities: (B,).
        learned: what `learned` has made.
        config: of the loss.
        key: for what is drawn.
        mesh: every device takes its share of the anchors against the whole batch.
    Returns:
        The loss; and the metrics that `facenet_jax.train_step.make_train_step` lists, of the loss's own examples, d_ap
        and d_an being means over all positive and all negative pairs.
    """
    # DEVIATION D06: of length 1, where some of these papers leave them free.
    x = jax.lax.with_sharding_constraint(embeddings.astype(jnp.float32), sharded(mesh))  # (anchors, d)
    gallery: Any = gathered(x, mesh)  # (B, d)
    identities = jax.lax.with_sharding_constraint(identities, replicated(mesh))
    pairs = Pairs(*jax.lax.with_sharding_constraint(tuple(pairs_of(identities)), sharded(mesh)))  # (anchors, B)
    squared = ops.squared_distances(x, gallery)  # (anchors, B)
    added: Any = 0.0

    match config.kind:
        case "contrastive":
            values = contrastive.contrastive_loss(euclidean(squared), pairs.is_positive, config.margin)
            losses = summed(values, pairs.is_positive | pairs.is_negative)
        case "deepid2":
            verification = contrastive.contrastive_loss(euclidean(squared), pairs.is_positive, config.margin)
            identification = auxiliary.classifier_loss(x, learned, identities)
            values = deepid2.joint_loss(identification, verification, pairs, config.verification_weight)
            losses = summed(values, jnp.ones_like(identities, bool))
        case "triplet_variant":
            negative, is_pair = mining_fast.semi_hard(gallery, identities)  # (anchors, B) each
            negative, is_pair = jax.lax.with_sharding_constraint((negative, is_pair), sharded(mesh))
            d_ap = _distance(squared, config.distance)
            d_an = jnp.take_along_axis(d_ap, negative, axis=1)
            values = triplet_variant.triplet_loss_of_distances(d_ap, d_an, config.alpha, config.slack)
            losses = summed(values, is_pair)
        case "batch_hard":
            d_ap, d_an = batch_hard.hardest(_distance(squared, config.distance), pairs)  # (anchors,) each
            values = triplet_variant.triplet_loss_of_distances(d_ap, d_an, config.alpha, config.slack)
            losses = summed(values, meets_both(pairs))
        case "batch_all":
            per_pair = batch_all_fast.batch_all(_distance(squared, config.distance), pairs, config.alpha)
            negatives = jnp.sum(pairs.is_negative, axis=1) * jnp.sum(pairs.is_positive, axis=1)  # (anchors,)
            losses = Summed(*(jnp.sum(part) for part in (per_pair.loss, negatives, per_pair.active)))
        case "margin_loss":
            losses = _around_border(euclidean(squared), pairs, learned, identities, config, key, x.shape[1])
            added = config.nu * jnp.mean(learned)
        case "coupled_clusters":
            values = coupled_clusters.coupled_clusters_loss(x, pairs, config.alpha, gallery)
            losses = summed(values, meets_both(pairs))
        case "lifted_structure":
            values = lifted_structure.lifted_structure_loss(euclidean(squared), pairs, config.alpha)
            losses = summed(values, pairs.is_positive & meets_both(pairs)[:, None])
        case "n_pair":
            values = n_pair.n_pair_loss(similarities(x, gallery), pairs, config.scale)
            losses = summed(values, pairs.is_positive & meets_both(pairs)[:, None])
        case "circle":
            values = circle.circle_loss(similarities(x, gallery), pairs, config.m, config.gamma)
            losses = summed(values, meets_both(pairs))

    of_kinds = [ops.masked_mean(jax.lax.stop_gradient(squared), kind) for kind in pairs]
    metrics = {"d_ap": of_kinds[0], "d_an": of_kinds[1], "spread": summary.spread(gallery)}
    return summary.reduced(losses, config.reduction) + added, summary.described(losses) | metrics


def _distance(squared: jax.Array, kind: Distance) -> jax.Array:
    return squared if kind == "squared" else euclidean(squared)


def _around_border(
    distance: jax.Array,
    pairs: Pairs,
    borders: jax.Array,
    identities: jax.Array,
    config: MarginLossConfig,
    key: jax.Array,
    dimensions: int,
) -> Summed:
    """All positive pairs, and for each a negative drawn by its distance."""
    beta = borders[identities] if config.beta_of == "person" else jnp.broadcast_to(borders, identities.shape)
    fixed = jax.lax.stop_gradient(distance)
    weight = margin_loss.weights(fixed, pairs.is_negative, dimensions, config.shortest, config.longest)
    negative, is_drawn = margin_loss.draw(weight, pairs, key)
    d_an = jnp.take_along_axis(distance, negative, axis=1)
    of_positives = summed(margin_loss.margin_loss(distance, beta, +1, config.alpha), pairs.is_positive)
    of_negatives = summed(margin_loss.margin_loss(d_an, beta, -1, config.alpha), is_drawn)
    return Summed(*(one + other for one, other in zip(of_positives, of_negatives, strict=True)))
