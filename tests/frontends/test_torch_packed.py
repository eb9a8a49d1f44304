"""Packed sequences: the module itself, run by torch on other lengths, is the oracle."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import qcompiler as qc
from qcompiler.errors import ExportError


class Last(nn.Module):
    """Reads the state behind the last step of every sequence."""

    def __init__(self, kind: str = "LSTM", layers: int = 1, both: bool = False) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(8, 6, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, state = self.layer(packed)
        ends = state if isinstance(state, tuple) else (state,)
        return sum((self.head(each[-1]) for each in ends), torch.zeros(()))


class Rows(nn.Module):
    """Reads all steps; those behind the end are padding."""

    def __init__(self, value: float = 0.0, total: int | None = None) -> None:
        super().__init__()
        self.layer = nn.GRU(8, 6, bidirectional=True)
        self.value, self.total = value, total

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        rows, found = pad_packed_sequence(
            self.layer(packed)[0], padding_value=self.value, total_length=self.total
        )
        return rows, found


def _feeds(batch_first: bool = True) -> list[tuple[Tensor, Tensor]]:
    lengths = ([7, 5, 2], [3, 7, 1], [4, 4, 4])
    shape = (3, 7, 8) if batch_first else (7, 3, 8)
    return [(torch.randn(shape), torch.tensor(each)) for each in lengths]


@pytest.mark.parametrize(
    ("kind", "layers", "both"),
    [("LSTM", 1, False), ("LSTM", 2, True), ("GRU", 1, False), ("RNN", 1, True)],
)
def test_states_of_sequences_of_any_length(kind: str, layers: int, both: bool) -> None:
    module = Last(kind, layers, both).eval()
    feeds = _feeds()
    compiled = qc.compile(module, calibration=feeds, scheme="float32")
    x, lengths = torch.randn(4, 7, 8), torch.tensor([1, 7, 6, 3])
    for one, two in (*feeds, (x, lengths)):
        torch.testing.assert_close(compiled(one, two), module(one, two), rtol=0, atol=1e-5)


@pytest.mark.parametrize("module", [Rows(), Rows(value=-2.0), Rows(total=9)])
def test_rows_are_padded_as_torch_does(module: Rows) -> None:
    feeds = _feeds(batch_first=False)
    fixed = module.total is not None
    compiled = qc.compile(
        module.eval(), calibration=feeds, scheme="float32", dynamic=False if fixed else None
    )
    for x, lengths in feeds:
        rows, found = compiled(x, lengths)
        wanted, counted = module(x, lengths)
        torch.testing.assert_close(rows, wanted, rtol=0, atol=1e-5)
        assert torch.equal(found, counted)


def test_it_runs_in_integers() -> None:
    module = Last().eval()
    feeds = _feeds()
    compiled = qc.compile(module, calibration=feeds, scheme="dynamic")
    assert compiled.report.counts().get("int8-dynamic", 0) >= 1
    x, lengths = feeds[1]
    noise = ((compiled(x, lengths) - module(x, lengths)) ** 2).sum() / (
        module(x, lengths) ** 2
    ).sum()
    assert noise < 0.01


def test_projections_are_refused() -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(8, 6, proj_size=4, batch_first=True)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            state: Tensor = self.layer(packed)[1][0]
            return state

    with pytest.raises(ExportError, match="proj_size"):
        qc.compile(Projected().eval(), calibration=_feeds(), scheme="float32")


def test_torch_is_left_as_it_was() -> None:
    module = Last().eval()
    qc.compile(module, calibration=_feeds(), scheme="float32")
    with pytest.raises(RuntimeError):  # torch's own check of the layer's arguments
        nn.LSTM(8, 6)(torch.randn(7, 3, 5))
