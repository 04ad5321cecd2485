"""What is monitored while a classifier with margins trains.

ArcFace (arXiv 1801.07698, Sec. 2.2) follows training by the angle between an embedding and its class's centre: about
90 degrees at first, about 30 at the end.

Not here: the loop (`faces.train_loop`).
"""

from arcface_jax.config import Config
from faces.blown_up import BlownUp
from faces.train_loop import check_finite


class AngleMonitor:
    """Stops a run whose numbers are no longer finite, or whose weights are blown up."""

    def __init__(self, config: Config):
        self._config, self._blown_up = config, BlownUp(config.optimiser)

    def check(self, step: int, metrics: dict[str, float]) -> None:
        """See `faces.train_loop.Monitor`."""
        check_finite(self._config, step, metrics)
        self._blown_up.check(step, metrics)

    def show(self, metrics: dict[str, float]) -> str:
        """See `faces.train_loop.Monitor`."""
        theta = f"  theta {metrics['theta']:.1f}°" if "theta" in metrics else ""
        return f"loss {metrics['loss']:.4f}{theta}"
