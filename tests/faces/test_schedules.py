"""Learning rates against a formula in plain Python; update rules against loops in float64."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from faces import schedules
from tests.faces.configs import tiny

STEPS = 20


def optimiser(**changes):
    plain = {
        "name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0, "initial_accumulator": 0.0,
        "warmup_steps": 0, "schedule": "constant", "decay_steps": (), "decay": 1.0, "clip_norm": 0.0,
    }  # fmt: skip
    return dataclasses.replace(tiny().optimiser, **{**plain, **changes})


def rate_by_hand(config, step):
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "steps":
        return config.learning_rate / config.decay ** sum(step >= at for at in config.decay_steps)
    if config.schedule == "cosine":
        part = (step - config.warmup_steps) / (STEPS - config.warmup_steps)
        return config.learning_rate * (1 + math.cos(math.pi * part)) / 2
    return config.learning_rate


@pytest.mark.parametrize("warmup", [0, 1, 2, 7])
@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "constant"},
        {"schedule": "steps", "decay_steps": (9, 10, 17), "decay": 10.0},
        {"schedule": "steps", "decay_steps": (7,), "decay": 4.0},
        {"schedule": "steps", "decay_steps": (3, 12), "decay": 2.0},
        {"schedule": "cosine"},
    ],
)
def test_learning_rate_at_each_step(changes, warmup):
    config = optimiser(warmup_steps=warmup, learning_rate=0.3, **changes)
    given = jax.vmap(schedules.learning_rate(config, STEPS))(jnp.arange(STEPS + 1))
    np.testing.assert_allclose(given, [rate_by_hand(config, step) for step in range(STEPS + 1)], rtol=1e-6, atol=1e-7)


def test_warm_up_as_long_as_the_run():
    config = optimiser(warmup_steps=STEPS, schedule="cosine")
    given = jax.vmap(schedules.learning_rate(config, STEPS))(jnp.arange(STEPS))
    np.testing.assert_allclose(given, [0.1 * (step + 1) / STEPS for step in range(STEPS)], rtol=1e-6)


PARAMS = {"kernel": np.array([[0.5, -2.0], [1.5, 0.25]]), "bias": np.array([3.0, -1.0])}


def gradients(step):
    """Of very different sizes, so that a small constant under a root shows."""
    rng = np.random.default_rng(step)
    return {name: rng.normal(size=value.shape) * np.array([1.0, 1e-4]) for name, value in PARAMS.items()}


def trained(config, steps=4):
    """Parameters after some steps of the optimiser under test."""
    rule = schedules.make_optimiser(config, STEPS)
    params = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), PARAMS)
    state, update = rule.init(params), jax.jit(rule.update)
    for step in range(steps):
        given = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), gradients(step))
        updates, state = update(given, state, params)
        params = optax.apply_updates(params, updates)
    return params


def by_hand(config, steps=4):
    """The same in float64, one value after the other."""
    params = {name: value.copy() for name, value in PARAMS.items()}
    memory = {name: np.full_like(value, config.initial_accumulator) for name, value in PARAMS.items()}
    second = {name: np.zeros_like(value) for name, value in PARAMS.items()}
    for step in range(steps):
        gradient, rate = gradients(step), rate_by_hand(config, step)
        norm = math.sqrt(sum(float(value) ** 2 for values in gradient.values() for value in values.flat))
        for name, values in params.items():
            for at in np.ndindex(values.shape):
                g = float(gradient[name][at])
                if config.clip_norm > 0 and norm > config.clip_norm:
                    g *= config.clip_norm / norm
                decay = config.weight_decay * values[at] if name == "kernel" else 0.0
                if config.name != "adamw":
                    g += decay
                if config.name == "adagrad":
                    memory[name][at] += g * g
                    g /= math.sqrt(memory[name][at] + 1e-7)
                elif config.name == "sgd":
                    memory[name][at] = g = config.momentum * memory[name][at] + g
                else:
                    memory[name][at] = 0.9 * memory[name][at] + 0.1 * g
                    second[name][at] = 0.999 * second[name][at] + 0.001 * g * g
                    mean = memory[name][at] / (1 - 0.9 ** (step + 1))
                    g = mean / (math.sqrt(second[name][at] / (1 - 0.999 ** (step + 1))) + 1e-8)
                values[at] -= rate * (g + decay if config.name == "adamw" else g)
    return params


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "adagrad"},
        {"name": "adagrad", "initial_accumulator": 0.1},
        {"name": "adagrad", "weight_decay": 0.2, "clip_norm": 0.5},
        {"name": "sgd"},
        {"name": "sgd", "momentum": 0.9},
        {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1},
        {"name": "sgd", "clip_norm": 0.5},
        {"name": "sgd", "clip_norm": 100.0},
        {"name": "sgd", "weight_decay": 0.3, "clip_norm": 0.5, "warmup_steps": 2, "schedule": "steps",
         "decay_steps": (3,), "decay": 10.0},
        {"name": "adam"},
        {"name": "adam", "weight_decay": 0.3},
        {"name": "adamw", "weight_decay": 0.3, "clip_norm": 0.5},
    ],
)  # fmt: skip
def test_updates_equal_loops(changes):
    config = optimiser(**changes)
    given, expected = trained(config), by_hand(config)
    for name, start in PARAMS.items():
        moved = np.asarray(given[name], np.float64) - start
        np.testing.assert_allclose(moved, expected[name] - start, rtol=1e-4, atol=1e-6)


def test_weight_decay_leaves_biases_and_scales_alone():
    """With no gradient at all only kernels shrink."""
    rule = schedules.make_optimiser(optimiser(weight_decay=0.5), STEPS)
    params = {"kernel": jnp.ones((2, 3)), "conv": jnp.ones((1, 1, 2, 2)), "bias": jnp.ones(3), "scale": jnp.ones(())}
    updates, _ = rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)
    changed = {name: bool((np.asarray(value) != 0).any()) for name, value in updates.items()}
    assert changed == {"kernel": True, "conv": True, "bias": False, "scale": False}


def test_adagrad_does_not_move_what_never_had_a_gradient():
    rule = schedules.make_optimiser(optimiser(name="adagrad"), STEPS)
    params = {"x": jnp.ones(2)}
    updates, _ = rule.update({"x": jnp.array([0.0, 1.0])}, rule.init(params), params)
    np.testing.assert_allclose(updates["x"], [0.0, -0.1], rtol=1e-5)


@pytest.mark.parametrize("name", ["adagrad", "sgd", "adam", "adamw", "muon"])
@pytest.mark.parametrize(
    "schedule", [{"schedule": "cosine"}, {"schedule": "steps", "decay_steps": (3, 4), "decay": 10.0}]
)
def test_the_rate_in_the_state_is_the_one_that_was_used(name, schedule):
    """At every step, clipping and decay or not, and it is what the schedule says."""
    config = optimiser(name=name, warmup_steps=2, clip_norm=0.5, weight_decay=0.1, **schedule)
    rule = schedules.make_optimiser(config, STEPS)
    params = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), PARAMS)
    state, update = rule.init(params), jax.jit(rule.update)
    given = []
    for step in range(6):
        gradient = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), gradients(step))
        _, state = update(gradient, state, params)
        given.append(float(schedules.learning_rate_of(state)))
    np.testing.assert_allclose(given, [rate_by_hand(config, step) for step in range(6)], rtol=1e-6)


def test_a_decay_of_each_weight_takes_the_place_of_the_configs():
    """With no gradient at all, SGD shrinks each weight by rate x its own penalty."""
    config = optimiser(weight_decay=0.5)

    def decay(params):
        return {name: {"kernel": 0.5, "last": 0.2}.get(name, 0.0) for name in params}

    rule = schedules.make_optimiser(config, STEPS, decay)
    params = {name: jnp.full((2, 3), 2.0) for name in ("kernel", "last", "slope")}
    updates, _ = jax.jit(rule.update)(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)
    for name, expected in {"kernel": -0.1 * 0.5 * 2, "last": -0.1 * 0.2 * 2, "slope": 0.0}.items():
        np.testing.assert_allclose(updates[name], np.full((2, 3), expected), rtol=1e-6, err_msg=name)
