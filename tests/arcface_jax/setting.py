"""A small ArcFace training problem for the tests: a config, a batch, and networks that compile at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from arcface_jax.config import Config
from faces.backbone import Backbone
from faces.toml_config import load_config
from tests.step_laws import portraits

SIZE = (8, 8)
CLASSES = 11  # divides by no number of devices


def config(**changes: Any) -> Config:
    """The tiny config for 8x8 images, d = 6 and batches of 16, with plain SGD; changes as for `with_`."""
    made, _ = load_config("arcface/tiny", Config)
    settings = {
        "model__input_size": SIZE,
        "model__embedding_dim": 6,
        "model__dropout": 0.0,
        "batch__images": 16,
        "optimiser__name": "sgd",
        "optimiser__learning_rate": 0.1,
        "optimiser__momentum": 0.0,
        "optimiser__weight_decay": 0.0,
        "optimiser__head_weight_decay": 0.0,
        "optimiser__schedule": "constant",
        "optimiser__warmup_steps": 0,
        "optimiser__clip_norm": 0.0,
        "loss__classifier__s": 16.0,
        "loss__classifier__margin_ramp_steps": 0,
        "train__steps": 6,
    }
    return made.with_(**settings).with_(**changes)


def batch(seed: int = 0, images: int = 16) -> dict[str, np.ndarray]:
    """Random pixels of eleven people."""
    rng = np.random.default_rng(seed)
    identities = rng.integers(0, CLASSES, size=images).astype(np.int32)
    return {"images": portraits(rng, identities, CLASSES, SIZE), "identities": identities}


def linear(dropout: float = 0.0) -> Backbone:
    """One matrix: every image on its own, embeddings of any length."""

    def init(key: jax.Array) -> tuple[Any, Any]:
        pixels = SIZE[0] * SIZE[1] * 3
        return {"fc": {"kernel": jax.random.normal(key, (pixels, 6)) / np.sqrt(pixels), "bias": jnp.zeros(6)}}, {}

    def apply(
        params: Any, batch_stats: Any, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        x = images.reshape(images.shape[0], -1)
        if train and dropout:
            assert key is not None
            x = x * jax.random.bernoulli(key, 1 - dropout, x.shape) / (1 - dropout)
        return x @ params["fc"]["kernel"] + params["fc"]["bias"][None, :], batch_stats

    return Backbone(init, apply, SIZE)


def with_batch_norm() -> Backbone:
    """The same, its outputs normalised over the batch."""
    plain = linear()

    def init(key: jax.Array) -> tuple[Any, Any]:
        return plain.init(key)[0], {"mean": jnp.zeros(6), "variance": jnp.ones(6)}

    def apply(
        params: Any, batch_stats: Any, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        x, _ = plain.apply(params, {}, images, train, key)
        mean, variance = (x.mean(0), x.var(0)) if train else (batch_stats["mean"], batch_stats["variance"])
        seen = {"mean": mean, "variance": variance}
        running = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, batch_stats, seen)
        return (x - mean[None]) * jax.lax.rsqrt(variance + 1e-3)[None], running if train else batch_stats

    return Backbone(init, apply, SIZE)
