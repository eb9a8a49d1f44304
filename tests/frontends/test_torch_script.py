"""TorchScript modules compile like the module they were made from; itself is the oracle."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

import qcompiler as qc
from qcompiler.errors import ExportError, FeedError


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3)
        self.norm = torch.nn.BatchNorm2d(6)
        self.head = torch.nn.Linear(6 * 36, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(torch.relu(self.norm(self.conv(image))).flatten(1))
        return result


class Two(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(5, 3)

    def forward(
        self, a: torch.Tensor, b: torch.Tensor, factor: float = 2.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if factor > 1.0:
            a = a * factor
        return self.linear(a), b.mean(1)


def _traced(module: torch.nn.Module) -> Any:
    return torch.jit.trace(module, torch.randn(2, 3, 8, 8))  # type: ignore[no-untyped-call]


def _frozen(module: torch.nn.Module) -> Any:
    return torch.jit.freeze(torch.jit.script(module))


@pytest.mark.parametrize("made", [_traced, torch.jit.script, _frozen])
def test_traced_scripted_and_frozen(made: Any) -> None:
    script = made(Net().eval())
    feeds = [torch.randn(2, 3, 8, 8) for _ in range(3)]
    compiled = qc.compile(script, calibration=feeds, scheme="float32")
    other = torch.randn(5, 3, 8, 8)  # the batch stays open
    torch.testing.assert_close(compiled(other), script(other))


@pytest.mark.parametrize("made", [torch.jit.script, _frozen])
def test_double_precision_is_compiled_in_float32(made: Any) -> None:
    """The float32 copy runs its own weights, not those it was copied from."""
    script = made(Net().double().eval())
    feeds = [torch.randn(2, 3, 8, 8, dtype=torch.float64) for _ in range(3)]
    compiled = qc.compile(script, calibration=feeds, scheme="float32")
    found = compiled(feeds[0])
    assert found.dtype is torch.float64
    torch.testing.assert_close(found, script(feeds[0]), rtol=1e-5, atol=1e-5)


def test_numbers_of_a_frozen_trace_do_not_make_it_double() -> None:
    """A trace holds the 2.5 as a double tensor; numpy's float64 feeds are still read as float32."""

    class Scaled(Net):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return 2.5 * super().forward(image)

    script = torch.jit.freeze(_traced(Scaled().eval()))
    feeds = [torch.randn(2, 3, 8, 8).double().numpy() for _ in range(3)]
    compiled = qc.compile(script, calibration=feeds, scheme="float32")
    wanted = script(torch.from_numpy(feeds[0]).float())
    torch.testing.assert_close(torch.as_tensor(compiled(feeds[0])), wanted)


def test_tuples_names_and_defaults_are_those_of_the_script() -> None:
    script = torch.jit.script(Two().eval())
    feeds = [{"a": torch.randn(3, 5), "b": torch.randn(3, 5)} for _ in range(3)]
    compiled = qc.compile(script, calibration=feeds, scheme="float32")
    found, wanted = compiled(**feeds[0]), script(**feeds[0])
    assert isinstance(found, tuple)
    torch.testing.assert_close(found, wanted)


def test_a_feed_that_does_not_fit_is_told_as_such() -> None:
    script = torch.jit.script(Net().eval())
    with pytest.raises(FeedError):
        qc.compile(script, calibration=[(torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8))])


def test_what_torch_cannot_convert_is_named() -> None:
    class Sorts(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            words: dict[str, torch.Tensor] = {"a": x}
            for name in words:
                x = x + words[name] * len(name)
            return x

    with pytest.raises(ExportError, match="ScriptModule"):
        qc.compile(torch.jit.script(Sorts().eval()), calibration=[torch.randn(2, 3)])
