"""Arguments in containers, optional ones, names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from benchmarks.torch_cases.called import Batch, Pair, Plain, Untyped, x
from benchmarks.torch_cases.called import arguments as a
from benchmarks.torch_cases.called import called as _case
from benchmarks.torch_cases.called import written as _module
from benchmarks.torch_cases.case import (
    Case,
)


def nests() -> Iterator[Case]:
    yield _case(
        "dataclass",
        _module("def forward(self, b): return self.layer(b.x) * b.scale"),
        lambda: (Batch(x(), x()),),
        lambda: a(Batch(x(9), x(9))),
        lambda: a(b=Batch(x(1), x(1))),
        lambda: a(Batch(x(), x(), x())),
    )
    yield _case(
        "dataclass alone",
        _module("def forward(self, b): return self.layer(b.x) * b.scale"),
        lambda: Batch(x(), x()),
        lambda: a(Batch(x(9), x(9))),
    )
    yield _case(
        "dataclass result",
        _module("def forward(self, b): return Batch(self.layer(b), b)"),
        lambda: (x(),),
        lambda: a(x(9)),
    )
    yield _case(
        "dataclass unregistered",
        _module("def forward(self, b): return self.layer(b.x) * b.scale"),
        lambda: (Plain(x(), x()),),
        lambda: a(Plain(x(9), x(9))),
    )
    yield _case(
        "dict",
        _module("def forward(self, d): return {'out': self.layer(d['x']) + d['y']}"),
        lambda: ({"x": x(), "y": x()},),
        lambda: a({"x": x(9), "y": x(9)}),
        lambda: a({"y": x(9), "x": x(9)}),
        lambda: a({"x": x(), "y": x(), "z": x()}),
        lambda: a({"x": x()}),
    )
    yield _case(
        "OrderedDict",
        _module("def forward(self, d): return OrderedDict(out=self.layer(d['x']) + d['y'])"),
        lambda: (OrderedDict(x=x(), y=x()),),
        lambda: a(OrderedDict(y=x(9), x=x(9))),
        lambda: a(OrderedDict(x=x(9), y=x(9))),
        lambda: a({"x": x(9), "y": x(9)}),
    )
    yield _case(
        "NamedTuple",
        _module("def forward(self, p): return Pair(self.layer(p.x), p.y)"),
        lambda: (Pair(x(), x()),),
        lambda: a(Pair(x(9), x(9))),
        lambda: a((x(9), x(9))),
    )
    yield _case(
        "namedtuple",
        _module("def forward(self, p): return Untyped(self.layer(p.x), p.y)"),
        lambda: (Untyped(x(), x()),),
        lambda: a(Untyped(x(9), x(9))),
    )
    yield _case(
        "nested lists",
        _module("def forward(self, l): return [self.layer(l[0]), [l[1][0] + 1, (l[1][1],)]]"),
        lambda: ([x(), [x(), x()]],),
        lambda: a([x(9), [x(9), x(9)]]),
        lambda: a([x(9), (x(9), x(9))]),
        lambda: a([x(9), [x(9)]]),
    )
    yield _case(
        "optional None",
        _module(
            "def forward(self, x, m=None): return self.layer(x) if m is None else self.layer(x) * m"
        ),
        lambda: (x(),),
        lambda: a(x(9)),
        lambda: a(x(9), None),
        lambda: a(x(9), m=None),
        lambda: a(x(9), x(9)),
    )
    yield _case(
        "optional given",
        _module(
            "def forward(self, x, m=None): return self.layer(x) if m is None else self.layer(x) * m"
        ),
        lambda: (x(), x()),
        lambda: a(x(9), x(9)),
        lambda: a(x(9), None),
        lambda: a(x(9)),
        lambda: a(m=x(9), x=x(9)),
    )
    yield _case(
        "None in a list",
        _module("def forward(self, l): return self.layer(l[0]) if l[1] is None else l[1]"),
        lambda: ([x(), None],),
        lambda: a([x(9), None]),
        lambda: a([x(9), x(9)]),
    )
    yield _case(
        "kwargs only",
        _module("def forward(self, *, x, y): return self.layer(x) + y"),
        lambda: {"x": x(), "y": x()},
        lambda: a(y=x(9), x=x(9)),
        lambda: a(x(9), x(9)),
    )
    yield _case(
        "**kwargs",
        _module("def forward(self, **kw): return self.layer(kw['x']) + kw.get('y', 0)"),
        lambda: {"x": x(), "y": x()},
        lambda: a(y=x(9), x=x(9)),
        lambda: a(x=x(9)),
        lambda: a(x=x(9), y=x(9), z=x(9)),
    )
    yield _case(
        "*args",
        _module("def forward(self, *xs): return self.layer(sum(xs))"),
        lambda: (x(), x()),
        lambda: a(x(9), x(9)),
        lambda: a(x(9)),
        lambda: a(x(9), x(9), x(9)),
    )
    yield _case(
        "x and **kwargs",
        _module("def forward(self, x, **kw): return self.layer(x) * kw.get('gain', 1.0)"),
        lambda: (x(), {"gain": 2.0}),
        lambda: a(x(9), gain=2.0),
        lambda: a(x(9), gain=3.0),
        lambda: a(x(9)),
    )
