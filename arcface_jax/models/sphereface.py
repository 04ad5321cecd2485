"""SphereFace's residual networks (Liu et al., CVPR 2017), behind two rows of ArcFace's Table 2 (arXiv 1801.07698).

"SphereFace (original)" and "CosFace (original)" are theirs: 112x96 faces, four stages that each begin with a
convolution of stride 2, units of two convolutions, PReLU after every convolution and before the unit's sum, no batch
norm. Only the first convolution of a stage has a bias.

Not here: their losses (`margins.py`, `related/sphereface.py`).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from arcface_jax.models.layers import LAST_LAYER
from faces.initialisers import linear_init
from faces.layers import PReLU, padded_conv

SPHEREFACE_20: Sequence[int] = (1, 2, 4, 1)
SPHEREFACE_64: Sequence[int] = (3, 8, 16, 3)
"""Units of each stage. CHOICE: inferred from the depth, 4 + 2 (3 + 8 + 16 + 3) = 64; SphereFace's code has the same."""


class SphereFaceNet(nn.Module):
    """Images (B, H, W, 3), normalised -> embeddings (B, embedding_dim), float32, of any length."""

    embedding_dim: int
    dtype: DTypeLike
    units: Sequence[int]
    widths: Sequence[int] = (64, 128, 256, 512)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        x = images.astype(self.dtype)
        for stage, (units, width) in enumerate(zip(self.units, self.widths, strict=True), start=1):
            x = padded_conv(width, 3, 2, self.dtype, use_bias=True, init=linear_init, name=f"conv{stage}")(x)
            x = PReLU(name=f"conv{stage}_prelu")(x)
            for unit in range(1, units + 1):
                inner = x
                for half in "ab":
                    name = f"stage{stage}_unit{unit}{half}"
                    # CHOICE: small, as in SphereFace's code: without batch norm 30 sums would grow.
                    inner = padded_conv(width, 3, 1, self.dtype, init=nn.initializers.constant(0.01), name=name)(inner)
                    inner = PReLU(name=f"{name}_prelu")(inner)
                x = x + inner
        x = x.reshape(x.shape[0], -1)  # (B, h w c)
        x = nn.Dense(self.embedding_dim, dtype=self.dtype, kernel_init=linear_init, name=LAST_LAYER)(x)
        return x.astype(jnp.float32)
