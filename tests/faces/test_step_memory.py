"""The memory of a step, estimated from shapes, beside what XLA says of the compiled one; no memory, in a sentence."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import arcface_jax.train_step
import facenet_jax.train_step
from arcface_jax.config import Config
from experiments.arcface import classes_at_once
from faces import step_memory
from faces.errors import OutOfMemory
from faces.liveness import most_at_once
from faces.mesh import make_mesh
from faces.step_memory import FACTOR, Estimate, answering, estimate
from faces.toml_config import load_config
from tests.faces.configs import tiny

CLASSES = 2000
QUICKLY = {"xla_backend_optimization_level": 0}  # of instructions; which arrays there are does not depend on it


def facenet(devices=1, **changes):
    config, mesh = tiny(**changes), make_mesh(devices)
    state = jax.eval_shape(lambda: facenet_jax.train_step.init_state(config, mesh))
    step = facenet_jax.train_step.make_train_step(config, mesh)
    return step, state, config, estimate(step, state, config, mesh)


def arcface(devices=1, **changes):
    config, mesh = load_config("arcface/tiny", Config)[0].with_(**changes), make_mesh(devices)
    shapes = jax.eval_shape(lambda: arcface_jax.train_step.init_state(config, mesh, classes=CLASSES))
    state = jax.tree.map(
        lambda one, place: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=place),
        shapes,
        arcface_jax.train_step._placement(shapes, mesh),
    )
    step = arcface_jax.train_step.make_train_step(config, mesh, classes=CLASSES)
    return step, state, config, estimate(step, state, config, mesh, classes_at_once(config, state, devices))


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (facenet, {"batch__images": 32}),
        (facenet, {"batch__images": 256}),
        (arcface, {"batch__images": 256, "devices": 4}),
    ],
)
def test_it_is_within_its_factor_of_what_the_compiler_takes(make, changes):
    step, state, config, found = make(**changes)
    batch = {
        "images": jax.ShapeDtypeStruct((config.batch.images, *config.model.input_size, 3), jnp.uint8),
        "identities": jax.ShapeDtypeStruct((config.batch.images,), jnp.int32),
    }
    of_xla = step.lower(state, batch).compile(QUICKLY).memory_analysis()
    taken = of_xla.argument_size_in_bytes + of_xla.temp_size_in_bytes
    taken += of_xla.output_size_in_bytes - of_xla.alias_size_in_bytes
    assert taken / FACTOR < found.total < taken * FACTOR
    assert next(iter(found.terms)) == "activations"
    assert f"batch.images (now {config.batch.images})" in found.largest() and "micro_batch" not in found.largest()


def test_terms_are_named_and_divided_among_devices():
    *_, whole = arcface(batch__images=64)
    *_, parts = arcface(batch__images=64, devices=8, head__block=64)
    scores = "scores of classes"
    assert whole.terms["class centres"] == 8 * parts.terms["class centres"] > CLASSES * 4
    assert whole.terms[scores] >= 64 * CLASSES * 4 > parts.terms[scores]
    assert parts.terms["activations"] < whole.terms["activations"] / 4


def traced(function, *shapes):
    return jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))


def test_what_is_there_at_one_time_is_counted_once():
    """Two products, the first of which is dead when the second is made."""

    def two(x, w):
        return jnp.sum((x @ w) @ w)

    alive = most_at_once(traced(two, (8, 16), (16, 16)), [1, 1], 1)
    assert sum(one.size for one in alive) == 2 * 8 * 16 * 4

    def scaled(x, w):
        return jnp.sum(jnp.exp(2 * x + 1) @ w)  # the product reads one array, whatever it is made of

    assert sum(one.size for one in most_at_once(traced(scaled, (8, 16), (16, 4)), [1, 1], 1)) == (8 * 16 + 8 * 4) * 4


def test_what_is_divided_counts_in_part():
    def product(x, w):
        return jnp.sum((x @ w) @ w)

    alive = most_at_once(traced(product, (8, 16), (16, 16)), [4, 1], 4)
    assert sum(one.size for one in alive) == 2 * 8 * 16 * 4 // 4


def test_a_loop_counts_one_round():
    def loop(x, w):
        return jnp.sum(jax.lax.scan(lambda carry, _: (jnp.tanh(carry @ w), None), x, None, length=100)[0])

    assert sum(one.size for one in most_at_once(traced(loop, (8, 16), (16, 16)), [1, 1], 1)) <= 4 * 8 * 16 * 4


WAYS = {"activations": "a smaller batch.images", "weights": "another network"}
SHORT = Estimate({"activations": 3 << 30, "weights": 1 << 20}, WAYS, 1, 2 << 30)


def test_what_cannot_fit_is_refused_and_what_may_not_is_told():
    with pytest.raises(OutOfMemory, match=r"about 3\.0 GiB.* 1\.0 GiB: the largest part is activations.*batch\.images"):
        dataclasses.replace(SHORT, room=1 << 30).check()
    told = []
    dataclasses.replace(SHORT, room=2 << 30).check(told.append)
    assert len(told) == 1 and "may not be enough" in told[0] and "batch.images" in told[0]
    for room in (None, 4 << 30):
        dataclasses.replace(SHORT, room=room).check(pytest.fail)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3 GiB"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3221225472 bytes.\nmore lines"),
    ],
)
def test_no_memory_is_answered_with_the_table(error):
    told = []
    with pytest.raises(OutOfMemory, match=r"too little memory \(.*the largest part is activations") as raised, \
            answering(SHORT, told.append):  # fmt: skip
        raise error
    assert "more lines" not in str(raised.value)
    assert "activations" in told[0] and "smaller batch.images" in told[0] and "weights" in told[0]


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="INTERNAL"), answering(SHORT, pytest.fail):
        raise RuntimeError("INTERNAL: something")


def test_the_host_says_what_is_free_within_a_container_too(tmp_path, monkeypatch):
    free = step_memory._free_of_host()
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.stat").write_text("anon 2000000\nfile 99\n")
    monkeypatch.setattr(step_memory, "_CGROUP", tmp_path)
    assert free is None or step_memory._free_of_host() == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free is None or step_memory._free_of_host() > 3_000_000
