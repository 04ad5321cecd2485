"""DeepID2's network (Sun, Wang and Tang, NIPS 2014), of the line that is the first row of ArcFace's Table 4.

Four convolutional layers, of which the upper two share their kernels among fewer and fewer places: the third within
squares of 2x2, the fourth not at all. The vector of 160 sees the third and the fourth, so that it has two scales before
it. DeepID2 trains it by identification and verification at once, on 200 patches of a face each with a network.

Not here: the joint loss, the patches, and the Joint Bayesian model on their vectors.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from arcface_jax.models.layers import LAST_LAYER, LocallyConnected
from faces.initialisers import relu_init
from faces.layers import Conv

WIDTHS: Sequence[int] = (20, 40, 60, 80)
WINDOWS: Sequence[int] = (4, 3, 3, 2)


class DeepID2(nn.Module):
    """Images (B, H, W, 3), normalised -> embeddings (B, embedding_dim), float32, of any length and not below 0.

    CHOICE: the paper was not at hand. Known are the four layers, which of them share kernels, and the 160 values; the
    size of 55x47, channels, windows, poolings and the ReLU behind the vector are as other programs have them.

    Attributes:
        embedding_dim: d; the paper's is 160.
        dtype: of the arithmetic; parameters are float32.
        widths, windows: channels of the four layers, rows and columns of their kernels.
    """

    embedding_dim: int
    dtype: DTypeLike
    widths: Sequence[int] = WIDTHS
    windows: Sequence[int] = WINDOWS

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        def pool(x: jax.Array) -> jax.Array:
            return nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))

        x = images.astype(self.dtype)
        for number in range(2):
            side = self.windows[number]
            conv = Conv(self.widths[number], (side, side), padding="VALID", dtype=self.dtype, name=f"conv{number + 1}")
            x = pool(nn.relu(conv(x)))  # (B, 26, 22, 20), (B, 12, 10, 40) of 55x47
        third = LocallyConnected(self.widths[2], self.windows[2], region=2, dtype=self.dtype, name="conv3")
        x = pool(nn.relu(third(x)))  # (B, 5, 4, 60)
        fourth = LocallyConnected(self.widths[3], self.windows[3], dtype=self.dtype, name="conv4")
        y = nn.relu(fourth(x))  # (B, 4, 3, 80)
        both = jnp.concatenate([x.reshape(x.shape[0], -1), y.reshape(y.shape[0], -1)], axis=-1)  # (B, 2160)
        x = nn.Dense(self.embedding_dim, dtype=self.dtype, kernel_init=relu_init, name=LAST_LAYER)(both)
        return nn.relu(x).astype(jnp.float32)
