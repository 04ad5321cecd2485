"""One step of ArcFace training: Sec. 3.1 of ArcFace (arXiv 1801.07698), compiled for every device of a mesh.

Images in, embeddings, logits against the class centres with a margin on the target's, cross-entropy, gradient, update.
The network is copied to every device; the centres are divided by class, and stay where they are.

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
from arcface_jax.config import Config, LossConfig
from arcface_jax.margins import Margin, arccos
from arcface_jax.models import LAST_LAYER, make_backbone
from arcface_jax.related import sphereface
from faces import ops, schedules
from faces.backbone import Backbone, per_device
from faces.mesh import replicated, sharded
from faces.train_state import Batch, TrainState, keep_if_finite

Metrics = dict[str, jax.Array]
ROWS = 64
"""The centres have a multiple of so many rows, and of the devices: a run can go on with 1, 2, 4 ... 64 devices."""

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def backbone_of(config: Config) -> Backbone:
    """The network that a config names."""
    model = config.model
    return make_backbone(model.name, model.embedding_dim, jnp.dtype(model.dtype), model.input_size, model.dropout)


def head_of(loss: LossConfig, step: jax.Array) -> head.Head:
    """What the config makes of scores: Eq. (1) to (4), or the original SphereFace.

    CHOICE: with `margin_ramp_steps` the target's logit moves from cos(theta) to the margin's over the first steps, in
    proportion. A small network from random weights, on few images a person, may not find its way under the whole
    margin; the paper starts with the whole.

    Args:
        loss: of a config; its classifier is not "none".
        step: batches seen so far, which a ramp and SphereFace's annealing depend on.
    """
    if loss.classifier == "softmax":
        return head.softmax_head()
    if loss.classifier == "sphereface":
        lam = sphereface.annealing(step)
        return head.Head("cosine_times_norm", lambda score: sphereface.annealed_target(score, int(loss.m1), lam))
    whole = head.margin_head(Margin(loss.m1, loss.m2, loss.m3, loss.gradient), loss.s)
    if loss.margin_ramp_steps == 0:
        return whole
    part = jnp.minimum(1.0, step / loss.margin_ramp_steps)
    return dataclasses.replace(whole, target=lambda score: score + part * (whole.target(score) - score))


def init_state(config: Config, mesh: Mesh, backbone: Backbone | None = None, classes: int = 0) -> TrainState:
    """The state before the first step, made on the devices: the network copied, the centres divided.

    Args:
        config: of the run.
        mesh: the devices.
        backbone: another network than the one that the config names in `arcface_jax.models`.
        classes: identities of the training set.
    """
    backbone = backbone or backbone_of(config)
    of_network, of_centres = _optimisers(config)
    loss = config.loss

    def make() -> TrainState:
        for_weights, for_centres, for_steps = jax.random.split(jax.random.key(config.train.seed), 3)
        params, batch_stats = backbone.init(for_weights)
        centres: Any = {}
        if loss.classifier != "none":
            rows = padded_classes(classes, math.lcm(ROWS, mesh.devices.size))
            is_linear, d = loss.classifier == "softmax", config.model.embedding_dim
            centres = init_centres(for_centres, rows, d, config.head.sub_centres, is_linear)
        opt_state = {"network": of_network.init(params), "centres": of_centres.init(centres)}
        return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, centres, opt_state, for_steps)

    return jax.jit(make, out_shardings=_placement(jax.eval_shape(make), mesh))()


def make_train_step(config: Config, mesh: Mesh, backbone: Backbone | None = None, classes: int = 0) -> TrainStep:
    """Compile one step of ArcFace training (Sec. 3.1).

    The returned function is `step(state, batch) -> (state, metrics)`. `state` is donated, the whole of it: its buffers
    hold the new state afterwards, and the caller must not use it again. `batch` holds uint8 images (B, rows, columns,
    3) and int32 identities (B,), below `classes`, divided over the mesh. Where the loss or the gradient is not finite,
    the new state keeps the old weights, so that a checkpoint taken then is sound.

    Metrics, scalars: loss (the sum of all terms); classification, intra, inter and triplet (the terms, those that the
    config has, before their weights); theta (mean angle between an embedding and its class's nearest centre, degrees,
    with classes); gradient_norm (before clipping); learning_rate (the one that the optimiser has used).

    Args:
        config: of the run.
        mesh: the devices.
        backbone, classes: as for `init_state`.
    """
    backbone = backbone or backbone_of(config)
    of_network, of_centres = _optimisers(config)
    apply = per_device(backbone.apply, mesh) if config.model.batch_norm == "per_device" else backbone.apply
    clip, rate = config.optimiser.clip_norm, config.head.sampling_rate

    def objective(
        weights: tuple[Any, Any], state: TrainState, batch: Batch, labels: jax.Array, valid: Any, key: jax.Array
    ) -> tuple[jax.Array, tuple[Any, Metrics]]:
        params, centres = weights
        images = ops.normalise(batch["images"], config.data.mean, config.data.scale)
        embeddings, batch_stats = apply(params, state.batch_stats, images, True, key)  # (B, d)
        loss, metrics = _terms(config, mesh, embeddings, centres, labels, batch["identities"], valid, state.step)
        return loss, (batch_stats, metrics)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        for_dropout, for_sampling = jax.random.split(jax.random.fold_in(state.key, state.step))
        of_rows = state.opt_state["centres"]
        centres, labels, valid, sampled = state.centres, batch["identities"], classes, None
        if rate < 1:
            sampled = partial_fc.sample(for_sampling, labels, len(state.centres), classes, rate, mesh)
            labels, valid = sampled.labels, sampled.valid
            centres, of_rows = _by_rows(partial_fc.take, (centres, of_rows), indices=sampled.indices, mesh=mesh)

        gradient = jax.value_and_grad(objective, has_aux=True)
        weights = (state.params, centres)
        (loss, (batch_stats, metrics)), gradients = gradient(weights, state, batch, labels, valid, for_dropout)
        gradient_norm = optax.tree.norm(gradients)
        if clip > 0:  # here, since network and centres are clipped by their common norm but updated apart
            shorter = jnp.minimum(1.0, clip / jnp.maximum(gradient_norm, clip))
            gradients = jax.tree.map(lambda g: g * shorter, gradients)
        for_network, network_state = of_network.update(gradients[0], state.opt_state["network"], state.params)
        for_centres, of_rows = of_centres.update(gradients[1], of_rows, centres)
        params = optax.apply_updates(state.params, for_network)
        centres = optax.apply_updates(centres, for_centres)
        learning_rate = schedules.learning_rate_of(network_state)
        if sampled is not None:
            old, new = (state.centres, state.opt_state["centres"]), (centres, of_rows)
            centres, of_rows = _by_rows(partial_fc.update_sampled, old, new, indices=sampled.indices, mesh=mesh)

        new = (params, batch_stats, centres, {"network": network_state, "centres": of_rows})
        old = (state.params, state.batch_stats, state.centres, state.opt_state)
        params, batch_stats, centres, opt_state = keep_if_finite(loss, gradient_norm, new, old)
        metrics |= {"loss": loss, "gradient_norm": gradient_norm, "learning_rate": learning_rate}
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
    loss, terms, metrics = config.loss, {}, {}
    if loss.classifier != "none":
        head_now = head_of(loss, step)
        per_image, cos_theta = head.class_loss_and_score(
            embeddings, centres, labels, head_now, mesh, valid, config.head.block
        )  # (B,) each
        terms["classification"] = (1.0, jnp.mean(per_image))
        if loss.classifier == "softmax":  # whose score is no cosine
            cos_theta = target_cosine_of(embeddings, centres[..., :-1], labels, mesh)  # (B,)
        metrics["theta"] = jnp.rad2deg(jnp.mean(arccos(jax.lax.stop_gradient(cos_theta))))
        if loss.intra > 0:
            terms["intra"] = (loss.intra, jnp.mean(losses.intra_loss(cos_theta)))  # Eq. (5)
        if loss.inter > 0:
            own = own_centre(centres, labels, mesh)
            terms["inter"] = (loss.inter, jnp.mean(losses.inter_loss(own, centres, labels, valid)))  # Eq. (6)
    if loss.triplet > 0:
        embeddings, identities = jax.lax.with_sharding_constraint((embeddings, identities), replicated(mesh))
        per_pair, is_pair = losses.angular_triplet_loss(embeddings, identities, loss.triplet_margin)  # (B, B)
        mean = jnp.sum(jnp.where(is_pair, per_pair, 0.0)) / jnp.maximum(jnp.sum(is_pair), 1)
        terms["triplet"] = (loss.triplet, mean)
    total = sum(weight * mean for weight, mean in terms.values())
    return jnp.asarray(total), metrics | {name: mean for name, (_, mean) in terms.items()}


def _optimisers(config: Config) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """The same rule twice, for the network and for the centres, whose state is divided as they are.

    Under Muon centres go by SGD: each is a vector of its own, not a row of a map that works on all of them.
    """
    optimiser, steps = dataclasses.replace(config.optimiser, clip_norm=0.0), config.train.steps
    of_centres = dataclasses.replace(optimiser, name="sgd") if optimiser.name == "muon" else optimiser

    def of_network(params: Any) -> Any:
        decays = schedules.decay_kernels(optimiser.weight_decay, params)
        last = schedules.decay_kernels(optimiser.head_weight_decay, params[LAST_LAYER]) if LAST_LAYER in params else {}
        return decays | ({LAST_LAYER: last} if last else {})

    is_linear = config.loss.classifier == "softmax"
    decay_centres = partial(_decay_of_centres, optimiser.head_weight_decay, is_linear)
    return (
        schedules.make_optimiser(optimiser, steps, of_network),
        schedules.make_optimiser(of_centres, steps, decay_centres),
    )


def _decay_of_centres(weight_decay: float, is_linear: bool, centres: Any) -> Any:
    """The L2 penalty of the centres: of each centre's values, but not of the bias of Eq. (1), their last column."""
    decays = schedules.decay_kernels(weight_decay, centres)
    if not is_linear or weight_decay == 0:
        return decays
    return jnp.full((1, centres.shape[-1]), decays).at[:, -1].set(0.0)


def _by_rows(move: Callable[..., jax.Array], *trees: Any, indices: jax.Array, mesh: Mesh) -> Any:
    """Apply a function of `partial_fc` to what has a row for each class; of the rest, counts, the last tree's stays."""
    return jax.tree.map(lambda *x: move(*x, indices, mesh) if x[0].ndim else x[-1], *trees)


def _placement(state: TrainState, mesh: Mesh) -> TrainState:
    """Where each array of a state lives: what has a row for each class is divided, the rest copied."""
    shardings = jax.tree.map(lambda _: replicated(mesh), state)
    centres, opt_state = jax.tree.map(
        lambda x: sharded(mesh) if x.ndim > 1 else replicated(mesh), (state.centres, state.opt_state["centres"])
    )
    return dataclasses.replace(shardings, centres=centres, opt_state=shardings.opt_state | {"centres": opt_state})
