"""What FaceNet's compiled step exchanges on 8 devices, and that it copies nothing it could keep in place."""

from functools import cache

import jax
import pytest

from benchmarks import hlo
from facenet_jax.train_step import init_state, make_train_step
from faces.mesh import make_mesh
from tests import step_laws
from tests.facenet_jax import setting

DEVICES, IMAGES, D = 8, 32, 8
NETWORK = setting.without_batch_norm()
PARAMETERS = sum(weight.size for weight in jax.tree.leaves(jax.eval_shape(NETWORK.init, jax.random.key(0))[0]))


@cache
def compiled(micro_batch: int) -> tuple[str, int]:
    """The optimised program, and how many arrays the state has."""
    config, mesh = setting.config(model__batch_norm="none", batch__micro_batch=micro_batch), make_mesh(DEVICES)
    state = jax.eval_shape(lambda: init_state(config, mesh, NETWORK))
    return step_laws.compiled(make_train_step(config, mesh, NETWORK), state, IMAGES, setting.SIZE, mesh)


@pytest.mark.parametrize("micro_batch", [0, 8])
def test_exchanges_are_those_planned(micro_batch: int):
    """Embeddings and identities are gathered; summed are the gradients of the gathered embeddings (with a number for
    each image, its length's) and of the parameters: once, also where micro-batches add them up; and scalars."""
    of_batch = 4 * IMAGES * (D + 1)
    step_laws.check_exchanges(compiled(micro_batch)[0], gathered=of_batch, summed=4 * PARAMETERS + of_batch)


@pytest.mark.parametrize("micro_batch", [0, 8])
def test_mining_is_divided_by_anchors(micro_batch: int):
    """No device compares all images with all; each has its anchors' rows alone."""
    found = hlo.shapes(compiled(micro_batch)[0])
    assert (IMAGES // DEVICES, IMAGES) in found
    assert (IMAGES, IMAGES) not in found


@pytest.mark.parametrize("micro_batch", [0, 8])
def test_the_state_stays_in_its_memory_and_the_host_is_not_asked(micro_batch: int):
    step_laws.check_in_place(*compiled(micro_batch))
