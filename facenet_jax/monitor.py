"""What is monitored while triplets train: numbers that are not finite, weights that are blown up, and the way in which
triplets fail.

Sec. 3.2 of FaceNet (arXiv 1503.03832) warns of it: the hardest negatives, met early in training, can drive the network
to map every face to one and the same point.

Not here: the loop (`faces.train_loop`).
"""

from facenet_jax.config import Config
from faces.blown_up import BlownUp
from faces.errors import TrainingStopped
from faces.train_loop import check_finite

COLLAPSE_SPREAD = 1e-3
"""Mean squared distance from the mean embedding under which all embeddings are one point, for practical purposes."""
COLLAPSE_STEPS = 20
"""Consecutive steps that must look collapsed before the run is stopped."""


class TripletMonitor:
    """Stops a run whose weights are blown up, or whose embeddings have all become one point.

    Every distance is 0 in the latter and the loss of every pair is the margin alpha; gradients vanish there, and
    training does not come back. Of another loss than the triplet's the embeddings alone are looked at.
    """

    def __init__(self, config: Config):
        self._config, self._collapsed_steps = config, 0
        self._blown_up = BlownUp(config.optimiser)

    def check(self, step: int, metrics: dict[str, float]) -> None:
        """See `faces.train_loop.Monitor`."""
        check_finite(self._config, step, metrics)
        self._blown_up.check(step, metrics)
        optimiser, loss = self._config.optimiser, self._config.loss
        stuck = metrics["spread"] < COLLAPSE_SPREAD
        said, mined = "", "Use"
        if loss.kind == "triplet":
            stuck = stuck and abs(metrics["loss_per_pair"] - loss.alpha) < 0.05 * loss.alpha
            said = f"the loss per pair is {metrics['loss_per_pair']:.4f}, the margin alpha is {loss.alpha}, and "
            mined = f'Use loss.mining "semi_hard" (now "{loss.mining}"),'
        self._collapsed_steps = self._collapsed_steps + 1 if stuck else 0
        if self._collapsed_steps >= COLLAPSE_STEPS:
            raise TrainingStopped(
                f"step {step}: the model has collapsed: {said}the embeddings' spread is {metrics['spread']:.1e}. "
                f"{mined} a lower optimiser.learning_rate (now {optimiser.learning_rate}), or a longer "
                f"optimiser.warmup_steps (now {optimiser.warmup_steps})."
            )

    def show(self, metrics: dict[str, float]) -> str:
        """See `faces.train_loop.Monitor`."""
        return (
            f"loss {metrics['loss']:.4f}  active {metrics['active']:.0%}  d_ap {metrics['d_ap']:.2f}  "
            f"d_an {metrics['d_an']:.2f}"
        )
