"""Parts of images averaged into fewer pixels (Zhang et al. 2016, Sec. II-A): P-net's pyramid, the others' crops.

Every resize here is an area average: the region is cut into equal cells, and a cell's value is the mean of the image,
taken as piecewise constant, over the cell; outside the image it is zero. This is what OpenCV's INTER_AREA computes,
which the published Python ports of MTCNN use (the authors' MATLAB code uses imresize), also where cells are smaller
than pixels.

The mean over a cell is a difference of four values of the integral image, between whose entries the sum grows linearly
with each coordinate. So a region of any size costs the same per cell. Edges of cells are quotients with remainders and
sums are first subtracted as whole numbers: what rounding there is stays far below a grey level, and only the sum over a
row of cells is limited, to 2^31.

Not here: what boxes become crops (`stages.py`).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_BLOCK = 16  # pixels


class Regions(NamedTuple):
    """Rectangles of images, whole pixels: int32 (n,) each; `image` is the row of the batch. They may reach outside."""

    image: jax.Array
    left: jax.Array
    top: jax.Array
    width: jax.Array
    height: jax.Array


def scales(shortest: int, min_face: float, factor: float) -> list[float]:
    """Scales of the pyramid of an image whose shorter side is `shortest`, largest first.

    12 / min_face * factor^k, as long as the shorter side has 12 pixels, P-net's window.
    """
    found, scale, side = [], 12.0 / min_face, shortest * 12.0 / min_face
    while side >= 12:
        found.append(scale * factor ** len(found))
        side *= factor
    return found


def level_sizes(height: int, width: int, levels: int, min_face: float, factor: float) -> np.ndarray:
    """Rows and columns of an image at each scale, rounded up; zero at scales that it is too small for.

    Args:
        height: of the image, in pixels; `width` likewise.
        levels: how many rows to return, at least as many as the image has scales.

    Returns:
        int32 (levels, 2).
    """
    sizes = np.zeros((levels, 2), np.int32)
    for level, scale in enumerate(scales(min(height, width), min_face, factor)):
        sizes[level] = math.ceil(height * scale), math.ceil(width * scale)
    return sizes


def integral_image(images: jax.Array) -> jax.Array:
    """Sums over all pixels above and to the left, modulo 2^32.

    Along rows, sums of 16 pixels are products with a triangle of ones, exact in float32; along columns they are added
    row by row. XLA's cumulative sum takes several times as long on a CPU.

    Args:
        images: uint8 (B, H, W, 3).

    Returns:
        int32 (B, H + 1, W + 1 or more, 3).
    """
    batch, height, width, _ = images.shape
    blocks = width // _BLOCK + 1
    padded = jnp.pad(images, ((0, 0), (1, 0), (1, blocks * _BLOCK - width - 1), (0, 0)))
    pixels = padded.astype(jnp.float32).reshape(batch, height + 1, blocks, 3 * _BLOCK)
    to_the_left = jnp.kron(jnp.triu(jnp.ones((_BLOCK, _BLOCK))), jnp.eye(3))  # (48, 48)
    sums = jnp.dot(pixels, to_the_left, precision=lax.Precision.HIGHEST).astype(jnp.int32)  # (B, H + 1, blocks, 48)
    of_blocks = jnp.cumsum(sums[..., -3:], axis=2)  # (B, H + 1, blocks, 3)
    before = jnp.pad(of_blocks[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
    sums = sums.reshape(*sums.shape[:3], _BLOCK, 3) + before[:, :, :, None]
    rows = jnp.moveaxis(sums.reshape(batch, height + 1, -1, 3), 1, 0)  # (H + 1, B, 16 blocks, 3)

    def add(above: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        return above + row, above + row

    _, integral = lax.scan(add, jnp.zeros_like(rows[0]), rows)
    return jnp.moveaxis(integral, 0, 1)


def area_average(
    integral: jax.Array, regions: Regions, cells: tuple[jax.Array, jax.Array], shape: tuple[int, int]
) -> jax.Array:
    """Means of the images over the cells of each region.

    Args:
        integral: of `integral_image`.
        regions: n of them.
        cells: into how many rows and how many columns each region is cut, int32 (n,) each. A size times a number of
            cells must stay below 2^31.
        shape: rows and columns to compute; beyond `cells` they go on past the region's end.

    Returns:
        float32 (n, *shape, 3).
    """
    batch, height, width = integral.shape[:3]
    rows, row_fraction = _edges(regions.top, regions.height, cells[0], shape[0], height - 1)
    columns, column_fraction = _edges(regions.left, regions.width, cells[1], shape[1], width - 1)
    # Colours side by side with columns: XLA makes vector code only of long last axes.
    columns = (3 * columns[..., None] + jnp.arange(3)[None, None, None, :]).reshape(2, len(rows[0]), -1)
    column_fraction = jnp.repeat(column_fraction, 3, axis=1)  # (n, 3 columns + 3)
    table = integral.reshape(batch, height, 3 * width)

    def gather(corner: tuple[jax.Array, jax.Array]) -> jax.Array:
        rows, columns = corner
        places = regions.image[:, None, None], rows[:, :, None], columns[:, None, :]
        return table.at[places].get(mode="promise_in_bounds")  # (n, rows + 1, 3 columns + 3)

    # A loop, because XLA would otherwise gather anew for each use of each sum, and no barrier keeps it from that.
    sums = lax.map(gather, (jnp.repeat(rows, 2, axis=0), jnp.tile(columns, (2, 1, 1))))
    sums = sums.reshape(2, 2, *sums.shape[1:])  # (before and after in rows, in columns, n, rows + 1, 3 columns + 3)
    edge = row_fraction[None, :, :, None] * (sums[1] - sums[0]).astype(jnp.float32)
    strips = jnp.diff(sums[0], axis=2).astype(jnp.float32) + jnp.diff(edge, axis=2)  # (2, n, rows, 3 columns + 3)
    at_edges = strips[0] + column_fraction[:, None, :] * (strips[1] - strips[0])
    means = (at_edges[..., 3:] - at_edges[..., :-3]).reshape(len(regions.image), *shape, 3)
    pixels = (regions.height * regions.width).astype(jnp.float32) / (cells[0] * cells[1]).astype(jnp.float32)
    return means / jnp.maximum(pixels, 1e-9)[:, None, None, None]


def _edges(start: jax.Array, size: jax.Array, cells: jax.Array, count: int, limit: int) -> tuple[jax.Array, jax.Array]:
    """Entries of the integral image before and after each edge between cells, and how far between them the edge lies.

    Returns:
        int32 (2, n, count + 1) and float32 (n, count + 1).
    """
    cells = jnp.maximum(cells, 1)
    offset = jnp.arange(count + 1)[None, :] * size[:, None]  # (n, count + 1)
    before = start[:, None] + offset // cells[:, None]
    fraction = (offset % cells[:, None]).astype(jnp.float32) / cells[:, None].astype(jnp.float32)
    return jnp.clip(jnp.stack([before, before + 1]), 0, limit), fraction
