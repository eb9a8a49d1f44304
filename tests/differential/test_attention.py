"""Attention with masks and gated layers survive fixed int8; the eager module is the oracle.

Weights are drawn, and nothing is added to what attention gives: a residual would hide that it is
broken. Scores are large, so that attention is no even mean, which every mask leaves.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import qcompiler as qc
from qcompiler.pipeline import registry

WIDTH, HEADS, LENGTH = 16, 2, 6
BOUND = 15.0
"""dB that have to be left; a mask in a range leaves less."""
LOWEST = torch.finfo(torch.float32).min
Scores = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def causal() -> torch.Tensor:
    return torch.ones(LENGTH, LENGTH).tril().bool()


def added(number: float) -> Scores:
    return lambda a, m: a + (1 - m[:, None, None, :]) * number


MASKS: dict[str, Scores] = {
    "bert lowest": added(LOWEST),
    "gpt2 where": lambda a, m: torch.where(causal(), a, torch.tensor(LOWEST)),
    "scaled after": lambda a, m: (a + (1 - m[:, None, None, :]) * -1e9) / 2,
    "from the maximum": lambda a, m: added(-1e4)(a, m) - added(-1e4)(a, m).amax(-1, keepdim=True),
    "of two masks": lambda a, m: a + (1 - m[:, None, :, None] @ m[:, None, None, :]) * -1e9,
}


class Attention(nn.Module):
    """Heads over rotated queries and keys of an RMS norm, behind them a gated layer."""

    def __init__(self, mask: Scores) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mask = mask
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.gate, self.up = nn.Linear(WIDTH, 24), nn.Linear(WIDTH, 24)
        self.down = nn.Linear(24, WIDTH)
        angles = torch.arange(LENGTH)[:, None] * 0.5 ** torch.arange(WIDTH // HEADS)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def rotated(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, -1)
        cos, sin = self.get_buffer("cos"), self.get_buffer("sin")
        return x * cos + torch.cat([-right, left], -1) * sin

    def forward(self, x: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        parts = self.qkv(x).unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        q, k, v = self.rotated(parts[0]), self.rotated(parts[1]), parts[2]
        scores = self.mask(4 * (q @ k.transpose(-1, -2)), m)  # far from an even mean
        y = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        found: torch.Tensor = self.down(functional.silu(self.gate(y)) * self.up(y))
        return found


class MaskedMaximum(nn.Module):
    """The largest of the products that a mask leaves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(x)
        return (found + (1 - m[:, :, None]) * -1e9).amax(1)


def feeds() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for number in range(6):
        mask = torch.ones(2, LENGTH)
        mask[1, LENGTH - 1 - number % 3 :] = 0
        found.append((torch.randn(2, LENGTH, WIDTH, generator=generator), mask))
    return found


def decibels(module: nn.Module, compiled: qc.Compiled) -> float:
    signal = noise = 0.0
    for feed in feeds():
        wanted, got = module(*feed).detach().numpy(), np.asarray(compiled(*feed))
        signal += float(np.square(wanted).sum())
        noise += float(np.square(wanted - got).sum())
    return 10 * math.log10(signal / noise)


@pytest.mark.parametrize(
    ("name", "target"),
    [*((name, "onnxruntime") for name in MASKS), ("gpt2 where", "fbgemm")],
)
def test_masked_attention_survives_int8(name: str, target: str) -> None:
    module = Attention(MASKS[name]).eval()
    compiled = qc.compile(module, target, feeds(), scheme="int8", recipe="fast")
    assert compiled.report.counts().get("int8", 0) > 5
    assert decibels(module, compiled) > BOUND


def test_a_masked_maximum_survives_int8() -> None:
    module = MaskedMaximum().eval()
    compiled = qc.compile(module, "onnxruntime", feeds(), scheme="int8", recipe="fast")
    assert decibels(module, compiled) > 25


@pytest.mark.parametrize("module", [Attention(MASKS["scaled after"]), MaskedMaximum()])
def test_a_mask_in_a_range_breaks_it(monkeypatch: pytest.MonkeyPatch, module: nn.Module) -> None:
    """The negative control: masks are taken for scores."""
    module_of_pass = sys.modules[registry.find_pass("insert-observers").__module__]
    monkeypatch.setattr(module_of_pass, "masked_values", lambda _: set())
    compiled = qc.compile(module.eval(), "onnxruntime", feeds(), scheme="int8", recipe="fast")
    assert decibels(module, compiled) < BOUND
