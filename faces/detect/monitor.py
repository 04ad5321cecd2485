"""What a detector's training prints of a step, and when it stops.

Not here: the step (each detector's own), the loop (`faces.train_loop`).
"""

import math

from faces.blown_up import BlownUp
from faces.config import OptimiserConfig
from faces.errors import TrainingStopped


class DetectionMonitor:
    """Stops a run whose numbers are no longer finite, or whose weights are blown up."""

    def __init__(self, optimiser: OptimiserConfig):
        self._optimiser, self._blown_up = optimiser, BlownUp(optimiser)

    def check(self, step: int, metrics: dict[str, float]) -> None:
        """See `faces.train_loop.Monitor`."""
        if not (math.isfinite(metrics["loss"]) and math.isfinite(metrics["gradient_norm"])):
            raise TrainingStopped(
                f"step {step}: loss {metrics['loss']} with gradient norm {metrics['gradient_norm']} is not finite; the "
                f"weights of the step before are kept. Lower optimiser.learning_rate (now "
                f"{self._optimiser.learning_rate}) or set optimiser.clip_norm (now {self._optimiser.clip_norm})."
            )
        self._blown_up.check(step, metrics)

    def show(self, metrics: dict[str, float]) -> str:
        """See `faces.train_loop.Monitor`."""
        terms = "  ".join(f"{name} {metrics[name]:.3f}" for name in ("classification", "boxes", "points"))
        return f"loss {metrics['loss']:.3f}  {terms}"
