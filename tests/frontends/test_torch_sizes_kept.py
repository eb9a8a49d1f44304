"""Which axes a capture leaves open: batch of every argument, time, splits, what was declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 - only where torch is

import qcompiler as qc  # noqa: E402
from qcompiler.errors import ConfigurationError, ExportError, FeedError  # noqa: E402
from qcompiler.execution.feeds import normalize_feed  # noqa: E402
from qcompiler.execution.session import OrtSession  # noqa: E402
from qcompiler.ir.program import Program  # noqa: E402

_OPEN = torch.export.Dim


class Stateful(nn.Module):
    """A recurrent layer that starts from a given state."""

    def __init__(self, kind: type, batch_first: bool = True, layers: int = 1) -> None:
        super().__init__()
        self.layer = kind(8, 6, num_layers=layers, batch_first=batch_first)

    def forward(self, x: Tensor, *state: Tensor) -> Any:
        return self.layer(x, state if len(state) > 1 else state[0])


class Apply(nn.Module):
    """A product, and a function of its result."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.product, self.function = nn.Linear(8, 8), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.product(x))


class Recurrent(nn.Module):
    def __init__(self, kind: type, **options: Any) -> None:
        super().__init__()
        self.layer = kind(8, 6, **options)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)[0]


def assert_eager(module: nn.Module, program: Program, call: tuple[Tensor, ...]) -> None:
    """1e-4: float32 sums of a few dozen terms in another order."""
    with torch.no_grad():
        wanted = module(*call)
    found = OrtSession(program.model).run(normalize_feed(program.signature, call))
    nest = program.signature.returned(found, tensors=True)
    torch.testing.assert_close(nest, wanted, rtol=1e-4, atol=1e-4)


def sized(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


@pytest.mark.parametrize(
    ("module", "example", "other"),
    [
        (Stateful(nn.LSTM), ((2, 5, 8), (1, 2, 6), (1, 2, 6)), ((3, 5, 8), (1, 3, 6), (1, 3, 6))),
        (Stateful(nn.LSTM), ((1, 5, 8), (1, 1, 6), (1, 1, 6)), ((3, 5, 8), (1, 3, 6), (1, 3, 6))),
        (Stateful(nn.GRU, False, 2), ((5, 3, 8), (2, 3, 6)), ((5, 4, 8), (2, 4, 6))),
        (Recurrent(nn.GRU, bidirectional=True), ((5, 2, 8),), ((5, 3, 8),)),
    ],
)
def test_the_batch_is_open_wherever_it_lies(module: nn.Module, example: Any, other: Any) -> None:
    program = qc.load(module.eval(), sized(*example))
    assert program.provenance.warnings == ()
    for shapes in (example, other):
        assert_eager(module, program, sized(*shapes))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("example", [(2, 5, 8), (1, 5, 8)])
def test_the_time_of_a_recurrent_layer_stays_open(kind: type, example: tuple[int, ...]) -> None:
    module = Recurrent(kind, batch_first=True, bidirectional=True).eval()
    dims = {"x": {0: _OPEN("batch"), 1: _OPEN("time")}}
    program = qc.load(module, sized(example), dynamic=dims)
    for shape in (example, (3, 9, 8), (1, 1, 8)):
        assert_eager(module, program, sized(shape))


class Unrolled(nn.Module):
    """A cell in a loop of Python, which the capture unrolls."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 6)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return state


def test_a_declared_axis_that_is_fixed_is_an_error() -> None:
    module = Unrolled().eval()
    with pytest.raises(ConfigurationError, match="cannot be captured with dynamic"):
        qc.load(module, sized((2, 5, 8)), dynamic={"x": {0: _OPEN("batch"), 1: _OPEN("time")}})


def test_an_axis_open_if_possible_is_told_of() -> None:
    module = Unrolled().eval()
    program = qc.load(module, sized((2, 5, 8)), dynamic=({0: _OPEN.AUTO, 1: _OPEN.AUTO},))
    assert any("axis 1 of input 'x' is fixed to 5" in each for each in program.provenance.warnings)
    assert_eager(module, program, sized((3, 5, 8)))


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (lambda x: x.chunk(2)[1] - x.chunk(2)[0], (4, 10)),
        (lambda x: x.chunk(3), (6, 9)),
        (lambda x: torch.unsafe_chunk(x, 2, 0), (4, 7)),
        (lambda x: torch.chunk(input=x, chunks=2, dim=-2), (4, 7)),
        (lambda x: x.tensor_split(3), (7, 5)),
        (lambda x: x.split(x.shape[0] // 2), (4, 6)),
        (lambda x: x.split(split_size=x.shape[0] - 1), (4, 6)),
    ],
)
def test_splits_of_an_open_batch(function: Callable[[Tensor], Any], sizes: Any) -> None:
    module = Apply(function).eval()
    program = qc.load(module, sized((sizes[0], 8)))
    assert not isinstance((program.signature.inputs[0].shape or (0,))[0], int)
    for size in sizes:
        assert_eager(module, program, sized((size, 8)))


def test_parts_that_have_to_be_equal_are_a_rule() -> None:
    module = Apply(lambda x: x.chunk(2)[0] + x.chunk(2)[1]).eval()
    program = qc.load(module, sized((4, 8)))
    with pytest.raises(FeedError):
        normalize_feed(program.signature, sized((5, 8)))


def test_complex_results_are_refused() -> None:
    with pytest.raises(ExportError, match="complex"):
        qc.load(Apply(torch.fft.rfft).eval(), sized((4, 8)))
