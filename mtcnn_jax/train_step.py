"""One step of the training of one of MTCNN's networks, compiled for every device of a mesh.

In training each network has a head for points, as in the paper (Sec. II-C); P-net's and R-net's is not used afterwards.

Not here: the loop around it (`faces.train_loop`), the windows (`examples.py`), the loss's arithmetic (`losses.py`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from faces import gradient_norms, ops, schedules
from faces.blown_up import movement
from faces.mesh import replicated, sharded
from faces.train_state import TrainState, keep_if_finite
from mtcnn_jax.config import StageConfig
from mtcnn_jax.losses import losses_of_batch
from mtcnn_jax.networks import Name, Outputs, make_net
from mtcnn_jax.windows import Batch

Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def init_state(name: Name, config: StageConfig, mesh: Mesh) -> TrainState:
    """The state of a network before the first step, copied to every device; it has no batch norm and no centres."""
    net, optimiser = make_net(name, points=True), _optimiser(config)

    def make() -> TrainState:
        init_key, step_key = jax.random.split(jax.random.fold_in(jax.random.key(config.train.seed), ord(name)))
        params = net.init(init_key)
        return TrainState(jnp.zeros((), jnp.int32), params, {}, {}, optimiser.init(params), step_key)

    return jax.jit(make, out_shardings=replicated(mesh))()


def make_train_step(name: Name, config: StageConfig, mesh: Mesh, by_layer: bool = False) -> TrainStep:
    """Compile one step of a network's training.

    The returned function is `step(state, batch) -> (state, metrics)`. `state` is donated, the whole of it: its buffers
    hold the new state afterwards, and the caller must not use it again. `batch` is divided over the mesh; the hard
    examples are those of the whole batch. Where the loss or the gradient is not finite, the new state keeps the old
    weights, so that a checkpoint taken then is sound.

        loss = classification + box_weight boxes + points_weight points

    Metrics, scalars: loss; classification, boxes, points (the terms, before their weights); accuracy (share of the
    negatives and positives told apart); gradient_norm (before clipping); update_ratio and weight_size (how far
    the weights moved, `faces.blown_up`); learning_rate (the one used); with `by_layer`, the gradient's norm of each
    layer (`faces.gradient_norms`).
    """
    net, optimiser = make_net(name, points=True), _optimiser(config)

    def objective(params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        outputs = net.apply(params, ops.normalise(batch["images"], 127.5, 128.0))
        if name == "p":  # of a window of its own size it gives a map of one place
            outputs = Outputs(*(jnp.squeeze(output, (1, 2)) for output in outputs if output is not None))
        terms = losses_of_batch(outputs, batch["kinds"], batch["boxes"], batch["points"], config.loss.hard_share)
        weighted = config.loss.box_weight * terms.boxes + config.net.points_weight * terms.points
        return terms.classification + weighted, terms._asdict()

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        (loss, metrics), gradients = jax.value_and_grad(objective, has_aux=True)(state.params, batch)
        gradient_norm = optax.tree.norm(gradients)
        updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
        learning_rate = schedules.learning_rate_of(opt_state)
        new, old = (optax.apply_updates(state.params, updates), opt_state), (state.params, state.opt_state)
        params, opt_state = keep_if_finite(loss, gradient_norm, new, old)
        metrics |= {"loss": loss, "gradient_norm": gradient_norm, "learning_rate": learning_rate}
        metrics |= movement(new[0], state.params)
        metrics |= gradient_norms.by_layer(gradients) if by_layer else {}
        return TrainState(state.step + 1, params, {}, {}, opt_state, state.key), metrics

    whole = replicated(mesh)
    return jax.jit(step, donate_argnums=0, in_shardings=(whole, sharded(mesh)), out_shardings=(whole, whole))


def _optimiser(config: StageConfig) -> optax.GradientTransformation:
    return schedules.make_optimiser(config.optimiser, config.train.steps)
