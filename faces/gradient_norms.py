"""The norm of a gradient layer by layer, as metrics of a step, to see where a number that is not finite comes from.

Not here: the step, which has them only where it is asked for them (`train_step.py` of each paper).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

OF_LAYER = "gradient_norm of "
"""How the names of these metrics begin."""


def by_layer(network: Any, **of_loss: Any) -> dict[str, jax.Array]:
    """Norms by `OF_LAYER` and the layer's name.

    Args:
        network: gradients of a network's parameters. What lies side by side below one name, such as a kernel and its
            bias, is a layer.
        of_loss: of what a loss has of its own, such as class centres, by its name, which begins those of its layers;
            without arrays where there is none.
    """
    layers: dict[str, list[jax.Array]] = {}
    for path, gradient in jax.tree_util.tree_flatten_with_path(network)[0]:
        layers.setdefault(_layer(path), []).append(gradient)
    for name, tree in of_loss.items():
        for path, gradient in jax.tree_util.tree_flatten_with_path(tree)[0]:
            layers.setdefault(f"{name}/{_name(path)}".rstrip("/"), []).append(gradient)
    return {OF_LAYER + name: jnp.asarray(optax.tree.norm(gradients)) for name, gradients in layers.items()}


def _layer(path: Any) -> str:
    return _name(path[:-1]) or _name(path)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
