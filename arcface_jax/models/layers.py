"""Layers that the networks of ArcFace (arXiv 1801.07698, Sec. 3.1) and of its relatives share.

Batch norm as those networks set it up, squeeze-and-excitation, locally connected layers, and the name of the last
layer.

Not here: the networks themselves (`iresnet.py`, `mobilefacenet.py`, `sphereface.py` and others), and what other papers'
networks have too, convolutions and PReLU (`faces.layers`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from faces.initialisers import linear_init, local_init
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


class LocallyConnected(nn.Module):
    """A convolution whose kernel is another one at each place, or in each square of places (Taigman et al. 2014).

    y_ijf = sum over the window at (i, j) of W^(ij) x + b^(ij): faces in a fixed frame have another part at each place,
    whose statistics a kernel of its own can learn. No padding. It costs what a convolution does and has as many times
    more parameters as it has places.

    Attributes:
        features: output channels.
        window: rows and columns of the kernel.
        stride: step in rows and columns.
        region: places in a row and in a column that share a kernel; 1: none share.
        dtype: of the arithmetic; parameters are float32.
    """

    features: int
    window: int
    stride: int = 1
    region: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) to (B, (H - window) / stride + 1, (W - window) / stride + 1, features), rounded down."""
        batch, height, width, channels = x.shape
        rows, columns = ((side - self.window) // self.stride + 1 for side in (height, width))
        if min(rows, columns) < 1:
            raise ValueError(f"no window of {self.window}x{self.window} fits a map of {height}x{width}")
        part, step = self.region, self.stride
        down, across = -(-rows // part), -(-columns // part)  # kernels in a column and in a row
        seen = jnp.concatenate(
            [
                x[:, top : top + (rows - 1) * step + 1 : step, left : left + (columns - 1) * step + 1 : step]
                for top in range(self.window)
                for left in range(self.window)
            ],
            axis=-1,
        ).astype(self.dtype)  # (B, rows, columns, window^2 C)
        inputs = self.window**2 * channels
        seen = jnp.pad(seen, ((0, 0), (0, down * part - rows), (0, across * part - columns), (0, 0)))
        seen = seen.reshape(batch, down, part, across, part, inputs)
        kernel = self.param("kernel", local_init, (down, across, inputs, self.features)).astype(self.dtype)
        # Flat, because weight decay and Muon tell kernels from biases by their number of axes.
        bias = self.param("bias", nn.initializers.zeros, (down * across * self.features,)).astype(self.dtype)
        y = jnp.einsum("bipjqk,ijkf->bipjqf", seen, kernel)
        y = y + bias.reshape(1, down, 1, across, 1, self.features)
        return y.reshape(batch, down * part, across * part, self.features)[:, :rows, :columns]
