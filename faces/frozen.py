"""Layers that stay as they are while the rest of a network is trained.

Layers are named by the beginning of their parameters' paths: "block_35" holds block_35_1/project/bias and all others
that begin so; "fc/" holds fc/kernel, and nothing of another layer. What stays has no gradient, so that the backward
pass ends where the first trained layer begins. Its parameters and running statistics are the same bit by bit after any
number of steps, whatever the optimiser adds to them, such as a decay.

Not here: which weights a network starts with (`recognizer.starting`), whose statistics batch norm divides by
(`model.batch_norm` of a config).
"""

import difflib
from collections.abc import Sequence
from typing import Any

import jax

from faces.backbone import Backbone
from faces.errors import ConfigError


def checked(freeze: Sequence[str] | None, backbone: Backbone) -> tuple[str, ...]:
    """The prefixes of a config, () for None.

    Raises:
        ConfigError: one that no parameter of the network begins with, with the nearest layer.
    """
    if not freeze:
        return ()
    params = jax.eval_shape(backbone.init, jax.random.key(0))[0]
    paths = [_text(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    for prefix in freeze:
        if not any(path.startswith(prefix) for path in paths):
            layers = sorted({"/".join(path.split("/")[:depth]) for path in paths for depth in (1, 2, 3)})
            near = difflib.get_close_matches(prefix, layers, n=1, cutoff=0.0)[0]
            raise ConfigError(f'optimiser.freeze: no layer of the network is "{prefix}"; the nearest is "{near}"')
    return tuple(freeze)


def stopped(params: Any, freeze: tuple[str, ...]) -> Any:
    """The parameters, of which those that stay have no gradient."""

    def stop(path: Any, value: jax.Array) -> jax.Array:
        return jax.lax.stop_gradient(value) if _is_frozen(path, freeze) else value

    return jax.tree_util.tree_map_with_path(stop, params)


def kept(new: tuple[Any, Any], old: tuple[Any, Any], freeze: tuple[str, ...]) -> tuple[Any, Any]:
    """New parameters and running statistics, with the old ones of the layers that stay."""

    def choose(path: Any, ours: jax.Array, theirs: jax.Array) -> jax.Array:
        return theirs if _is_frozen(path, freeze) else ours

    params, batch_stats = (jax.tree_util.tree_map_with_path(choose, *both) for both in zip(new, old, strict=True))
    return params, batch_stats


def _is_frozen(path: Any, freeze: tuple[str, ...]) -> bool:
    return any(_text(path).startswith(prefix) for prefix in freeze)


def _text(path: Any) -> str:
    return "/".join(str(part.key) for part in path)
