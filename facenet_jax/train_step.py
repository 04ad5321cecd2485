"""One step of FaceNet training: Sec. 3 of FaceNet (arXiv 1503.03832), compiled for every device of a mesh.

Images in, embeddings, triplets mined among all of them, loss, gradient, update. The step is written for the global
batch; `jax.jit` and the placements of its arguments divide it. Only per-device batch norm says what one device does.

Not here: the loop around it (`faces.train_loop`), the batch's composition (`sampling.py`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from facenet_jax import auxiliary, gradient_cache, losses, mining, mining_fast, summary
from facenet_jax.config import Config, TripletConfig
from facenet_jax.models import make_backbone
from facenet_jax.related import objective as related
from facenet_jax.summary import Metrics
from faces import frozen, gradient_norms, ops, schedules
from faces.backbone import Backbone, training_form
from faces.blown_up import movement
from faces.illumination import network_input
from faces.mesh import gathered, replicated, sharded
from faces.train_state import Batch, TrainState, check_classes, keep_if_finite

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def own_backbone(config: Config) -> Backbone:
    """The network of this paper that a config names."""
    model = config.model
    return make_backbone(model.name, model.embedding_dim, jnp.dtype(model.dtype), model.input_size)


def init_state(config: Config, mesh: Mesh, backbone: Backbone | None = None, classes: int = 0) -> TrainState:
    """The state before the first step, made on the devices, replicated on each.

    Args:
        config: of the run.
        mesh: the devices.
        backbone: another network than the one that the config names in `facenet_jax.models`; of length-1 embeddings.
        classes: identities of the training set, for losses that learn something for each.
    Raises:
        ConfigError: the config's loss is such, and `classes` is not given.
    """
    backbone = backbone or own_backbone(config)
    tx = _optimiser(config)

    def make() -> TrainState:
        init_key, step_key = jax.random.split(jax.random.key(config.train.seed))
        params, batch_stats = backbone.init(init_key)
        loss_key = jax.random.fold_in(init_key, 1)  # the network's first layer has drawn from init_key itself
        centres = _learned(config, loss_key, classes)
        opt_state = tx.init((params, centres))
        return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, centres, opt_state, step_key)

    return jax.jit(make, out_shardings=replicated(mesh))()


def _learned(config: Config, key: jax.Array, classes: int) -> Any:
    """What the loss has to learn beside the network."""
    loss, d = config.loss, config.model.embedding_dim
    if loss.kind != "triplet":
        return related.learned(loss, key, classes, d)
    if loss.classifier_weight == 0:
        return {}
    check_classes(classes)
    return auxiliary.init_classifier(key, classes, d)


def _optimiser(config: Config) -> optax.GradientTransformation:
    """The update of (network, what the loss learns)."""
    tx = schedules.make_optimiser(config.optimiser, config.train.steps)
    if config.loss.kind == "margin_loss":
        return related.with_own_rate(tx, config.loss, config.optimiser, config.train.steps)
    return tx


def make_train_step(config: Config, mesh: Mesh, backbone: Backbone | None = None, by_layer: bool = False) -> TrainStep:
    """Compile one step of FaceNet training (Sec. 3).

    The returned function is `step(state, batch) -> (state, metrics)`. `state` is donated, the whole of it: its buffers
    hold the new state afterwards, and the caller must not use it again. `batch` holds uint8 images (B, rows, columns,
    3) and int32 identities (B,), divided over the mesh; mining sees all of it. Where the loss or the gradient is not
    finite, the new state keeps the old weights, so that a checkpoint taken then is sound.

    Metrics, scalars: loss; pairs (anchor-positive pairs with a negative); active (fraction of them whose loss is above
    zero); active_triplets (their number); loss_per_pair; d_ap and d_an (means of squared distances over the pairs);
    spread (mean squared distance from the mean embedding: 0 when all coincide, up to 1); gradient_norm (before
    clipping); update_ratio and weight_size (how far the network's weights moved, `faces.blown_up`); learning_rate (the
    network's, as the optimiser has used it); with `loss.classifier_weight`, classifier_loss (mean over the batch).
    Another loss than the triplet's has the same, of its own examples.

    Args:
        config: of the run.
        mesh: the devices.
        backbone: as for `init_state`.
        by_layer: metrics have the gradient's norm of each layer too (`faces.gradient_norms`).
    """
    backbone = backbone or own_backbone(config)
    tx = _optimiser(config)
    apply = training_form(backbone.apply, config.model.batch_norm, mesh)
    freeze = frozen.checked(config.optimiser.freeze, backbone)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        weights = (state.params, state.centres)

        def embed(params: Any, images: jax.Array) -> tuple[jax.Array, Any]:
            images = network_input(images, config.data)
            return apply(frozen.stopped(params, freeze), state.batch_stats, images, True, key)  # f(x), (B, d)

        def objective(embeddings: jax.Array, centres: Any) -> tuple[jax.Array, Metrics]:
            if config.loss.kind != "triplet":
                return related.objective(embeddings, batch["identities"], centres, config.loss, key, mesh)
            loss, metrics = triplet_objective(embeddings, batch["identities"], config, key, mesh)  # Eq. (3)
            if config.loss.classifier_weight > 0:
                per_image = auxiliary.classifier_loss(embeddings, centres, batch["identities"])  # (B,)
                metrics = metrics | {"classifier_loss": jnp.mean(per_image)}
                loss = loss + config.loss.classifier_weight * metrics["classifier_loss"]
            return loss, metrics

        def loss_of_batch(weights: tuple[Any, Any]) -> tuple[jax.Array, tuple[Any, Metrics]]:
            params, centres = weights
            embeddings, batch_stats = embed(params, batch["images"])
            loss, metrics = objective(embeddings, centres)
            return loss, (batch_stats, metrics)

        if config.batch.micro_batch == 0:
            (loss, (batch_stats, metrics)), grads = jax.value_and_grad(loss_of_batch, has_aux=True)(weights)
        else:  # the same in less memory; without batch norm, so that its statistics stay
            (loss, metrics), grads = gradient_cache.value_and_grad(
                lambda *x: embed(*x)[0], objective, *weights, batch["images"], config.batch.micro_batch, mesh
            )
            batch_stats = state.batch_stats

        gradient_norm = optax.tree.norm(grads)
        updates, opt_state = tx.update(grads, state.opt_state, weights)  # Sec. 3.3
        learning_rate = schedules.learning_rate_of(opt_state)
        if config.optimiser.backbone_rate is not None:  # every rule multiplies by its rate last
            slower = config.optimiser.backbone_rate / config.optimiser.learning_rate
            of_both: Any = updates
            updates = (jax.tree.map(lambda update: slower * update, of_both[0]), of_both[1])
            learning_rate = slower * learning_rate
        metrics |= {"loss": loss, "gradient_norm": gradient_norm, "learning_rate": learning_rate}
        metrics |= gradient_norms.by_layer(grads[0], centres=grads[1]) if by_layer else {}
        moved: Any = optax.apply_updates(weights, updates)
        params, batch_stats = frozen.kept((moved[0], batch_stats), (state.params, state.batch_stats), freeze)
        metrics |= movement(params, state.params)
        new = ((params, moved[1]), batch_stats, opt_state)
        old = (weights, state.batch_stats, state.opt_state)
        (params, centres), batch_stats, opt_state = keep_if_finite(loss, gradient_norm, new, old)
        return TrainState(state.step + 1, params, batch_stats, centres, opt_state, state.key), metrics

    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(replicated(mesh), sharded(mesh)),
        out_shardings=(replicated(mesh), replicated(mesh)),
    )


def triplet_objective(
    embeddings: jax.Array, identities: jax.Array, config: Config, key: jax.Array, mesh: Mesh
) -> tuple[jax.Array, Metrics]:
    """Mine the batch's triplets and reduce their losses to one number.

    Args:
        embeddings: (B, d); identities: (B,).
        config: loss and mining.
        key: for `random_violator`.
        mesh: every device takes its share of the anchors against the whole batch.
    Returns:
        The loss, and metrics as `make_train_step` lists them (those of the embeddings).
    """
    rules = _triplets_of(config)
    embeddings = jax.lax.with_sharding_constraint(embeddings.astype(jnp.float32), sharded(mesh))  # (anchors, d)
    gallery: Any = gathered(embeddings, mesh)  # (B, d)
    identities = jax.lax.with_sharding_constraint(identities, replicated(mesh))
    negative, is_pair = mine(gallery, identities, config, key)  # (B, B) each  Eq. (4)
    negative, is_pair = jax.lax.with_sharding_constraint((negative, is_pair), sharded(mesh))
    per_pair = losses.triplet_loss_of_pairs(embeddings, negative, rules.alpha, gallery)  # (B, B)
    of_batch = summary.summed(per_pair, is_pair)
    metrics = summary.described(of_batch) | _describe(gallery, negative, is_pair)
    return summary.reduced(of_batch, rules.reduction), metrics


def mine(embeddings: jax.Array, identities: jax.Array, config: Config, key: jax.Array) -> mining.Mined:
    """The config's rule of Sec. 3.2, applied to a batch."""
    rules = _triplets_of(config)
    if rules.mining == "semi_hard":
        return mining_fast.semi_hard(embeddings, identities)
    if rules.mining == "hardest":
        return mining.hardest(embeddings, identities)
    return mining_fast.random_violator(embeddings, identities, rules.alpha, key)


def _triplets_of(config: Config) -> TripletConfig:
    assert config.loss.kind == "triplet", config.loss.kind
    return config.loss


def _describe(embeddings: jax.Array, negative: jax.Array, is_pair: jax.Array) -> Metrics:
    distance = mining.distances(embeddings)  # (B, B)
    d_an = jnp.take_along_axis(distance, negative, axis=1)  # (B, B)
    means = {"d_ap": ops.masked_mean(distance, is_pair), "d_an": ops.masked_mean(d_an, is_pair)}
    return means | {"spread": summary.spread(embeddings)}
