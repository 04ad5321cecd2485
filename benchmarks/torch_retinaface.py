"""RetinaFace mobilenet0.25 in PyTorch, written against the names in its published file: the peer of `detect.py`.

Batch norms are folded into the convolutions, images of one size go through the network together, decoding is PyTorch's
and suppression NumPy's, as in the published code, which takes one image at a time and folds nothing.

Not here: timing (`detect.py`).
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faces.detect.detections import Detections

CONFIDENCE, OVERLAP = 0.5, 0.4
SEPARABLE = {1: (1, 2, 1, 2, 1), 2: (2, 1, 1, 1, 1, 1), 3: (2, 1)}  # strides of the blocks of each stage


class TorchRetinaFace:
    """A detector from the tensors of a published file.

    Args:
        tensors: float32 arrays by their published names.
        threads: that PyTorch may use.
        batch: images that go through the network together, if they are of one size.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], threads: int, batch: int):
        self.torch = torch = importlib.import_module("torch")
        torch.set_num_threads(threads)
        self.batch = batch
        self.tensors = {
            name.removeprefix("module."): torch.from_numpy(np.array(tensor, np.float32))
            for name, tensor in tensors.items()
        }
        self.folded: dict[str, tuple[Any, Any]] = {}
        for name, variance in self.tensors.items():
            if name.endswith(".running_var"):
                norm = name.removesuffix(".running_var")
                stem, place = norm.rsplit(".", 1)
                conv = f"{stem}.{int(place) - 1}"
                scale = self.tensors[f"{norm}.weight"] / (variance + 1e-5).sqrt()
                weight = self.tensors[f"{conv}.weight"] * scale[:, None, None, None]
                bias = self.tensors[f"{norm}.bias"] - self.tensors[f"{norm}.running_mean"] * scale
                self.folded[conv] = (weight.contiguous(memory_format=torch.channels_last), bias)

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(image.shape, []).append(index)
        found: dict[int, Detections] = {}
        with self.torch.inference_mode():
            for members in groups.values():
                for start in range(0, len(members), self.batch):
                    indices = members[start : start + self.batch]
                    found |= zip(indices, self._detect(np.stack([images[i] for i in indices])), strict=True)
        return [found[index] for index in range(len(images))]

    def _layer(self, x: Any, name: str, stride: int = 1, slope: float = 0.1) -> Any:
        weight, bias = self.folded[name]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        x = self.torch.nn.functional.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)
        return x if slope == 1 else self.torch.nn.functional.leaky_relu(x, slope, inplace=True)

    def _maps(self, x: Any) -> list[Any]:
        x, maps = self._layer(x, "body.stage1.0.0", 2), []
        for stage, strides in SEPARABLE.items():
            for block, stride in enumerate(strides, start=int(stage == 1)):
                x = self._layer(self._layer(x, f"body.stage{stage}.{block}.0", stride), f"body.stage{stage}.{block}.3")
            maps.append(x)
        return maps

    def _outputs(self, x: Any) -> list[Any]:
        maps = [self._layer(x, f"fpn.output{level}.0") for level, x in enumerate(self._maps(x), start=1)]
        for level in (2, 1):
            coarse = self.torch.nn.functional.interpolate(maps[level], size=maps[level - 1].shape[2:], mode="nearest")
            maps[level - 1] = self._layer(maps[level - 1] + coarse, f"fpn.merge{level}.0")
        heads: dict[str, list[Any]] = {"ClassHead": [], "BboxHead": [], "LandmarkHead": []}
        for level, x in enumerate(maps):
            name = f"ssh{level + 1}"
            five = self._layer(x, f"{name}.conv5X5_1.0")
            seven = self._layer(five, f"{name}.conv7X7_2.0")
            ends = ((x, "conv3X3"), (five, "conv5X5_2"), (seven, "conv7x7_3"))
            x = self.torch.cat([self._layer(x, f"{name}.{end}.0", slope=1) for x, end in ends], dim=1).relu()
            for head, numbers in zip(heads, (2, 4, 10), strict=True):
                conv = f"{head}.{level}.conv1x1"
                y = self.torch.nn.functional.conv2d(x, self.tensors[f"{conv}.weight"], self.tensors[f"{conv}.bias"])
                heads[head].append(y.permute(0, 2, 3, 1).reshape(len(y), -1, numbers))
        return [self.torch.cat(levels, dim=1) for levels in heads.values()]

    def _detect(self, images: np.ndarray) -> list[Detections]:
        torch = self.torch
        x = torch.from_numpy(images).flip(-1).float() - torch.tensor([104.0, 117.0, 123.0])
        classes, boxes, points = self._outputs(x.permute(0, 3, 1, 2))
        priors = torch.from_numpy(_priors(*images.shape[1:3]))  # (anchors, 4)
        extent = torch.tensor([images.shape[2], images.shape[1]])
        scores = classes.softmax(dim=-1)[..., 1]
        centres = priors[:, :2] + boxes[..., :2] * 0.1 * priors[:, 2:]
        sides = priors[:, 2:] * (boxes[..., 2:] * 0.2).exp()
        corners = torch.cat([(centres - sides / 2) * extent, (centres + sides / 2) * extent], dim=-1)
        places = priors[:, None, :2] + points.unflatten(-1, (5, 2)) * 0.1 * priors[:, None, 2:]
        places = places * extent
        found = []
        for row in range(len(images)):
            rows = (scores[row] > CONFIDENCE).nonzero()[:, 0]
            box, point, score = (each[row][rows].numpy() for each in (corners, places, scores))
            kept = _suppress(box, score)
            found.append(Detections(box[kept], point[kept], score[kept]))
        return found


def _priors(height: int, width: int) -> np.ndarray:
    """Anchors (anchors, 4) in fractions of the image."""
    priors = []
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        y, x, side = np.meshgrid(range(-(-height // stride)), range(-(-width // stride)), sides, indexing="ij")
        x, y = (x + 0.5) * stride / width, (y + 0.5) * stride / height
        priors.append(np.stack([x, y, side / width, side / height], axis=-1).reshape(-1, 4))
    return np.concatenate(priors).astype(np.float32)


def _suppress(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    left, top, right, bottom = boxes.T
    areas = (right - left + 1) * (bottom - top + 1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest]) + 1
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        order = rest[shared / (areas[best] + areas[rest] - shared) <= OVERLAP]
    return kept
