"""The three networks of MTCNN (Zhang et al. 2016, Sec. II-B): convolutions, PReLU, max pooling, two or three heads.

| net | input | body | parameters |
|---|---|---|---|
| P | 12x12 | 3x3 10, max 2x2/2, 3x3 16, 3x3 32 | 6,632 |
| R | 24x24 | 3x3 28, max 3x3/2, 3x3 48, max 3x3/2, 2x2 64, dense 128 | 100,178 |
| O | 48x48 | 3x3 32, max 3x3/2, 3x3 64, max 3x3/2, 3x3 64, max 2x2/2, 2x2 128, dense 256 | 389,040 |

P-net has no dense layer: on a larger image it is the 12x12 network at every second pixel.

The published networks see images transposed, rows for columns, as MATLAB stores them. These see them as they are;
`weights.py` turns the kernels.

Not here: published weights (`weights.py`), what becomes of the outputs (`stages.py`), losses.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from faces import ops
from faces.layers import Conv, PReLU

Params = dict[str, Any]
Name = Literal["p", "r", "o"]

INIT = nn.initializers.he_normal()
"""Of all kernels but the heads'. CHOICE: the paper is silent; He et al.'s, as before a ReLU."""


class Outputs(NamedTuple):
    """What a network says of each window; P-net has axes (batch, rows, columns) for `...`, R-net and O-net (batch,).

    `face`: (..., 2) logits of "no face" and "face". `box`: (..., 4), how far left, top, right and bottom of the face
    lie from those of the window, in widths and heights of the window. `points`: (..., 5, 2), x and y of the five points
    from the window's left top corner, in the same unit; None of a network without that head.
    """

    face: jax.Array
    box: jax.Array
    points: jax.Array | None


class Net(NamedTuple):
    """A network without its framework.

    `init(key) -> params`. `apply(params, images) -> Outputs`: images (batch, size, size, 3), RGB,
    (pixel - 127.5) / 128; for P-net of any size from 12. P-net's `apply` takes `extents` (batch, 2) too, rows and
    columns of each image that are not padding: what is in the padding then has no influence on the windows inside.
    `size`: side of the window.
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[..., Outputs]
    size: int


def make_net(name: Name, points: bool | None = None) -> Net:
    """One of the three networks.

    Args:
        name: "p", "r" or "o".
        points: whether it has the head for the five points. By default as published: O-net alone has it. In the paper
            all have it, in training; a network is also applied with the parameters of one that has a head more.
    """
    module, size = {"p": (PNet, 12), "r": (RNet, 24), "o": (ONet, 48)}[name]
    net: nn.Module = module(points=name == "o" if points is None else points)

    def init(key: jax.Array) -> Params:
        variables: Any = net.init(key, jnp.zeros((1, size, size, 3)))
        return variables["params"]

    def apply(params: Params, *inputs: jax.Array) -> Outputs:
        outputs: Any = net.apply({"params": params}, *inputs)
        return outputs

    return Net(jax.jit(init), apply, size)


class PNet(nn.Module):
    """Images (B, H, W, 3) -> outputs for ceil((H - 2) / 2) - 4 rows of windows, and as many columns by W."""

    points: bool

    @nn.compact
    def __call__(self, images: jax.Array, extents: jax.Array | None = None) -> Outputs:
        if extents is None:
            extents = jnp.array(images.shape[1:3])[None]
        x = PReLU(name="prelu1")(FirstConv(10, name="conv1")(images))
        # The last window of the pooling may reach into the padding: nothing there may be its maximum.
        rows, columns = (2 * jnp.arange(side)[:, None] + jnp.arange(2)[None, :] for side in x.shape[1:3])  # (h, 2)
        in_rows, in_columns = (
            places[None] < side[:, None, None] - 2 for places, side in zip((rows, columns), extents.T, strict=True)
        )  # (B, h, 2) and (B, w, 2)
        inside = in_rows[:, :, None, :, None] & in_columns[:, None, :, None, :]  # (B, h, w, 2, 2)
        x = pool_pairs(jnp.where(inside[..., None], x, -1e9), 2)
        x = PReLU(name="prelu2")(_conv(16, 3, name="conv2")(x))
        x = PReLU(name="prelu3")(_conv(32, 3, name="conv3")(x))
        return Heads(self.points, name="heads")(x)


class RNet(nn.Module):
    """Images (B, 24, 24, 3) -> outputs (B, ...)."""

    points: bool

    @nn.compact
    def __call__(self, images: jax.Array) -> Outputs:
        x = pool_pairs(PReLU(name="prelu1")(FirstConv(28, name="conv1")(images)), 3)  # (B, 11, 11, 28)
        x = max_pool(PReLU(name="prelu2")(_conv(48, 3, name="conv2")(x)), 3)  # (B, 4, 4, 48)
        x = PReLU(name="prelu3")(_conv(64, 2, name="conv3")(x))  # (B, 3, 3, 64)
        x = x.reshape(len(x), -1)  # (B, 576)
        x = PReLU(name="prelu4")(nn.Dense(128, kernel_init=INIT, name="dense")(x))
        return Heads(self.points, name="heads")(x)


class ONet(nn.Module):
    """Images (B, 48, 48, 3) -> outputs (B, ...)."""

    points: bool

    @nn.compact
    def __call__(self, images: jax.Array) -> Outputs:
        x = pool_pairs(PReLU(name="prelu1")(FirstConv(32, name="conv1")(images)), 3)  # (B, 23, 23, 32)
        x = max_pool(PReLU(name="prelu2")(_conv(64, 3, name="conv2")(x)), 3)  # (B, 10, 10, 64)
        x = max_pool(PReLU(name="prelu3")(_conv(64, 3, name="conv3")(x)), 2)  # (B, 4, 4, 64)
        x = PReLU(name="prelu4")(_conv(128, 2, name="conv4")(x))  # (B, 3, 3, 128)
        x = x.reshape(len(x), -1)  # (B, 1152)
        x = PReLU(name="prelu5")(nn.Dense(256, kernel_init=INIT, name="dense")(x))
        return Heads(self.points, name="heads")(x)


class Heads(nn.Module):
    """(..., features) -> outputs."""

    points: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> Outputs:
        face, box = nn.Dense(2, name="face")(x), nn.Dense(4, name="box")(x)
        if not self.points:
            return Outputs(face, box, None)
        return Outputs(face, box, nn.Dense(10, name="points")(x).reshape(*x.shape[:-1], 5, 2))


class FirstConv(nn.Module):
    """3x3 convolution of images of even sides, two rows and two columns of outputs at a time.

    (B, H, W, 3) -> (B, (H - 2) / 2, (W - 2) / 2, 2, 2, features): output (2 i + a, 2 j + b) is at [i, j, a, b]. Odd
    sides are rounded up, and what is then a row or column too many has no meaning.

    It is computed as a 2x2 convolution of 2x2 blocks of pixels, 12 numbers, to 4 x features. XLA's convolution on CPUs
    is slow with three inputs: this has nearly twice the products and takes a third of the time.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = jnp.asarray(self.param("kernel", INIT, (3, 3, 3, self.features)))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        h, w = (-(-(side - 2) // 2) for side in x.shape[1:3])
        x = jnp.pad(x, ((0, 0), (0, 2 * h + 2 - x.shape[1]), (0, 2 * w + 2 - x.shape[2]), (0, 0)))
        blocks = _blocks(x.reshape(-1, h + 1, 2, w + 1, 2, 3))  # (B, h + 1, w + 1, 12)
        # The kernel as it lies in four by four pixels, for each of the four outputs.
        shifted = [[jnp.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for b in (0, 1)] for a in (0, 1)]
        kernels = jnp.moveaxis(jnp.array(shifted), (0, 1), (3, 4))  # (4, 4, 3, 2, 2, features)
        kernels = kernels.reshape(2, 2, 2, 2, 3, 4 * self.features).transpose(0, 2, 1, 3, 4, 5)
        y = jnp.asarray(ops.conv2d(blocks, kernels.reshape(2, 2, 12, -1), 1, "VALID"))  # (B, h, w, 4 features)
        return y.reshape(*y.shape[:3], 2, 2, self.features) + bias.reshape(1, 1, 1, 1, 1, -1)


def _blocks(x: jax.Array) -> jax.Array:
    """(B, h, 2, w, 2, c) -> (B, h, w, 4 c)."""
    return jnp.moveaxis(x, 2, 3).reshape(x.shape[0], x.shape[1], x.shape[3], -1)


def _conv(features: int, window: int, name: str) -> Conv:
    """Square convolution of stride 1 with bias, without padding."""
    return Conv(features, (window, window), padding="VALID", init=INIT, name=name)


def pool_pairs(x: jax.Array, window: int) -> jax.Array:
    """`max_pool` of what `FirstConv` gives: (B, h, w, 2, 2, c) -> (B, h, w, c). `window` is 2 or 3."""
    for axis in (1, 2):  # rows, then columns
        first, second = x[:, :, :, 0], x[:, :, :, 1]
        x = jnp.maximum(first, second)
        if window == 3:
            sides = [(0, 0)] * first.ndim
            sides[axis] = (0, 1)
            following = jnp.pad(first, sides, constant_values=-jnp.inf)
            x = jnp.maximum(x, jax.lax.slice_in_dim(following, 1, None, axis=axis))
    return x


def max_pool(x: jax.Array, window: int) -> jax.Array:
    """Maximum over square windows, two pixels apart; the last window may reach over the edge, as in Caffe.

    As the maximum of shifted maps: XLA on CPUs is several times slower with its windowed reduction.
    """
    counts = [-(-(side - window) // 2) + 1 for side in x.shape[1:3]]
    over = [(0, 2 * (count - 1) + window - side) for count, side in zip(counts, x.shape[1:3], strict=True)]
    padded = jnp.pad(x, ((0, 0), *over, (0, 0)), constant_values=-jnp.inf)
    shifted = [
        padded[:, i : i + 2 * counts[0] - 1 : 2, j : j + 2 * counts[1] - 1 : 2]
        for i in range(window)
        for j in range(window)
    ]
    return reduce(jnp.maximum, shifted)
