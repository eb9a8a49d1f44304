"""A small network with what training has to keep: BatchNormalization, dropout, turned weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qcompiler as qc


class SmallNet(nn.Module):
    """[N, 1, 8, 8] to [N, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.mix = nn.Linear(64, 12)
        self.layer = nn.LayerNorm(12)
        self.head = nn.Linear(72, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(image)))
        x = torch.relu(x + self.norm2(self.second(x)))
        x = self.layer(self.mix(x.flatten(2)))
        found: Tensor = self.head(self.drop(torch.relu(x)).flatten(1))
        return found


@pytest.fixture
def small_net(_small_net: nn.Module) -> nn.Module:
    """One of its own for each test, in evaluation mode."""
    return copy.deepcopy(_small_net)


@pytest.fixture
def prepared(_prepared: Any) -> Any:
    """The small network prepared for int8 on ONNX Runtime, one for each test."""
    return copy.deepcopy(_prepared)


@pytest.fixture(scope="session")
def _prepared(_small_net: nn.Module, images: list[Tensor]) -> Any:
    return qc.prepare_qat(_small_net, calibration=images)


@pytest.fixture(scope="session")
def _small_net() -> nn.Module:
    """Some batches away from where it began."""
    torch.manual_seed(3)
    net = SmallNet().train()
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(16, 1, 8, 8) * 2 + 0.5)
        for norm in (net.norm, net.norm2):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.3)
    return net.eval()


@pytest.fixture(scope="session")
def images() -> list[Tensor]:
    """Feeds of 8 images."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(8, 1, 8, 8, generator=generator) * 2 + 0.5 for _ in range(6)]
