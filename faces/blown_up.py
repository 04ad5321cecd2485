"""Weights that are blown up: each number is finite, and training is lost.

At a learning rate far too high one or a few steps replace the weights by something of the size of the rate. A network
with batch norm, or embeddings of length 1, goes on giving finite numbers, gradients fall as the weights grow, and
nothing is learnt any more. A step of a sound training changes weights by a hundredth of their size, or less.

Not here: embeddings that have become one point (`facenet_jax.monitor`), numbers that are not finite (`not_finite.py`).
"""

import math
from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import optax

from faces.config import OptimiserConfig
from faces.errors import TrainingStopped

UPDATE_RATIO, WEIGHT_SIZE = "update_ratio", "weight_size"
"""The metrics' names."""
STEPS, MOVED, GROWN = 20, 3.0, 3.0
"""Weights are blown up if so many steps together have moved them by so many times their size, and they have grown by
such a factor. Both papers' tiny networks, under each rule of update at its usual rate, are moved by 0.1 to 0.2, by 0.9
at five times that, and hardly grow; at rates a thousand times too high they are moved by 5 to 1,000, and grow by 4 to
1,000. Single matrices on small batches of noise are moved by up to 5, and grow by up to 2.4, and may learn yet."""
_LEAST_SIZE = 0.01
"""Weights that are smaller are taken to be as large: those that start at 0 double at first with each step."""


def movement(new: Any, old: Any) -> dict[str, jax.Array]:
    """How far a step moves a network's weights, as metrics, scalars: `UPDATE_RATIO`, the root mean square of the change
    by that of the weights, and `WEIGHT_SIZE`, the latter, before the step.

    Args:
        new, old: trees of parameters, of the same shapes.
    """
    count = sum(leaf.size for leaf in jax.tree.leaves(old))
    moved, size = (
        optax.tree.norm(tree) / math.sqrt(count) for tree in (jax.tree.map(jnp.subtract, new, old), old)
    )
    return {UPDATE_RATIO: moved / jnp.maximum(size, _LEAST_SIZE), WEIGHT_SIZE: jnp.asarray(size)}


class BlownUp:
    """Stops a run whose weights are blown up, by the metrics of its last `STEPS` steps.

    Args:
        optimiser: of the config, for the sentence.
    """

    def __init__(self, optimiser: OptimiserConfig):
        self._optimiser, self._last = optimiser, deque[tuple[float, float]](maxlen=STEPS)

    def check(self, step: int, metrics: dict[str, float]) -> None:
        """Look at a step's metrics; of a step that does not tell how far it moved nothing is known.

        Raises:
            TrainingStopped: with what to change.
        """
        if UPDATE_RATIO not in metrics:
            return
        self._last.append((metrics[UPDATE_RATIO], max(_LEAST_SIZE, metrics[WEIGHT_SIZE])))
        moved, grown = sum(ratio for ratio, _ in self._last), self._last[-1][1] / self._last[0][1]
        if moved > MOVED and grown > GROWN:
            optimiser = self._optimiser
            raise TrainingStopped(
                f"step {step}: the network is blown up: within {len(self._last)} steps its weights have become "
                f"{grown:.3g} times as large, moved by {moved:.3g} times their size; a sound step moves them by a "
                f"hundredth. Start again with a lower optimiser.learning_rate (now {optimiser.learning_rate}), a "
                f"longer optimiser.warmup_steps (now {optimiser.warmup_steps}), or optimiser.clip_norm (now "
                f"{optimiser.clip_norm})."
            )
