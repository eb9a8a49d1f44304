"""Types of modules and arguments; TorchScript and captured modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.torch_cases.called import W, x
from benchmarks.torch_cases.called import arguments as a
from benchmarks.torch_cases.called import called as _case
from benchmarks.torch_cases.called import written as _module
from benchmarks.torch_cases.case import (
    Case,
)


def _net() -> nn.Module:
    return nn.Sequential(nn.Linear(W, W), nn.ReLU(), nn.Linear(W, 3)).eval()


def typed_modules() -> Iterator[Case]:
    yield _case(
        "bfloat16", _net().bfloat16(), lambda: (x().bfloat16(),), lambda: a(x(9).bfloat16())
    )
    yield _case("float16", _net().half(), lambda: (x().half(),), lambda: a(x(9).half()))
    yield _case("float64", _net().double(), lambda: (x().double(),), lambda: a(x(9).double()))
    for dtype in (torch.bfloat16, torch.float16):
        yield _case(
            f"autocast {dtype}",
            _module(
                "def forward(self, x):\n with torch.autocast('cpu', dtype=D): y = self.layer(x)\n"
                " return y.float() + 1",
                D=dtype,
            ),
            lambda: (x(),),
            lambda: a(x(9)),
        )
        yield _case(
            f"autocast out {dtype}",
            _module(
                "def forward(self, x):\n with torch.autocast('cpu', dtype=D): return self.layer(x)",
                D=dtype,
            ),
            lambda: (x(),),
            lambda: a(x(9)),
        )
    yield _case(
        "embedded ids",
        nn.Sequential(nn.Embedding(9, W), nn.Linear(W, 2)).eval(),
        lambda: (torch.randint(0, 9, (4, 3)),),
        lambda: a(torch.randint(0, 9, (9, 3))),
        lambda: a(torch.randint(0, 9, (4, 3), dtype=torch.int32)),
    )
    yield _case(
        "uint8 image",
        _module("def forward(self, x): return self.layer(x.float() / 255)"),
        lambda: (torch.randint(0, 255, (4, W), dtype=torch.uint8),),
        lambda: a(torch.randint(0, 255, (9, W), dtype=torch.uint8)),
    )
    yield _case(
        "bool mask",
        _module("def forward(self, x, m): return self.layer(x).masked_fill(m, 0)"),
        lambda: (x(), x() > 0),
        lambda: a(x(9), x(9) > 0),
        lambda: a(x(9), (x(9) > 0).float()),
    )
    yield _case(
        "scalar types",
        _module("def forward(self, x, n): return self.layer(x) * n + n.float()"),
        lambda: (x(), torch.tensor(3)),
        lambda: a(x(9), torch.tensor(5)),
        lambda: a(x(9), 5),
    )


def scripts() -> Iterator[Case]:
    net = _net()
    jit: Any = torch.jit
    yield _case("traced", jit.trace(net, x()), lambda: (x(),), lambda: a(x(9)))
    yield _case("scripted", jit.script(net), lambda: (x(),), lambda: a(x(9)))
    yield _case("frozen", jit.freeze(jit.trace(net, x())), lambda: (x(),), lambda: a(x(9)))

    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(W, W)

        def forward(self, x: Tensor, m: Tensor | None = None, k: float = 2.0) -> Any:
            y = self.layer(x) * k
            if m is not None:
                y = y * m
            return y

    try:
        scripted = jit.script(Optional().eval())
    except Exception:  # noqa: BLE001 - not every torch scripts what has no file
        return
    yield _case(
        "scripted optional",
        scripted,
        lambda: (x(),),
        lambda: a(x(9)),
        lambda: a(x(9), x(9)),
        lambda: a(x(9), None, 2.0),
        lambda: a(x(9), k=3.0),
    )
    exported = torch.export.export(net, (x(),), dynamic_shapes=({0: torch.export.Dim("b")},))
    yield _case("GraphModule", exported.module(), lambda: (x(),), lambda: a(x(9)))
    yield _case("fx", torch.fx.symbolic_trace(net), lambda: (x(),), lambda: a(x(9)))
