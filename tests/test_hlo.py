"""The reader of compiled programs, on small ones whose exchanges are known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from benchmarks import hlo
from faces.mesh import DATA, make_mesh, sharded

DEVICES, ROUNDS = 4, 3


def on_devices(x: jax.Array) -> jax.Array:
    """Two exchanges, and a third in a loop, of rows (8, 5) that are divided over the devices."""

    def in_loop(total: jax.Array, _: None) -> tuple[jax.Array, None]:
        return total + 0.5 * lax.psum(jnp.sin(total), DATA), None

    whole = lax.all_gather(x, DATA, tiled=True)  # (8, 5)
    x = lax.psum_scatter(jnp.cos(whole) * lax.axis_index(DATA), DATA, tiled=True)  # (2, 5)
    return lax.scan(in_loop, x, None, ROUNDS)[0]


def text_of(function, *arguments, **options) -> str:
    return jax.jit(function, **options).lower(*arguments).compile().as_text()


def test_exchanges_and_their_bytes():
    mesh = make_mesh(DEVICES)
    run = jax.shard_map(on_devices, mesh=mesh, in_specs=PartitionSpec(DATA), out_specs=PartitionSpec(DATA))
    text = text_of(run, jax.ShapeDtypeStruct((8, 5), jnp.float32, sharding=sharded(mesh)))
    found = {(one.kind, one.bytes, one.shapes, one.times) for one in hlo.collectives(text)}
    assert found == {
        ("all-gather", 160, ((8, 5),), 1),
        ("reduce-scatter", 160, ((2, 5),), 1),
        ("all-reduce", 40, ((2, 5),), ROUNDS),
    }
    totals = hlo.bytes_by_kind(text)
    assert totals == {"all-gather": 160, "reduce-scatter": 160, "all-reduce": 120}
    assert hlo.on_the_wire(totals, DEVICES) == 0.75 * (160 + 160 + 2 * 120)
    assert {(2, 5), (8, 5)} <= hlo.shapes(text) and (5, 8) not in hlo.shapes(text)
    assert not hlo.host_transfers(text)


def test_a_loop_of_unknown_length_is_refused():
    def until_large(x: jax.Array) -> jax.Array:
        return lax.while_loop(lambda x: x.sum() < 9, lambda x: x + lax.psum(x, DATA), x)

    mesh, whole = make_mesh(2), PartitionSpec()
    text = text_of(jax.shard_map(until_large, mesh=mesh, in_specs=whole, out_specs=whole), np.ones(3, np.float32))
    with pytest.raises(ValueError, match="unknown length"):
        hlo.collectives(text)


def test_donated_arguments():
    def swap(x: jax.Array, y: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x + z, y * z

    arrays = [np.ones((3, 2), np.float32)] * 3
    assert hlo.donated(text_of(swap, *arrays)) == set()
    assert hlo.donated(text_of(swap, *arrays, donate_argnums=(0, 1))) == {0, 1}


def test_calls_of_the_host_are_found():
    def asks(x: jax.Array) -> jax.Array:
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    x = np.ones(3, np.float32)
    assert len(hlo.host_transfers(text_of(asks, x))) == 1
    assert not hlo.host_transfers(text_of(partial(lax.top_k, k=2), x))
