"""MTCNN beside an independent executor of the same weights, in agreement and in images per second.

    python -m benchmarks.mtcnn IMAGES --detector-weights DIR [--images N] [--rounds N] [--json FILE]

`published_detect` is the pipeline as davidsandberg's Python port of the authors' MATLAB code describes it, written with
NumPy, OpenCV and plain loops, one image at a time; its networks run in PyTorch, on the arrays of the files as they are
(transposed images, as those files want them). Ours is given the same decoded images. Both run on the CPU with as many
threads.

Two differences from that port. Where a level has a single proposal, the port reads its box offsets from the mirrored
place of the map, by a slip that is not in the MATLAB code, nor here. And of equal scores either may be kept.

Without PyTorch, ours is measured alone.

Not here: training, and accuracy of detection.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np

from benchmarks import detectors
from benchmarks.rounds import cores
from faces import cli
from faces.detect.detections import Detections, Detector
from faces.terminal import make_console
from faces.weights import read_weights
from mtcnn_jax import Options, make_detector
from mtcnn_jax.weights import to_params

jax.config.update("jax_platforms", "cpu")

FILES = ("det1.npy", "det2.npy", "det3.npy")
OURS, PEER = "mtcnn_jax", "PyTorch and OpenCV, one at a time"

Arrays = Mapping[str, np.ndarray]
RunNet = Callable[[np.ndarray], tuple[np.ndarray, ...]]
"""float32 (n, columns, rows, 3) -> probabilities of a face (n, ...), offsets (n, ..., 4), and ten numbers (n, 10) from
O-net."""


class Nets(NamedTuple):
    """The three networks of the executor."""

    p: RunNet
    r: RunNet
    o: RunNet


def torch_nets(p: Arrays, r: Arrays, o: Arrays) -> Nets:
    """The networks in PyTorch, from the arrays of det1.npy, det2.npy and det3.npy."""
    torch = importlib.import_module("torch")
    functional = importlib.import_module("torch.nn.functional")

    def body(arrays: dict[str, Any], x: Any, pools: Sequence[int], prelu: str) -> Any:
        for number, pool in enumerate(pools, start=1):
            x = functional.conv2d(x, arrays[f"conv{number}/weights"], arrays[f"conv{number}/biases"])
            x = functional.prelu(x, arrays[f"{prelu}{number}/alpha"])
            if pool:
                x = functional.max_pool2d(x, pool, 2, ceil_mode=True)
        return x

    def linear(arrays: dict[str, Any], x: Any, layer: str) -> Any:
        weights = arrays[f"{layer}/weights"]
        return x @ weights.reshape(weights.shape[-2:]) + arrays[f"{layer}/biases"]

    def make(arrays: Arrays, pools: Sequence[int], dense: str | None, heads: Sequence[str]) -> RunNet:
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        for name, tensor in tensors.items():
            if tensor.ndim == 4 and tensor.shape[0] > 1:
                tensors[name] = tensor.permute(3, 2, 0, 1).contiguous()
        prelu = "PReLU" if dense is None else "prelu"

        def run(images: np.ndarray) -> tuple[np.ndarray, ...]:
            with torch.no_grad():
                x = body(tensors, torch.from_numpy(images).permute(0, 3, 1, 2), pools, prelu).permute(0, 2, 3, 1)
                if dense is not None:
                    x = linear(tensors, x.reshape(len(x), len(tensors[f"{dense}/weights"])), dense)
                    x = functional.prelu(x, tensors[f"{prelu}{len(pools) + 1}/alpha"])
                face, *others = (linear(tensors, x, head) for head in heads)
                return tuple(t.numpy() for t in (torch.softmax(face, -1)[..., 1], *others))

        return run

    return Nets(
        make(p, (2, 0, 0), None, ("conv4-1", "conv4-2")),
        make(r, (3, 3, 0), "conv4", ("conv5-1", "conv5-2")),
        make(o, (3, 3, 2, 0), "conv5", ("conv6-1", "conv6-2", "conv6-3")),
    )


def published_detect(image: np.ndarray, nets: Nets, options: Options) -> Detections:
    """The published pipeline on one image, uint8 (height, width, 3), RGB."""
    height, width = image.shape[:2]
    rows: list[np.ndarray] = []  # left, top, right, bottom, score, four offsets
    scale, side = 12 / options.min_face, min(height, width) * 12 / options.min_face
    step = 0
    while side >= 12:
        at = scale * options.factor**step
        found = _proposals(image, at, nets.p, options.thresholds[0])
        rows.append(found[_suppress(found, options.suppression[0], "union")])
        side, step = side * options.factor, step + 1
    boxes = np.concatenate([np.zeros((0, 9)), *rows])
    boxes = boxes[_suppress(boxes, options.suppression[1], "union")]
    boxes[:, :4] += boxes[:, 5:] * np.tile(boxes[:, 2:4] - boxes[:, :2], 2)
    boxes = _whole_squares(boxes)

    score, offsets = _look(image, boxes, nets.r, 24)
    passed = score > options.thresholds[1]
    boxes = np.concatenate([boxes[passed, :4], score[passed, None], offsets[passed]], axis=1)
    boxes = boxes[_suppress(boxes, options.suppression[2], "union")]
    boxes = _whole_squares(_moved(boxes))

    score, offsets, ten = _look(image, boxes, nets.o, 48)
    passed = score > options.thresholds[2]
    boxes = np.concatenate([boxes[passed, :4], score[passed, None], offsets[passed]], axis=1)
    sides = boxes[:, 2:4] - boxes[:, :2] + 1
    points = ten[passed].reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None] + boxes[:, None, :2] - 1  # (n, 5, 2)
    boxes = _moved(boxes)
    kept = _suppress(boxes, options.suppression[3], "min")
    return Detections(*(a[kept].astype(np.float32) for a in (boxes[:, :4], points, boxes[:, 4])))


def _proposals(image: np.ndarray, scale: float, p_net: RunNet, threshold: float) -> np.ndarray:
    size = (math.ceil(image.shape[1] * scale), math.ceil(image.shape[0] * scale))
    level = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    score, offsets = p_net(_normalised(level[None]))
    column, row = np.nonzero(score[0] >= threshold)
    first = 2 * np.stack([column, row], axis=1) + 1  # (n, 2)
    corners = np.trunc(np.concatenate([first, first + 11], axis=1) / scale)
    return np.concatenate([corners, score[0, column, row, None], offsets[0, column, row]], axis=1)


def _look(image: np.ndarray, boxes: np.ndarray, net: RunNet, side: int) -> tuple[np.ndarray, ...]:
    crops = np.zeros((len(boxes), side, side, 3))
    for crop, (left, top, right, bottom) in zip(crops, boxes[:, :4].astype(int), strict=True):
        window = np.zeros((bottom - top + 1, right - left + 1, 3))
        low_y, low_x = max(top - 1, 0), max(left - 1, 0)
        part = image[low_y:bottom, low_x:right]
        y, x = low_y - top + 1, low_x - left + 1
        window[y : y + part.shape[0], x : x + part.shape[1]] = part
        crop[:] = cv2.resize(window, (side, side), interpolation=cv2.INTER_AREA)
    return net(_normalised(crops))


def _normalised(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(((images - 127.5) * 0.0078125).transpose(0, 2, 1, 3), np.float32)


def _moved(boxes: np.ndarray) -> np.ndarray:
    moved = boxes.copy()
    moved[:, :4] += boxes[:, 5:] * np.tile(boxes[:, 2:4] - boxes[:, :2] + 1, 2)
    return moved


def _whole_squares(boxes: np.ndarray) -> np.ndarray:
    sides = boxes[:, 2:4] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    left_top = boxes[:, :2] + sides / 2 - longer / 2
    return np.concatenate([np.trunc(left_top), np.trunc(left_top + longer), boxes[:, 4:]], axis=1)


def _suppress(boxes: np.ndarray, threshold: float, over: str) -> list[int]:
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    left, kept = np.argsort(-boxes[:, 4], kind="stable"), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[left, :2]), np.minimum(boxes[best, 2:4], boxes[left, 2:4])
        shared = np.prod(np.maximum(high - low + 1, 0), axis=1)
        whole = area[best] + area[left] - shared if over == "union" else np.minimum(area[best], area[left])
        left = left[shared / whole <= threshold]
    return kept


def main(arguments: list[str]) -> None:
    args = detectors.parse(arguments, "mtcnn", __doc__ or "", f"folder with {', '.join(FILES)}")
    console = make_console()
    images = detectors.photographs(args.place, args.images)
    weights = [read_weights(args.detector_weights / name) for name in FILES]
    options = Options()
    peers: dict[str, Detector] = {}
    if find_spec("torch"):
        importlib.import_module("torch").set_num_threads(cores())
        nets = torch_nets(*weights)
        peers[PEER] = lambda images: [published_detect(image, nets, options) for image in images]
    else:
        console.print(f"PyTorch is not installed, so {OURS} is measured alone: pip install torch")
    ours = (OURS, make_detector(to_params(dict(zip(FILES, weights, strict=True))), options))
    detectors.measure("MTCNN, photographs", ours, peers, images, args, console)


if __name__ == "__main__":
    cli.run(main)
