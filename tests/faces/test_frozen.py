"""Layers that stay: named by the beginning of their parameters' paths, the same bit by bit after training."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import arcface_jax.train_step
import facenet_jax.train_step
from faces import frozen
from faces.backbone import Backbone
from faces.errors import ConfigError
from faces.mesh import make_mesh
from faces.ops import l2_normalise
from tests.arcface_jax import setting as of_arcface
from tests.facenet_jax import setting as of_facenet


def two_layers(size: tuple[int, int], d: int) -> Backbone:
    """A matrix and a norm whose statistics are the batch's in training, twice; parameters with a negative zero."""
    pixels = size[0] * size[1] * 3

    def init(key: jax.Array) -> tuple[Any, Any]:
        stem, top = jax.random.split(key)
        params = {
            "stem": {"kernel": (jax.random.normal(stem, (pixels, d)) / pixels**0.5).at[0, 0].set(-0.0)},
            "stem_2": {"kernel": jax.random.normal(top, (d, d)) / d**0.5},
            "top": {"bias": jnp.zeros(d)},
        }
        return params, {"stem": {"mean": jnp.zeros(d)}, "top": {"mean": jnp.zeros(d)}}

    def apply(
        params: Any, stats: Any, images: jax.Array, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        def centred(x: jax.Array, name: str) -> jax.Array:
            now = x.mean(0) if train else stats[name]["mean"]
            new[name] = {"mean": 0.5 * stats[name]["mean"] + 0.5 * now if train else stats[name]["mean"]}
            return x - now[None, :]

        new: dict[str, Any] = {}
        x = centred(images.reshape(images.shape[0], -1) @ params["stem"]["kernel"], "stem")
        x = centred(x @ params["stem_2"]["kernel"], "top") + params["top"]["bias"][None, :]
        return l2_normalise(x), new

    return Backbone(init, apply, size)


def trained(paper: str, **changes: Any) -> tuple[Any, Any]:
    """State before and after three steps."""
    package, of_paper, d = {
        "facenet": (facenet_jax, of_facenet, 8),
        "arcface": (arcface_jax, of_arcface, 6),
    }[paper]
    config, mesh, backbone = of_paper.config(**changes), make_mesh(1), two_layers(of_paper.SIZE, d)
    classes = (11,) if paper == "arcface" else ()
    state = package.train_step.init_state(config, mesh, backbone, *classes)
    step = package.train_step.make_train_step(config, mesh, backbone, *classes)
    before = jax.device_get((state.params, state.batch_stats))
    for seed in range(3):
        state, _ = step(state, of_paper.batch(seed))
    return before, jax.device_get((state.params, state.batch_stats))


def same_bits(one: Any, other: Any) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: x.tobytes() == y.tobytes(), one, other)))


@pytest.mark.parametrize("paper", ["facenet", "arcface"])
def test_what_is_frozen_is_the_same_bit_by_bit(paper):
    more = {"optimiser__weight_decay": 0.1, "optimiser__name": "adam"}
    (params, stats), (new, new_stats) = trained(paper, optimiser__freeze=("stem/",), **more)
    assert same_bits(params["stem"], new["stem"]) and same_bits(stats["stem"], new_stats["stem"])
    assert not same_bits(params["stem_2"], new["stem_2"]) and not same_bits(stats["top"], new_stats["top"])
    (params, _), (new, _) = trained(paper, optimiser__freeze=("ste",), **more)
    assert same_bits(params["stem_2"], new["stem_2"]) and not same_bits(params["top"], new["top"])


@pytest.mark.parametrize("paper", ["facenet", "arcface"])
def test_running_statistics_stay_and_are_those_that_are_used(paper):
    (params, stats), (new, new_stats) = trained(paper, model__batch_norm="running")
    assert same_bits(stats, new_stats) and not same_bits(params["stem"], new["stem"])
    (_, _), (other, other_stats) = trained(paper, model__batch_norm="global")
    assert not same_bits(stats, other_stats) and not same_bits(other["stem"], new["stem"])


@pytest.mark.parametrize("paper", ["facenet", "arcface"])
def test_a_rate_of_the_networks_own(paper):
    slow = {"optimiser__learning_rate": 0.01, "optimiser__momentum": 0.0}
    before, expected = trained(paper, **slow)
    _, found = trained(paper, **{**slow, "optimiser__learning_rate": 0.1}, optimiser__backbone_rate=0.01)
    if paper == "facenet":  # without centres the rest is the same run
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), expected, found)
    moved = [np.abs(after[0]["stem"]["kernel"] - before[0]["stem"]["kernel"]).max() for after in (expected, found)]
    assert moved[1] == pytest.approx(moved[0], rel=0.3)


def test_a_prefix_that_is_of_no_layer():
    backbone = two_layers((8, 8), 6)
    assert frozen.checked(None, backbone) == frozen.checked((), backbone) == ()
    with pytest.raises(ConfigError, match='no layer of the network is "steam"; the nearest is "stem"'):
        frozen.checked(("top", "steam"), backbone)
