"""The detector that a command line names, and the word for whoever gives the weights of a recogniser for it.

Not here: detectors (`faces.detect.published`), and the opposite mistake (`mistaken.py`).
"""

from pathlib import Path

from experiments.published import open_model
from faces.detect import published
from faces.detect.detections import Detector
from faces.errors import DataError, FacesError, WeightsError

NETWORK_HELP = "what the detector's weights are of, where neither they nor their hash say so"


def open_detector(
    name: str,
    weights: Path,
    longest_side: int | None = None,
    confidence: float | None = None,
    network: str | None = None,
) -> Detector:
    """As `faces.detect.published.open_detector`.

    Raises:
        WeightsError: what lies at `weights` embeds faces; as there.
    """
    try:
        return published.open_detector(name, weights, longest_side, confidence, network)
    except (WeightsError, DataError):
        network = _recogniser(weights)
        if network is None:
            raise
    raise WeightsError(
        f"{weights}: weights of {network}, which embeds faces and finds none; give them by --weights, and a detector's "
        "by --detector-weights."
    )


def _recogniser(weights: Path) -> str | None:
    """Which network that embeds faces the weights are of."""
    try:
        return open_model(weights).name
    except FacesError:
        return None
