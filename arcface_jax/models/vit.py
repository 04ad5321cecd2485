"""Vision transformers (Dosovitskiy et al., arXiv 2010.11929) behind the losses of ArcFace (arXiv 1801.07698, Sec. 2).

A face of 112x112 becomes 12 x 12 patches of 9x9 pixels, four rows and columns at the end being left over; each is a
vector to which all others are mixed in, block after block, by attention. As arcface_torch has them, who trains them on
WebFace42M with AdamW: no class token, but a matrix over the vectors of all patches, as an IResNet's head has over all
places of its last map; min(max(x, 0), 6) in the blocks in place of GELU.

Not here: published weights by their names (`vit_names.py`); masking of patches in training, which the configs for
WebFace42M turn off.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from arcface_jax.models.layers import LAST_LAYER, batch_norm
from faces.initialisers import narrow_init
from faces.layers import Conv

EPSILON = 1e-5
"""Added to the variance in every layer norm."""
EXPANSION = 4
"""Of a block's hidden layer."""


class VisionTransformer(nn.Module):
    """Images (B, H, W, 3), normalised -> embeddings (B, embedding_dim), float32, of any length.

    Attributes:
        embedding_dim: d.
        dtype: of the arithmetic; parameters, layer norms and attention are float32.
        width: channels of a patch's vector.
        depth: blocks.
        heads: attentions side by side in a block.
        patch: rows and columns of a patch.
        dropout: rate of stochastic depth (Huang et al., arXiv 1603.09382) in the last block; it grows from 0 in the
            first. An image's branch is left out, and what is left divided by what is kept on average.
    """

    embedding_dim: int
    dtype: DTypeLike
    width: int
    depth: int = 12
    heads: int = 8
    patch: int = 9
    dropout: float = 0.05

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        batch, height, width, _ = images.shape
        rows, columns = height // self.patch, width // self.patch
        x = images[:, : rows * self.patch, : columns * self.patch].astype(self.dtype)
        window = (self.patch, self.patch)
        x = Conv(self.width, window, self.patch, "VALID", dtype=self.dtype, init=narrow_init, name="patches")(x)
        x = x.reshape(batch, rows * columns, self.width)  # (B, patches, width), row by row
        x = x + _Places(name="places")(x)
        for number in range(self.depth):
            rate = self.dropout * number / max(self.depth - 1, 1)
            x = Block(self.heads, rate, self.dtype, name=f"block{number + 1}")(x, train)
        x = _layer_norm("norm")(x).astype(self.dtype)
        x = x.reshape(batch, -1)  # (B, patches width)
        x = nn.Dense(self.width, False, self.dtype, kernel_init=narrow_init, name="feature")(x)
        x = batch_norm(train, self.dtype, "feature_norm")(x)
        x = nn.Dense(self.embedding_dim, False, self.dtype, kernel_init=narrow_init, name=LAST_LAYER)(x)
        return batch_norm(train, jnp.float32, "embedding_norm")(x)


class Block(nn.Module):
    """x + attention(norm(x)), then x + layers(norm(x)): Eq. (2) and (3) of the paper of vision transformers."""

    heads: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(B, patches, width) to the same shape; dropout leaves out a whole branch of an image."""
        width = x.shape[-1]

        def linear(x: jax.Array, name: str, features: int, bias: bool = True) -> jax.Array:
            return nn.Dense(features, bias, self.dtype, kernel_init=narrow_init, name=name)(x)

        def branch(y: jax.Array) -> jax.Array:
            return nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(y)

        y = _layer_norm("norm1")(x).astype(self.dtype)
        y = linear(attention(linear(y, "queries_keys_values", 3 * width, bias=False), self.heads), "projection", width)
        x = x + branch(y)
        y = _layer_norm("norm2")(x).astype(self.dtype)
        y = linear(nn.relu6(linear(y, "hidden", EXPANSION * width)), "output", width)
        return x + branch(y)


def attention(queries_keys_values: jax.Array, heads: int) -> jax.Array:
    """Each patch's mean of all patches' values, weighted by softmax(q . k / sqrt(width / heads)), head by head.

    Args:
        queries_keys_values: (B, patches, 3 width): all queries, then all keys, then all values, head by head.
        heads: a divisor of the width.

    Returns:
        (B, patches, width) in the same dtype; the arithmetic is float32.
    """
    batch, patches, wide = queries_keys_values.shape
    split = queries_keys_values.astype(jnp.float32).reshape(batch, patches, 3, heads, -1)
    queries, keys, values = split[:, :, 0], split[:, :, 1], split[:, :, 2]  # (B, patches, heads, width / heads) each
    scores = jnp.einsum("bqhc,bkhc->bhqk", queries, keys) * queries.shape[-1] ** -0.5  # (B, heads, patches, patches)
    mixed = jnp.einsum("bhqk,bkhc->bqhc", jax.nn.softmax(scores, axis=-1), values)
    return mixed.reshape(batch, patches, wide // 3).astype(queries_keys_values.dtype)


class _Places(nn.Module):
    """A vector for each place, which is added to a patch's."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.param("kernel", narrow_init, x.shape[1:]).astype(x.dtype)[None]  # (1, patches, width)


def _layer_norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=EPSILON, dtype=jnp.float32, name=name)
