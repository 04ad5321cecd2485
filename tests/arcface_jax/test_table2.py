"""Every row of Table 2 takes two steps, with its own loss, margins, schedule and batch, on a network of one matrix."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from arcface_jax.config import Config
from arcface_jax.train_step import init_state, make_train_step
from faces.config import check, load_config, shipped_configs
from faces.mesh import make_mesh, place_batch
from tests.arcface_jax import setting

ROWS = [name for name in shipped_configs() if name.startswith("arcface/table2_")]
LABELS = np.array([4, 4, 4, 7, 7, 0, 0, 0], np.int32)  # pairs for the triplets


@pytest.fixture(autouse=True, scope="module")
def quick_compilation() -> Iterator[None]:
    """Two steps a row: what they compute stays, and compiling them takes half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_takes_two_steps(name: str):
    paper, _ = load_config(name, Config)
    model = dataclasses.replace(paper.model, input_size=setting.SIZE, embedding_dim=6)
    together = min(4, paper.batch.images_per_identity)
    batch = dataclasses.replace(paper.batch, images=len(LABELS), images_per_identity=together)
    config = check(dataclasses.replace(paper, model=model, batch=batch), name)
    mesh, backbone = make_mesh(1), setting.linear()
    state = init_state(config, mesh, backbone, setting.CLASSES)
    before = jax.device_get((state.params, state.centres))
    step = make_train_step(config, mesh, backbone, setting.CLASSES)
    for number in range(2):
        images = setting.batch(number, len(LABELS))["images"]
        state, metrics = step(state, place_batch(mesh, {"images": images, "identities": LABELS}))
        metrics = {key: float(value) for key, value in metrics.items()}
        assert np.isfinite(list(metrics.values())).all(), metrics
        assert metrics["gradient_norm"] > 0 and metrics["learning_rate"] == pytest.approx(0.1)
    moved = jax.tree.map(lambda x, y: (x != y).any(), before, jax.device_get((state.params, state.centres)))
    assert all(jax.tree.leaves(moved)), moved


def test_there_are_24():
    assert len(ROWS) == 24
