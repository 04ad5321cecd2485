"""The learning rate at each step, and the update rules, as configs name them.

Not here: the values (`paper_configs/`).
"""

import jax
import optax

from faces.config import OptimiserConfig


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


def make_optimiser(config: OptimiserConfig, steps: int) -> optax.GradientTransformation:
    """The update rule: clipping, L2 penalty on kernels, rule, learning rate, in this order.

    Args:
        config: see `OptimiserConfig`.
        steps: length of the run.
    """
    rules = {
        # PAPER Sec. 3.3: AdaGrad. CHOICE: epsilon 1e-7 inside the root, for parameters that never had a gradient.
        "adagrad": lambda: optax.scale_by_rss(config.initial_accumulator, eps=1e-7),
        "sgd": lambda: optax.trace(config.momentum) if config.momentum else optax.identity(),
        "adam": optax.scale_by_adam,
    }
    parts = []
    if config.clip_norm > 0:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    if config.weight_decay > 0:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=_is_kernel))
    return optax.chain(*parts, rules[config.name](), optax.scale_by_learning_rate(learning_rate(config, steps)))


def _is_kernel(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda value: value.ndim > 1, params)
