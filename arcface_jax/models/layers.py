"""Layers that the networks of ArcFace (arXiv 1801.07698, Sec. 3.1) and of its relatives share.

Batch norm as those networks set it up, squeeze-and-excitation, and the name of the last layer.

Not here: the networks themselves (`iresnet.py`, `mobilefacenet.py`, `sphereface.py`), and what other papers' networks
have too, convolutions and PReLU (`faces.layers`).
"""

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from faces.initialisers import linear_init
from faces.layers import padded_conv

LAST_LAYER = "fc"
"""Name of the matrix that makes the embedding, in every network here."""


class SqueezeExcite(nn.Module):
    """Each channel times a factor that the means of all channels give (Hu et al., arXiv 1709.01507, Eq. 2 to 4).

    factors = sigmoid(W2 max(W1 means, 0)), W1 with `reduction` times fewer outputs than channels; no biases.
    """

    dtype: DTypeLike
    reduction: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        means = x.mean(axis=(1, 2), keepdims=True)  # (B, 1, 1, channels)  Eq. (2)
        few = nn.relu(padded_conv(channels // self.reduction, 1, 1, self.dtype, name="squeeze")(means))
        wide = padded_conv(channels, 1, 1, self.dtype, init=linear_init, name="excite")(few)
        return x * nn.sigmoid(wide)  # Eq. (3), (4)


def batch_norm(train: bool, dtype: DTypeLike, name: str, epsilon: float = 2e-5, use_scale: bool = True) -> nn.BatchNorm:
    """Batch norm as the published IResNets set it: eps 2e-5, running statistics that keep 0.9 of themselves.

    CHOICE: Sec. 3.1 names the framework, MXNet, and not these values, which are its code's.
    """
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=epsilon, use_scale=use_scale, dtype=dtype, name=name
    )
