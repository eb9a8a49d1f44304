"""The embedded example: a small CNN for scikit-learn's 8x8 digits.

It has what a compiler has to cope with in real mobile networks: plain, depthwise and pointwise
convolutions with batch normalization, ReLU and ReLU6, two residual adds (one followed by a ReLU,
one bare), a concat of two branches, max and global average pooling, and a linear head. Images are
enlarged to 32x32 so that the convolutions are big enough for their speed to be measured.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


def conv_bn(
    cin: int,
    cout: int,
    kernel: int,
    activation: type[nn.Module] | None,
    *,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """A padded convolution without bias, batch normalization and an optional activation."""
    conv = nn.Conv2d(
        cin, cout, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )
    tail = [] if activation is None else [activation()]
    return nn.Sequential(conv, nn.BatchNorm2d(cout), *tail)


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip connection: relu(x + f(x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn(channels, channels, 3, nn.ReLU)
        self.second = conv_bn(channels, channels, 3, None)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu(x + self.second(self.first(x))))


class Branches(nn.Module):
    """A pointwise and a bottleneck branch, concatenated over the channels."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        half = cout // 2
        self.point = conv_bn(cin, half, 1, nn.ReLU)
        self.wide = nn.Sequential(
            conv_bn(cin, half // 2, 1, nn.ReLU), conv_bn(half // 2, half, 3, nn.ReLU)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.point(x), self.wide(x)], dim=1)


class Inverted(nn.Module):
    """A MobileNetV2 block: pointwise, depthwise, linear pointwise, and a bare add."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(channels, channels, 1, nn.ReLU6),
            conv_bn(channels, channels, 3, nn.ReLU6, groups=channels),
            conv_bn(channels, channels, 1, None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.body(x))


class DigitsNet(nn.Module):
    """Images float32 [N, 1, 32, 32] in 0..1 to logits float32 [N, 10]; about 40 000 parameters."""

    def __init__(self, width: int = 32, classes: int = 10) -> None:
        super().__init__()
        wide = 2 * width
        self.stem = conv_bn(1, width, 3, nn.ReLU6, stride=2)
        self.residual = Residual(width)
        self.depthwise = conv_bn(width, width, 3, nn.ReLU6, groups=width)
        self.pointwise = conv_bn(width, wide, 1, nn.ReLU6)
        self.branches = Branches(wide, wide)
        self.pool = nn.MaxPool2d(2)
        self.inverted = Inverted(wide)
        self.gather = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(wide, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.residual(self.stem(image))
        x = self.branches(self.pointwise(self.depthwise(x)))
        x = self.inverted(self.pool(x))
        return cast(Tensor, self.head(torch.flatten(self.gather(x), 1)))
