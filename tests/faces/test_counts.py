"""Counts of small programs against numbers worked by hand, and under the names they belong to."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax

from faces.counts import layer_table, multiply_adds, parameters


def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def conv(x, kernel, **options):
    return lax.conv_general_dilated(x, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)


@pytest.mark.parametrize(
    ("image", "kernel", "options", "expected"),
    [
        # 5x7 places, 3x3x4 inputs, 6 outputs; places that reach into the padding count in full
        ((1, 5, 7, 4), (3, 3, 4, 6), {"window_strides": (1, 1), "padding": "SAME"}, 5 * 7 * 3 * 3 * 4 * 6),
        # no padding, step 2: rows (9-3)/2+1 = 4, columns (8-2)/2+1 = 4; batch of 2
        ((2, 9, 8, 4), (3, 2, 4, 6), {"window_strides": (2, 2), "padding": "VALID"}, 2 * 4 * 4 * 3 * 2 * 4 * 6),
        # two groups of two input channels
        (
            (1, 5, 7, 4),
            (3, 3, 2, 6),
            {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2},
            5 * 7 * 3 * 3 * 2 * 6,
        ),
        # depthwise
        (
            (1, 5, 7, 4),
            (3, 3, 1, 4),
            {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 4},
            5 * 7 * 3 * 3 * 4,
        ),
        # holes in the kernel cost nothing: it spans 5x5 and has 3x3 taps
        (
            (1, 9, 9, 4),
            (3, 3, 4, 6),
            {"window_strides": (1, 1), "padding": "VALID", "rhs_dilation": (2, 2)},
            5 * 5 * 3 * 3 * 4 * 6,
        ),
    ],
)
def test_convolution(image, kernel, options, expected):
    counted = multiply_adds(lambda x, k: conv(x, k, **options), shape(*image), shape(*kernel))
    assert counted == {"": expected, "total": expected}


def test_matrix_products():
    assert multiply_adds(jnp.dot, shape(3, 5), shape(5, 7))["total"] == 3 * 5 * 7
    batched = multiply_adds(lambda a, b: jnp.einsum("bij,bkj->bik", a, b), shape(2, 3, 5), shape(2, 7, 5))
    assert batched["total"] == 2 * 3 * 5 * 7
    assert multiply_adds(jnp.vdot, shape(3, 5), shape(3, 5))["total"] == 3 * 5


def test_elementwise_work_is_not_counted():
    assert multiply_adds(lambda x: jnp.tanh(x * x + 1).sum(), shape(3, 5)) == {"total": 0}


def test_nested_programs():
    square = shape(4, 4)
    once = 4**3

    def scanned(x):
        return lax.scan(lambda carry, _: (carry @ carry, None), x, None, length=5)[0]

    @jax.custom_vjp
    def custom(x):
        return x @ x

    custom.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x.T + x.T @ g,))

    assert multiply_adds(jax.jit(jax.jit(jnp.dot)), square, square)["total"] == once
    assert multiply_adds(scanned, square)["total"] == 5 * once
    assert multiply_adds(lambda x: lax.scan(lambda c, _: (scanned(c), None), x, None, length=3)[0], square)[
        "total"
    ] == (3 * 5 * once)
    assert multiply_adds(jax.checkpoint(jnp.dot), square, square)["total"] == once
    assert multiply_adds(custom, square)["total"] == once
    assert multiply_adds(jax.grad(lambda x: custom(x).sum()), square)["total"] == 3 * once
    assert multiply_adds(jax.vmap(jnp.dot), shape(6, 4, 4), shape(6, 4, 4))["total"] == 6 * once


def test_dearest_branch_counts():
    branches = [lambda x: x, lambda x: x @ x, lambda x: x @ x @ x]
    assert multiply_adds(lambda i, x: lax.switch(i, branches, x), 0, shape(4, 4))["total"] == 2 * 4**3


def test_while_loop_with_products_is_refused():
    def loop(x):
        return lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ x, x)

    with pytest.raises(ValueError, match="while_loop"):
        multiply_adds(loop, shape(4, 4))
    without = multiply_adds(lambda x: lax.while_loop(lambda x: x.sum() < 9, lambda x: x + x, x), shape(4, 4))
    assert without["total"] == 0


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(6, (3, 3), name="wide")(x)  # 8 x 8 x 9 x 4 x 6
        return nn.jit(nn.Conv)(4, (1, 1), name="narrow")(x)  # 8 x 8 x 6 x 4


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (1, 1), use_bias=False, name="first")(x)  # 8 x 8 x 3 x 4
        x = nn.remat(Block)(name="block")(Block(name="block0")(x))
        return self.head(x)

    def head(self, x):
        return nn.Dense(5, name="fc")(x.mean(axis=(1, 2)))  # 4 x 5


BLOCK_MULTIPLY_ADDS = {"wide": 64 * 9 * 4 * 6, "narrow": 64 * 6 * 4}
BLOCK_PARAMETERS = {"wide": 9 * 4 * 6 + 6, "narrow": 6 * 4 + 4}


def test_layers_carry_the_names_of_their_modules():
    network, image = Network(), shape(1, 8, 8, 3)
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    operations, weights = sum(BLOCK_MULTIPLY_ADDS.values()), sum(BLOCK_PARAMETERS.values())

    assert parameters(variables["params"]) == {
        "first": 12,
        "block0": weights,
        "block": weights,
        "fc": 25,
        "total": 12 + 2 * weights + 25,
    }
    counted = multiply_adds(jax.jit(network.apply), variables, image)
    assert counted == {
        "first": 768,
        "block0": operations,
        "block": operations,
        "fc": 20,
        "total": 788 + 2 * operations,
    }
    assert list(counted) == ["first", "block0", "block", "fc", "total"]

    deep = multiply_adds(network.apply, variables, image, depth=None)
    assert deep["block0/wide"] == BLOCK_MULTIPLY_ADDS["wide"]
    assert deep["block/narrow"] == BLOCK_MULTIPLY_ADDS["narrow"]
    assert parameters(variables["params"], depth=None)["block/wide"] == BLOCK_PARAMETERS["wide"]


def test_backward_pass_is_counted_under_the_same_names():
    network, image = Network(), shape(1, 8, 8, 3)
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    counted = multiply_adds(jax.grad(lambda v, x: network.apply(v, x).sum()), variables, image)
    # forward, gradient of the kernel and, where something lies below, gradient of the input
    assert counted["first"] == 2 * 768
    assert counted["block0"] == 3 * sum(BLOCK_MULTIPLY_ADDS.values())
    assert counted["fc"] == 3 * 20


def test_parameters_of_a_flat_tree():
    assert parameters({"scale": shape(3, 4), "offset": jnp.zeros(2)}) == {"offset": 2, "scale": 12, "total": 14}
    assert parameters({}) == {"total": 0}


def test_table():
    table = layer_table({"fc": 25, "conv": 1200, "total": 1225}, {"conv": 64_000, "fc": 20, "total": 64_020})
    assert [line.split() for line in table.split("\n")] == [
        ["layer", "parameters", "multiply-adds"],
        ["conv", "1,200", "64,000"],
        ["fc", "25", "20"],
        ["total", "1,225", "64,020"],
    ]
