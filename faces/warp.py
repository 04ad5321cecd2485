"""Two maps from photographs to faces of one size, both batched over photographs of one padded shape.

`warp` samples bilinearly under an affine map, as cv2.warpAffine does. `resample` stretches a box of pixels to a box of
the face with the triangle filter, which averages where it shrinks, as Pillow's bilinear resizing does. Photographs
are padded with zeros at the right and at the bottom to one of few shapes (`padded_shape`), so that a folder of
photographs of all sizes compiles a few programs; zero is also what a warp finds outside a photograph, so padding
changes no pixel.

Not here: which map a face needs (`align.py`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

_SMALLEST_SHAPE = 64


def warp(
    images: Num[Array, "batch height width channels"], maps: Float[Array, "batch 2 3"], size: tuple[int, int]
) -> Float[Array, "batch rows columns channels"]:
    """Faces whose pixel at M (x, y, 1) is the photograph's at (x, y), bilinear, zero outside the photograph.

    As cv2.warpAffine, which however rounds the sampled places to 1/32 pixel. Where a map shrinks, pixels are skipped,
    not averaged.

    Args:
        images: photographs, padded with zeros to one shape.
        maps: photograph to face, invertible.
        size: rows and columns of the faces.

    Returns:
        float32, in the range of the photographs and not rounded.
    """
    rows, columns = size
    height, width = images.shape[1:3]
    a, b, c, d = maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1]
    adjugate = jnp.stack([jnp.stack([d, -b], axis=1), jnp.stack([-c, a], axis=1)], axis=1)  # (batch, 2, 2)
    inverse = adjugate / (a * d - b * c)[:, None, None]
    grid = jnp.stack(jnp.meshgrid(jnp.arange(columns), jnp.arange(rows)), axis=-1).reshape(1, -1, 1, 2)
    places = jnp.sum(inverse[:, None] * (grid - maps[:, None, None, :, 2]), axis=3)  # (batch, pixels, 2)
    # One pixel beyond the border all is zero already, and far places must not overflow the whole numbers below.
    x, y = jnp.clip(places[..., 0], -1, width), jnp.clip(places[..., 1], -1, height)  # (batch, pixels) each
    left, top = jnp.floor(x), jnp.floor(y)
    flat = images.reshape(images.shape[0], height * width, -1)

    def corner(right: int, below: int) -> Array:
        column, row = left.astype(jnp.int32) + right, top.astype(jnp.int32) + below
        weight = (x - left if right else 1 - (x - left)) * (y - top if below else 1 - (y - top))
        is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        pixel = jnp.clip(row, 0, height - 1) * width + jnp.clip(column, 0, width - 1)
        values = jnp.take_along_axis(flat, pixel[:, :, None], axis=1).astype(jnp.float32)  # (batch, pixels, channels)
        return values * jnp.where(is_inside, weight, 0.0)[:, :, None]

    picture = corner(0, 0) + corner(1, 0) + corner(0, 1) + corner(1, 1)
    return picture.reshape(images.shape[0], rows, columns, -1)


def resample(
    images: Num[Array, "batch height width channels"],
    boxes: Float[Array, "batch 4"],
    targets: Float[Array, "batch 4"],
    size: tuple[int, int],
    fill: float = 0.0,
) -> Float[Array, "batch rows columns channels"]:
    """Faces in which each photograph's box is stretched to the target box, by the triangle filter.

    Per axis the weight of pixel p for output pixel i is max(0, 1 - |p + 1/2 - c_i| / max(1, k)), divided by the sum
    over the box's pixels; c_i is the place of i + 1/2 in the box, k the number of pixels to one output pixel. That is
    Pillow's bilinear resizing of the cut box, which rounds between the two axes and here is one product of matrices.

    Args:
        images: photographs, padded to one shape.
        boxes: left, top, right, bottom by edges, not centres, of pixels: a box (0, 0, 2, 3) holds two columns and
            three rows. They lie inside the photographs.
        targets: where each box goes, in pixels of the face by edges; it may reach beyond the face.
        size: rows and columns of the faces.
        fill: value of what no target covers.

    Returns:
        float32, in the range of the photographs and not rounded.
    """

    def weights(axis: int, pixels: int, outputs: int) -> tuple[Array, Array]:
        start, end = boxes[:, axis, None, None], boxes[:, axis + 2, None, None]  # (batch, 1, 1) each
        to, until = targets[:, axis, None, None], targets[:, axis + 2, None, None]
        output = jnp.arange(outputs)[None, :, None] + 0.5
        pixel = jnp.arange(pixels)[None, None, :] + 0.5
        per_output = (end - start) / (until - to)
        distance = jnp.abs(pixel - start - (output - to) * per_output) / jnp.maximum(per_output, 1.0)
        weight = jnp.where((start < pixel) & (pixel < end), jnp.maximum(0.0, 1 - distance), 0.0)
        total = jnp.sum(weight, axis=2, keepdims=True)
        covered = (to < output) & (output < until) & (total > 0)  # (batch, outputs, 1)
        return jnp.where(covered, weight / jnp.where(covered, total, 1.0), 0.0), covered[:, :, 0]

    rows, columns = size
    across, has_column = weights(0, images.shape[2], columns)  # (batch, columns, width), (batch, columns)
    down, has_row = weights(1, images.shape[1], rows)  # (batch, rows, height), (batch, rows)
    exact = jax.lax.Precision.HIGHEST
    narrow = jnp.einsum("bhwc,bxw->bhxc", images.astype(jnp.float32), across, precision=exact)
    picture = jnp.einsum("bhxc,byh->byxc", narrow, down, precision=exact)
    return jnp.where((has_row[:, :, None] & has_column[:, None, :])[..., None], picture, fill)


def padded_shape(height: int, width: int) -> tuple[int, int]:
    """The shape to which a photograph is padded: each side the next 64, 96, 128, 192, 256, 384, 512 ..."""

    def side(pixels: int) -> int:
        power = _SMALLEST_SHAPE
        while power < pixels:
            power *= 2
        return power * 3 // 4 if pixels <= power * 3 // 4 and power > _SMALLEST_SHAPE else power

    return side(height), side(width)
