"""One step of RetinaFace's training (arXiv 1905.00641, Eq. 1), compiled for every device of a mesh.

Images in, three maps of outputs, anchors matched to the annotated faces, the multi-task loss, gradient, update.

Not here: the loop around it (`faces.train_loop`), the batch's composition (`examples.py`), the loss's arithmetic
(`losses.py`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from faces import gradient_norms, schedules
from faces.blown_up import movement
from faces.mesh import replicated, sharded
from faces.train_state import TrainState, keep_if_finite
from retinaface_jax.anchors import make_anchors
from retinaface_jax.config import Config
from retinaface_jax.losses import losses_of_image
from retinaface_jax.matching import Batch, match
from retinaface_jax.network import make_network, to_input

Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def init_state(config: Config, mesh: Mesh) -> TrainState:
    """The state before the first step, copied to every device; it has no centres."""
    network, optimiser = make_network(config.input.network), _optimiser(config)

    def make() -> TrainState:
        init_key, step_key = jax.random.split(jax.random.key(config.train.seed))
        params, batch_stats = network.init(init_key)
        return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, {}, optimiser.init(params), step_key)

    return jax.jit(make, out_shardings=replicated(mesh))()


def make_train_step(config: Config, mesh: Mesh, by_layer: bool = False) -> TrainStep:
    """Compile one step of training.

    The returned function is `step(state, batch) -> (state, metrics)`. `state` is donated, the whole of it: its buffers
    hold the new state afterwards, and the caller must not use it again. `batch` is divided over the mesh; batch norm
    and the division by the number of faces see all of it. Where the loss or the gradient is not finite, the new state
    keeps the old weights, so that a checkpoint taken then is sound.

    With sums over all images of a batch and N the anchors that stand for faces, those with annotated points N_points:

        loss = classification / N + box_weight boxes / N + points_weight points / N_points

    DEVIATION D02: weight decay on kernels alone, as in the rest of this project; biubug6/Pytorch_Retinaface decays
    all parameters.

    Metrics, scalars: loss; classification, boxes, points (the terms, before their weights); faces (anchors that stand
    for faces, an image); gradient_norm (before clipping); update_ratio and weight_size (how far the weights moved,
    `faces.blown_up`); learning_rate (the one that the optimiser has used); with `by_layer`, the gradient's norm of each
    layer (`faces.gradient_norms`).
    """
    apply, optimiser = make_network(config.input.network).apply, _optimiser(config)
    anchors = jnp.asarray(make_anchors(config.input.size, config.input.size))  # (anchors, 4)
    weights = config.loss

    def objective(params: Any, batch_stats: Any, batch: Batch) -> tuple[jax.Array, tuple[Any, Metrics]]:
        outputs, batch_stats = apply(params, batch_stats, to_input(batch["images"]), True)
        match_one = partial(match, anchors=anchors, config=weights)
        targets = jax.vmap(match_one)(batch["boxes"], batch["points"], batch["has_points"], batch["is_face"])
        of_image = partial(losses_of_image, negatives_per_face=weights.negatives_per_face)
        sums = jax.tree.map(jnp.sum, jax.vmap(of_image)(outputs, targets))
        faces, with_points = jnp.maximum(sums.faces, 1), jnp.maximum(sums.faces_with_points, 1)
        terms = {
            "classification": sums.classification / faces,
            "boxes": sums.boxes / faces,
            "points": sums.points / with_points,
        }
        loss = terms["classification"] + weights.box_weight * terms["boxes"] + weights.points_weight * terms["points"]
        return loss, (batch_stats, terms | {"faces": sums.faces / len(batch["images"])})

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        gradient = jax.value_and_grad(objective, has_aux=True)
        (loss, (batch_stats, metrics)), gradients = gradient(state.params, state.batch_stats, batch)
        gradient_norm = optax.tree.norm(gradients)
        updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
        learning_rate = schedules.learning_rate_of(opt_state)
        new = (optax.apply_updates(state.params, updates), batch_stats, opt_state)
        old = (state.params, state.batch_stats, state.opt_state)
        params, batch_stats, opt_state = keep_if_finite(loss, gradient_norm, new, old)
        metrics |= {"loss": loss, "gradient_norm": gradient_norm, "learning_rate": learning_rate}
        metrics |= movement(new[0], state.params)
        metrics |= gradient_norms.by_layer(gradients) if by_layer else {}
        return TrainState(state.step + 1, params, batch_stats, state.centres, opt_state, state.key), metrics

    whole = replicated(mesh)
    return jax.jit(step, donate_argnums=0, in_shardings=(whole, sharded(mesh)), out_shardings=(whole, whole))


def _optimiser(config: Config) -> optax.GradientTransformation:
    return schedules.make_optimiser(config.optimiser, config.train.steps)
