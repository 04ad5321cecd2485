"""NN1, the Zeiler & Fergus style network with 1x1 convolutions (arXiv 1503.03832, Table 1).

Eleven convolutions bring a 220x220 image to 7x7x256; three fully connected layers turn that into the embedding. The
first two are maxout layers, 97% of the 140 million parameters. A 1x1 convolution before each 3x3 one makes the network
22 layers deep.

Not here: the Inception networks (`inception.py`), the triplet loss that trains them all (`../losses.py`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from facenet_jax.models.layers import conv_relu, max_pool, response_norm
from faces.initialisers import linear_init
from faces.ops import l2_normalise


class NN1(nn.Module):
    """Table 1, its layers under its names.

    CHOICE: "SAME" padding, without which the sizes of Table 1 (220, 110, 55, 28, 14, 7) do not come out. ReLU follows
    every convolution and comes before pooling and normalisation: the paper has it in all models and says no more.
    Maxout layers have no other non-linearity and the last layer has none. Fully connected layers have no biases, which
    gives the table's 140M either way.

    Attributes:
        embedding_dim: d, the length of the embedding.
        dtype: of the arithmetic; parameters are float32.
    """

    embedding_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images (B, H, W, 3) to embeddings of length 1, float32 (B, d). Training and use are the same function."""

        def conv(x: jax.Array, name: str, features: int, kernel: int, strides: int = 1) -> jax.Array:
            return conv_relu(x, features, kernel, strides=strides, name=name, dtype=self.dtype)

        def linear(x: jax.Array, name: str, features: int) -> jax.Array:
            return nn.Dense(features, use_bias=False, dtype=self.dtype, kernel_init=linear_init, name=name)(x)

        x = conv(images.astype(self.dtype), "conv1", 64, 7, strides=2)  # (B, 110, 110, 64) for 220x220 images
        x = response_norm(max_pool(x, 2))  # (B, 55, 55, 64)
        x = conv(x, "conv2a", 64, 1)
        x = conv(x, "conv2", 192, 3)
        x = max_pool(response_norm(x), 2)  # (B, 28, 28, 192)
        x = conv(x, "conv3a", 192, 1)
        x = conv(x, "conv3", 384, 3)
        x = max_pool(x, 2)  # (B, 14, 14, 384)
        x = conv(x, "conv4a", 384, 1)
        x = conv(x, "conv4", 256, 3)
        x = conv(x, "conv5a", 256, 1)
        x = conv(x, "conv5", 256, 3)
        x = conv(x, "conv6a", 256, 1)
        x = conv(x, "conv6", 256, 3)
        x = max_pool(x, 2)  # (B, 7, 7, 256)
        x = x.reshape(x.shape[0], -1)  # (B, 12544)  "concat"
        x = maxout(linear(x, "fc1", 2 * 32 * 128))  # (B, 4096)
        x = maxout(linear(x, "fc2", 2 * 32 * 128))  # (B, 4096)
        x = linear(x, "fc7128", self.embedding_dim)  # (B, d)
        return l2_normalise(x)


def maxout(pieces: jax.Array) -> jax.Array:
    """Maxout with p = 2: the larger of each two neighbouring linear maps, (B, 2 n) -> (B, n)."""
    return pieces.reshape(pieces.shape[0], -1, 2).max(axis=-1)
