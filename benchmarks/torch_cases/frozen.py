"""Arguments that are no tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.torch_cases.called import W, x
from benchmarks.torch_cases.called import arguments as a
from benchmarks.torch_cases.called import called as _case
from benchmarks.torch_cases.called import written as _module
from benchmarks.torch_cases.case import (
    Case,
)


def frozen() -> Iterator[Case]:
    yield _case(
        "positional only",
        _module("def forward(self, x, /, y): return self.layer(x) + y"),
        lambda: (x(), x()),
        lambda: a(x(9), y=x(9)),
        lambda: a(x(9), x(9)),
    )
    yield _case(
        "number",
        _module("def forward(self, x, k=2): return self.layer(x) * k"),
        lambda: (x(), 3),
        lambda: a(x(9), 3),
        lambda: a(x(9), 2),
        lambda: a(x(9)),
        lambda: a(x(9), 3.0),
        lambda: a(x(9), np.int64(3)),
        lambda: a(x(9), k=torch.tensor(3)),
        lambda: a(x(9), True),
    )
    yield _case(
        "float number",
        _module("def forward(self, x, k=0.5): return self.layer(x) * k"),
        lambda: (x(), 0.25),
        lambda: a(x(9), 0.25),
        lambda: a(x(9), 0.5),
        lambda: a(x(9), np.float32(0.25)),
    )
    yield _case(
        "bool",
        _module("def forward(self, x, twice=False): return self.layer(x) * (2 if twice else 1)"),
        lambda: (x(), True),
        lambda: a(x(9), True),
        lambda: a(x(9), False),
        lambda: a(x(9)),
        lambda: a(x(9), 1),
        lambda: a(x(9), np.bool_(True)),
    )
    yield _case(
        "string",
        _module(
            "def forward(self, x, m='a'): return self.layer(x) if m == 'a' else -self.layer(x)"
        ),
        lambda: (x(), "b"),
        lambda: a(x(9), "b"),
        lambda: a(x(9), "a"),
        lambda: a(x(9)),
    )
    yield _case(
        "tuple of numbers",
        _module("def forward(self, x, s=(1, 2)): return self.layer(x) * s[0] + s[1]"),
        lambda: (x(), (3, 4)),
        lambda: a(x(9), (3, 4)),
        lambda: a(x(9), (3, 5)),
        lambda: a(x(9), [3, 4]),
    )
    yield _case(
        "list default",
        _module("def forward(self, x, s=[1, 2]): return self.layer(x) * s[0] + s[1]"),
        lambda: (x(),),
        lambda: a(x(9)),
        lambda: a(x(9), [1, 2]),
        lambda: a(x(9), [2, 2]),
    )
    yield _case(
        "dtype argument",
        _module("def forward(self, x, t=torch.float32): return self.layer(x).to(t)"),
        lambda: (x(), torch.float16),
        lambda: a(x(9), torch.float16),
        lambda: a(x(9), torch.float32),
        lambda: a(x(9)),
    )
    yield _case(
        "device argument",
        _module("def forward(self, x, d='cpu'): return self.layer(x).to(d)"),
        lambda: (x(), torch.device("cpu")),
        lambda: a(x(9), torch.device("cpu")),
        lambda: a(x(9)),
    )
    yield _case(
        "dict of numbers",
        _module("def forward(self, x, o={}): return self.layer(x) * o.get('k', 1)"),
        lambda: (x(), {"k": 2}),
        lambda: a(x(9), {"k": 2}),
        lambda: a(x(9), {"k": 3}),
        lambda: a(x(9), {}),
    )
    yield _case(
        "default tensor",
        _module("def forward(self, x, y=T): return self.layer(x) + y", T=torch.ones(W)),
        lambda: (x(),),
        lambda: a(x(9)),
        lambda: a(x(9), torch.zeros(W)),
    )
    yield _case(
        "0-d tensor",
        _module("def forward(self, x, k): return self.layer(x) * k"),
        lambda: (x(), torch.rand(())),
        lambda: a(x(9), torch.tensor(0.5)),
        lambda: a(x(9), 0.5),
        lambda: a(x(9), np.float32(0.5)),
    )
    yield _case(
        "numpy",
        _module("def forward(self, x, y): return self.layer(x) + y"),
        lambda: (x(), x()),
        lambda: a(x(9).numpy(), x(9).numpy()),
        lambda: a(x(9), x(9).numpy()),
    )
    yield _case(
        "same tensor twice",
        _module("def forward(self, x, y): return self.layer(x) + y"),
        lambda: (lambda t: (t, t))(x()),
        lambda: a(x(9), x(9)),
    )
    yield _case(
        "in place input",
        _module("def forward(self, x): x.mul_(2); return self.layer(x)"),
        lambda: (x(),),
        lambda: a(x(9)),
    )
    yield _case(
        "in place after use",
        _module("def forward(self, x): y = self.layer(x); x += 1; return y + x, x"),
        lambda: (x(),),
        lambda: a(x(9)),
    )
