"""Failures of capture and translation name the operator, the user's line and the module."""

from __future__ import annotations

import inspect

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

from qcompiler.errors import ExportError  # noqa: E402
from qcompiler.frontends import load  # noqa: E402


class Inverse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.linalg.inv(x.transpose(-1, -2) @ x)  # no translation
        return y


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.bfloat16().relu().float()


def _line(owner: type, text: str) -> str:
    lines, first = inspect.getsourcelines(owner)
    return f"{__file__}:{first + next(i for i, line in enumerate(lines) if text in line)}"


def test_an_operator_without_translation_is_named_with_line_and_module() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Sequential(Inverse()))
    with pytest.raises(ExportError, match="linalg_inv") as caught:
        load(module.eval(), torch.randn(2, 4, 4))
    assert caught.value.where == f"{_line(Inverse, 'linalg')}, module '1.0'"


@pytest.mark.parametrize(
    "layer",
    [nn.FractionalMaxPool2d(2, 3)],
)
def test_a_library_module_is_named_by_its_path(layer: nn.Module) -> None:
    module = nn.Sequential(nn.ReLU(), nn.Sequential(layer)).eval()
    with pytest.raises(ExportError) as caught:
        load(
            module,
            torch.randn(2, 3, 8, 8)[:, :, 0] if "1d" in str(module) else torch.randn(2, 3, 8, 8),
        )
    assert caught.value.where == "1.0"


def test_bfloat16_is_compiled_in_float32_and_named() -> None:
    program = load(Half(), torch.randn(2, 4))
    assert any("bfloat16" in note for note in program.provenance.warnings)


def test_halves_of_an_open_axis_stay_open() -> None:
    """The exporter's own translation of `chunk` of an open axis fails."""

    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            first, second = x.chunk(2)
            return first - second

    program = load(Halves(), torch.randn(4, 3))
    assert not any("fixed" in note for note in program.provenance.warnings)
    shape = program.signature.inputs[0].shape
    assert shape is not None
    assert not isinstance(shape[0], int)
