"""The learning rate at each step, and the update rules, as configs name them.

Not here: the values (`paper_configs/`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import optax

from faces.config import OptimiserConfig
from faces.muon import scale_by_muon


def learning_rate(config: OptimiserConfig, steps: int) -> optax.Schedule:
    """Step -> learning rate.

    Args:
        config: rate, warm-up and schedule.
        steps: length of the run, where "cosine" reaches 0.
    """
    after = max(1, steps - config.warmup_steps)
    if config.schedule == "steps":
        main = optax.piecewise_constant_schedule(
            config.learning_rate, {step - config.warmup_steps: 1 / config.decay for step in config.decay_steps}
        )
    elif config.schedule == "cosine":
        main = optax.cosine_decay_schedule(config.learning_rate, after)
    else:
        main = optax.constant_schedule(config.learning_rate)
    if config.warmup_steps == 0:
        return main
    # The first step is 1/warmup_steps of the rate, not 0: a step that changes nothing is a batch wasted.
    first = config.learning_rate / config.warmup_steps
    warmup = optax.linear_schedule(first, config.learning_rate, max(1, config.warmup_steps - 1))
    return optax.join_schedules([warmup, main], [config.warmup_steps])


def make_optimiser(
    config: OptimiserConfig, steps: int, decay: Callable[[Any], Any] | None = None
) -> optax.GradientTransformation:
    """The update rule: clipping, L2 penalty on kernels, rule, learning rate, in this order; of "adamw" the penalty
    comes after the rule (Loshchilov and Hutter, arXiv 1711.05101).

    Args:
        config: see `OptimiserConfig`.
        steps: length of the run.
        decay: weights -> the L2 penalty of each, a tree of numbers or of arrays that go with the weights; None for
            `config.weight_decay` on every kernel.
    """
    decay = decay or partial(decay_kernels, config.weight_decay)
    rules = {
        # PAPER Sec. 3.3: AdaGrad. CHOICE: epsilon 1e-7 inside the root, for parameters that never had a gradient.
        "adagrad": lambda: optax.scale_by_rss(config.initial_accumulator, eps=1e-7),
        # CHOICE: the rate is outside of the momentum, as in PyTorch. In MXNet and Caffe, which ArcFace and
        # SphereFace used, it is inside: for some ten steps after a drop their momentum still has the old rate.
        "sgd": lambda: optax.trace(config.momentum) if config.momentum else optax.identity(),
        "adam": optax.scale_by_adam,
        "adamw": optax.scale_by_adam,
        "muon": lambda: scale_by_muon(config.momentum),
    }
    parts = []
    if config.clip_norm > 0:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    rule = rules[config.name]()
    parts += [rule, _add_decay(decay)] if config.name == "adamw" else [_add_decay(decay), rule]
    # With its hyperparameters in the state, so that a log can say which learning rate was used.
    scale = optax.inject_hyperparams(optax.scale_by_learning_rate)(learning_rate=learning_rate(config, steps))
    return optax.chain(*parts, scale)


def learning_rate_of(opt_state: optax.OptState) -> jax.Array:
    """The learning rate that an optimiser of `make_optimiser` has used last, from its state after the update."""
    return optax.tree.get(opt_state, "hyperparams")["learning_rate"]


def decay_kernels(weight_decay: float, params: Any) -> Any:
    """The L2 penalty of each parameter: `weight_decay` for kernels, 0 for biases, scales and slopes.

    DEVIATION D02: ArcFace names one weight decay; MXNet, in which it was trained, spares biases and shifts alone. An
    array that holds a bias beside a kernel needs a rule of its own.
    """
    return jax.tree.map(lambda value: weight_decay if value.ndim > 1 else 0.0, params)


def _add_decay(decay: Callable[[Any], Any]) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        def add(gradient: jax.Array, value: jax.Array, rate: float | jax.Array) -> jax.Array:
            return gradient if isinstance(rate, float) and rate == 0 else gradient + rate * value

        return jax.tree.map(add, updates, params, decay(params)), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)  # pyright: ignore
