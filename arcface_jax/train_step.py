"""One step of ArcFace training: Sec. 3.1 of ArcFace (arXiv 1801.07698), compiled for every device of a mesh.

Images in, embeddings, logits against the class centres with a margin on the target's, cross-entropy, gradient, update.
The network is replicated on every device; the centres are divided by class, and stay where they are.

Not here: the loop around it (`faces.train_loop`), the batch's composition (`sampling.py`), the head's arithmetic
(`head.py`).
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from arcface_jax import classifiers, head, losses, partial_fc
from arcface_jax.centres import init_centres, padded_classes, target_cosine_of
from arcface_jax.config import Config
from arcface_jax.margins import arccos
from arcface_jax.models import LAST_LAYER, make_backbone
from faces import frozen, gradient_norms, ops, schedules
from faces.backbone import Backbone, training_form
from faces.blown_up import movement
from faces.illumination import network_input
from faces.mesh import replicated, sharded
from faces.train_state import Batch, TrainState, check_classes, keep_if_finite

Metrics = dict[str, jax.Array]
ROWS = 64
"""The centres have a multiple of so many rows, and of the devices: a run can go on with 1, 2, 4 ... 64 devices."""

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def own_backbone(config: Config) -> Backbone:
    """The network of this paper that a config names."""
    model = config.model
    return make_backbone(model.name, model.embedding_dim, jnp.dtype(model.dtype), model.input_size, model.dropout)


def init_state(config: Config, mesh: Mesh, backbone: Backbone | None = None, classes: int = 0) -> TrainState:
    """The state before the first step, made on the devices: the network replicated, the centres divided by class.

    Args:
        config: of the run.
        mesh: the devices.
        backbone: another network than the one that the config names in `arcface_jax.models`.
        classes: identities of the training set.
    Raises:
        ConfigError: the config's loss has class centres, and `classes` is not given.
    """
    classifier = config.loss.classifier
    if classifier.kind != "none":
        check_classes(classes)
    backbone = backbone or own_backbone(config)
    network_tx, centres_tx = _optimisers(config)

    def make() -> TrainState:
        init_key, centres_key, step_key = jax.random.split(jax.random.key(config.train.seed), 3)
        params, batch_stats = backbone.init(init_key)
        centres: Any = {}
        loss_state: classifiers.LossState = {}
        if classifier.kind != "none":
            rows = padded_classes(classes, math.lcm(ROWS, mesh.devices.size))
            is_linear, d = classifier.kind in classifiers.LINEAR, config.model.embedding_dim
            centres = init_centres(centres_key, rows, d, config.head.sub_centres, is_linear)
            loss_state = classifiers.init_loss_state(classifier, rows, d)
        opt_state = {"network": network_tx.init(params), "centres": centres_tx.init(centres)}
        if learned := classifiers.learned(loss_state):
            opt_state["loss_state"] = centres_tx.init(learned)
        step = jnp.zeros((), jnp.int32)
        return TrainState(step, params, batch_stats, centres, opt_state, step_key, loss_state)

    return jax.jit(make, out_shardings=_placement(jax.eval_shape(make), mesh))()


def make_train_step(
    config: Config, mesh: Mesh, backbone: Backbone | None = None, classes: int = 0, by_layer: bool = False
) -> TrainStep:
    """Compile one step of ArcFace training (Sec. 3.1).

    The returned function is `step(state, batch) -> (state, metrics)`. `state` is donated, the whole of it: its buffers
    hold the new state afterwards, and the caller must not use it again. `batch` holds uint8 images (B, rows, columns,
    3) and int32 identities (B,), below `classes`, divided over the mesh. Where the loss or the gradient is not finite,
    the new state keeps the old weights, so that a checkpoint taken then is sound.

    Metrics, scalars: loss (the sum of all terms); classification, intra, inter and triplet (the terms, those that the
    config has, before their weights), pull and magnitude (of centre loss and MagFace); theta (mean angle between an
    embedding and its class's nearest centre, degrees, with classes); gradient_norm (before clipping); update_ratio
    and weight_size (how far the network's weights moved, `faces.blown_up`); learning_rate (the network's, as the
    optimiser has used it); and the numbers that a loss keeps, by their names in `loss_state`.

    Args:
        config: of the run.
        mesh: the devices.
        backbone, classes: as for `init_state`.
        by_layer: metrics have the gradient's norm of each layer too (`faces.gradient_norms`).
    Raises:
        ConfigError: as `init_state`.
    """
    backbone = backbone or own_backbone(config)
    network_tx, centres_tx = _optimisers(config)
    apply = training_form(backbone.apply, config.model.batch_norm, mesh)
    freeze = frozen.checked(config.optimiser.freeze, backbone)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        step_key = jax.random.fold_in(state.key, state.step)
        dropout_key, sampling_key = jax.random.split(step_key)
        loss_key = jax.random.fold_in(step_key, 2)  # beside the two that `split` has made
        network_opt, centres_opt = state.opt_state["network"], state.opt_state["centres"]
        learned = classifiers.learned(state.loss_state)
        centres, labels, valid, sampled = state.centres, batch["identities"], classes, None
        if config.head.sampling_rate < 1:  # Partial FC: this step's centres are some of all
            rate = config.head.sampling_rate
            sampled = partial_fc.sample(sampling_key, labels, len(centres), classes, rate, mesh)
            labels, valid = sampled.labels, sampled.valid
            centres, centres_opt = partial_fc.take((centres, centres_opt), sampled.indices, mesh)

        def loss_of_batch(params: Any, centres: Any, learned: Any) -> tuple[jax.Array, tuple[Any, Any, Metrics]]:
            images = network_input(batch["images"], config.data)
            params = frozen.stopped(params, freeze)
            embeddings, batch_stats = apply(params, state.batch_stats, images, True, dropout_key)  # x_i, (B, d)
            of_loss = state.loss_state | learned
            of_batch = (embeddings, centres, labels, batch["identities"])
            given = classifiers.Given(*of_batch, mesh, state.step, loss_key, of_loss)
            loss, metrics, loss_state = _terms(config, given, valid)
            return loss, (batch_stats, loss_state, metrics)

        gradient = jax.value_and_grad(loss_of_batch, (0, 1, 2), has_aux=True)
        (loss, (batch_stats, loss_state, metrics)), grads = gradient(state.params, centres, learned)
        gradient_norm = optax.tree.norm(grads)
        network_grads, centres_grads, learned_grads = _clipped(grads, gradient_norm, config.optimiser.clip_norm)
        updates, network_opt = network_tx.update(network_grads, network_opt, state.params)
        params = optax.apply_updates(state.params, updates)
        params, batch_stats = frozen.kept((params, batch_stats), (state.params, state.batch_stats), freeze)
        updates, centres_opt = centres_tx.update(centres_grads, centres_opt, centres)
        centres = optax.apply_updates(centres, updates)
        if sampled is not None:
            old, new = (state.centres, state.opt_state["centres"]), (centres, centres_opt)
            centres, centres_opt = partial_fc.update_sampled(old, new, sampled.indices, mesh)
        opt_state = {"network": network_opt, "centres": centres_opt}
        if learned:
            updates, opt_state["loss_state"] = centres_tx.update(learned_grads, state.opt_state["loss_state"], learned)
            loss_state |= optax.apply_updates(learned, updates)

        learning_rate = schedules.learning_rate_of(network_opt)
        metrics |= {"loss": loss, "gradient_norm": gradient_norm, "learning_rate": learning_rate}
        metrics |= {name: number for name, number in loss_state.items() if number.ndim == 0}
        metrics |= movement(params, state.params)
        metrics |= gradient_norms.by_layer(grads[0], centres=grads[1], loss=grads[2]) if by_layer else {}
        new = (params, batch_stats, centres, opt_state, loss_state)
        old = (state.params, state.batch_stats, state.centres, state.opt_state, state.loss_state)
        params, batch_stats, centres, opt_state, loss_state = keep_if_finite(loss, gradient_norm, new, old)
        return TrainState(state.step + 1, params, batch_stats, centres, opt_state, state.key, loss_state), metrics

    shape = jax.eval_shape(lambda: init_state(config, mesh, backbone, classes))
    placed = _placement(shape, mesh)
    return jax.jit(
        step, donate_argnums=0, in_shardings=(placed, sharded(mesh)), out_shardings=(placed, replicated(mesh))
    )


def _terms(
    config: Config, given: classifiers.Given, valid: Any
) -> tuple[jax.Array, Metrics, classifiers.LossState]:
    """The rows of Table 2: the sum of a config's terms, each a mean over the batch, the terms themselves, and what the
    loss keeps for the next step.

    Args:
        given: of the step.
        valid: as for `head.class_loss`.
    """
    loss, classifier, terms, metrics, loss_state = config.loss, config.loss.classifier, {}, {}, {}
    if classifier.kind != "none":
        head_now = classifiers.head_of(classifier, given)
        arrays = (given.embeddings, given.centres, given.labels)
        per_image, cos_theta = head.class_loss_and_score(*arrays, head_now, given.mesh, valid, config.head.block)
        terms["classification"] = (1.0, classifiers.mean_over_images(loss.weighting, per_image))  # of (B,)
        centres = classifiers.cosine_centres(head_now, given.centres)
        if centres is not None:  # the score is no cosine
            cos_theta = target_cosine_of(given.embeddings, centres, given.labels, given.mesh)  # (B,)
        metrics["theta"] = jnp.rad2deg(jnp.mean(arccos(jax.lax.stop_gradient(cos_theta))))
        terms |= classifiers.added_terms(classifier, given, cos_theta, valid)
        loss_state = classifiers.next_loss_state(classifier, given, cos_theta)
    if loss.triplet > 0:
        arrays = (given.embeddings, given.identities)
        embeddings, identities = jax.lax.with_sharding_constraint(arrays, replicated(given.mesh))
        per_pair, is_pair = losses.angular_triplet_loss(embeddings, identities, loss.triplet_margin)  # (B, B)
        terms["triplet"] = (loss.triplet, ops.masked_mean(per_pair, is_pair))
    total = sum(weight * mean for weight, mean in terms.values())
    return jnp.asarray(total), metrics | {name: mean for name, (_, mean) in terms.items()}, loss_state


def _clipped(grads: Any, norm: jax.Array, longest: float) -> Any:
    """Gradients of network and centres, which are updated apart, cut to a common norm; 0: as they are."""
    if longest == 0:
        return grads
    shorter = jnp.minimum(1.0, longest / jnp.maximum(norm, longest))
    return jax.tree.map(lambda g: g * shorter, grads)


def _optimisers(config: Config) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """The same rule twice, for the network and for the centres, whose state is divided as they are.

    Under Muon centres go by SGD: each is a vector of its own, not a row of a map that works on all of them.
    """
    optimiser, steps = dataclasses.replace(config.optimiser, clip_norm=0.0), config.train.steps
    for_network = dataclasses.replace(optimiser, learning_rate=optimiser.backbone_rate or optimiser.learning_rate)
    for_centres = dataclasses.replace(optimiser, name="sgd") if optimiser.name == "muon" else optimiser

    def decay_network(params: Any) -> Any:
        decays = schedules.decay_kernels(optimiser.weight_decay, params)
        last = schedules.decay_kernels(optimiser.head_weight_decay, params[LAST_LAYER]) if LAST_LAYER in params else {}
        return decays | ({LAST_LAYER: last} if last else {})

    is_linear = config.loss.classifier.kind in classifiers.LINEAR
    decay_centres = partial(_decay_of_centres, optimiser.head_weight_decay, is_linear)
    return (
        schedules.make_optimiser(for_network, steps, decay_network),
        schedules.make_optimiser(for_centres, steps, decay_centres),
    )


def _decay_of_centres(weight_decay: float, is_linear: bool, centres: Any) -> Any:
    """The L2 penalty of the centres: of each centre's values, but not of the bias of Eq. (1), their last column."""
    decays = schedules.decay_kernels(weight_decay, centres)
    if not is_linear or weight_decay == 0:
        return decays
    return jnp.full((1, centres.shape[-1]), decays).at[:, -1].set(0.0)


def _placement(state: TrainState, mesh: Mesh) -> TrainState:
    """Where each array of a state lives: what has a row for each class is divided, the rest replicated."""
    shardings = jax.tree.map(lambda _: replicated(mesh), state)
    of_classes = (state.centres, state.opt_state["centres"], state.loss_state)
    centres, opt_state, loss_state = jax.tree.map(
        lambda x: sharded(mesh) if x.ndim > 1 else replicated(mesh), of_classes
    )
    opt_state = shardings.opt_state | {"centres": opt_state}
    return dataclasses.replace(shardings, centres=centres, opt_state=opt_state, loss_state=loss_state)
