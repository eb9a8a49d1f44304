"""Buffers that a call changes, by name; counters that nobody reads are left alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

from qcompiler.frontends import load  # noqa: E402


class Stream(nn.Module):
    memory: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.zeros(1, 4))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = x + self.memory
        self.memory.copy_(y.mean(0, keepdim=True))
        return y


def test_state_that_results_depend_on_is_told() -> None:
    found = load(nn.Sequential(nn.Linear(4, 4), Stream()), torch.randn(3, 4)).provenance.warnings
    assert len(found) == 1
    assert "buffer '1.memory'" in found[0]


def test_a_module_without_memory_says_nothing() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    assert load(module, torch.randn(3, 4)).provenance.warnings == ()
