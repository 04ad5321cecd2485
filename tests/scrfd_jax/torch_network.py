"""SCRFD of plain PyTorch modules under the names of the authors' state dicts, to be exported and compared with."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from scrfd_jax.architectures import ARCHITECTURES, STRIDES, Architecture


def norm(channels: int, groups: int) -> tuple[str, nn.Module]:
    return ("gn", nn.GroupNorm(groups, channels)) if groups else ("bn", nn.BatchNorm2d(channels))


class ConvNorm(nn.Module):
    """`conv`, `bn` or `gn`, and ReLU."""

    def __init__(self, inputs: int, features: int, window: int, groups: int, depthwise: bool = False):
        super().__init__()
        split = inputs if depthwise else 1
        self.conv = nn.Conv2d(inputs, features, window, 1, window // 2, groups=split, bias=False)
        name, layer = norm(features, groups)
        self.add_module(name, layer)
        self.norm = [layer]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm[0](self.conv(x)))


class SeparableNorm(nn.Module):
    def __init__(self, inputs: int, features: int, groups: int):
        super().__init__()
        self.depthwise_conv = ConvNorm(inputs, inputs, 3, groups, depthwise=True)
        self.pointwise_conv = ConvNorm(inputs, features, 1, groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class Plain(nn.Module):
    """A convolution with bias under the name `conv`."""

    def __init__(self, inputs: int, features: int, window: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, features, window, stride, window // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def row(*parts: tuple[int, int, int, int, int]) -> nn.Sequential:
    """Convolution, batch norm and ReLU of each (inputs, features, window, stride, groups)."""
    layers = list[nn.Module]()
    for inputs, features, window, stride, groups in parts:
        layers.append(nn.Conv2d(inputs, features, window, stride, window // 2, groups=groups, bias=False))
        layers += [nn.BatchNorm2d(features), nn.ReLU()]
    return nn.Sequential(*layers)


def separable(inputs: int, features: int, stride: int) -> nn.Sequential:
    return row((inputs, inputs, 3, stride, inputs), (inputs, features, 1, 1, 1))


class Unit(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        parts = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        parts = parts if bottleneck else [(inputs, width, 3, stride), (width, width, 3, 1)]
        self.count = len(parts)
        for number, (before, after, window, step) in enumerate(parts, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(before, after, window, step, window // 2, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
            self.downsample = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = F.relu(y) if number < self.count else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Body(nn.Module):
    def __init__(self, a: Architecture):
        super().__init__()
        self.pool = None
        if a.is_separable:
            self.stem = nn.Sequential(row((3, a.stem[0], 3, 2, 1)), separable(a.stem[0], a.stem[1], 1))
        else:
            sizes = (3, *a.stem)
            self.stem = row(*((sizes[i], sizes[i + 1], 3, 2 if i == 0 else 1, 1) for i in range(3)))
            self.pool = nn.MaxPool2d(2, 2)
        inputs = a.stem[-1]
        for stage, (blocks, width, outputs) in enumerate(zip(a.blocks, a.widths, a.outputs, strict=True), start=1):
            units = list[nn.Module]()
            for block in range(blocks):
                if a.is_separable:
                    units.append(separable(inputs, width, 2 if block == 0 else 1))
                else:
                    units.append(Unit(inputs, width, 2 if block == 0 and stage > 1 else 1, a.block == "bottleneck"))
                inputs = outputs
            self.add_module(f"layer{stage}", nn.Sequential(*units))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.stem(x)
        x = x if self.pool is None else self.pool(x)
        maps = []
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
            maps.append(x)
        return maps[1:]


class Neck(nn.Module):
    def __init__(self, inputs: Sequence[int], features: int):
        super().__init__()
        self.lateral_convs = nn.ModuleList([Plain(channels, features, 1) for channels in inputs])
        self.fpn_convs = nn.ModuleList([Plain(features, features, 3) for _ in range(3)])
        self.downsample_convs = nn.ModuleList([Plain(features, features, 3, 2) for _ in range(2)])
        self.pafpn_convs = nn.ModuleList([Plain(features, features, 3) for _ in range(2)])

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        merged = [layer(x) for layer, x in zip(self.lateral_convs, maps, strict=True)]
        for i in (2, 1):
            size = merged[i - 1].shape[2:]
            merged[i - 1] = merged[i - 1] + F.interpolate(merged[i], size=size, mode="nearest")
        merged = [layer(x) for layer, x in zip(self.fpn_convs, merged, strict=True)]
        for i in (0, 1):
            merged[i + 1] = merged[i + 1] + self.downsample_convs[i](merged[i])
        return [merged[0], self.pafpn_convs[0](merged[1]), self.pafpn_convs[1](merged[2])]


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))


class Head(nn.Module):
    def __init__(self, a: Architecture, groups: int, is_shared: bool, is_scaled: bool):
        super().__init__()
        self.keys = ["0"] * 3 if is_shared else [f"({stride}, {stride})" for stride in STRIDES]
        self.cls_stride_convs, self.stride_cls = nn.ModuleDict(), nn.ModuleDict()
        self.stride_reg, self.stride_kps = nn.ModuleDict(), nn.ModuleDict()
        for key in dict.fromkeys(self.keys):
            layers = list[nn.Module]()
            inputs = a.neck
            for _ in range(a.depth):
                layers.append(SeparableNorm(inputs, a.head, groups) if a.is_separable
                              else ConvNorm(inputs, a.head, 3, groups))  # fmt: skip
                inputs = a.head
            self.cls_stride_convs[key] = nn.ModuleList(layers)
            for module, numbers in ((self.stride_cls, 1), (self.stride_reg, 4), (self.stride_kps, 10)):
                module[key] = nn.Conv2d(inputs, 2 * numbers, 3, padding=1)
        if is_scaled:
            self.scales = nn.ModuleList([Scale() for _ in STRIDES])

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        outputs: list[list[torch.Tensor]] = [[], [], []]
        for level, (key, x) in enumerate(zip(self.keys, maps, strict=True)):
            for layer in self.cls_stride_convs[key]:  # pyright: ignore[reportGeneralTypeIssues]
                x = layer(x)
            score, box, points = self.stride_cls[key](x), self.stride_reg[key](x), self.stride_kps[key](x)
            if hasattr(self, "scales"):
                box = box * self.scales[level].scale
            outputs[0].append(score.permute(0, 2, 3, 1).reshape(-1, 1).sigmoid())
            outputs[1].append(box.permute(0, 2, 3, 1).reshape(-1, 4))
            outputs[2].append(points.permute(0, 2, 3, 1).reshape(-1, 10))
        return [tensor for kind in outputs for tensor in kind]


class Network(nn.Module):
    """(1, 3, H, W) -> scores, distances and points of strides 8, 16 and 32, as the authors export them."""

    def __init__(self, name: str, is_grouped: bool = False, is_shared: bool = False, is_scaled: bool = True):
        super().__init__()
        a = ARCHITECTURES[name]
        self.backbone, self.neck = Body(a), Neck(a.outputs[1:], a.neck)
        self.bbox_head = Head(a, a.groups if is_grouped else 0, is_shared, is_scaled)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.bbox_head(self.neck(self.backbone(x)))


def shaken(network: nn.Module, seed: int) -> nn.Module:
    """Random weights that keep values near 1, norms and scales included."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            is_factor = tensor.ndim == 1 and name.endswith("weight")
            if is_factor or name.endswith(("running_var", "scale")):
                tensor.uniform_(0.7, 1.3)
            elif tensor.ndim == 4:
                tensor.normal_(0, (1.6 / tensor[0].numel()) ** 0.5)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.1)
    return network.eval()
