"""A detector by its name, with the weights that an installed package brings (`models.toml`) or a file of its own.

| detector | weights |
|---|---|
| retinaface | a `.pth` of biubug6/Pytorch_Retinaface, `mobilenet0.25_Final.pth` or `Resnet50_Final.pth` |
| mtcnn | a folder with `det1.npy`, `det2.npy`, `det3.npy`, or with `pnet.pt`, `rnet.pt`, `onet.pt` |
| scrfd | an `.onnx` of InsightFace with nine outputs, such as `det_10g.onnx`, or a `.pth` of its authors |

`experiments.retinaface` and `experiments.mtcnn` write what they have trained by the same names, as `.npz`, with a
record of the network and of the faces that it was trained for.

Not here: reading files (`faces.weights`), names of parameters (`weights.py` of each detector), how a file is known
(`detector_identity.py`).
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

import mtcnn_jax as mtcnn
import retinaface_jax as retinaface
import scrfd_jax as scrfd
from faces.detect.detections import Detector
from faces.detect.looks import Sizes, of_any_size
from faces.detect.shrink import in_smaller_images
from faces.errors import ConfigError, DataError, FacesError, WeightsError, option
from faces.opening import MIB, open_regular
from faces.schema import nearest_of_all
from faces.weights import is_onnx, read_onnx_graph, read_onnx_locations, read_onnx_outputs, read_weights
from mtcnn_jax.weights import to_params
from recognizer.detector_identity import DETECTORS, RECORD, detector_in, detector_of, identify, of_body, weight_files
from recognizer.given import as_number, as_path
from recognizer.manifest import MANIFEST, find_detector
from recognizer.model import open_model
from retinaface_jax.weights import from_pytorch

EDITION = 2
"""To be raised whenever the same weights find other faces than before: faces that were kept are then looked for anew,
and what was made of them is not gone on with."""


def open_detector(
    name: str,
    weights: Path | str | None = None,
    longest_side: int | None = None,
    confidence: float | None = None,
    network: str | None = None,
    manifest: Path | str = MANIFEST,
) -> Detector:
    """The detector `name` with its published settings, which finds faces of any size (`faces/detect/looks.py`).

    One look of RetinaFace or SCRFD finds faces of 16 to 512 pixels, the sides of its anchors, those below 40 less
    surely; one of MTCNN faces of 20 pixels up to all of a tile; one of weights trained here the sizes that their record
    has. A larger face is found in a smaller image.

    Args:
        name: one of `DETECTORS`.
        weights: file or folder, as the table above says; None for those that a package brings.
        longest_side: reduce larger images to this many pixels before looking; None leaves every image as it is, or
            reduces it to what weights trained here know.
        confidence: a face scores more than this; None for the published least score, 0.5 of retinaface and scrfd,
            0.7 of mtcnn, where it is O-net's alone.
        network: of `detector_identity.NETWORKS`, what the weights are of, where neither they nor their hash say so.
        manifest: where weights come from, and files that are known by their hash (`recognizer.manifest`).

    Raises:
        ConfigError: there is no such detector, no such score, or the weights are of another network.
        WeightsError, DataError: the weights are absent, of a network that embeds faces, none of this detector, or
            nothing says what they are.
    """
    if name not in DETECTORS:
        raise ConfigError(f'there is no detector "{name}"; {nearest_of_all(str(name), DETECTORS)}.')
    manifest = as_path(manifest, "manifest")
    if confidence is not None:
        confidence = as_number(confidence, "confidence", "a number")
    if longest_side is not None:
        longest_side = int(as_number(longest_side, "longest_side", "a number of pixels"))
    weights = find_detector(name, manifest) if weights is None else as_path(weights, "detector_weights")
    open_named = {"retinaface": _open_retinaface, "mtcnn": _open_mtcnn, "scrfd": _open_scrfd}[name]
    try:
        detect, sizes = open_named(weights, confidence, network, manifest)
    except (WeightsError, DataError):
        _refuse_recogniser(weights)
        raise
    detect = of_any_size(detect, sizes)
    longest_side = longest_side if longest_side is not None else sizes.picture
    return detect if longest_side is None else in_smaller_images(detect, longest_side)


def _refuse_recogniser(weights: Path) -> None:
    """Say where weights belong that embed faces; nothing where they do not."""
    try:
        network = open_model(weights).name
    except FacesError:
        return
    raise WeightsError(
        f"{weights}: weights of {network}, which embeds faces and finds none; give them as those of the model, and a "
        "detector's as those of the detector."
    )


def _open_retinaface(
    file: Path, confidence: float | None, network: str | None, manifest: Path
) -> tuple[Detector, Sizes]:
    options = retinaface.Options() if confidence is None else retinaface.Options(confidence=confidence)
    arrays = _arrays(file, "retinaface")
    record = arrays.pop(RECORD, None)
    try:
        params = from_pytorch(arrays)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None
    return retinaface.make_detector(params, options), identify(
        file, record, of_body(params.network), network, manifest
    )


def _open_mtcnn(
    weights: Path, confidence: float | None, network: str | None, manifest: Path
) -> tuple[Detector, Sizes]:
    files = weight_files(weights)
    if not files:
        raise WeightsError(f"{weights}: a folder without files of weights; give the one that holds mtcnn's three.")
    arrays = {file: _arrays(file, "mtcnn") for file in files}
    records = {file: of_file.pop(RECORD, None) for file, of_file in arrays.items()}
    params = to_params({file.name: of_file for file, of_file in arrays.items()})
    sizes = [identify(file, record, "mtcnn", network, manifest) for file, record in records.items()]
    pictures = [one.picture for one in sizes if one.picture is not None]
    of_all = Sizes(
        max(one.smallest for one in sizes), min(one.largest for one in sizes), min(pictures) if pictures else None
    )
    options = mtcnn.Options(min_face=of_all.smallest)
    if confidence is not None:
        options = dataclasses.replace(options, thresholds=(*options.thresholds[:2], confidence))
    return mtcnn.make_detector(params, options), of_all


def _open_scrfd(file: Path, confidence: float | None, network: str | None, manifest: Path) -> tuple[Detector, Sizes]:
    options = scrfd.Options() if confidence is None else scrfd.Options(confidence=confidence)
    if found := sorted(file.glob("*det*.onnx")) + sorted(file.glob("scrfd*.onnx")):  # a pack of InsightFace, unpacked
        raise WeightsError(f"{file}: a folder; give the detector's file in it, {found[0].name}.")
    arrays = _arrays(file, "scrfd")
    record = arrays.pop(RECORD, None)
    try:
        if is_onnx(file):
            params = scrfd.from_onnx(read_onnx_graph(file), arrays, read_onnx_outputs(file))
        else:
            params = scrfd.from_pytorch(arrays)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None
    return scrfd.make_detector(params, options), identify(file, record, params.network, network, manifest)


def _arrays(file: Path, detector: str) -> dict[str, np.ndarray]:
    """The arrays of a file of a detector's weights.

    Raises:
        WeightsError: they are another detector's; as `read_weights`.
    """
    arrays = read_weights(file)
    other = detector_in(file, arrays) if detector != "scrfd" else detector_of(arrays)  # whose graph is followed anyway
    if other not in (None, detector):
        raise WeightsError(f"{file}: weights of {other} and not of {detector}; name {option('detector', other)}.")
    return arrays


def digest(weights: Path) -> str:
    """SHA-256 of a detector's files."""
    total = hashlib.sha256()
    for file in weight_files(weights):
        for part in (file, *(read_onnx_locations(file) if file.suffix == ".onnx" else ())):
            try:
                with open_regular(part) as opened:
                    while piece := opened.read(MIB):
                        total.update(piece)
            except OSError as error:
                raise DataError(f"{part}: cannot be read ({error.strerror}).") from None
    return total.hexdigest()
