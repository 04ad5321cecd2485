"""What FaceNet's compiled step exchanges on 8 devices, and that it copies nothing it could keep in place."""

from functools import cache

import jax
import jax.numpy as jnp
import pytest

from benchmarks import hlo
from facenet_jax.train_step import init_state, make_train_step
from faces.mesh import make_mesh, sharded
from tests.facenet_jax import setting

DEVICES, IMAGES, D = 8, 32, 8
PARAMETERS = sum(weight.size for weight in jax.tree.leaves(jax.eval_shape(setting.without_batch_norm().init,
                                                                          jax.random.key(0))[0]))  # fmt: skip


@cache
def compiled(micro_batch: int) -> tuple[str, int]:
    """The optimised program, and how many arrays the state has."""
    config, mesh, backbone = setting.config(batch__micro_batch=micro_batch), make_mesh(DEVICES), None
    backbone = setting.without_batch_norm()
    state = jax.eval_shape(lambda: init_state(config, mesh, backbone))
    batch = {
        "images": jax.ShapeDtypeStruct((IMAGES, *setting.SIZE, 3), jnp.uint8, sharding=sharded(mesh)),
        "identities": jax.ShapeDtypeStruct((IMAGES,), jnp.int32, sharding=sharded(mesh)),
    }
    text = make_train_step(config, mesh, backbone).lower(state, batch).compile().as_text()
    return text, len(jax.tree.leaves(state))


@pytest.mark.parametrize("micro_batch", [0, 8])
def test_exchanges_are_those_planned(micro_batch: int):
    """Embeddings and identities are gathered; summed are the gradients of the gathered embeddings (with a number for
    each image, its length's) and of the parameters: once, also where micro-batches add them up; and scalars."""
    text, _ = compiled(micro_batch)
    assert all(one.times == 1 for one in hlo.collectives(text))
    scalars = {"loss": 4, "pairs": 4, "active": 4, "d_ap": 4, "d_an": 4}
    scalars |= {"most images of an identity, for the branch": 4, "and for the loop": 4}  # the miner's, on CPUs
    assert hlo.bytes_by_kind(text) == {
        "all-gather": 4 * IMAGES * (D + 1),
        "all-reduce": 4 * PARAMETERS + 4 * IMAGES * (D + 1) + sum(scalars.values()),
    }


@pytest.mark.parametrize("micro_batch", [0, 8])
def test_mining_is_divided_by_anchors(micro_batch: int):
    """No device compares all images with all; each has its anchors' rows alone."""
    found = hlo.shapes(compiled(micro_batch)[0])
    assert (IMAGES // DEVICES, IMAGES) in found
    assert (IMAGES, IMAGES) not in found


@pytest.mark.parametrize("micro_batch", [0, 8])
def test_the_state_stays_in_its_memory_and_the_host_is_not_asked(micro_batch: int):
    text, arrays = compiled(micro_batch)
    assert hlo.donated(text) == set(range(arrays))
    assert hlo.host_transfers(text) == []
