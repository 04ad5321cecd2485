"""Initial kernels of the networks here, and a quick way to draw all of a network's at once.

Each is an initialiser as Flax has them, `init(key, shape, dtype)`, so that `module.init` of any network here gives
sound weights. XLA takes half a second to compile one draw, though, which for each kernel of an Inception network by
itself comes to half a minute; `init_variables` makes one draw and cuts it up.

Not here: what a network consists of (`models/` of each paper).
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

_only_deviations = ContextVar("_only_deviations", default=False)


def relu_init(key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Initial kernel before a ReLU, N(0, 2 / fan-in).

    CHOICE: FaceNet's Sec. 3.3 starts from random values as GoogLeNet does, whose paper does not say which. These, by He
    et al., keep the variance of a ReLU network level over 22 layers without batch norm.
    """
    return _normal(key, shape, dtype, 2.0 / math.prod(shape[:-1]))


def linear_init(key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """As `relu_init` for a layer without ReLU, or with maxout, which keeps the variance too: N(0, 1 / fan-in)."""
    return _normal(key, shape, dtype, 1.0 / math.prod(shape[:-1]))


def local_init(key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """As `relu_init` for kernels (rows, columns, inputs, outputs), another at each place: the fan-in is the inputs."""
    return _normal(key, shape, dtype, 2.0 / shape[-2])


def narrow_init(key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Initial kernel of a transformer, N(0, 0.02^2) whatever the fan-in."""
    return _normal(key, shape, dtype, 0.02**2)


def xavier_init(key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Initial kernel by Glorot and Bengio, N(0, 2 / (fan-in + fan-out)); fans count the places of the kernel."""
    return _normal(key, shape, dtype, 2.0 / (math.prod(shape[:-2]) * (shape[-2] + shape[-1])))


def init_variables(module: nn.Module, key: jax.Array, *arguments: Any, **options: Any) -> dict[str, Any]:
    """As `module.init(key, *arguments, **options)`, where all parameters called "kernel" are made by this module's
    initialisers; their normals are one draw from `key`. To be called inside `jax.jit`.

    Returns:
        The collections of the module's variables.
    """
    with _deviations():
        variables: Any = module.init(key, *arguments, **options)
    return {**variables, "params": _drawn(key, variables["params"])}


def _normal(key: jax.Array, shape: Sequence[int], dtype: DTypeLike, variance: float) -> jax.Array:
    deviation = math.sqrt(variance)
    if _only_deviations.get():
        return jnp.full(shape, deviation, dtype)
    return deviation * jax.random.normal(key, shape, dtype)


@contextlib.contextmanager
def _deviations() -> Iterator[None]:
    """Initialisers give each kernel's standard deviation, for `_drawn` to multiply."""
    token = _only_deviations.set(True)
    try:
        yield
    finally:
        _only_deviations.reset(token)


def _drawn(key: jax.Array, params: dict[str, Any]) -> dict[str, Any]:
    """Multiply the kernels by unit normals, one draw cut up for all of them."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    is_kernel = [path[-1].key == "kernel" for path, _ in leaves]
    ends = np.cumsum([leaf.size * drawn for (_, leaf), drawn in zip(leaves, is_kernel, strict=True)])
    normal = jax.random.normal(key, (int(ends[-1]),))  # (all kernels' elements,)
    return jax.tree_util.tree_unflatten(
        tree,
        [
            leaf * normal[end - leaf.size : end].reshape(leaf.shape) if drawn else leaf
            for (_, leaf), drawn, end in zip(leaves, is_kernel, ends.tolist(), strict=True)
        ],
    )
