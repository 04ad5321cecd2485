"""What ArcFace's compiled step exchanges on 8 devices, and that it holds and copies no more than it needs."""

from functools import cache
from typing import Any

import jax
import pytest

from arcface_jax.partial_fc import num_sampled
from arcface_jax.train_step import init_state, make_train_step
from benchmarks import hlo
from faces.mesh import make_mesh
from tests import step_laws
from tests.arcface_jax import setting

DEVICES, IMAGES, D, CLASSES, BLOCK, RATE = 8, 16, 6, 1000, 25, 0.3
ROWS = 1024 // DEVICES  # of the centres, on a device
SAMPLED = num_sampled(ROWS, IMAGES, RATE)
PARAMETERS = (8 * 8 * 3 + 1) * D
SETTINGS: dict[str, dict[str, Any]] = {
    "dense": {"optimiser__momentum": 0.9},
    "blocks": {"head__block": BLOCK},
    "sampled": {"head__sampling_rate": RATE, "optimiser__momentum": 0.9},
}


@cache
def compiled(name: str) -> tuple[str, int]:
    """The optimised program, and how many arrays the state has."""
    config, mesh, backbone = setting.config(**SETTINGS[name]), make_mesh(DEVICES), setting.linear()
    state = jax.eval_shape(lambda: init_state(config, mesh, backbone, CLASSES))
    return step_laws.compiled(make_train_step(config, mesh, backbone, CLASSES), state, IMAGES, setting.SIZE, mesh)


@pytest.mark.parametrize("name", SETTINGS)
def test_exchanges_are_those_planned(name: str):
    """v3 Appendix 5.1: embeddings are gathered, their gradient is summed where each belongs; of scores two numbers per
    image are summed and one is compared. Besides: labels, the loss's gradient by image, the parameters' gradient, and
    scalars. Partial FC sends each label once more, as its place in the sample. Nothing depends on the classes."""
    again = 4 * IMAGES if name == "sampled" else 0
    step_laws.check_exchanges(
        compiled(name)[0],
        gathered=4 * IMAGES * (D + 2) + again,
        scattered=4 * IMAGES * D + again,
        summed=4 * PARAMETERS + 4 * IMAGES * 3,
    )


def test_scores_are_of_one_devices_classes_of_a_block_or_of_the_sample():
    columns = {"dense": {ROWS}, "blocks": {BLOCK}, "sampled": {SAMPLED}}
    for name, expected in columns.items():
        found = hlo.shapes(compiled(name)[0])
        with_images = {n for n in (BLOCK, SAMPLED, ROWS, CLASSES, DEVICES * ROWS)
                       if (IMAGES, n) in found or (n, IMAGES) in found}  # fmt: skip
        assert with_images == expected, name


@pytest.mark.parametrize("name", SETTINGS)
def test_the_state_stays_in_its_memory_and_the_host_is_not_asked(name: str):
    step_laws.check_in_place(*compiled(name))
