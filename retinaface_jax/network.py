"""RetinaFace's network (arXiv 1905.00641, Sec. 4.2): body, feature pyramid, context modules, three heads.

The body gives maps of stride 8, 16 and 32. The pyramid adds each coarser map, doubled in size, to the finer one. A
context module on each level, SSH's, joins windows of 3, 5 and 7 pixels, the larger two as stacks of 3x3. On top, 1x1
convolutions give two classes, four numbers for a box and ten for five points, for each of two anchors at each place.

DEVIATION D25: three levels, plain convolutions and no mesh, as biubug6/Pytorch_Retinaface has it.

Images of several sizes can share a batch: beyond its own right and lower edge each image's maps are set to zero before
every layer that looks around, which is what that layer would see there without the padding. So the padding changes no
number inside.

Not here: the bodies (`bodies.py`), the meaning of the numbers (`anchors.py`, `decode.py`), losses and matching.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from faces.backbone import BatchStats, Params
from faces.errors import ConfigError
from faces.initialisers import init_variables, linear_init
from faces.layers import padded_conv
from retinaface_jax.bodies import MobileNet, ResNet
from retinaface_jax.layers import ConvNorm, Inside

STRIDES = (8, 16, 32)
ANCHORS_PER_PLACE = 2
MEAN_BGR = (104.0, 117.0, 123.0)


class Outputs(NamedTuple):
    """What the network says of each anchor, in the order of `anchors.make_anchors`."""

    classes: jax.Array  # (B, anchors, 2), logits: background, face
    boxes: jax.Array  # (B, anchors, 4)
    points: jax.Array  # (B, anchors, 10)


class Apply(Protocol):
    """`apply(params, batch_stats, images, train, sizes=None) -> (outputs, batch_stats)`, see `Network`."""

    def __call__(
        self, params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, sizes: jax.Array | None = None, /
    ) -> tuple[Outputs, BatchStats]: ...


class Network(NamedTuple):
    """The network as two pure functions.

    `init(key) -> (params, batch_stats)`: float32 trees.
    `apply(params, batch_stats, images, train, sizes) -> (outputs, batch_stats)`: images (B, H, W, 3) as `to_input`
    gives them. With `sizes`, int32 (B, 2), each image fills only that many rows and columns from the top left, H and W
    are multiples of 32, and outputs beyond the image mean nothing. With `train`, a Python bool, batch norm uses the
    batch's statistics and the running ones are updated.
    """

    init: Callable[[jax.Array], tuple[Params, BatchStats]]
    apply: Apply


@cache
def make_network(name: str = "mobilenet0.25") -> Network:
    """The network whose body is `name` of `BODIES`.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in BODIES:
        raise ConfigError(f'there is no RetinaFace body "{name}": one of {", ".join(BODIES)} is expected')
    module = BODIES[name]()

    @jax.jit
    def init(key: jax.Array) -> tuple[Params, BatchStats]:
        variables = init_variables(module, key, jnp.zeros((1, 32, 32, 3)), None, train=False)
        return variables["params"], variables["batch_stats"]

    def apply(
        params: Params, batch_stats: BatchStats, images: jax.Array, train: bool, sizes: jax.Array | None = None
    ) -> tuple[Outputs, BatchStats]:
        variables = {"params": params, "batch_stats": batch_stats}
        mutable = ["batch_stats"] if train else []
        outputs: Any = module.apply(variables, images, sizes, train=train, mutable=mutable)
        return outputs[0], outputs[1].get("batch_stats", batch_stats)

    return Network(init, apply)


def to_input(images: jax.Array) -> jax.Array:
    """RGB pixels to what the network was trained on: blue, green, red, minus the mean colour of its training images.

    Args:
        images: uint8 or float (B, H, W, 3), 0 to 255.

    Returns:
        float32 (B, H, W, 3).
    """
    return images[..., ::-1].astype(jnp.float32) - jnp.array(MEAN_BGR)[None, None, None, :]


def only_inside(images: jax.Array, sizes: Int[Array, "b 2"] | None) -> Inside:
    """The function that clears what lies outside each image.

    An image of n rows has n / stride rows, rounded up, in a map of that stride.
    """
    if sizes is None:
        return lambda x: x
    if any(side % STRIDES[-1] for side in images.shape[1:3]):
        raise ConfigError(f"padded images must have sides that 32 divides, not {images.shape[1:3]}")

    def inside(x: jax.Array) -> jax.Array:
        filled = -(-sizes // (images.shape[1] // x.shape[1]))  # (B, 2)
        rows = jnp.arange(x.shape[1])[None, :] < filled[:, :1]  # (B, h)
        columns = jnp.arange(x.shape[2])[None, :] < filled[:, 1:]  # (B, w)
        return jnp.where(rows[:, :, None, None] & columns[:, None, :, None], x, 0.0)

    return inside


class RetinaFace(nn.Module):
    """Images (B, H, W, 3) -> `Outputs`.

    `body`: makes the module that gives the maps of `STRIDES`. `features`: channels of the pyramid and the context
    modules. `slope`: of their LeakyReLU below zero.
    """

    body: Callable[..., nn.Module]
    features: int
    slope: float

    @nn.compact
    def __call__(self, images: jax.Array, sizes: jax.Array | None, train: bool) -> Outputs:
        inside = only_inside(images, sizes)
        maps = self.body(name="body")(images, train, inside)
        maps = Pyramid(self.features, self.slope, name="fpn")(maps, train, inside)
        parts = []
        for level, x in enumerate(maps, start=1):
            x = Context(self.features, self.slope, name=f"ssh{level}")(x, train, inside)
            of_level = []
            for head, numbers in {"class": 2, "box": 4, "points": 10}.items():
                channels, name = ANCHORS_PER_PLACE * numbers, f"{head}_head{level}"
                y = padded_conv(channels, 1, init=linear_init, use_bias=True, name=name)(x)
                of_level.append(y.reshape(len(x), -1, numbers))  # (B, h w 2, numbers)
            parts.append(of_level)
        return Outputs(*(jnp.concatenate(levels, axis=1) for levels in zip(*parts, strict=True)))


class Pyramid(nn.Module):
    """Three maps, fine to coarse -> as many of `features` channels, each with what the coarser ones saw."""

    features: int
    slope: float

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], train: bool, inside: Inside) -> list[jax.Array]:
        layer = partial(ConvNorm, self.features, slope=self.slope)
        merged = [layer(1, name=f"output{level}")(x, train, inside) for level, x in enumerate(maps, start=1)]
        for level in (2, 1):
            finer, coarser = merged[level - 1], merged[level]
            doubled = jnp.repeat(jnp.repeat(coarser, 2, axis=1), 2, axis=2)  # (B, 2h, 2w, features)
            # Of a map with an odd size the last row has no second one.
            together = finer + doubled[:, : finer.shape[1], : finer.shape[2]]
            merged[level - 1] = layer(3, name=f"merge{level}")(together, train, inside)
        return merged


class Context(nn.Module):
    """SSH's context module: windows of 3, 5 and 7 side by side, with half, a quarter and a quarter of the channels."""

    features: int
    slope: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, inside: Inside) -> jax.Array:
        quarter = partial(ConvNorm, self.features // 4, 3)
        window3 = ConvNorm(self.features // 2, 3, slope=None, name="conv3x3")(x, train, inside)
        first = quarter(slope=self.slope, name="conv5x5_1")(x, train, inside)
        window5 = quarter(slope=None, name="conv5x5_2")(first, train, inside)
        second = quarter(slope=self.slope, name="conv7x7_2")(first, train, inside)
        window7 = quarter(slope=None, name="conv7x7_3")(second, train, inside)
        return nn.relu(jnp.concatenate([window3, window5, window7], axis=-1))


BODIES: dict[str, Callable[[], RetinaFace]] = {
    "mobilenet0.25": partial(RetinaFace, MobileNet, features=64, slope=0.1),
    "resnet50": partial(RetinaFace, ResNet, features=256, slope=0.0),
}
