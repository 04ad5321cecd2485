"""Many to one: faces under any light brought to one, on the device, between the image and the network's range.

What a network was trained on it needs for good: the name of what is done stands in a run's config and with its weights
(`faces.preprocessing.Preprocessing.illumination`), and whoever embeds does it by `network_input`.

Not here: alignment, the geometry's way to one (`align.py`); light changed at random in training
(`faces.data.variations`).

Source: M. Wang and W. Deng, Deep Face Recognition: A Survey (1804.06655), "many-to-one normalization".
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from faces import ops
from faces.config import DataConfig

Illumination = Literal["histogram", "tan_triggs"]

GAMMA, INNER, OUTER, ALPHA, TAU = 0.2, 1.0, 2.0, 0.1, 10.0
"""Tan and Triggs: exponent, standard deviations of the two Gaussians in pixels, exponent and bound of the contrast; as
public implementations have them, which name the paper (headupinclouds/facelab, KDE/digikam)."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of ITU-R BT.601
_FLAT = 1e-4  # of I^gamma, whose step between the two brightest grey values is 2e-3: below lies rounding alone


def network_input(images: Array, data: DataConfig) -> Float[Array, "batch rows columns 3"]:
    """Pixels as a network takes them: light brought to one where `data.illumination` says how, then the range.

    Args:
        images: (batch, rows, columns, 3), RGB, values of 0..255, uint8 or float.
        data: of the network's config.
    """
    if data.illumination == "histogram":
        images = equalised(images)
    elif data.illumination == "tan_triggs":
        images = tan_triggs(images)
    return ops.normalise(images, data.mean, data.scale)


def equalised(images: Array) -> Float[Array, "batch rows columns 3"]:
    """Histogram equalisation of each image's luma Y, in whole numbers; colours keep their difference from it.

        Y' = round(255 (n(Y) - n_least) / (n - n_least)),    v' = v + Y' - Y, cut to 0..255,

    where of the image's n pixels n(Y) are not brighter than Y, and n_least are the darkest. Of one grey value alone
    nothing changes.

    Args:
        images: (batch, rows, columns, 3), RGB, 0..255.

    CHOICE: the survey names light's normalisation without a formula; this is the textbook's, as OpenCV's equalizeHist.
    """

    values = images.astype(jnp.float32)
    luma = jnp.clip(jnp.round(_luma(values)), 0, 255).astype(jnp.int32)  # (batch, rows, columns)
    pixels = luma.reshape(luma.shape[0], luma.shape[1] * luma.shape[2])  # (batch, n)
    if ops.are_definitions():  # comparisons alone, which other programs know
        is_level = (pixels[:, :, None] == jnp.arange(256)[None, None]).astype(jnp.float32)  # (batch, n, 256)
        level = _levels(jnp.sum(is_level, axis=1), pixels.shape[1])
        new = jnp.sum(is_level * level[:, None, :], axis=2)
    else:
        counts = jax.vmap(lambda of_image: jnp.zeros(256).at[of_image].add(1))(pixels)
        new = jnp.take_along_axis(_levels(counts, pixels.shape[1]), pixels, axis=1)
    change = new.reshape(luma.shape) - luma
    return jnp.clip(values + change[..., None], 0.0, 255.0)


def _levels(counts: Array, total: int) -> Array:
    """What becomes of each of 256 grey values, (batch, 256), given how many of an image's `total` pixels have it."""
    not_brighter = jnp.cumsum(counts, axis=1)
    least = jnp.min(jnp.where(not_brighter > 0, not_brighter, total), axis=1, keepdims=True)  # of the darkest there is
    others = jnp.where(least < total, total - least, jnp.ones_like(least))
    level = jnp.round((not_brighter - least) * (255.0 / others))
    return jnp.where(least < total, level, jnp.arange(256, dtype=level.dtype)[None])


def tan_triggs(images: Array) -> Float[Array, "batch rows columns 3"]:
    """Gamma, difference of Gaussians, contrast equalisation of each image's luma; a grey image of three channels.

        I <- I^gamma
        I <- G(inner) * I - G(outer) * I
        I <- I / mean(|I|^alpha)^(1/alpha)
        I <- I / mean(min(tau, |I|)^alpha)^(1/alpha)
        I <- tau tanh(I / tau)

    and from -tau..tau to 0..255, so that means and scales of pixels still mean something. An image without contrast
    becomes 127.5.

    Args:
        images: (batch, rows, columns, 3), RGB, 0..255.

    CHOICE: Gaussians reach three standard deviations, and beyond the border lies the border.
    Source: X. Tan and B. Triggs, Enhanced local texture feature sets for face recognition under difficult lighting
    conditions, IEEE Transactions on Image Processing 19(6), 2010.
    """
    powers = jnp.maximum(_luma(images.astype(jnp.float32)), 0.0) ** GAMMA  # (batch, rows, columns)
    band = _blurred(powers, INNER) - _blurred(powers, OUTER)
    is_flat = jnp.max(jnp.abs(band), axis=(1, 2), keepdims=True) < _FLAT
    band = jnp.where(is_flat, 1.0, band)  # keeps 0 / 0 out
    band = band / _typical(jnp.abs(band))
    band = band / _typical(jnp.minimum(TAU, jnp.abs(band)))
    bounded = jnp.where(is_flat, 0.0, jnp.tanh(band / TAU))  # -1..1
    return jnp.stack([127.5 * (1.0 + bounded)] * 3, axis=-1)


def _typical(sizes: Array) -> Array:
    """Generalised mean of each image, by ALPHA, which few large values do not move."""
    return jnp.mean(sizes**ALPHA, axis=(1, 2), keepdims=True) ** (1.0 / ALPHA)


def _blurred(values: Array, deviation: float) -> Array:
    """Each image, (batch, rows, columns), under a Gaussian, one axis after the other."""
    reach = math.ceil(3 * deviation)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (1, 2):
        size = values.shape[axis]
        first, last = (jax.lax.slice_in_dim(values, k, k + 1, axis=axis) for k in (0, size - 1))
        padded = jnp.concatenate([first] * reach + [values] + [last] * reach, axis=axis)
        shifted = (jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k in range(len(weights)))
        values = sum((weight * part for weight, part in zip(weights, shifted, strict=True)), jnp.zeros_like(values))
    return values


def _luma(values: Array) -> Array:
    """(..., 3) -> (...); as products and sums, since a matrix product may be of lower precision on some devices."""
    red, green, blue = (values[..., channel] * _LUMA[channel] for channel in range(3))
    return red + green + blue
