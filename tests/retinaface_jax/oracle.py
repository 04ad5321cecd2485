"""RetinaFace in float64 NumPy, one image at a time and without padding, written from the names in the published files.

Also the names and shapes of those files, filled with random numbers, and the published decoding, with plain loops.
"""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Tensors = Mapping[str, np.ndarray]
# Separable convolutions: name, input and output channels, stride.
BLOCKS = (
    ("body.stage1.1", 8, 16, 1),
    ("body.stage1.2", 16, 32, 2),
    ("body.stage1.3", 32, 32, 1),
    ("body.stage1.4", 32, 64, 2),
    ("body.stage1.5", 64, 64, 1),
    ("body.stage2.0", 64, 128, 2),
    *((f"body.stage2.{i}", 128, 128, 1) for i in range(1, 6)),
    ("body.stage3.0", 128, 256, 2),
    ("body.stage3.1", 256, 256, 1),
)
ENDS = ("body.stage1.5", "body.stage2.5", "body.stage3.1")
SSH = (("conv3X3", 64, 32), ("conv5X5_1", 64, 16), ("conv5X5_2", 16, 16), ("conv7X7_2", 16, 16), ("conv7x7_3", 16, 16))


def random_tensors(seed: int) -> dict[str, np.ndarray]:
    """A state dict with the names and shapes of `mobilenet0.25_Final.pth`."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def conv(name: str, outputs: int, inputs: int, window: int) -> None:
        fan_in = inputs * window * window
        tensors[f"{name}.weight"] = rng.normal(size=(outputs, inputs, window, window)) * np.sqrt(2 / fan_in)

    def norm(name: str, channels: int) -> None:
        tensors[f"{name}.weight"] = rng.uniform(0.7, 1.3, channels)
        tensors[f"{name}.bias"] = rng.normal(size=channels) * 0.3
        tensors[f"{name}.running_mean"] = rng.normal(size=channels) * 0.3
        tensors[f"{name}.running_var"] = rng.uniform(0.7, 1.3, channels)
        tensors[f"{name}.num_batches_tracked"] = np.array(7)

    conv("body.stage1.0.0", 8, 3, 3)
    tensors["body.stage1.0.0.weight"] /= 60  # pixels reach 255
    norm("body.stage1.0.1", 8)
    for name, inputs, outputs, _ in BLOCKS:
        conv(f"{name}.0", inputs, 1, 3)
        norm(f"{name}.1", inputs)
        conv(f"{name}.3", outputs, inputs, 1)
        norm(f"{name}.4", outputs)
    for level, inputs in enumerate((64, 128, 256), start=1):
        conv(f"fpn.output{level}.0", 64, inputs, 1)
        norm(f"fpn.output{level}.1", 64)
    for level in (1, 2):
        conv(f"fpn.merge{level}.0", 64, 64, 3)
        norm(f"fpn.merge{level}.1", 64)
    for level in (1, 2, 3):
        for name, inputs, outputs in SSH:
            conv(f"ssh{level}.{name}.0", outputs, inputs, 3)
            norm(f"ssh{level}.{name}.1", outputs)
        for head, outputs in (("ClassHead", 4), ("BboxHead", 8), ("LandmarkHead", 20)):
            conv(f"{head}.{level - 1}.conv1x1", outputs, 64, 1)
            tensors[f"{head}.{level - 1}.conv1x1.bias"] = rng.normal(size=outputs) * 0.3
    return {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}


def convolution(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    """(channels, H, W) with (features, channels or 1, k, k), k // 2 zeros around -> (features, H / s, W / s)."""
    weight, side = weight.astype(np.float64), weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (side, side), (side, side)))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    if weight.shape[1] == 1 and len(x) > 1:
        return np.einsum("chwij,cij->chw", windows, weight[:, 0])
    return np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4)))


def layer(t: Tensors, x: np.ndarray, conv: str, norm: str, stride: int = 1, slope: float = 0.1) -> np.ndarray:
    """Convolution, batch norm with running statistics, LeakyReLU; a slope of 1 is none."""
    x = convolution(x, t[f"{conv}.weight"], stride)
    scale = t[f"{norm}.weight"] / np.sqrt(t[f"{norm}.running_var"].astype(np.float64) + 1e-5)
    x = (x - t[f"{norm}.running_mean"][:, None, None]) * scale[:, None, None] + t[f"{norm}.bias"][:, None, None]
    return np.where(x > 0, x, slope * x)


def forward(tensors: Tensors, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 (H, W, 3), RGB -> logits (anchors, 2), offsets of boxes (anchors, 4) and of points (anchors, 10)."""
    t = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    x = image[:, :, ::-1].astype(np.float64).transpose(2, 0, 1) - np.array([104.0, 117.0, 123.0])[:, None, None]
    x = layer(t, x, "body.stage1.0.0", "body.stage1.0.1", 2)
    maps = []
    for name, _, _, stride in BLOCKS:
        x = layer(t, layer(t, x, f"{name}.0", f"{name}.1", stride), f"{name}.3", f"{name}.4")
        if name in ENDS:
            maps.append(x)
    return heads(t, pyramid(t, maps, 0.1), 0.1)


def resnet_forward(t: Tensors, x: np.ndarray, slope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `forward` with a ResNet body of one unit a stage, for an input (3, H, W) that is normalised already."""
    x = layer(t, x, "body.conv1", "body.bn1", 2, 0)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
    maps = []
    for stage, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        name = f"body.layer{stage}.0"
        y = layer(t, x, f"{name}.conv1", f"{name}.bn1", slope=0)
        y = layer(t, y, f"{name}.conv2", f"{name}.bn2", stride, 0)
        y = layer(t, y, f"{name}.conv3", f"{name}.bn3", slope=1)
        x = np.maximum(y + layer(t, x, f"{name}.downsample.0", f"{name}.downsample.1", stride, 1), 0)
        maps.append(x)
    return heads(t, pyramid(t, maps[1:], slope), slope)


def pyramid(t: Tensors, maps: list[np.ndarray], slope: float) -> list[np.ndarray]:
    outputs = [layer(t, x, f"fpn.output{i}.0", f"fpn.output{i}.1", slope=slope) for i, x in enumerate(maps, start=1)]
    for i in (2, 1):
        outputs[i - 1] = outputs[i - 1] + nearest(outputs[i], outputs[i - 1].shape[1:])
        outputs[i - 1] = layer(t, outputs[i - 1], f"fpn.merge{i}.0", f"fpn.merge{i}.1", slope=slope)
    return outputs


def nearest(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """PyTorch's nearest interpolation: the source of place i is floor(i * source size / size)."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, x.shape[1:], strict=True))
    return x[:, rows][:, :, columns]


def heads(t: Tensors, maps: list[np.ndarray], slope: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {"ClassHead": [], "BboxHead": [], "LandmarkHead": []}
    for level, x in enumerate(maps):
        ssh = f"ssh{level + 1}"
        three = layer(t, x, f"{ssh}.conv3X3.0", f"{ssh}.conv3X3.1", slope=1)
        first = layer(t, x, f"{ssh}.conv5X5_1.0", f"{ssh}.conv5X5_1.1", slope=slope)
        five = layer(t, first, f"{ssh}.conv5X5_2.0", f"{ssh}.conv5X5_2.1", slope=1)
        second = layer(t, first, f"{ssh}.conv7X7_2.0", f"{ssh}.conv7X7_2.1", slope=slope)
        seven = layer(t, second, f"{ssh}.conv7x7_3.0", f"{ssh}.conv7x7_3.1", slope=1)
        context = np.maximum(np.concatenate([three, five, seven]), 0)
        for head, numbers in (("ClassHead", 2), ("BboxHead", 4), ("LandmarkHead", 10)):
            name = f"{head}.{level}.conv1x1"
            y = convolution(context, t[f"{name}.weight"]) + t[f"{name}.bias"][:, None, None]
            parts[head].append(y.transpose(1, 2, 0).reshape(-1, numbers))
    logits, boxes, points = (np.concatenate(levels) for levels in parts.values())
    return logits, boxes, points


def decode(outputs: tuple[np.ndarray, ...], height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All anchors' boxes (n, 4), points (n, 5, 2) and scores (n,), in fractions of the image first, as published."""
    logits, offsets, point_offsets = outputs
    boxes, points, place = [], [], 0
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for i in range(-(-height // stride)):
            for j in range(-(-width // stride)):
                for side in sides:
                    centre = np.array([(j + 0.5) * stride / width, (i + 0.5) * stride / height])
                    size = np.array([side / width, side / height])
                    moved = centre + offsets[place, :2] * 0.1 * size
                    grown = size * np.exp(offsets[place, 2:] * 0.2)
                    scale = np.array([width, height])
                    boxes.append(np.concatenate([(moved - grown / 2) * scale, (moved + grown / 2) * scale]))
                    pairs = point_offsets[place].reshape(5, 2)
                    points.append([(centre + pair * 0.1 * size) * scale for pair in pairs])
                    place += 1
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.array(boxes), np.array(points), exponentials[:, 1] / exponentials.sum(axis=1)


def overlap(a: np.ndarray, b: np.ndarray, over: str = "union", pixel: float = 0.0) -> float:
    """Intersection of two boxes over their union or over the smaller one."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + pixel, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + pixel, 0)
    areas = [(box[2] - box[0] + pixel) * (box[3] - box[1] + pixel) for box in (a, b)]
    divisor = areas[0] + areas[1] - width * height if over == "union" else min(areas)
    return width * height / divisor if divisor > 0 else 0.0


def suppress(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, over: str = "union", pixel: float = 0.0
) -> list[int]:
    """Greedy suppression: indices of the kept boxes, best first, of equal scores the first."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: (-scores[index], index)):
        if all(overlap(boxes[index], boxes[other], over, pixel) <= threshold for other in kept):
            kept.append(index)
    return kept
