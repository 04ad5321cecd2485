"""SCRFD's network (arXiv 2105.04714, Sec. 4): body, pyramid, head.

The body gives maps of stride 8, 16 and 32. The pyramid, PAFPN, adds each coarser map, doubled in size, to the finer
one, and then each finer one, halved, to the coarser. The head is a row of convolutions of its own for each map; on top,
3x3 convolutions say of two anchors at each place whether they are a face, how far its four sides are, and where its
five points.

Images of several sizes can share a batch. The network halves maps five times and was trained on sides that 32 divides,
so each image is continued in black to the next multiple of 32; what lies beyond is set to zero before every layer that
looks around, which is what that layer would see there without the padding.

Not here: the numbers (`architectures.py`), the body (`bodies.py`), the meaning of the outputs (`decode.py`), training.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from faces.backbone import Params
from faces.errors import ConfigError
from faces.initialisers import init_variables
from scrfd_jax.architectures import ARCHITECTURES, PLACES_ANCHORS, STRIDES, Architecture
from scrfd_jax.bodies import make_body
from scrfd_jax.layers import Conv, Inside, Separable

MEAN, SCALE = 127.5, 128.0
"""The network sees (pixel - MEAN) / SCALE."""
OUTPUTS = {"cls": 1, "reg": 4, "kps": 10}
"""Numbers of each anchor, by the names in published files: score, sides, points."""


class Outputs(NamedTuple):
    """What the network says of each anchor, in the order of `decode.make_places`."""

    scores: jax.Array  # (B, anchors), logits
    boxes: jax.Array  # (B, anchors, 4)
    points: jax.Array  # (B, anchors, 10)


class Network(NamedTuple):
    """The network as two pure functions.

    `init(key) -> params`: a float32 tree.
    `apply(params, images, sizes=None) -> outputs`: images (B, H, W, 3) as `to_input` gives them, H and W multiples of
    32. With `sizes`, int32 (B, 2), each image fills only that many rows and columns from the top left; outputs beyond
    the image mean nothing.
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[..., Outputs]


@cache
def make_network(name: str, is_grouped: bool = False) -> Network:
    """A network of `ARCHITECTURES`.

    Args:
        name: its name there.
        is_grouped: whether the head has group norm; with batch norm it has none left.
    Raises:
        ConfigError: for an unknown name.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f'there is no SCRFD "{name}": one of {", ".join(ARCHITECTURES)} is expected')
    module = SCRFD(ARCHITECTURES[name], is_grouped)

    @jax.jit
    def init(key: jax.Array) -> Params:
        return init_variables(module, key, jnp.zeros((1, STRIDES[-1], STRIDES[-1], 3)), None)["params"]

    def apply(params: Params, images: jax.Array, sizes: jax.Array | None = None) -> Outputs:
        outputs: Any = module.apply({"params": params}, images, sizes)
        return outputs

    return Network(init, apply)


def to_input(images: jax.Array) -> jax.Array:
    """Pixels, red, green, blue, to what the network was trained on.

    Args:
        images: uint8 or float (B, H, W, 3), 0 to 255.

    Returns:
        float32 (B, H, W, 3), about -1 to 1.
    """
    return (images.astype(jnp.float32) - MEAN) / SCALE


def only_inside(images: jax.Array, sizes: Int[Array, "b 2"] | None) -> Inside:
    """The function that clears what lies outside each image, continued to the next multiple of 32.

    Raises:
        ConfigError: the images' sides are no multiples of 32.
    """
    if any(side % STRIDES[-1] for side in images.shape[1:3]):
        raise ConfigError(f"images must have sides that {STRIDES[-1]} divides, not {images.shape[1:3]}")
    if sizes is None:
        return lambda x: x
    whole = -(-sizes // STRIDES[-1]) * STRIDES[-1]  # (B, 2)

    def inside(x: jax.Array) -> jax.Array:
        filled = whole // (images.shape[1] // x.shape[1])  # (B, 2)
        rows = jnp.arange(x.shape[1])[None, :] < filled[:, :1]  # (B, h)
        columns = jnp.arange(x.shape[2])[None, :] < filled[:, 1:]  # (B, w)
        return jnp.where(rows[:, :, None, None] & columns[:, None, :, None], x, 0.0)

    return inside


class SCRFD(nn.Module):
    """Images (B, H, W, 3) -> `Outputs`."""

    architecture: Architecture
    is_grouped: bool

    @nn.compact
    def __call__(self, images: jax.Array, sizes: jax.Array | None) -> Outputs:
        inside = only_inside(images, sizes)
        maps = make_body(self.architecture)(images, inside)
        maps = Pyramid(self.architecture.neck, name="neck")(maps, inside)
        groups = self.architecture.groups if self.is_grouped else 0
        levels = []
        for stride, x in zip(STRIDES, maps, strict=True):
            levels.append(Head(self.architecture, groups, name=f"head_{stride}")(x, inside))
        scores, boxes, points = (jnp.concatenate(parts, axis=1) for parts in zip(*levels, strict=True))
        return Outputs(scores[..., 0], boxes, points)


class Pyramid(nn.Module):
    """Three maps, fine to coarse -> as many of `features` channels, each with what the others saw."""

    features: int

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], inside: Inside) -> list[jax.Array]:
        def layer(x: jax.Array, window: int, name: str, stride: int = 1) -> jax.Array:
            return Conv(self.features, window, stride, is_bent=False, name=name)(x, inside)

        merged = [layer(x, 1, f"lateral_{level}") for level, x in enumerate(maps)]
        for level in (1, 0):
            merged[level] = merged[level] + jnp.repeat(jnp.repeat(merged[level + 1], 2, axis=1), 2, axis=2)
        merged = [layer(x, 3, f"fpn_{level}") for level, x in enumerate(merged)]
        for level in (0, 1):
            merged[level + 1] = merged[level + 1] + layer(merged[level], 3, f"down_{level}", 2)
        return [merged[0], *(layer(merged[level + 1], 3, f"pafpn_{level}") for level in (0, 1))]


class Head(nn.Module):
    """One map -> score, sides and points of its anchors: (B, h w 2, 1), (B, h w 2, 4), (B, h w 2, 10)."""

    architecture: Architecture
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> list[jax.Array]:
        for place in range(self.architecture.depth):
            name, width = f"conv_{place}", self.architecture.head
            if self.architecture.is_separable:
                x = Separable(width, groups=self.groups, name=name)(x, inside)
            else:
                x = Conv(width, 3, groups=self.groups, name=name)(x, inside)
        ends = []
        for name, numbers in OUTPUTS.items():
            y = Conv(PLACES_ANCHORS * numbers, 3, is_bent=False, name=name)(x, inside)
            ends.append(y.reshape(len(x), -1, numbers))
        return ends
