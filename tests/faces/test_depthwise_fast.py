"""The depthwise convolution for CPUs against its definition, and both against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from faces import ops
from faces.depthwise_fast import depthwise_conv2d, input_gradient, kernel_gradient, sum_of_shifts
from faces.mesh import DATA, make_mesh

PADDINGS = ["SAME", ((1, 1), (1, 1)), ((2, 0), (0, 3))]


@pytest.mark.parametrize("height", [6, 7])
@pytest.mark.parametrize(
    ("stride", "padding"), [(1, "SAME"), (1, "VALID"), *((2, p) for p in PADDINGS), (3, PADDINGS[1])]
)
def test_the_fast_form_equals_the_definition(height: int, stride: int, padding: ops.Padding):
    """Result and both gradients: the forms for a CPU, and whichever this platform chooses."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(6, height, 5, 4)).astype(np.float32))
    kernel = jnp.asarray(rng.normal(size=(3, 3, 4)).astype(np.float32))

    @jax.jit
    def both(x, kernel):
        expected, expected_back = jax.vjp(lambda x, k: ops.depthwise_conv2d(x, k, stride, padding), x, kernel)
        weights = jax.random.normal(jax.random.key(0), expected.shape)
        for_x, for_kernel = expected_back(weights)
        chosen, back = jax.vjp(lambda x, kernel: depthwise_conv2d(x, kernel, stride, padding), x, kernel)
        by_shifts = (
            sum_of_shifts(x, kernel, stride, padding),
            input_gradient(x, kernel, stride, weights, padding),
            kernel_gradient((3, 3), stride, x, weights, padding),
        )
        return (expected, for_x, for_kernel), (chosen, *back(weights)), by_shifts

    expected, chosen, by_shifts = both(x, kernel)
    for ours in (chosen, by_shifts):
        for given, right in zip(ours, expected, strict=True):
            np.testing.assert_allclose(given, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [ops.depthwise_conv2d, depthwise_conv2d], ids=["definition", "fast"])
def test_both_forms_equal_loops(form):
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(3, 2, 3))
    expected = np.zeros((2, 3, 3, 3))
    for image, row, column, channel in np.ndindex(expected.shape):
        for i, j in np.ndindex(3, 2):
            # 2 rows above, 1 row below, 1 column left and right; stride 2
            y, z = 2 * row + i - 2, 2 * column + j - 1
            if 0 <= y < 5 and 0 <= z < 4:
                expected[image, row, column, channel] += x[image, y, z, channel] * kernel[i, j, channel]
    given = form(jnp.asarray(x, "f4"), jnp.asarray(kernel, "f4"), 2, ((2, 1), (1, 1)))
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-6)


def test_bfloat16():
    """Inputs and results are rounded, sums are not."""
    x = jax.random.normal(jax.random.key(0), (4, 6, 6, 8), jnp.bfloat16)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 8), jnp.bfloat16)
    given, back = jax.vjp(lambda x, kernel: depthwise_conv2d(x, kernel, 1), x, kernel)
    wide, wide_back = jax.vjp(
        lambda x, kernel: depthwise_conv2d(x, kernel, 1), x.astype(jnp.float32), kernel.astype(jnp.float32)
    )
    assert given.dtype == jnp.bfloat16
    np.testing.assert_array_equal(given, wide.astype(jnp.bfloat16))
    for ours, exact in zip(back(given), wide_back(given.astype(jnp.float32)), strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=0.01, atol=1e-3)


def test_within_a_shard_map_the_gradients_are_those_of_the_whole_batch():
    """As batch norm of each device's own images has it, under which the weights count as each device's own too."""
    rng = np.random.default_rng(5)
    x, kernel = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((16, 6, 6, 4), (3, 3, 4)))

    def loss(x, kernel):
        return jnp.sum(jnp.sin(depthwise_conv2d(x, kernel, 1)))

    divided, whole = PartitionSpec(DATA), PartitionSpec()

    def on_devices(x, kernel):
        of_parts = jax.shard_map(
            lambda x, kernel: jnp.sin(depthwise_conv2d(x, jax.lax.pcast(kernel, DATA, to="varying"), 1)),
            mesh=make_mesh(4), in_specs=(divided, whole), out_specs=divided,
        )  # fmt: skip
        return jnp.sum(of_parts(x, kernel))

    expected = jax.grad(loss, (0, 1))(x, kernel)
    for one, other in zip(jax.jit(jax.grad(on_devices, (0, 1)))(x, kernel), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
