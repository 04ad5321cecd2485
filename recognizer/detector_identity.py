"""Which network the file of a detector's weights is of, and which faces it was trained for.

Names and shapes of arrays do not say everything that decides on the output: activations, anchors and the colours that
are subtracted have no array, and networks that differ in them have files that look alike. So a file is used when one of
three says what it is: a record inside, which everything trained here has; its hash, for published files
(`models.toml`); or the person who gives it. Otherwise it is refused.

Not here: reading weights (`faces.weights`), their names (`weights.py` of each detector).
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faces.detect.looks import TILE, Sizes
from faces.errors import ConfigError, WeightsError, option
from faces.opening import open_regular, parse_json
from faces.weights import is_onnx, read_onnx_graph, read_onnx_outputs, read_weights
from mtcnn_jax.stages import STRIDE, WINDOW
from mtcnn_jax.weights import network_of
from recognizer.manifest import MANIFEST, known_files
from retinaface_jax.anchors import SIDES
from retinaface_jax.decode import CENTRE, SIZE
from retinaface_jax.network import BODIES, MEAN_BGR, STRIDES
from scrfd_jax import architectures as of_scrfd
from scrfd_jax import onnx_names as scrfd_graphs
from scrfd_jax import weights as scrfd_names
from scrfd_jax.network import MEAN, SCALE

_LONGEST_RECORD = 65_536  # bytes
RECORD = "settings"
"""Name of the array that holds a file's record, JSON in UTF-8 as uint8, beside those of the weights."""
DETECTORS = ("retinaface", "mtcnn", "scrfd")


@dataclass(frozen=True)
class Network:
    """A network that weights can be of.

    Args:
        detector: whose it is.
        body: RetinaFace's, of `retinaface_jax.network.BODIES`; empty otherwise.
        sees: what it takes and does, as far as no array says it; as JSON holds it.
        told: the same in words.
        sizes: of the faces that one look finds with published weights.
        is_alone: whether no other network that is published has its names or its graph.
    """

    detector: str
    body: str
    sees: dict[str, Any]
    told: str
    sizes: Sizes
    is_alone: bool = False


def _retinaface(body: str) -> Network:
    slope = BODIES[body]().slope
    activation = f"LeakyReLU with {slope:g}" if slope else "ReLU"
    sees = {
        "slope": slope,
        "strides": list(STRIDES),
        "anchors": [list(sides) for sides in SIDES],
        "variances": [CENTRE, SIZE],
        "mean_bgr": list(MEAN_BGR),
    }
    anchors, means = (", ".join(f"{n:g}" for n in row) for row in (np.ravel(SIDES).tolist(), MEAN_BGR))
    told = f"{activation}, anchors of {anchors} pixels, blue, green and red minus {means}"
    return Network("retinaface", body, sees, told, Sizes(SIDES[0][0], SIDES[-1][-1]))


NETWORKS = {
    "retinaface_mobilenet025": _retinaface("mobilenet0.25"),
    "retinaface_resnet50": _retinaface("resnet50"),
    "mtcnn": Network(
        "mtcnn",
        "",
        {"window": WINDOW, "stride": STRIDE, "mean_rgb": [127.5] * 3, "scale": 1 / 128},
        "red, green and blue minus 127.5, divided by 128",
        Sizes(20, TILE),
    ),
    **{
        name: Network(
            "scrfd",
            "",
            {"strides": list(of_scrfd.STRIDES), "mean_rgb": [MEAN] * 3, "scale": 1 / SCALE},
            f"red, green and blue minus {MEAN:g}, divided by {SCALE:g}",
            Sizes(*of_scrfd.SIDES),
            is_alone=True,
        )
        for name in of_scrfd.ARCHITECTURES
    },
}


def of_body(body: str) -> str:
    """The name in `NETWORKS` of RetinaFace with that body."""
    return next(name for name, network in NETWORKS.items() if network.body == body)


def identify(
    file: Path, record: np.ndarray | None, fits: str, told: str | None, manifest: Path = MANIFEST
) -> Sizes:
    """The faces that the weights of a file were trained for, if anything says that they are what they look like.

    Args:
        file: where they come from.
        record: of `make_record`, as the file holds it; None where it holds none.
        fits: of `NETWORKS`, the one whose names and shapes the weights have.
        told: the network that the caller says it is; None where the caller does not.
        manifest: the files that are known by their hash.

    Raises:
        ConfigError: there is no such network, or it is another one than the person says.
        WeightsError: nothing says what the file is, or its record is damaged or of a network that is not known here.
    """
    if told is not None and told not in NETWORKS:
        raise ConfigError(f'there is no detector network "{told}": one of {", ".join(NETWORKS)} is expected')
    if told not in (None, fits):
        raise ConfigError(f"{file}: its weights fit {fits}; {told}, which they are said to be of, is another network.")
    if record is None:
        known = known_files(manifest).get(_sha256(file))
        fitting = fits if NETWORKS[fits].is_alone else told
        says, sizes = known.entry.network if known is not None else fitting, NETWORKS[fits].sizes
    else:
        says, sizes = read_record(file, record)
    if says is None:
        raise WeightsError(
            f"{file}: is no file that is known by its hash, and other networks have the same names and shapes; if it "
            f"takes {NETWORKS[fits].told}, say so with {option('detector-network', fits)}."
        )
    if says != fits:
        raise WeightsError(f"{file}: says that it is of {says}, and its weights fit {fits}; fetch the file again.")
    return sizes


def remark(detector: str, file: Path, told: str | None, manifest: Path = MANIFEST) -> str | None:
    """A sentence on weights that nothing but their names or their graph says the network of; None of all others.

    Args:
        detector: whose they are; of `DETECTORS`.
        file: the weights.
        told, manifest: as for `identify`.
    Raises:
        WeightsError: as `read_weights`.
    """
    is_alone = any(network.is_alone for network in NETWORKS.values() if network.detector == detector)
    if not is_alone or told is not None or RECORD in read_weights(file) or _sha256(file) in known_files(manifest):
        return None
    return f"{file}: taken for {detector} by its graph or its tensors' names alone; its hash is not known here"


def make_record(name: str, sizes: Sizes) -> dict[str, np.ndarray]:
    """The array that says of which of `NETWORKS` weights are, and for which faces they were trained."""
    content = {"network": name, "sees": NETWORKS[name].sees, "sizes": dataclasses.asdict(sizes)}
    return {RECORD: np.frombuffer(json.dumps(content).encode(), np.uint8)}


def read_record(file: Path, record: np.ndarray) -> tuple[str, Sizes]:
    """What `make_record` wrote.

    Raises:
        WeightsError: it is damaged, or describes another network than the one of that name here.
    """
    try:
        content = parse_json(record[:_LONGEST_RECORD].astype(np.uint8).tobytes())
        name, sizes = content["network"], Sizes(**content["sizes"])
        is_known = name in NETWORKS and content["sees"] == NETWORKS[name].sees
        is_range = 0 < sizes.smallest <= sizes.largest < math.inf and (sizes.picture is None or sizes.picture >= 1)
    except (ValueError, KeyError, TypeError, IndexError):
        raise WeightsError(f'{file}: its record "{RECORD}" is damaged; fetch the file again.') from None
    if not is_known:
        raise WeightsError(f"{file}: is of a network that is not known here ({str(name)[:60]!r}); update this program.")
    if not is_range:
        raise WeightsError(f'{file}: the sizes in its record "{RECORD}" make no sense; fetch the file again.')
    return name, sizes


def _sha256(file: Path) -> str:
    with open_regular(file) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def detector_in(file: Path, tensors: Mapping[str, np.ndarray]) -> str | None:
    """The detector whose weights a file holds: by its names, or its graph in ONNX, which alone tells scrfd's."""
    if (detector := detector_of(tensors)) or not is_onnx(file):
        return detector
    try:
        scrfd_graphs.named(read_onnx_graph(file), tensors, read_onnx_outputs(file))
    except WeightsError:
        return None
    return "scrfd"


def detector_of(names: Collection[str]) -> str | None:
    """The detector whose weights have such names, of mtcnn those of one of its networks; None where it is none."""
    if {"ClassHead.0.conv1x1.weight", "BboxHead.0.conv1x1.weight"} <= {name.removeprefix("module.") for name in names}:
        return "retinaface"
    if scrfd_names.is_one(names):
        return "scrfd"
    return "mtcnn" if network_of(names) else None


def weight_files(weights: Path) -> list[Path]:
    """The files that make up the weights of a detector: the file itself, or those of the folder that hold arrays."""
    if not weights.is_dir():
        return [weights]
    suffixes = (".npy", ".npz", ".onnx", ".pt", ".pth", ".safetensors")
    return sorted(file for file in weights.iterdir() if file.suffix in suffixes)
