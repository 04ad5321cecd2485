"""VGG-Face (Parkhi, Vedaldi and Zisserman, BMVC 2015), a row of ArcFace's Table 4 (arXiv 1801.07698).

VGG-16 for faces: thirteen 3x3 convolutions in five stages, each ended by a pooling, and three fully connected layers.
Trained as a classifier of 2,622 people, whose scores are the last layer; then, with all before it frozen, a linear map
of its vector is trained by triplets, as FaceNet's.

Not here: published weights by their names (`vgg_face_names.py`), and the second stage, which is
`paper_configs/facenet/vgg_face_triplet.toml`.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from arcface_jax.models.layers import LAST_LAYER
from faces.initialisers import linear_init, relu_init
from faces.layers import padded_conv

STAGES: Sequence[tuple[int, int]] = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of convolutions of each stage."""
HIDDEN = 4096
"""Width of fc6 and fc7."""


class VGGFace(nn.Module):
    """Images (B, H, W, 3), minus their mean -> embeddings (B, embedding_dim), float32, of any length.

    The published network has 2,622 dimensions, the scores of its people before the softmax, and 145.0M parameters.

    Attributes:
        embedding_dim: d, width of the last layer.
        dtype: of the arithmetic; parameters are float32.
        stages: channels and number of convolutions of each.
        hidden: width of the two layers before the last.
        dropout: rate behind each of these two.
    """

    embedding_dim: int
    dtype: DTypeLike
    stages: Sequence[tuple[int, int]] = STAGES
    hidden: int = HIDDEN
    dropout: float = 0.5

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        x = images.astype(self.dtype)
        for stage, (features, number) in enumerate(self.stages, start=1):
            for place in range(1, number + 1):
                name = f"conv{stage}_{place}"
                x = nn.relu(padded_conv(features, 3, 1, self.dtype, use_bias=True, name=name)(x))
            x = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))  # half the rows and columns
        x = x.reshape(x.shape[0], -1)  # (B, 7 x 7 x 512) of 224x224
        for name in ("fc6", "fc7"):
            x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=relu_init, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(self.embedding_dim, dtype=self.dtype, kernel_init=linear_init, name=LAST_LAYER)(x)
        return x.astype(jnp.float32)
