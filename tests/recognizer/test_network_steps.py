"""Networks of either package take a step by either paper's loss, the same on one device and on eight.

Each is cut to a few narrow layers on small images: what it is made of compiles, is differentiated, and is divided over
devices as the whole one is.
"""

from functools import cache, partial
from typing import Any

import jax
import numpy as np
import pytest

import arcface_jax
import facenet_jax
from arcface_jax.models.deepface import DeepFace, Layer
from arcface_jax.models.deepid2 import DeepID2
from arcface_jax.models.vgg_face import VGGFace
from arcface_jax.models.vit import VisionTransformer
from facenet_jax.models.mobilenet_v1 import MobileNetV1
from faces import backbone
from faces.backbone import Backbone, Network, normalised
from faces.mesh import make_mesh, place_batch
from tests.arcface_jax import setting as of_arcface
from tests.facenet_jax import setting as of_facenet
from tests.step_laws import portraits

DIM, IMAGES, PEOPLE = 8, 16, 5
SHORT: dict[str, Network] = {
    "mobilenet_v1": Network(partial(MobileNetV1, stem=4, blocks=((6, 1), (8, 2)), dropout=0.0), (12, 12)),
    "deepface": Network(
        partial(DeepFace, convolutions=(Layer(6, 3), Layer(4, 3)), local=(Layer(4, 2, 2),), dropout=0.0), (14, 14)
    ),
    "deepid2": Network(partial(DeepID2, widths=(4, 4, 5, 5), windows=(2, 2, 2, 2)), (23, 23)),
    "vgg_face": Network(partial(VGGFace, stages=((4, 1), (6, 1)), hidden=12, dropout=0.0), (8, 8)),
    "vit": Network(partial(VisionTransformer, width=8, depth=1, heads=2, patch=4, dropout=0.0), (8, 9)),
}


def network_of(name: str) -> Backbone:
    return backbone.make_backbone(SHORT, name, DIM)


def batch(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Five people, each with three images or more."""
    rng = np.random.default_rng(0)
    identities = np.sort(np.arange(IMAGES) % PEOPLE).astype(np.int32)
    return {"images": portraits(rng, identities, PEOPLE, size), "identities": identities}


@cache
def stepped(name: str, loss: str, devices: int) -> tuple[Any, Any, dict[str, float]]:
    """Parameters before and after a step, and its metrics."""
    network, mesh = network_of(name), make_mesh(devices)
    model = {"model__input_size": network.input_size, "model__embedding_dim": DIM, "batch__images": IMAGES}
    if loss == "facenet":
        config: Any = of_facenet.config(**model, optimiser__learning_rate=0.05)
        network = normalised(network)
        state, step = facenet_jax.init_state(config, mesh, network), facenet_jax.make_train_step(config, mesh, network)
    else:
        config = of_arcface.config(**model, optimiser__name="adamw", optimiser__learning_rate=0.01)
        state = arcface_jax.init_state(config, mesh, network, PEOPLE)
        step = arcface_jax.make_train_step(config, mesh, network, PEOPLE)
    before = jax.device_get(state.params)
    state, metrics = step(state, place_batch(mesh, batch(network.input_size)))
    return before, jax.device_get(state.params), {key: float(value) for key, value in metrics.items()}


@pytest.mark.parametrize("loss", ["facenet", "arcface"])
@pytest.mark.parametrize("name", SHORT)
def test_a_step_on_one_device_and_on_eight(name: str, loss: str):
    before, after, metrics = stepped(name, loss, 1)
    _, theirs, of_eight = stepped(name, loss, 8)
    assert np.isfinite(metrics["loss"]) and metrics["loss"] > 0
    np.testing.assert_allclose(metrics["loss"], of_eight["loss"], rtol=1e-4)
    np.testing.assert_allclose(metrics["gradient_norm"], of_eight["gradient_norm"], rtol=1e-3)
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), before, after)
    kernels = [has for path, has in jax.tree.leaves_with_path(moved) if path[-1].key == "kernel"]
    assert kernels and all(kernels)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    if loss == "facenet":  # AdamW's first step is a sign, which rounding turns where a gradient is nearly 0
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4), after, theirs)
