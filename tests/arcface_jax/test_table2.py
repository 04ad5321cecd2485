"""Every row of Table 2 takes two steps, with its own loss, margins, schedule and batch, on a network of one matrix."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, Literal

import jax
import numpy as np
import pytest

from arcface_jax.config import Config
from arcface_jax.train_step import init_state, make_train_step
from faces.mesh import make_mesh, place_batch
from faces.toml_config import load_config, shipped_configs
from faces.train_state import TrainState
from tests.arcface_jax import setting

ROWS = [name for name in shipped_configs() if name.startswith("arcface/table2_")]
LABELS = np.array([4, 4, 4, 7, 7, 0, 0, 0], np.int32)  # pairs for the triplets
MESH, BACKBONE = make_mesh(1), setting.linear()


def in_small(name: str) -> Config:
    """A row's config for 8x8 images, d = 6 and batches of eight."""
    paper, _ = load_config(name, Config)
    together = min(4, paper.batch.images_per_identity)
    small = paper.with_(model__input_size=setting.SIZE, model__embedding_dim=6)
    return small.with_(batch__images=len(LABELS), batch__images_per_identity=together)


@cache
def start(kind: Literal["softmax", "margin", "sphereface", "none"]) -> TrainState:
    """The state before the first step, which of a row's loss depends on the kind of classifier alone."""
    config = next(config for config in map(in_small, ROWS) if config.loss.classifier.kind == kind)
    return init_state(config, MESH, BACKBONE, setting.CLASSES)


def two_steps(name: str) -> tuple[list[dict[str, float]], Any]:
    """Metrics of a row's first two steps, and whether each weight has moved."""
    config = in_small(name)
    shapes = jax.eval_shape(lambda: init_state(config, MESH, BACKBONE, setting.CLASSES))
    state = jax.tree.map(lambda x: x.copy(), start(config.loss.classifier.kind))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), shapes)
    before = jax.device_get((state.params, state.centres))
    step = make_train_step(config, MESH, BACKBONE, setting.CLASSES)
    rows = []
    for number in range(2):
        images = setting.batch(number, len(LABELS))["images"]
        state, metrics = step(state, place_batch(MESH, {"images": images, "identities": LABELS}))
        rows.append({key: float(value) for key, value in metrics.items()})
    after = jax.device_get((state.params, state.centres))
    return rows, jax.tree.map(lambda x, y: bool((x != y).any()), before, after)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Future[tuple[list[dict[str, float]], Any]]]:
    """Two rows at a time, since one compilation keeps one core busy."""
    with ThreadPoolExecutor(2) as pool:
        return {name: pool.submit(two_steps, name) for name in ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_takes_two_steps(name: str, outcomes: dict[str, Future[tuple[list[dict[str, float]], Any]]]):
    rows, moved = outcomes[name].result()
    for row in rows:
        assert np.isfinite(list(row.values())).all() and row["gradient_norm"] > 0
        assert row["learning_rate"] == pytest.approx(0.1)
    assert rows[0]["loss"] != rows[1]["loss"] and all(jax.tree.leaves(moved)), moved


def test_there_are_24():
    assert len(ROWS) == 24
