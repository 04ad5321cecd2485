"""The bodies of RetinaFace's network (arXiv 1905.00641, Sec. 4.2): classification networks without their heads.

Each makes maps of three strides. MobileNet with a quarter of its channels is for speed, ResNet-50 for accuracy. Their
arithmetic and the padding of their convolutions are those of the published weights, which PyTorch trained.

Not here: what is built on the maps (`network.py`).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from faces.initialisers import linear_init
from faces.layers import Depthwise, padded_conv
from retinaface_jax.layers import ConvNorm, Inside, batch_norm


class MobileNet(nn.Module):
    """MobileNetV1 with a quarter of the channels. `stages`: (output channels, stride) of the separable convolutions."""

    stages: Sequence[Sequence[tuple[int, int]]] = (
        ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
        ((128, 2), *[(128, 1)] * 5),
        ((256, 2), (256, 1)),
    )

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, inside: Inside) -> list[jax.Array]:
        x = ConvNorm(8, 3, 2, name="stage1_0")(x, train, inside)  # (B, H/2, W/2, 8)
        maps = []
        for number, stage in enumerate(self.stages, start=1):
            for place, (features, stride) in enumerate(stage, start=1 if number == 1 else 0):
                x = Separable(features, stride, name=f"stage{number}_{place}")(x, train, inside)
            maps.append(x)
        return maps


class Separable(nn.Module):
    """3x3 depthwise convolution of `stride`, then 1x1 to `features`; batch norm and LeakyReLU after each."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, inside: Inside) -> jax.Array:
        x = Depthwise(self.stride, name="depthwise")(inside(x))
        x = nn.leaky_relu(batch_norm(train, "depthwise_norm")(x), 0.1)
        x = padded_conv(self.features, 1, 1, name="pointwise")(x)
        return nn.leaky_relu(batch_norm(train, "pointwise_norm")(x), 0.1)


class ResNet(nn.Module):
    """ResNet-50 without its first map: bottleneck units with the stride in the 3x3 convolution.

    `units`: of each stage, of which the last three give the maps. `width`: inner channels of the first stage.
    """

    units: Sequence[int] = (3, 4, 6, 3)
    width: int = 64

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, inside: Inside) -> list[jax.Array]:
        x = padded_conv(self.width, 7, 2, name="conv1")(inside(x))  # (B, H/2, W/2, width)
        x = inside(nn.relu(batch_norm(train, "bn1")(x)))
        x = nn.pool(x, -jnp.inf, jax.lax.max, (3, 3), (2, 2), ((1, 1), (1, 1)))  # no value is below the zeros outside
        maps = []
        for stage, units in enumerate(self.units, start=1):
            for unit in range(units):
                stride = 2 if unit == 0 and stage > 1 else 1
                inner = self.width * 2 ** (stage - 1)
                x = Bottleneck(inner, stride, name=f"layer{stage}_{unit}")(x, train, inside)
            maps.append(x)
        return maps[1:]


class Bottleneck(nn.Module):
    """1x1 to `inner` channels, 3x3 of `stride`, 1x1 to four times `inner`, plus the input, then ReLU."""

    inner: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, inside: Inside) -> jax.Array:
        y = nn.relu(batch_norm(train, "bn1")(padded_conv(self.inner, 1, 1, name="conv1")(x)))
        y = nn.relu(batch_norm(train, "bn2")(padded_conv(self.inner, 3, self.stride, name="conv2")(inside(y))))
        y = batch_norm(train, "bn3")(padded_conv(4 * self.inner, 1, 1, init=linear_init, name="conv3")(y))
        if x.shape != y.shape:
            x = ConvNorm(4 * self.inner, 1, self.stride, slope=None, name="downsample")(x, train, inside)
        return nn.relu(x + y)
