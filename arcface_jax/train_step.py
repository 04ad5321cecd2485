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

from arcface_jax import head, losses, partial_fc
from arcface_jax.centres import init_centres, own_centre, padded_classes, target_cosine_of
from arcface_jax.config import Config, MarginConfig, SoftmaxConfig, SphereFaceConfig
from arcface_jax.margins import Margin, arccos
from arcface_jax.models import LAST_LAYER, make_backbone
from arcface_jax.related import sphereface
from faces import frozen, gradient_norms, ops, schedules
from faces.backbone import Backbone, training_form
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


def head_of(classifier: SoftmaxConfig | MarginConfig | SphereFaceConfig, step: jax.Array) -> head.Head:
    """What the config makes of scores: Eq. (1) to (4), or the original SphereFace.

    CHOICE: with `margin_ramp_steps` the target's logit moves from cos(theta) to the margin's over the first steps, in
    proportion. A small network from random weights, on few images a person, may not find its way under the whole
    margin; the paper starts with the whole.

    Args:
        classifier: of a config.
        step: batches seen so far, which a ramp and SphereFace's annealing depend on.
    """
    if classifier.kind == "softmax":
        return head.softmax_head()
    if classifier.kind == "sphereface":
        m, base = classifier.m, classifier.annealing_base
        lam = sphereface.annealing(step, base, classifier.annealing_gamma, classifier.annealing_minimum)
        return head.Head("cosine_times_norm", lambda score: sphereface.annealed_target(score, m, lam))
    margin = Margin(classifier.m1, classifier.m2, classifier.m3, classifier.gradient)
    whole = head.margin_head(margin, classifier.s)
    if classifier.margin_ramp_steps == 0:
        return whole
    part = jnp.minimum(1.0, step / classifier.margin_ramp_steps)
    return dataclasses.replace(whole, target=lambda score: score + part * (whole.target(score) - score))


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
        if classifier.kind != "none":
            rows = padded_classes(classes, math.lcm(ROWS, mesh.devices.size))
            is_linear, d = classifier.kind == "softmax", config.model.embedding_dim
            centres = init_centres(centres_key, rows, d, config.head.sub_centres, is_linear)
        opt_state = {"network": network_tx.init(params), "centres": centres_tx.init(centres)}
        return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, centres, opt_state, step_key)

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
    config has, before their weights); theta (mean angle between an embedding and its class's nearest centre, degrees,
    with classes); gradient_norm (before clipping); learning_rate (the network's, as the optimiser has used it).

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
        dropout_key, sampling_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        network_opt, centres_opt = state.opt_state["network"], state.opt_state["centres"]
        centres, labels, valid, sampled = state.centres, batch["identities"], classes, None
        if config.head.sampling_rate < 1:  # Partial FC: this step's centres are some of all
            rate = config.head.sampling_rate
            sampled = partial_fc.sample(sampling_key, labels, len(centres), classes, rate, mesh)
            labels, valid = sampled.labels, sampled.valid
            centres, centres_opt = partial_fc.take((centres, centres_opt), sampled.indices, mesh)

        def loss_of_batch(params: Any, centres: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
            images = network_input(batch["images"], config.data)
            params = frozen.stopped(params, freeze)
            embeddings, batch_stats = apply(params, state.batch_stats, images, True, dropout_key)  # x_i, (B, d)
            loss, metrics = _terms(config, mesh, embeddings, centres, labels, batch["identities"], valid, state.step)
            return loss, (batch_stats, metrics)

        gradient = jax.value_and_grad(loss_of_batch, (0, 1), has_aux=True)
        (loss, (batch_stats, metrics)), grads = gradient(state.params, centres)
        gradient_norm = optax.tree.norm(grads)
        network_grads, centres_grads = _clipped(grads, gradient_norm, config.optimiser.clip_norm)
        updates, network_opt = network_tx.update(network_grads, network_opt, state.params)
        params = optax.apply_updates(state.params, updates)
        params, batch_stats = frozen.kept((params, batch_stats), (state.params, state.batch_stats), freeze)
        updates, centres_opt = centres_tx.update(centres_grads, centres_opt, centres)
        centres = optax.apply_updates(centres, updates)
        if sampled is not None:
            old, new = (state.centres, state.opt_state["centres"]), (centres, centres_opt)
            centres, centres_opt = partial_fc.update_sampled(old, new, sampled.indices, mesh)

        learning_rate = schedules.learning_rate_of(network_opt)
        metrics |= {"loss": loss, "gradient_norm": gradient_norm, "learning_rate": learning_rate}
        metrics |= gradient_norms.by_layer(*grads) if by_layer else {}
        new = (params, batch_stats, centres, {"network": network_opt, "centres": centres_opt})
        old = (state.params, state.batch_stats, state.centres, state.opt_state)
        params, batch_stats, centres, opt_state = keep_if_finite(loss, gradient_norm, new, old)
        return TrainState(state.step + 1, params, batch_stats, centres, opt_state, state.key), metrics

    shape = jax.eval_shape(lambda: init_state(config, mesh, backbone, classes))
    placed = _placement(shape, mesh)
    return jax.jit(
        step, donate_argnums=0, in_shardings=(placed, sharded(mesh)), out_shardings=(placed, replicated(mesh))
    )


def _terms(
    config: Config,
    mesh: Mesh,
    embeddings: jax.Array,
    centres: Any,
    labels: jax.Array,
    identities: jax.Array,
    valid: Any,
    step: jax.Array,
) -> tuple[jax.Array, Metrics]:
    """The rows of Table 2: the sum of a config's terms, each a mean over the batch, and the terms themselves.

    Args:
        labels: row of each image's class in `centres`, which may be a sample of all.
        identities: class of each image.
        valid: as for `head.class_loss`.
    """
    loss, classifier, terms, metrics = config.loss, config.loss.classifier, {}, {}
    if classifier.kind != "none":
        head_now = head_of(classifier, step)
        per_image, cos_theta = head.class_loss_and_score(
            embeddings, centres, labels, head_now, mesh, valid, config.head.block
        )  # (B,) each
        terms["classification"] = (1.0, jnp.mean(per_image))
        if classifier.kind == "softmax":  # whose score is no cosine
            cos_theta = target_cosine_of(embeddings, centres[..., :-1], labels, mesh)  # (B,)
        metrics["theta"] = jnp.rad2deg(jnp.mean(arccos(jax.lax.stop_gradient(cos_theta))))
        if classifier.kind == "margin" and classifier.intra > 0:
            terms["intra"] = (classifier.intra, jnp.mean(losses.intra_loss(cos_theta)))  # Eq. (5)
        if classifier.kind == "margin" and classifier.inter > 0:
            own = own_centre(centres, labels, mesh)
            terms["inter"] = (classifier.inter, jnp.mean(losses.inter_loss(own, centres, labels, valid)))  # Eq. (6)
    if loss.triplet > 0:
        embeddings, identities = jax.lax.with_sharding_constraint((embeddings, identities), replicated(mesh))
        per_pair, is_pair = losses.angular_triplet_loss(embeddings, identities, loss.triplet_margin)  # (B, B)
        terms["triplet"] = (loss.triplet, ops.masked_mean(per_pair, is_pair))
    total = sum(weight * mean for weight, mean in terms.values())
    return jnp.asarray(total), metrics | {name: mean for name, (_, mean) in terms.items()}


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

    is_linear = config.loss.classifier.kind == "softmax"
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
    centres, opt_state = jax.tree.map(
        lambda x: sharded(mesh) if x.ndim > 1 else replicated(mesh), (state.centres, state.opt_state["centres"])
    )
    return dataclasses.replace(shardings, centres=centres, opt_state=shardings.opt_state | {"centres": opt_state})
