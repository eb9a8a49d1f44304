"""Recurrent layers with their flags, states and packed sequences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.torch_cases.case import (
    Case,
    of_module,
)
from benchmarks.torch_cases.networks import D


def recurrent() -> Iterator[Case]:
    m = of_module
    for cls in (nn.LSTM, nn.GRU, nn.RNN):
        n = cls.__name__
        forms: list[dict[str, Any]] = [
            {},
            {"batch_first": True},
            {"num_layers": 2},
            {"bidirectional": True},
            {"num_layers": 2, "bidirectional": True, "batch_first": True},
            {"bias": False},
            {"dropout": 0.5, "num_layers": 2},
        ]
        if cls is nn.LSTM:
            forms += [
                {"proj_size": 3},
                {"proj_size": 3, "bidirectional": True, "num_layers": 2, "batch_first": True},
            ]
        if cls is nn.RNN:
            forms += [
                {"nonlinearity": "relu"},
                {"nonlinearity": "relu", "bidirectional": True, "batch_first": True},
            ]
        for kw in forms:
            yield m(f"{n} {kw}", cls(D, 6, **kw), (5, 3, D))
        yield m(f"{n} batchless", cls(D, 6), (5, D))
        yield m(
            f"{n} open time",
            cls(D, 6, batch_first=True),
            (3, 5, D),
            dynamic={"input": {0: "batch", 1: "time"}},
        )
        layers = 2
        if cls is nn.LSTM:
            yield m(
                f"{n} states",
                _WithState(cls(D, 6, layers, batch_first=True)),
                (3, 5, D),
                (layers, 3, 6),
                (layers, 3, 6),
            )
            yield m(f"{n} states batchless", _WithState(cls(D, 6)), (5, D), (1, 6), (1, 6))
            yield m(
                f"{n} projected states",
                _WithState(cls(D, 6, proj_size=4)),
                (5, 3, D),
                (1, 3, 4),
                (1, 3, 6),
            )
        else:
            yield m(f"{n} state", cls(D, 6, layers, batch_first=True), (3, 5, D), (layers, 3, 6))
            yield m(f"{n} state batchless", cls(D, 6), (5, D), (1, 6))
        yield m(
            f"{n} both state", _Zeros(cls(D, 6, bidirectional=True, batch_first=True)), (3, 5, D)
        )
        yield m(
            f"{n} packed",
            _Packed(cls(D, 6, batch_first=True)),
            (3, 5, D),
            lambda: torch.tensor([5, 4, 2]),
        )
        yield m(
            f"{n} packed both unsorted",
            _Packed(cls(D, 6, batch_first=True, bidirectional=True), False),
            (3, 5, D),
            lambda: torch.tensor([2, 5, 3]),
        )
        yield m(f"{n} one step", cls(D, 6), (1, 3, D))
        yield m(f"half {n}", cls(D, 6).half(), lambda: torch.randn(5, 3, D).half())
        yield m(f"bf16 {n}", cls(D, 6).bfloat16(), lambda: torch.randn(5, 3, D).bfloat16())
    yield m("LSTMCell", nn.LSTMCell(D, 6), (3, D))
    yield m("LSTMCell state", _WithState(nn.LSTMCell(D, 6)), (3, D), (3, 6), (3, 6))
    yield m("GRUCell", nn.GRUCell(D, 6), (3, D), (3, 6))
    yield m("RNNCell", nn.RNNCell(D, 6, nonlinearity="relu"), (3, D))
    yield m("GRUCell batchless", nn.GRUCell(D, 6), (D,))
    yield m("cells unrolled", _Unrolled(), (3, 5, D))
    yield m("LSTM last state", _Last(nn.LSTM(D, 6, batch_first=True)), (3, 5, D))
    yield m("GRU last output", _LastOut(nn.GRU(D, 6, batch_first=True)), (3, 5, D))


class _WithState(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        return self.rnn(x, (h, c))


class _Zeros(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> Any:
        h = torch.zeros(2, x.shape[0], 6)
        return self.rnn(x, (h, h + 1) if isinstance(self.rnn, nn.LSTM) else h)


class _Packed(nn.Module):
    def __init__(self, rnn: nn.Module, ordered: bool = True) -> None:
        super().__init__()
        self.rnn, self.ordered = rnn, ordered

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, self.ordered)
        out, state = self.rnn(packed)
        return nn.utils.rnn.pad_packed_sequence(out, True)[0], state


class _Unrolled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(D, 6)

    def forward(self, x: Tensor) -> Any:
        h = c = x.new_zeros(x.shape[0], 6)
        found = []
        for step in range(x.shape[1]):
            h, c = self.cell(x[:, step], (h, c))
            found.append(h)
        return torch.stack(found, 1)


class _Last(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn, self.out = rnn, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.rnn(x)[1][0][-1])


class _LastOut(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn, self.out = rnn, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.rnn(x)[0][:, -1])
