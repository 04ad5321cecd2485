"""MobileFaceNet, IResNet and Inception-ResNet-v1 in PyTorch, from the papers' tables: the peers of `networks.py`.

Modules are written the way PyTorch's users write them (`nn.Conv2d`, `nn.BatchNorm2d`, `nn.PReLU`). They carry the names
of our parameter trees, so that `load` can give them our weights and both must compute the same embedding.

To be imported only where PyTorch is installed.

Not here: timing (`networks.py`).
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from arcface_jax.models.iresnet import IRESNET_50
from arcface_jax.models.mobilefacenet import TABLE_1_ROWS
from facenet_jax.models import inception_resnet_v1 as ours
from faces.backbone import BatchStats, Params

torch: Any = importlib.import_module("torch")
nn: Any = torch.nn


def conv(inside: int, features: int, window: int | tuple[int, int], stride: int = 1, same: bool = True) -> Any:
    """Convolution without bias, padded so that stride 1 keeps the size, or not padded."""
    rows, columns = (window, window) if isinstance(window, int) else window
    padding = (rows // 2, columns // 2) if same else 0
    return nn.Conv2d(inside, features, (rows, columns), stride, padding, bias=False)


class Bottleneck(nn.Module):
    """MobileFaceNet's."""

    def __init__(self, inside: int, inner: int, features: int, stride: int):
        super().__init__()
        self.widen, self.widen_norm, self.widen_prelu = conv(inside, inner, 1), norm(inner), nn.PReLU(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.depthwise_norm, self.depthwise_prelu = norm(inner), nn.PReLU(inner)
        self.narrow, self.narrow_norm = conv(inner, features, 1), norm(features)
        self.adds = stride == 1 and inside == features

    def forward(self, x: Any) -> Any:
        y = self.widen_prelu(self.widen_norm(self.widen(x)))
        y = self.depthwise_prelu(self.depthwise_norm(self.depthwise(y)))
        y = self.narrow_norm(self.narrow(y))
        return x + y if self.adds else y


class MobileFaceNet(nn.Module):
    """`mobilefacenet`: Table 1, 112x112."""

    def __init__(self, embedding_dim: int):
        super().__init__()
        self.conv1, self.conv1_norm, self.conv1_prelu = conv(3, 64, 3, 2), norm(64), nn.PReLU(64)
        self.conv2 = nn.Conv2d(64, 64, 3, 1, 1, groups=64, bias=False)
        self.conv2_norm, self.conv2_prelu = norm(64), nn.PReLU(64)
        inside, blocks = 64, []
        for expansion, features, number, stride in TABLE_1_ROWS:
            for index in range(number):
                blocks.append(Bottleneck(inside, int(expansion * inside), features, stride if index == 0 else 1))
                inside = features
        for index, block in enumerate(blocks, start=1):
            setattr(self, f"bottleneck{index}", block)
        self.blocks = len(blocks)
        self.conv3, self.conv3_norm, self.conv3_prelu = conv(inside, 512, 1), norm(512), nn.PReLU(512)
        self.add_module("global", nn.Conv2d(512, 512, 7, groups=512, bias=False))
        self.global_norm = norm(512)
        self.fc = nn.Linear(512, embedding_dim, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embedding_dim, eps=1e-3)

    def forward(self, x: Any) -> Any:
        x = self.conv1_prelu(self.conv1_norm(self.conv1(x)))
        x = self.conv2_prelu(self.conv2_norm(self.conv2(x)))
        for index in range(1, self.blocks + 1):
            x = getattr(self, f"bottleneck{index}")(x)
        x = self.conv3_prelu(self.conv3_norm(self.conv3(x)))
        x = self.global_norm(getattr(self, "global")(x)).flatten(1)
        return self.embedding_norm(self.fc(x))


def norm(features: int, epsilon: float = 1e-3) -> Any:
    """Batch norm of maps."""
    return nn.BatchNorm2d(features, eps=epsilon)


class Unit(nn.Module):
    """IResNet's residual unit."""

    def __init__(self, inside: int, features: int, stride: int):
        super().__init__()
        self.norm1, self.conv1, self.norm2 = norm(inside, 2e-5), conv(inside, features, 3), norm(features, 2e-5)
        self.prelu, self.conv2 = nn.PReLU(features), conv(features, features, 3, stride)
        self.norm3 = norm(features, 2e-5)
        self.changes = stride != 1 or inside != features
        if self.changes:
            self.shortcut_conv, self.shortcut_norm = conv(inside, features, 1, stride), norm(features, 2e-5)

    def forward(self, x: Any) -> Any:
        y = self.norm2(self.conv1(self.norm1(x)))
        y = self.norm3(self.conv2(self.prelu(y)))
        return y + (self.shortcut_norm(self.shortcut_conv(x)) if self.changes else x)


class IResNet50(nn.Module):
    """`iresnet50`, 112x112."""

    def __init__(self, embedding_dim: int):
        super().__init__()
        self.stem_conv, self.stem_norm, self.stem_prelu = conv(3, 64, 3), norm(64, 2e-5), nn.PReLU(64)
        inside, self.names = 64, []
        for stage, (units, width) in enumerate(zip(IRESNET_50, (64, 128, 256, 512), strict=True), start=1):
            for unit in range(1, units + 1):
                self.names.append(f"stage{stage}_unit{unit}")
                setattr(self, self.names[-1], Unit(inside, width, 2 if unit == 1 else 1))
                inside = width
        self.head_norm, self.dropout = norm(512, 2e-5), nn.Dropout(0.4)
        self.fc = nn.Linear(512 * 49, embedding_dim)
        self.embedding_norm = nn.BatchNorm1d(embedding_dim, eps=2e-5)

    def forward(self, x: Any) -> Any:
        x = self.stem_prelu(self.stem_norm(self.stem_conv(x)))
        for name in self.names:
            x = getattr(self, name)(x)
        x = self.head_norm(x).permute(0, 2, 3, 1).flatten(1)  # rows, columns, channels: our order of places
        return self.embedding_norm(self.fc(self.dropout(x)))


class ConvNormRelu(nn.Module):
    """Inception-ResNet-v1's convolution."""

    def __init__(self, inside: int, layer: ours.ConvSpec):
        super().__init__()
        self.conv = conv(inside, layer.features, layer.window, layer.stride, layer.padding == "SAME")
        self.norm = norm(layer.features)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.norm(self.conv(x)))


class Branches(nn.Module):
    """Branches side by side; one of no convolutions is a max pooling."""

    def __init__(self, inside: int, branches: Sequence[ours.Branch]):
        super().__init__()
        self.lengths, self.features = [len(branch) for branch in branches], 0
        for number, branch in enumerate(branches):
            channels = inside
            for index, layer in enumerate(branch, start=1):
                setattr(self, f"branch{number}_conv{index}", ConvNormRelu(channels, layer))
                channels = layer.features
            self.features += channels

    def forward(self, x: Any) -> Any:
        outputs = []
        for number, length in enumerate(self.lengths):
            y = x if length else nn.functional.max_pool2d(x, 3, 2)
            for index in range(1, length + 1):
                y = getattr(self, f"branch{number}_conv{index}")(y)
            outputs.append(y)
        return torch.cat(outputs, 1)


class ResidualModule(Branches):
    """x + scale * projection(branches of x)."""

    def __init__(self, inside: int, branches: Sequence[ours.Branch], scale: float, ends_in_relu: bool):
        super().__init__(inside, branches)
        self.projection, self.scale, self.ends_in_relu = nn.Conv2d(self.features, inside, 1), scale, ends_in_relu

    def forward(self, x: Any) -> Any:
        x = x + self.scale * self.projection(super().forward(x))
        return torch.relu(x) if self.ends_in_relu else x


class InceptionResNetV1(nn.Module):
    """`inception_resnet_v1`, 160x160; embeddings before they are scaled to length 1."""

    def __init__(self, embedding_dim: int):
        super().__init__()
        self.names, channels = [], 3
        stem = zip(("conv_1a", "conv_2a", "conv_2b", "conv_3b", "conv_4a", "conv_4b"), (*ours.STEM, *ours.AFTER_POOL),
                   strict=True)  # fmt: skip
        for name, layer in stem:
            self._add(name, ConvNormRelu(channels, layer))
            channels = layer.features
        channels = self._add_modules("block_35", channels, ours.BLOCK_35)
        channels = self._add("mixed_6a", Branches(channels, ours.MIXED_6A)).features
        channels = self._add_modules("block_17", channels, ours.BLOCK_17)
        channels = self._add("mixed_7a", Branches(channels, ours.MIXED_7A)).features
        channels = self._add_modules("block_8", channels, ours.BLOCK_8)
        self._add("block_8_last", ResidualModule(channels, ours.BLOCK_8.branches, 1.0, False))
        self.dropout, self.fc = nn.Dropout(0.2), nn.Linear(channels, embedding_dim, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embedding_dim, eps=ours.EPSILON)

    def _add(self, name: str, module: Any) -> Any:
        self.names.append(name)
        setattr(self, name, module)
        return module

    def _add_modules(self, name: str, channels: int, modules: ours.Residual) -> int:
        for number in range(1, modules.number + 1):
            self._add(f"{name}_{number}", ResidualModule(channels, modules.branches, modules.scale, True))
        return channels

    def forward(self, x: Any) -> Any:
        for name in self.names:
            x = getattr(self, name)(x)
            if name == "conv_2b":
                x = nn.functional.max_pool2d(x, 3, 2)
        return self.embedding_norm(self.fc(self.dropout(x.mean((2, 3)))))


NETWORKS = {"mobilefacenet": MobileFaceNet, "iresnet50": IResNet50, "inception_resnet_v1": InceptionResNetV1}


def make(name: str, params: Params, batch_stats: BatchStats, embedding_dim: int) -> Any:
    """A network of `NETWORKS` with our weights, channels last."""
    network = NETWORKS[name](embedding_dim)
    tensors = {".".join(path): np.asarray(leaf) for path, leaf in _leaves(params)}
    tensors |= {".".join(path): np.asarray(leaf) for path, leaf in _leaves(batch_stats)}
    theirs = {key: torch.from_numpy(_as_torch(tensor)) for key, tensor in _renamed(tensors).items()}
    missing, unexpected = network.load_state_dict(theirs, strict=False)
    # Scales that our networks fix at 1, and counters of batches.
    left = [key for key in missing if not key.endswith(("num_batches_tracked", "norm.weight"))]
    assert not left and not unexpected, (left, unexpected)
    return network.to(memory_format=torch.channels_last)


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _renamed(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = {"kernel": "weight", "scale": "weight", "slope": "weight", "mean": "running_mean", "var": "running_var"}
    split = {key: key.rpartition(".") for key in tensors}
    return {f"{owner}.{names.get(last, last)}": tensors[key] for key, (owner, _, last) in split.items()}


def _as_torch(tensor: np.ndarray) -> np.ndarray:
    """(rows, columns, in, out) -> (out, in, rows, columns), (in, out) -> (out, in)."""
    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(tensor.ndim)
    return np.array(tensor if order is None else tensor.transpose(order))
