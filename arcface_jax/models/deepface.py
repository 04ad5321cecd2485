"""DeepFace's network (Taigman et al., CVPR 2014), a row of ArcFace's Table 4 (arXiv 1801.07698) and where it began.

Two convolutions and one pooling find edges and textures. From then on every place has a kernel of its own, since faces
that were turned to the front have an eye where another has an eye: three locally connected layers hold most of the
parameters. Their output is one vector, whose softmax over 4,030 people trained it.

Not here: the 3D frontalisation that puts 152x152 faces in one frame, and the distances of its Sec. 4 (weighted
chi-squared, Siamese), which are fitted on its vectors.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from arcface_jax.models.layers import LAST_LAYER, LocallyConnected
from faces.initialisers import relu_init
from faces.layers import Conv


class Layer(NamedTuple):
    """Output channels, window and stride."""

    features: int
    window: int
    stride: int = 1


CONVOLUTIONS: tuple[Layer, Layer] = (Layer(32, 11), Layer(16, 9))
"""C1 and C3; between them M2 takes the maximum of 3x3 at steps of 2."""
LOCAL: Sequence[Layer] = (Layer(16, 9), Layer(16, 7, 2), Layer(16, 5))
"""L4, L5 and L6."""


class DeepFace(nn.Module):
    """Images (B, H, W, 3), normalised -> embeddings (B, embedding_dim), float32, of any length and not below 0.

    The paper's has 4,096 dimensions, its F7. ReLU follows every layer; dropout follows F7. F8 is the class centres. As
    drawn the layers hold 102.4M parameters, with F8 over 4,030 people 118.9M; the paper says more than 120 million.

    CHOICE: the initial values, and the rate of the dropout, 0.5. The maps of the paper, 142, 71, 63, 55, 25, 21, come
    out with no padding but one row and column behind M2's last window.

    Attributes:
        embedding_dim: d, width of F7.
        dtype: of the arithmetic; parameters are float32.
        convolutions: C1, C3.
        local: L4 and those after it.
        dropout: rate behind F7.
    """

    embedding_dim: int
    dtype: DTypeLike
    convolutions: tuple[Layer, Layer] = CONVOLUTIONS
    local: Sequence[Layer] = LOCAL
    dropout: float = 0.5

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        def conv(x: jax.Array, layer: Layer, name: str) -> jax.Array:
            window = (layer.window, layer.window)
            return nn.relu(Conv(layer.features, window, layer.stride, "VALID", dtype=self.dtype, name=name)(x))

        x = conv(images.astype(self.dtype), self.convolutions[0], "C1")  # (B, 142, 142, 32) of 152x152
        x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding="SAME")  # (B, 71, 71, 32)  M2
        x = conv(x, self.convolutions[1], "C3")  # (B, 63, 63, 16)
        for number, layer in enumerate(self.local, start=4):  # (B, 55, 55, 16), (B, 25, 25, 16), (B, 21, 21, 16)
            local = LocallyConnected(layer.features, layer.window, layer.stride, dtype=self.dtype, name=f"L{number}")
            x = nn.relu(local(x))
        x = x.reshape(x.shape[0], -1)  # (B, 7056)
        x = nn.relu(nn.Dense(self.embedding_dim, dtype=self.dtype, kernel_init=relu_init, name=LAST_LAYER)(x))
        return nn.Dropout(self.dropout, deterministic=not train)(x.astype(jnp.float32))
