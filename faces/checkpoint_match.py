"""What a checkpoint and the run that goes on from it must have in common: the config, and the arrays' shapes.

Not here: reading it (`checkpoint.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from faces.checksums import name_of
from faces.errors import CheckpointError
from faces.schema import Checked, flatten

Shapes = dict[str, tuple[int, ...]]
"""Of the arrays of a state, by their places."""


def by_path(tree: Any) -> Shapes:
    """The shape of each array by its place, but for random keys, which are stored in another form."""
    return {
        name_of(path): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
        if name_of(path) != "key"
    }


def check_shapes(stored: Shapes, wanted: Shapes, classes: int, place: str) -> set[str]:
    """Which arrays differ in the rows that pad class centres alone.

    Raises:
        CheckpointError: any other difference.
    """
    sound = "the checkpoint is sound, but of another network, or of another version of the project, which can resume it"
    if missing := wanted.keys() - stored.keys():
        raise CheckpointError(f"{place}: has no {min(missing)}, which this run needs; {sound}.")
    if more := stored.keys() - wanted.keys():
        raise CheckpointError(f"{place}: has {min(more)}, which this run knows nothing of; {sound}.")
    padded = set[str]()
    for name in sorted(wanted):
        old, new = stored[name], wanted[name]
        of_classes = "centres" in name.split("/") and old[:1] != new[:1] and old[1:] == new[1:]
        if of_classes and 0 < classes <= min(old[0], new[0]):
            padded.add(name)
        elif old != new:
            raise CheckpointError(f"{place}: {name} has the shape {old}, and in this run {new}; {sound}.")
    return padded


def with_rows(stored: jax.Array, wanted: Any, classes: int) -> jax.Array:
    """The rows of the classes, padded with zeros to the shape of `wanted`, and placed as it is."""

    def fit(rows: jax.Array) -> jax.Array:
        padding = [(0, wanted.shape[0] - classes), *[(0, 0)] * (rows.ndim - 1)]
        return jnp.pad(rows[:classes], padding)

    return jax.jit(fit, out_shardings=wanted.sharding)(stored)


MAY_DIFFER = (
    "train.log_every", "train.evaluate_every", "train.checkpoint_every", "train.most_not_finite", "train.patience",
    "evaluation.",
)  # fmt: skip


def check_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Refuse another config than the checkpoint's, with all keys in which it differs."""
    other = []
    for key in sorted(stored.keys() | wanted.keys()):
        longer = key == "train.steps" and wanted["optimiser.schedule"] != "cosine"  # the past does not depend on it
        if stored.get(key) != wanted.get(key) and not longer and not key.startswith(MAY_DIFFER):
            other.append(f"{key} = {stored.get(key)!r}, and this run asks for {wanted.get(key)!r}")
    if other:
        raise CheckpointError(
            f"{folder}: made with {'; with '.join(other)}; resume with the same config, or start in "
            "another folder."
        )


def to_json(config: Checked) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flatten(config).items()}
