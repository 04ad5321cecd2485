"""The bodies of SCRFD's networks (arXiv 2105.04714, Sec. 4): a MobileNetV1 and ResNets of searched widths and depths.

Each halves the image in its stem and in its stages, and gives the maps of `STRIDES`, which the last three stages make.

Not here: the numbers (`architectures.py`), what is built on the maps (`network.py`).
"""

import flax.linen as nn
import jax

from scrfd_jax.architectures import Architecture
from scrfd_jax.layers import Conv, Inside, Separable


class MobileNet(nn.Module):
    """3x3 convolution of stride 2, a separable one, and four stages of separable ones, each of which halves the map."""

    architecture: Architecture

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> list[jax.Array]:
        first, second = self.architecture.stem
        x = Conv(first, 3, 2, name="stem_0")(x, inside)  # (B, H/2, W/2, first)
        x = Separable(second, name="stem_1")(x, inside)
        maps = []
        for stage, (blocks, width) in enumerate(
            zip(self.architecture.blocks, self.architecture.widths, strict=True), start=1
        ):
            for block in range(blocks):
                x = Separable(width, 2 if block == 0 else 1, name=f"layer{stage}_{block}")(x, inside)
            maps.append(x)
        return maps[1:]


class ResNet(nn.Module):
    """Three 3x3 convolutions, the first of stride 2, the largest of 2x2 values, and four stages of residual units.

    All stages but the first halve the map, in a unit's 3x3 convolution and by the mean of 2x2 values beside it.
    """

    architecture: Architecture

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> list[jax.Array]:
        for place, width in enumerate(self.architecture.stem):
            x = Conv(width, 3, 2 if place == 0 else 1, name=f"stem_{place}")(x, inside)  # (B, H/2, W/2, width)
        x = nn.max_pool(x, (2, 2), (2, 2))
        unit = Bottleneck if self.architecture.block == "bottleneck" else Basic
        maps = []
        for stage, (blocks, width) in enumerate(
            zip(self.architecture.blocks, self.architecture.widths, strict=True), start=1
        ):
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 1 else 1
                x = unit(width, stride, name=f"layer{stage}_{block}")(x, inside)
            maps.append(x)
        return maps[1:]


class Basic(nn.Module):
    """Two 3x3 convolutions to `width` channels, the first of `stride`, plus the input, then ReLU."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> jax.Array:
        y = Conv(self.width, 3, self.stride, name="conv1")(x, inside)
        y = Conv(self.width, 3, is_bent=False, name="conv2")(y, inside)
        return nn.relu(y + _beside(x, self.width, self.stride, inside))


class Bottleneck(nn.Module):
    """1x1 to `width` channels, 3x3 of `stride`, 1x1 to four times `width`, plus the input, then ReLU."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, inside: Inside) -> jax.Array:
        y = Conv(self.width, 1, name="conv1")(x, inside)
        y = Conv(self.width, 3, self.stride, name="conv2")(y, inside)
        y = Conv(4 * self.width, 1, is_bent=False, name="conv3")(y, inside)
        return nn.relu(y + _beside(x, 4 * self.width, self.stride, inside))


def _beside(x: jax.Array, width: int, stride: int, inside: Inside) -> jax.Array:
    """The input of a unit as its output needs it: means of 2x2 values, and a 1x1 convolution."""
    if stride == 1 and x.shape[-1] == width:
        return x
    if stride == 2:
        x = nn.avg_pool(x, (2, 2), (2, 2))
    return Conv(width, 1, is_bent=False, name="downsample")(x, inside)


def make_body(architecture: Architecture) -> nn.Module:
    """The module `(images, inside) -> maps` under the name "backbone"."""
    kind = MobileNet if architecture.is_separable else ResNet
    return kind(architecture, name="backbone")
