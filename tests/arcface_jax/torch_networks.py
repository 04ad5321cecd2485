"""Published PyTorch networks built anew, so that their state dicts have the names that published files have.

Needs PyTorch; import it in tests that skip without.
"""

from collections.abc import Sequence

import torch
from torch import nn


class Flat(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.flatten(x, 1)


# InsightFace_Pytorch's and AdaFace's residual networks.


class Attention(nn.Module):
    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class IrUnit(nn.Module):
    def __init__(self, inside: int, width: int, stride: int, has_norm: bool, reduction: int):
        super().__init__()
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride)
            if inside == width
            else nn.Sequential(nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )
        layers: list[nn.Module] = [nn.BatchNorm2d(inside), nn.Conv2d(inside, width, 3, 1, 1, bias=False)]
        layers += [nn.BatchNorm2d(width)] if has_norm else []
        layers += [nn.PReLU(width), nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)]
        if reduction and not has_norm:
            layers.append(Attention(width, reduction))
        self.res_layer = nn.Sequential(*layers)
        if reduction and has_norm:
            self.res_layer.add_module("se_block", Attention(width, reduction))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class Ir(nn.Module):
    """AdaFace's with `has_norm`, InsightFace_Pytorch's without, before what it does to the embedding's length."""

    def __init__(
        self, units: Sequence[int], widths: Sequence[int], side: int, dim: int, has_norm: bool, reduction: int = 0
    ):
        super().__init__()
        first = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.input_layer = nn.Sequential(first, nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0]))
        body, inside = [], widths[0]
        for number, width in zip(units, widths, strict=True):
            for unit in range(number):
                body.append(IrUnit(inside, width, 1 if unit else 2, has_norm, reduction))
                inside = width
        self.body = nn.Sequential(*body)
        last = nn.BatchNorm1d(dim, affine=not has_norm)
        matrix = nn.Linear(inside * side * side, dim)
        self.output_layer = nn.Sequential(nn.BatchNorm2d(inside), nn.Dropout(0.4), Flat(), matrix, last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output_layer(self.body(self.input_layer(x)))


# MobileFaceNets.


class Block(nn.Module):
    """A convolution as arcface_torch has it."""

    def __init__(self, inside: int, out: int, side: int = 1, stride: int = 1, pad: int = 0, groups: int = 1,
                 linear: bool = False):  # fmt: skip
        super().__init__()
        conv = nn.Conv2d(inside, out, side, stride, pad, groups=groups, bias=False)
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(out), *([] if linear else [nn.PReLU(out)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Bottleneck(nn.Module):
    def __init__(self, inside: int, out: int, inner: int, stride: int):
        super().__init__()
        self.adds = stride == 1
        self.layers = nn.Sequential(
            Block(inside, inner), Block(inner, inner, 3, stride, 1, inner), Block(inner, out, linear=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class Repeated(nn.Module):
    def __init__(self, channels: int, number: int, inner: int):
        super().__init__()
        self.layers = nn.Sequential(*(Bottleneck(channels, channels, inner, 1) for _ in range(number)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Global(nn.Module):
    def __init__(self, dim: int, side: int):
        super().__init__()
        last = (nn.Linear(512, dim, bias=False), nn.BatchNorm1d(dim))
        self.layers = nn.Sequential(Block(512, 512, side, groups=512, linear=True), Flat(), *last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class ArcfaceTorch(nn.Module):
    """arcface_torch's MobileFaceNet: "mbf" with scale 2 and "mbf_large" with scale 4, whose blocks[0] is not 1."""

    def __init__(self, dim: int, blocks: Sequence[int], scale: int, side: int = 7):
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale
        second = Block(narrow, narrow, 3, 1, 1, 64) if blocks[0] == 1 else Repeated(narrow, blocks[0], 128)
        self.layers = nn.ModuleList([
            Block(3, narrow, 3, 2, 1), second,
            Bottleneck(narrow, narrow, 128, 2), Repeated(narrow, blocks[1], 128),
            Bottleneck(narrow, wide, 256, 2), Repeated(wide, blocks[2], 256),
            Bottleneck(wide, wide, 512, 2), Repeated(wide, blocks[3], 256),
        ])  # fmt: skip
        self.conv_sep = Block(wide, 512)
        self.features = Global(dim, side)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))


class Named(nn.Module):
    """A convolution as InsightFace_Pytorch and MobileFaceNet_Pytorch have it."""

    def __init__(self, inside: int, out: int, side: int | tuple[int, int] = 1, stride: int = 1, pad: int = 0,
                 groups: int = 1, linear: bool = False):  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(inside, out, side, stride, pad, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.prelu = nn.Identity() if linear else nn.PReLU(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.prelu(self.bn(self.conv(x)))


class NamedBottleneck(nn.Module):
    def __init__(self, inside: int, out: int, inner: int, stride: int):
        super().__init__()
        self.adds = stride == 1
        self.conv = Named(inside, inner)
        self.conv_dw = Named(inner, inner, 3, stride, 1, inner)
        self.project = Named(inner, out, linear=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.adds else y


class NamedRow(nn.Module):
    def __init__(self, channels: int, number: int, inner: int):
        super().__init__()
        self.model = nn.Sequential(*(NamedBottleneck(channels, channels, inner, 1) for _ in range(number)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class InsightfacePytorch(nn.Module):
    """InsightFace_Pytorch's MobileFaceNet, before it brings embeddings to length 1."""

    def __init__(self, dim: int, numbers: Sequence[int] = (4, 6, 2)):
        super().__init__()
        self.conv1, self.conv2_dw = Named(3, 64, 3, 2, 1), Named(64, 64, 3, 1, 1, 64)
        self.conv_23, self.conv_3 = NamedBottleneck(64, 64, 128, 2), NamedRow(64, numbers[0], 128)
        self.conv_34, self.conv_4 = NamedBottleneck(64, 128, 256, 2), NamedRow(128, numbers[1], 256)
        self.conv_45, self.conv_5 = NamedBottleneck(128, 128, 512, 2), NamedRow(128, numbers[2], 256)
        self.conv_6_sep, self.conv_6_dw = Named(128, 512), Named(512, 512, 7, groups=512, linear=True)
        self.conv_6_flatten, self.linear, self.bn = Flat(), nn.Linear(512, dim, bias=False), nn.BatchNorm1d(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for child in self.children():
            x = child(x)
        return x


class Unnamed(nn.Module):
    def __init__(self, inside: int, out: int, inner: int, stride: int):
        super().__init__()
        self.adds = stride == 1 and inside == out
        self.conv = nn.Sequential(
            nn.Conv2d(inside, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.PReLU(inner),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.PReLU(inner),
            nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobilefacenetPytorch(nn.Module):
    """MobileFaceNet_Pytorch's network, whose last layer is a convolution; Paddle's MobileFaceNet_128 is the same."""

    def __init__(self, dim: int, last_map: tuple[int, int]):
        super().__init__()
        self.conv1, self.dw_conv1 = Named(3, 64, 3, 2, 1), Named(64, 64, 3, 1, 1, 64)
        blocks, inside = [], 64
        for expansion, out, number, stride in ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2),
                                               (2, 128, 2, 1)):  # fmt: skip
            for block in range(number):
                blocks.append(Unnamed(inside, out, expansion * inside, 1 if block else stride))
                inside = out
        self.blocks, self.conv2 = nn.Sequential(*blocks), Named(128, 512)
        self.linear7, self.linear1 = Named(512, 512, last_map, groups=512, linear=True), Named(512, dim, linear=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for child in self.children():
            x = child(x)
        return x.view(x.size(0), -1)


def randomised(network: nn.Module, images: torch.Tensor) -> nn.Module:
    """The network with other batch norms than new ones have, and statistics of a pass over images."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
            for part in (module.weight, module.bias) if module.affine else ():
                part.data.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(module, nn.PReLU):
            module.weight.data.uniform_(-0.3, 0.6, generator=generator)
    with torch.no_grad():
        network.train()(images)
    return network.eval()
