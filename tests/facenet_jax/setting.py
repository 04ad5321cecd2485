"""A small training problem for the tests: a config, a batch, and networks that compile at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from facenet_jax.config import Config
from faces.backbone import Backbone
from faces.ops import l2_normalise
from tests.faces.configs import tiny
from tests.step_laws import portraits

SIZE = (16, 16)


def config(**changes: Any) -> Config:
    """The tiny config for 16x16 images and batches of 32, with SGD; changes as for `with_`."""
    settings = {
        "model__input_size": SIZE,
        "model__embedding_dim": 8,
        "batch__images": 32,
        "batch__random_negatives": 0,
        "optimiser__name": "sgd",
        "optimiser__learning_rate": 0.1,
        "optimiser__initial_accumulator": 0.0,
        "optimiser__schedule": "constant",
        "optimiser__warmup_steps": 0,
        "train__steps": 6,
        "train__log_every": 1,
        "train__evaluate_every": 0,
        "train__checkpoint_every": 3,
        **changes,
    }
    return tiny(**settings)


def batch(seed: int = 0, images: int = 32) -> dict[str, np.ndarray]:
    """Random pixels of eight people, in groups of unequal size."""
    rng = np.random.default_rng(seed)
    identities = np.sort(rng.integers(0, 8, size=images)).astype(np.int32)
    return {"images": portraits(rng, identities, 8, SIZE), "identities": identities}


def without_batch_norm(_: Config | None = None) -> Backbone:
    """Two matrices and a ReLU: every image on its own."""

    def init(key: jax.Array) -> tuple[Any, Any]:
        first, second = jax.random.split(key)
        pixels = SIZE[0] * SIZE[1] * 3
        return {
            "first": jax.random.normal(first, (pixels, 24)) / np.sqrt(pixels),
            "second": jax.random.normal(second, (24, 8)) / np.sqrt(24),
        }, {}

    def apply(
        params: Any, batch_stats: Any, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        hidden = jax.nn.relu(images.reshape(images.shape[0], -1) @ params["first"])
        return l2_normalise(hidden @ params["second"]), batch_stats

    return Backbone(init, apply, SIZE)


def with_batch_norm(_: Config | None = None) -> Backbone:
    """The same with batch norm between."""
    plain = without_batch_norm()

    def init(key: jax.Array) -> tuple[Any, Any]:
        params, _ = plain.init(key)
        return params, {"mean": jnp.zeros(24), "variance": jnp.ones(24)}

    def apply(
        params: Any, batch_stats: Any, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        hidden = images.reshape(images.shape[0], -1) @ params["first"]  # (B, 24)
        mean, variance = (hidden.mean(0), hidden.var(0)) if train else (batch_stats["mean"], batch_stats["variance"])
        hidden = jax.nn.relu((hidden - mean[None]) * jax.lax.rsqrt(variance + 1e-3)[None])
        running = {"mean": 0.9 * batch_stats["mean"] + 0.1 * mean,
                   "variance": 0.9 * batch_stats["variance"] + 0.1 * variance}  # fmt: skip
        return l2_normalise(hidden @ params["second"]), running if train else batch_stats

    return Backbone(init, apply, SIZE)
