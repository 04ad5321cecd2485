"""Layers of published networks in float64 NumPy, by the definitions of the frameworks that published them.

Images are (batch, channels, rows, columns) and kernels (out, in of a group, rows, columns), as those frameworks have
them and our code has not.
"""

import numpy as np


def conv(x: np.ndarray, kernel: np.ndarray, stride: int = 1, padding: tuple[int, int] = (0, 0), groups: int = 1):
    """Cross-correlation with as many zeros on both sides as `padding` says for rows and columns."""
    rows, columns = kernel.shape[2:]
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    seen = np.lib.stride_tricks.sliding_window_view(x, (rows, columns), axis=(2, 3))[:, :, ::stride, ::stride]
    inside, outside = kernel.shape[1], kernel.shape[0] // groups
    parts = []
    for group in range(groups):
        of_group = seen[:, group * inside : (group + 1) * inside]
        weights = kernel[group * outside : (group + 1) * outside].astype(np.float64)
        parts.append(np.tensordot(of_group, weights, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2))
    return np.concatenate(parts, axis=1)


def same(kernel: np.ndarray) -> tuple[int, int]:
    """Padding that keeps the size at stride 1."""
    return kernel.shape[2] // 2, kernel.shape[3] // 2


def per_channel(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values of channels, to be combined with (batch, channels, ...)."""
    return values.astype(np.float64).reshape(1, -1, *(1,) * (x.ndim - 2))


def norm(x: np.ndarray, gamma, beta, mean, variance, epsilon: float) -> np.ndarray:
    gamma, beta, mean, variance = (per_channel(values, x) for values in (gamma, beta, mean, variance))
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, per_channel(slope, x) * x)


def max_pool(x: np.ndarray) -> np.ndarray:
    """Of 3x3 windows at steps of 2, without padding."""
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Float32 tensors that keep a network's values near 1: kernels by their fan-in, all else by the names' endings."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith(("running_var", "moving_var")):
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            values = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith(("mean", "bias", "beta")):
            values = rng.normal(size=shape) / 10
        else:
            values = rng.uniform(0.5, 1.5, shape)
        tensors[name] = values.astype(np.float32)
    return tensors


def folded(kernel: np.ndarray, gamma, beta, mean, variance, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution that does its batch norm's work too, float32."""
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    scaled = kernel * factor.reshape(-1, *(1,) * (kernel.ndim - 1))
    return scaled.astype(np.float32), (beta - mean * factor).astype(np.float32)
