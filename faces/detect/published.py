"""A detector by its name and the file of its published weights.

| detector | weights |
|---|---|
| retinaface | a `.pth` of the PyTorch edition, `mobilenet0.25_Final.pth` or `Resnet50_Final.pth` |
| mtcnn | a folder with `det1.npy`, `det2.npy`, `det3.npy`, or with `pnet.pt`, `rnet.pt`, `onet.pt` |

`experiments.retinaface` and `experiments.mtcnn` write what they have trained by the same names, as `.npz`.

Not here: reading files (`faces.weights`), names of parameters (`weights.py` of each detector).
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from faces.detect import mtcnn, retinaface
from faces.detect.detections import Detector
from faces.detect.looks import TILE, Sizes, of_any_size
from faces.detect.mtcnn.weights import network_of, to_params
from faces.detect.retinaface.anchors import SIDES
from faces.detect.retinaface.weights import Weights, from_pytorch
from faces.detect.shrink import in_smaller_images
from faces.errors import ConfigError, WeightsError
from faces.weights import read_weights

DETECTORS = ("retinaface", "mtcnn")
EDITION = 2
"""To be raised whenever the same weights find other faces than before: faces that were kept are then looked for anew,
and what was made of them is not gone on with."""


def open_detector(
    name: str, weights: Path | str, longest_side: int | None = None, confidence: float | None = None
) -> Detector:
    """The detector `name` with its published settings, which finds faces of any size (`looks.py`).

    One look of RetinaFace finds faces of 16 to 512 pixels, the sides of its anchors, those below 40 less surely; one of
    MTCNN faces of 20 pixels up to all of a tile. A larger face is found in a smaller picture.

    Args:
        name: one of `DETECTORS`.
        weights: file or folder, as the table above says.
        longest_side: reduce larger images to this many pixels before looking; None leaves every image as it is.
        confidence: a face scores more than this; None for the published least score, 0.5 of retinaface, 0.7 of mtcnn,
            where it is O-net's alone.

    Raises:
        ConfigError: there is no such detector, or no such score.
        WeightsError, DataError: the weights are absent, or none of this detector.
    """
    weights = Path(weights)
    if name == "retinaface":
        sizes = Sizes(SIDES[0][0], SIDES[-1][-1])
        options = retinaface.Options() if confidence is None else retinaface.Options(confidence=confidence)
        detect = retinaface.make_detector(_retinaface(weights), options)
    elif name == "mtcnn":
        settings = mtcnn.Options()
        sizes = Sizes(settings.min_face, TILE)
        if confidence is not None:
            settings = mtcnn.Options(thresholds=(*settings.thresholds[:2], confidence))
        files = weight_files(weights)
        if not files:
            raise WeightsError(f"{weights}: a folder without files of weights; give the one that holds mtcnn's three.")
        params = to_params({file.name: _arrays(file, name) for file in files})
        detect = mtcnn.make_detector(params, settings)
    else:
        raise ConfigError(f'there is no detector "{name}": one of {", ".join(DETECTORS)} is expected')
    detect = of_any_size(detect, sizes)
    return detect if longest_side is None else in_smaller_images(detect, longest_side)


def _retinaface(file: Path) -> Weights:
    arrays = _arrays(file, "retinaface")
    try:
        return from_pytorch(arrays)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None


def _arrays(file: Path, detector: str) -> dict[str, np.ndarray]:
    """The arrays of a file of a detector's weights.

    Raises:
        WeightsError: they are another detector's; as `read_weights`.
    """
    arrays = read_weights(file)
    other = detector_of(arrays)
    if other not in (None, detector):
        raise WeightsError(f"{file}: weights of {other} and not of {detector}; name --detector {other}.")
    return arrays


def detector_of(names: Collection[str]) -> str | None:
    """The detector whose weights have such names, of mtcnn those of one of its networks; None where it is neither."""
    if {"ClassHead.0.conv1x1.weight", "BboxHead.0.conv1x1.weight"} <= {name.removeprefix("module.") for name in names}:
        return "retinaface"
    return "mtcnn" if network_of(names) else None


def weight_files(weights: Path) -> list[Path]:
    """The files that make up the weights of a detector: the file itself, or those of the folder that hold arrays."""
    if not weights.is_dir():
        return [weights]
    return sorted(file for file in weights.iterdir() if file.suffix in (".npy", ".npz", ".pt", ".pth", ".safetensors"))
