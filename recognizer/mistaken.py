"""Weights of detectors where those of a network that embeds faces belong: told by the tensors' names, or the graph.

Not here: the opposite mistake (`detectors.py`).
"""

from collections.abc import Collection
from pathlib import Path

from faces.errors import WeightsError, option
from faces.weights import read_weights
from faces.weights.layouts import Tensors
from recognizer.detector_identity import DETECTORS, detector_in, weight_files


def refuse_detectors_in(folder: Path) -> None:
    """Refuse a folder in which the weights of a detector lie, as `refuse_detector`; also one of a training run."""
    inner = folder / "weights"
    for file in [*weight_files(folder), *(weight_files(inner) if inner.is_dir() else [])]:
        try:
            tensors = read_weights(file)
        except WeightsError:
            continue  # the folder is refused by whoever reads it as a file
        refuse_detector(file, tensors)


def refuse_detector(file: Path, tensors: Tensors) -> None:
    """Refuse the weights of a detector.

    Args:
        file: for the message.
        tensors: its content.
    Raises:
        WeightsError: they are; the message says where they belong, if the detector is known here.
    """
    if detector := detector_in(file, tensors):
        weights = file.parent if detector == "mtcnn" else file  # whose three files lie in one folder
        raise WeightsError(
            f"{file}: weights of the detector {detector}, which finds faces and embeds none; give them by "
            f"{option('detector', detector)} and {option('detector-weights', weights)}."
        )
    if any("bbox" in name.lower() for name in tensors):
        raise _of_unknown_detector(file, "weights")


def refuse_detectors_graph(file: Path, outputs: Collection[str]) -> None:
    """Refuse an ONNX model that gives as many outputs as detectors do: scores and boxes for each of several sizes.

    Args:
        file: for the message.
        outputs: of the model.
    Raises:
        WeightsError: it does.
    """
    if len(outputs) >= _OUTPUTS_OF_DETECTORS:
        raise _of_unknown_detector(file, f"a graph of {len(outputs)} outputs, most likely")


_OUTPUTS_OF_DETECTORS = 6  # of SCRFD without points; with them 9


def _of_unknown_detector(file: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{file}: {what} of a detector, which embeds no faces, and of none that is known here; give those of a "
        f"network that embeds them. Detectors: {', '.join(DETECTORS)}."
    )
