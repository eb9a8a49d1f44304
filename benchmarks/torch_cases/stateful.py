"""State, hooks, control flow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.torch_cases.called import W, x
from benchmarks.torch_cases.called import arguments as a
from benchmarks.torch_cases.called import called as _case
from benchmarks.torch_cases.case import (
    Case,
)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x: Tensor
        self.register_buffer("x", torch.ones(W))
        self.y: Tensor
        self.register_parameter("y", nn.Parameter(torch.full((W,), 2.0)))

    def forward(self, x: Tensor, y: Tensor) -> Any:
        return x * self.x + y * self.y


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(W, W), nn.Linear(W, W)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Any:
        return self.two(torch.relu(self.one(x)))


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(W, W) for _ in range(2)])
        self.named = nn.ModuleDict({"a": nn.Linear(W, W), "b.c".replace(".", "_"): nn.ReLU()})
        self.weights = nn.ParameterList([torch.ones(W), torch.zeros(W)])
        self.table = torch.arange(float(W))  # neither buffer nor parameter

    def forward(self, x: Tensor) -> Any:
        for layer in self.layers:
            x = layer(x)
        for each in self.named.values():
            x = each(x)
        return x * self.weights[0] + self.weights[1] + self.table


class Hooked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(W, W)
        self.layer.register_forward_hook(lambda m, i, o: o * 2)
        self.layer.register_forward_pre_hook(lambda m, i: (i[0] + 1,))

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


class Grad(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(W, W)

    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            y = self.layer(x)
        with torch.enable_grad():
            return y + self.layer(x).detach()


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(W, W)

    def forward(self, x: Tensor) -> Any:
        return torch.utils.checkpoint.checkpoint(self.layer, x, use_reentrant=False)


class Cond(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(W, W)

    def forward(self, x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, self.layer, lambda t: -t, (x,))


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Any:
        return t.clamp(min=0) * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(W, W)

    def forward(self, x: Tensor) -> Any:
        return Own.apply(  # type: ignore[no-untyped-call]
            self.layer(x)
        )


def stateful() -> Iterator[Case]:

    yield _case(
        "buffer named like an argument", Named().eval(), lambda: (x(), x()), lambda: a(x(9), x(9))
    )

    yield _case("tied", Tied().eval(), lambda: (x(),), lambda: a(x(9)))

    yield _case("lists of modules", Lists().eval(), lambda: (x(),), lambda: a(x(9)))

    yield _case("hooks", Hooked().eval(), lambda: (x(),), lambda: a(x(9)))

    yield _case("no_grad inside", Grad().eval(), lambda: (x(),), lambda: a(x(9)))

    yield _case("checkpoint", Checkpointed().eval(), lambda: (x(),), lambda: a(x(9)))

    yield _case(
        "torch.cond", Cond().eval(), lambda: (x(),), lambda: a(x(9)), lambda: a(-x(9).abs())
    )

    yield _case("autograd.Function", Custom().eval(), lambda: (x(),), lambda: a(x(9)))
    yield _case(
        "training mode",
        nn.Sequential(nn.Linear(W, W), nn.BatchNorm1d(W), nn.Dropout(0.5)).eval(),
        lambda: (x(),),
        lambda: a(x(9)),
    )
