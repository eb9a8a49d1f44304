"""Modules in bfloat16, float64 and under autocast: compiled in float32, their own types outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import qcompiler as qc
from qcompiler.errors import ExportError
from qcompiler.execution.feeds import normalize_feed
from qcompiler.execution.session import OrtSession

_BFLOAT16 = 2.0**-8
"""Relative rounding of bfloat16; a few dozen of them add up here."""


def _layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


class _OneLayer(nn.Module):
    """Conversions in every spelling, in a float32 module."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16).bfloat16(), nn.Linear(16, 4)
        self.register_buffer("shift", torch.ones(16, dtype=torch.bfloat16))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = self.a(x.bfloat16()) + self.shift.to(torch.bfloat16)
        return self.b(half.to(dtype=x.dtype)), half + torch.zeros(16, dtype=torch.bfloat16)


class _Autocast(nn.Module):
    def __init__(self, dtype: torch.dtype, device: str = "cpu") -> None:
        super().__init__()
        self.layers, self.dtype, self.device = _layers(), dtype, device

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.autocast(self.device, dtype=self.dtype):
            low = self.layers(x)
            with torch.autocast("cpu", enabled=False):
                high = self.layers(x)
        return {"low": low, "high": high}


def _checked(module: nn.Module, feed: torch.Tensor, tolerance: float) -> qc.Program:
    module = module.eval()
    with torch.no_grad():
        wanted = module(feed)
    program = qc.load(module, feed)
    session = OrtSession(program.model)
    arrays = session.run(normalize_feed(program.signature, feed))
    _same(program.signature.returned(arrays, tensors=True), wanted, tolerance)
    return program


def _same(found: Any, wanted: Any, tolerance: float) -> None:
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)  # types as well


@pytest.mark.parametrize(
    ("module", "feed", "named"),
    [
        (_layers().bfloat16(), torch.randn(3, 8).bfloat16(), "bfloat16"),
        (_layers().bfloat16(), torch.randn(1, 8).bfloat16(), "bfloat16"),
        (_OneLayer(), torch.randn(3, 8), "bfloat16"),
        (_Autocast(torch.bfloat16), torch.randn(3, 8), "bfloat16"),
        (_Autocast(torch.float16), torch.randn(3, 8), "float16"),
        (_layers().double(), torch.randn(3, 8).double(), "float64"),
    ],
)
def test_the_types_outside_stay(module: nn.Module, feed: torch.Tensor, named: str) -> None:
    before = [each.dtype for each in module.parameters()]
    program = _checked(module, feed, 1e-5 if named == "float64" else 16 * _BFLOAT16)
    assert any(named in note and "float32" in note for note in program.provenance.warnings)
    assert [each.dtype for each in module.parameters()] == before
    kinds = {value.dtype.name for value in program.graph.initializers.values() if value.dtype}
    assert not kinds & {"BFLOAT16", "DOUBLE", "FLOAT16"}


@pytest.mark.parametrize(
    ("module", "feed"),
    [
        (_layers(), torch.randn(3, 8)),
        (_layers().half(), torch.randn(3, 8).half()),
        (_Autocast(torch.float16, "cuda"), torch.randn(3, 8)),  # does nothing on a CPU
    ],
)
def test_others_are_left_as_they_are(module: nn.Module, feed: torch.Tensor) -> None:
    program = _checked(module, feed, 2e-3)
    assert program.provenance.warnings == ()
    assert program.provenance.computed == ()


class _StepInDouble(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.double() + 1e-9).cumsum(0).float()


def test_a_step_in_double_stays_one() -> None:
    program = _checked(_StepInDouble(), torch.randn(3, 8), 1e-5)
    kinds = {output.dtype.name for node in program.graph for output in node.outputs if output.dtype}
    assert "DOUBLE" in kinds
    assert program.provenance.warnings == ()


def test_compiled_and_loaded_again(tmp_path: Any) -> None:
    module = _layers().bfloat16().eval()
    feeds = [torch.randn(4, 8).bfloat16() for _ in range(3)]
    compiled = qc.compile(module, calibration=feeds, scheme="int8", recipe="fast")
    loaded = qc.load_compiled(compiled.save(tmp_path / "m.onnx"))
    with torch.no_grad():
        wanted = module(feeds[0])
    for each in (compiled, loaded):
        found = each(feeds[0])
        assert found.dtype is torch.bfloat16
        assert float((found - wanted).float().square().sum()) < 0.02 * float(
            wanted.float().square().sum()
        )
    plain = compiled(feeds[0].float().numpy())
    assert plain.dtype == np.float32  # numpy has no bfloat16


def test_a_captured_program_in_bfloat16_is_refused() -> None:
    exported = torch.export.export(_OneLayer().eval(), (torch.randn(3, 8),))
    with pytest.raises(ExportError, match=r"bfloat16.*"):
        qc.load(exported)


class _LikeTheOther(nn.Module):
    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return x.to(other)


class _Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(8))

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (x * self.scale).mean(1) + other[:, 0]


@pytest.mark.parametrize("module", [_LikeTheOther(), _Scaled()])
def test_an_argument_in_double_gives_what_torch_gives(module: nn.Module) -> None:
    """torch makes a tensor double only where somebody asks for it."""
    feed = (torch.randn(3, 8), torch.randn(3, 8).double())
    program = qc.load(module, feed)
    with torch.no_grad():
        wanted = module(*feed)
    assert wanted.dtype is torch.float64
    arrays = OrtSession(program.model).run(normalize_feed(program.signature, feed))
    _same(program.signature.returned(arrays, tensors=True), wanted, 1e-5)
    assert any("float64" in note for note in program.provenance.warnings)


def test_doubles_of_numpy_are_its_default_and_mean_float32() -> None:
    program = qc.load(_LikeTheOther(), (np.ones((3, 8)), np.ones((3, 8))))
    assert program.provenance.warnings == ()
