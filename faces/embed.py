"""Embeddings of many images, in blocks of one shape over all devices, those of other processes too.

Several processes that make one run embed together: all have the images, each block is divided over the devices of all,
and every process receives the embeddings of all. No image is embedded twice, and the numbers are those of one process
with as many devices.

Not here: how images are cropped (`faces.evaluate.pair_set`), networks (the papers' packages).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from faces import ops
from faces.backbone import Apply
from faces.config import DataConfig
from faces.illumination import network_input
from faces.mesh import replicated, sharded

BLOCK = 128
"""Images that a device embeds at a time."""
BLOCK_ON_CPU = 32
"""The same on a CPU, where the maps of more images no longer stay in the caches (`benchmarks/NOTES.md`)."""

Embedder = Callable[[Any, Any, np.ndarray], np.ndarray]
"""(params, batch_stats, uint8 images (n, rows, columns, 3)) -> float32 (n, d) of length 1."""


def embedding_form(
    apply: Apply, data: DataConfig, flip: bool, unit: bool
) -> Callable[[Any, Any, jax.Array], jax.Array]:
    """A backbone's evaluation form, (params, batch_stats, images (n, rows, columns, 3)) -> float32 (n, d).

    Args:
        apply, data, flip, unit: as for `make_embedder`.
    """

    def embed(params: Any, batch_stats: Any, images: jax.Array) -> jax.Array:
        pixels = network_input(images, data)
        embeddings, _ = apply(params, batch_stats, pixels, False)  # (n, d)
        if flip:
            mirrored, _ = apply(params, batch_stats, pixels[:, :, ::-1], False)
            embeddings = embeddings + mirrored
        return ops.l2_normalise(embeddings) if unit else embeddings.astype(jnp.float32)

    return embed


def make_embedder(
    apply: Apply, data: DataConfig, flip: bool, mesh: Mesh, unit: bool = True, block: int | None = None
) -> Embedder:
    """Compile a backbone's evaluation form.

    Args:
        apply: a backbone's `apply`.
        data: normalisation of the pixels, and of their light.
        flip: add the embedding of the mirrored image before normalising. Embeddings are added as the network gives
            them; where their lengths differ, the longer counts for more.
        mesh: a block's images are divided over its devices. Where they are of several processes, all of these call the
            embedder together, with the same images.
        unit: bring embeddings to length 1; otherwise they keep the length that the network gives.
        block: images that a device embeds at a time; None for what suits many images.
    Returns:
        An `Embedder`; the last block is padded and its padding dropped.
    """
    if block is None:
        block = BLOCK_ON_CPU if mesh.devices.flat[0].platform == "cpu" else BLOCK
    block *= mesh.devices.size

    placed = (replicated(mesh), replicated(mesh), sharded(mesh))
    form = embedding_form(apply, data, flip, unit)
    compiled = jax.jit(form, in_shardings=placed, out_shardings=replicated(mesh))

    def embed(params: Any, batch_stats: Any, images: np.ndarray) -> np.ndarray:
        rows = []
        for start in range(0, len(images), block):
            part = images[start : start + block]
            padded = np.zeros((block, *part.shape[1:]), part.dtype)
            padded[: len(part)] = part
            placed_images = jax.make_array_from_callback(padded.shape, sharded(mesh), padded.__getitem__)
            rows.append(np.asarray(compiled(params, batch_stats, placed_images))[: len(part)])
        return np.concatenate(rows)

    return embed
