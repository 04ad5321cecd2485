"""Partial FC: what is sampled, that only it moves, and that rate 1 is the plain head."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax import head, partial_fc
from arcface_jax.centres import padded_classes
from arcface_jax.margins import Margin
from faces.mesh import DATA, make_mesh
from tests.arcface_jax import head_oracle

CLASSES, D, IMAGES = 101, 5, 8
HEAD = head.margin_head(Margin(), 16.0)


def labels_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CLASSES, size=IMAGES).astype(np.int32)


def drawn(devices: int, rate: float, labels: np.ndarray, seed: int = 0, classes: int = CLASSES) -> partial_fc.Sampled:
    rows, mesh = padded_classes(classes, devices), make_mesh(devices)
    draw = jax.jit(lambda key, labels: partial_fc.sample(key, labels, rows, classes, rate, mesh))
    return draw(jax.random.key(seed), labels)


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_every_device_samples_its_quota_with_all_positives(devices: int):
    rows = padded_classes(CLASSES, devices) // devices
    labels = labels_of(devices)
    sampled = drawn(devices, 0.3, labels, seed=devices)
    n = partial_fc.num_sampled(rows, IMAGES, 0.3)
    indices = np.asarray(sampled.indices).reshape(devices, -1)
    assert indices.shape == (devices, n) and (np.diff(indices, axis=1) > 0).all()
    np.testing.assert_array_equal(indices // rows, np.repeat(np.arange(devices)[:, None], n, axis=1))
    np.testing.assert_array_equal(indices.reshape(-1)[np.asarray(sampled.labels)], labels)
    np.testing.assert_array_equal(sampled.valid, indices.reshape(-1) < CLASSES)
    for array in sampled:
        assert array.sharding.spec == jax.sharding.PartitionSpec(DATA) or devices == 1


def test_quota_always_has_room_for_the_positives():
    assert partial_fc.num_sampled(1000, 64, 0.1) == 100
    assert partial_fc.num_sampled(1000, 64, 0.0999) == 100
    assert partial_fc.num_sampled(1000, 512, 0.1) == 512
    assert partial_fc.num_sampled(100, 512, 0.1) == 100
    assert partial_fc.num_sampled(7, 4, 1.0) == 7
    for rate in (0.0, 1.01, float("nan")):
        with pytest.raises(ValueError, match="sampling rate"):
            partial_fc.num_sampled(7, 4, rate)


def test_positives_fill_a_device_to_the_last_place():
    """All images of one device's classes: each of them is kept, and the others' devices sample negatives alone."""
    labels = np.arange(26, 26 + IMAGES, dtype=np.int32)
    indices = np.asarray(drawn(4, 0.01, labels).indices).reshape(4, -1)
    np.testing.assert_array_equal(indices[1], labels)


def test_negatives_are_uniform_and_new_with_every_key():
    mesh, labels = make_mesh(2), np.full(2, 60, np.int32)
    draw = jax.jit(lambda key: partial_fc.sample(key, jnp.asarray(labels), 102, CLASSES, 0.2, mesh).indices)
    times = np.zeros(102)
    for seed in range(400):
        times[np.asarray(draw(jax.random.key(seed)))] += 1
    assert times[60] == 400 and times[101] == 0
    others = np.delete(times, [60, 101])
    expected = np.where(np.delete(np.arange(102), [60, 101]) < 51, 11 / 51, 10 / 49)
    spread = np.sqrt(400 * expected * (1 - expected))
    assert (np.abs(others - 400 * expected) < 5 * spread).all()
    assert np.std(others / (400 * expected)) > 0.02


def test_padding_is_sampled_only_where_classes_run_out():
    """9 classes on 8 devices: 2 rows each; devices 5 to 7 hold none, device 4 one."""
    labels = np.array([0, 0, 0, 0, 0, 0, 0, 8], np.int32)
    for seed in range(5):
        sampled = drawn(8, 0.1, labels, seed, classes=9)
        assert np.asarray(sampled.valid).reshape(8, -1).sum(axis=1).tolist() == [2, 2, 2, 2, 1, 0, 0, 0]
    one_each = drawn(8, 0.5, labels[:8], classes=9)
    assert not one_each.valid[np.asarray(one_each.indices) >= 9].any()
    rows = np.random.default_rng(0).normal(size=(16, D)).astype(np.float32)
    x = np.random.default_rng(1).normal(size=(8, D)).astype(np.float32)
    mesh = make_mesh(8)
    centres = jax.jit(lambda rows, indices: partial_fc.take(rows, indices, mesh))(rows, one_each.indices)
    loss = jax.jit(lambda *a: head.class_loss(*a[:3], HEAD, mesh, a[3]))
    losses = loss(x, centres, one_each.labels, one_each.valid)
    np.testing.assert_allclose(losses, head_oracle.margin_loss(x, rows[:9], labels, (1, 0.5, 0), 16.0)[0], rtol=1e-5)


def a_step(centres: Any, momentum: Any, x: Any, labels: Any, key: Any, rate: float, mesh: Any) -> tuple[Any, ...]:
    """Momentum SGD with weight decay on the sampled centres."""
    sampled = partial_fc.sample(key, labels, centres.shape[0], CLASSES, rate, mesh)
    few, of_few = partial_fc.take((centres, momentum), sampled.indices, mesh)
    loss = partial(head.class_loss, head=HEAD, mesh=mesh, valid=sampled.valid)
    losses, pull_back = jax.vjp(lambda x, w: loss(x, w, sampled.labels), x, few)
    of_x, gradient = pull_back(jnp.ones_like(losses))
    of_few = 0.9 * of_few + gradient + 0.1 * few
    new = partial_fc.update_sampled((centres, momentum), (few - 0.5 * of_few, of_few), sampled.indices, mesh)
    return losses, of_x, *new, sampled.indices


def start(seed: int, devices: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    rows = padded_classes(CLASSES, devices)
    return tuple(rng.normal(size=size).astype(np.float32) for size in ((rows, D), (rows, D), (IMAGES, D)))


def test_a_step_is_that_of_the_sampled_classes_alone():
    """Losses, gradient, new centres and momentum against float64 loops; what was not sampled stays to the last bit."""
    devices = 4
    centres, momentum, x = start(devices, devices)
    labels, mesh = labels_of(devices), make_mesh(devices)
    step = jax.jit(lambda *a: a_step(*a, rate=0.35, mesh=mesh))
    losses, of_x, new, new_momentum, indices = jax.device_get(
        step(centres, momentum, x, labels, jax.random.key(devices))
    )
    real = indices[indices < CLASSES]
    place = {row: i for i, row in enumerate(real)}
    expected = head_oracle.margin_loss(x, centres[real], np.array([place[y] for y in labels]), (1, 0.5, 0), 16.0)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
    np.testing.assert_allclose(of_x, expected[1], rtol=1e-4, atol=1e-5)
    moving = 0.9 * momentum[real] + expected[2] + 0.1 * centres[real]
    np.testing.assert_allclose(new_momentum[real], moving, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new[real], centres[real] - 0.5 * moving, rtol=1e-4, atol=1e-5)
    for old, then in ((centres, new), (momentum, new_momentum)):
        np.testing.assert_array_equal(np.delete(then, indices, axis=0), np.delete(old, indices, axis=0))
        assert (then[real] != old[real]).any(axis=1).all()


def test_rate_1_is_the_plain_head():
    devices = 8
    centres, momentum, x = start(9, devices)
    labels, mesh = labels_of(9), make_mesh(devices)
    sampled = jax.jit(lambda *a: a_step(*a, rate=1.0, mesh=mesh))(centres, momentum, x, labels, jax.random.key(0))
    np.testing.assert_array_equal(sampled[-1], np.arange(len(centres)))
    loss = partial(head.class_loss, head=HEAD, mesh=mesh, valid=CLASSES)

    @jax.jit
    def plain(x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        losses, pull_back = jax.vjp(lambda x, w: loss(x, w, jnp.asarray(labels)), x, w)
        of_x, gradient = pull_back(jnp.ones_like(losses))
        return losses, of_x, w - 0.5 * (0.9 * momentum + gradient + 0.1 * w)

    for ours, theirs in zip(sampled, plain(x, centres), strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
