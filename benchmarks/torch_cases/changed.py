"""Arguments that forward changes or returns; calls that do not fit."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.torch_cases.called import W, x
from benchmarks.torch_cases.called import arguments as a
from benchmarks.torch_cases.called import called as _case
from benchmarks.torch_cases.called import written as _module
from benchmarks.torch_cases.case import (
    Case,
)


def changed() -> Iterator[Case]:
    yield _case(
        "in place view",
        _module("def forward(self, x): y = x[:, :3]; y.zero_(); return self.layer(x)"),
        lambda: (x(),),
        lambda: a(x(9)),
    )
    yield _case(
        "in place dict",
        _module("def forward(self, d): d['x'] = self.layer(d['x']); return d['x'] * 2"),
        lambda: ({"x": x()},),
        lambda: a({"x": x(9)}),
    )
    yield _case(
        "returns input",
        _module("def forward(self, x): return x, self.layer(x), x"),
        lambda: (x(),),
        lambda: a(x(9)),
    )
    yield _case(
        "returns parameter",
        _module("def forward(self, x): return self.layer(x), self.layer.weight, torch.ones(2)"),
        lambda: (x(),),
        lambda: a(x(9)),
    )
    yield _case(
        "returns shape",
        _module("def forward(self, x): return self.layer(x), x.shape[0], x.shape[1]"),
        lambda: (x(),),
        lambda: a(x(9)),
    )
    yield _case(
        "returns None",
        _module("def forward(self, x): return self.layer(x), None, 'text', 2.5, True"),
        lambda: (x(),),
        lambda: a(x(9)),
    )
    yield _case(
        "unused argument",
        _module("def forward(self, x, y): return self.layer(x)"),
        lambda: (x(), x()),
        lambda: a(x(9), x(9)),
        lambda: a(x(9)),
    )
    yield _case(
        "argument named weight",
        _module(
            "def forward(self, weight, layer_weight): return self.layer(weight) + layer_weight"
        ),
        lambda: (x(), x()),
        lambda: a(x(9), x(9)),
        lambda: a(weight=x(9), layer_weight=x(9)),
    )
    yield _case(
        "argument named input output",
        _module("def forward(self, input, output, self_=None): return self.layer(input) + output"),
        lambda: (x(), x()),
        lambda: a(input=x(9), output=x(9)),
    )
    yield _case(
        "argument named val",
        _module("def forward(self, linear, add, relu): return (self.layer(linear) + add) * relu"),
        lambda: (x(), x(), x()),
        lambda: a(x(9), x(9), x(9)),
        lambda: a(relu=x(9), add=x(9), linear=x(9)),
    )
    yield _case(
        "batch of rows",
        _module("def forward(self, x): return self.layer(x)[0] if len(x) == 1 else self.layer(x)"),
        lambda: (x(),),
        lambda: a(x(1)),
        lambda: a(x(9)),
    )
    yield _case(
        "empty batch",
        _module("def forward(self, x): return self.layer(x)"),
        lambda: (x(),),
        lambda: a(x(0)),
        lambda: a(x(1)),
    )
    yield _case(
        "wrong width",
        _module("def forward(self, x): return self.layer(x)"),
        lambda: (x(),),
        lambda: a(torch.randn(4, W + 1)),
        lambda: a(torch.randn(W)),
        lambda: a(torch.randn(2, 4, W)),
    )
    yield _case(
        "wrong type",
        _module("def forward(self, x): return self.layer(x)"),
        lambda: (x(),),
        lambda: a(x().double()),
        lambda: a(x().long()),
        lambda: a("text"),
        lambda: a(None),
        a,
    )
    yield _case(
        "non contiguous",
        _module("def forward(self, x): return self.layer(x)"),
        lambda: (torch.randn(W, 4).t(),),
        lambda: a(torch.randn(W, 9).t()),
        lambda: a(x(18)[::2]),
    )
    yield _case(
        "requires grad",
        _module("def forward(self, x): return self.layer(x)"),
        lambda: (x().requires_grad_(),),
        lambda: a(x(9).requires_grad_()),
    )
