"""Functions of two tensors, of tensors and numbers, of many types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.torch_cases.case import (
    B,
    Case,
    bools,
    ints,
    of_function,
    positive,
)

_BINARY = (
    "add sub mul div true_divide floor_divide fmod remainder pow maximum minimum fmax fmin atan2 "
    "hypot logaddexp logaddexp2 copysign eq ne lt le gt ge xlogy logical_and logical_or "
    "logical_xor heaviside nextafter float_power rsub"
).split()


def by_name() -> Iterator[Case]:
    for name in _BINARY:
        op = getattr(torch, name)
        second: Any = (
            positive(4, 5, 6)
            if name in ("pow", "float_power", "xlogy", "fmod", "remainder", "floor_divide")
            else B
        )
        pos = name in ("pow", "float_power")
        yield of_function(
            name, lambda x, y, op=op, pos=pos: op(x.abs() + 0.1 if pos else x, y), B, second
        )
        yield of_function(
            f"{name} broadcast",
            lambda x, y, op=op, pos=pos: op(x.abs() + 0.1 if pos else x, y),
            B,
            positive(5, 1),
        )
        if name not in (
            "heaviside",
            "nextafter",
            "copysign",
            "hypot",
            "logaddexp",
            "logaddexp2",
            "rsub",
        ):
            yield of_function(
                f"int {name}",
                lambda x, y, op=op: op(x, y),
                ints(4, 5),
                lambda: torch.randint(1, 4, (4, 5)),
            )
            yield of_function(
                f"int-float {name}", lambda x, y, op=op: op(x, y), ints(4, 5), positive(4, 5)
            )
        if name not in (
            "maximum",
            "minimum",
            "fmax",
            "fmin",
            "atan2",
            "hypot",
            "logaddexp",
            "logaddexp2",
            "logical_and",
            "logical_or",
            "logical_xor",
            "heaviside",
            "nextafter",
        ):
            yield of_function(
                f"{name} scalar", lambda x, op=op, pos=pos: op(x.abs() + 0.1 if pos else x, 2), B
            )
            yield of_function(f"int {name} float scalar", lambda x, op=op: op(x, 2.5), ints(4, 5))
    yield of_function("add alpha", lambda x, y: torch.add(x, y, alpha=2.5), B, B)
    yield of_function("sub alpha", lambda x, y: torch.sub(x, y, alpha=-3), B, B)
    yield of_function("rsub alpha", lambda x: torch.rsub(x, 3, alpha=2), B)
    yield of_function(
        "div floor", lambda x, y: torch.div(x, y, rounding_mode="floor"), B, positive(5, 6)
    )
    yield of_function(
        "div trunc", lambda x, y: torch.div(x, y, rounding_mode="trunc"), B, positive(5, 6)
    )
    yield of_function(
        "int div floor",
        lambda x, y: torch.div(x - 3, y, rounding_mode="floor"),
        ints(4, 5),
        lambda: torch.randint(1, 4, (4, 5)),
    )
    yield of_function(
        "int div trunc",
        lambda x, y: torch.div(x - 3, y, rounding_mode="trunc"),
        ints(4, 5),
        lambda: torch.randint(1, 4, (4, 5)),
    )
    yield of_function(
        "int div trunc scalar", lambda x: torch.div(x - 3, 2, rounding_mode="trunc"), ints(4, 5)
    )
    yield of_function("int // negative", lambda x: (x - 3) // 2, ints(4, 5))
    yield of_function("int % negative", lambda x: (x - 3) % 3, ints(4, 5))
    yield of_function("int fmod negative", lambda x: torch.fmod(x - 3, 3), ints(4, 5))
    yield of_function("float % negative", lambda x: x % 0.7, B)
    yield of_function("float % -", lambda x: x % -0.7, B)
    yield of_function("float //", lambda x: x // 0.7, B)
    yield of_function("pow int tensor", lambda x, y: x**y, B, ints(4, 5, 6, high=4))
    yield of_function("pow scalar base", lambda x: 2**x, B)


def mixed() -> Iterator[Case]:
    yield of_function("pow -1", lambda x: (x.abs() + 1) ** -1, B)
    yield of_function("pow 0.5", lambda x: x.abs() ** 0.5, B)
    yield of_function("int cube", lambda x: x**3, ints(4, 5))
    yield of_function("addcmul", lambda x, y, z: torch.addcmul(x, y, z, value=0.5), B, B, (5, 1))
    yield of_function(
        "addcdiv", lambda x, y, z: torch.addcdiv(x, y, z, value=-2), B, B, positive(5, 1)
    )
    yield of_function("lerp", lambda x, y: torch.lerp(x, y, 0.3), B, B)
    yield of_function("lerp tensor", torch.lerp, B, B, positive(5, 6))
    yield of_function("where scalar", lambda x: torch.where(x > 0, x, 0.1), B)
    yield of_function("where scalars", lambda x: torch.where(x > 0, 1.0, -2.0), B)
    yield of_function("where int", lambda x: torch.where(x > 0, 1, 2), B)
    yield of_function("where types", lambda x, y: torch.where(x > 0, x, y), B, ints(4, 5, 6))
    yield of_function("where one", lambda x: torch.where(x > 0.4)[0], B)
    yield of_function(
        "masked_fill tensor", lambda x, m: x.masked_fill(m, torch.tensor(3.0)), B, bools(5, 6)
    )
    yield of_function("masked_fill int", lambda x, m: x.masked_fill(m, -7), ints(4, 5), bools(4, 5))
    yield of_function(
        "bitwise", lambda x, y: (x & y, x | y, x ^ y, ~x, x << 1, x >> 1), ints(4, 5), ints(4, 5)
    )
    yield of_function(
        "bitwise int32",
        lambda x, y: (x & y, x | 3, x ^ y, x << y, x >> y),
        lambda: torch.randint(0, 99, (4, 5), dtype=torch.int32),
        lambda: torch.randint(0, 5, (4, 5), dtype=torch.int32),
    )
    yield of_function(
        "bool ops",
        lambda x, y: (x & y, x | y, x ^ y, ~x, x + y, x * y, x == y),
        bools(4, 5),
        bools(4, 5),
    )
    yield of_function(
        "bool * float", lambda x, m: (x * m, x + m, m * 2, m * 2.5, m - 1.0), B, bools(5, 6)
    )
    yield of_function(
        "uint8",
        lambda x: (x + 1, x * 2, x / 2, x // 3, x.float() / 255, x - 1),
        lambda: torch.randint(0, 255, (4, 5), dtype=torch.uint8),
    )
    yield of_function(
        "int8",
        lambda x: (x + 1, x * 2, x / 2, x // 3, -x, x.abs()),
        lambda: torch.randint(-100, 100, (4, 5), dtype=torch.int8),
    )
    yield of_function(
        "int16",
        lambda x: (x + 1, x * 2, x / 2, x // 3, -x, x.abs(), x.sum(1), x.clamp(2, 5)),
        lambda: torch.randint(-100, 100, (4, 5), dtype=torch.int16),
    )
    yield of_function(
        "int32",
        lambda x: (
            x + 1,
            x * 2,
            x / 2,
            x // 3,
            -x,
            x.abs(),
            x.sum(1),
            x.cumsum(1),
            x.prod(1),
            x.max(1).values,
            x.argmax(1),
        ),
        lambda: torch.randint(-5, 5, (4, 5), dtype=torch.int32),
    )
    yield of_function(
        "int32 + int64",
        lambda x, y: (x + y, x * y, x / y, torch.maximum(x, y), x < y),
        lambda: torch.randint(-5, 5, (4, 5), dtype=torch.int32),
        ints(4, 5),
    )
    yield of_function(
        "half + float", lambda x, y: (x + y, x * y), lambda: torch.rand(4, 5).half(), (4, 5)
    )
    yield of_function(
        "double scalar tensor", lambda x: x * torch.tensor(2.0, dtype=torch.float64), B
    )
    yield of_function("equal", lambda x, y: torch.isclose(x, y, rtol=0.5, atol=0.3), B, B)
    yield of_function("gcd", torch.gcd, ints(4, 5), ints(4, 5))
    yield of_function("dist", lambda x, y: torch.dist(x, y, 3), B, B)
    yield of_function("ldexp", lambda x: torch.ldexp(x, torch.tensor(3)), B)
    yield of_function("threshold", lambda x: torch.threshold(x, 0.1, 20), B)
