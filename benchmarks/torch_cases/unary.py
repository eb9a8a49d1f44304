"""Functions of one tensor."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.torch_cases.case import (
    B,
    Case,
    ints,
    of_function,
)

_UNARY = (
    "abs absolute acos acosh arccos asin arcsin asinh atan arctan atanh ceil cos cosh "
    "deg2rad digamma erf erfc erfinv exp exp2 expm1 fix floor frac lgamma log log10 "
    "log1p log2 logit nan_to_num neg negative positive rad2deg reciprocal relu round "
    "rsqrt sgn sigmoid sign signbit sin sinc sinh sqrt square tan tanh trunc i0 "
    "isfinite isinf isnan isneginf isposinf logical_not isreal "
).split()
_DOMAIN = "acos arccos asin arcsin atanh erfinv logit".split()
_POSITIVE = "log log10 log2 log1p rsqrt sqrt digamma lgamma reciprocal acosh".split()


def unary() -> Iterator[Case]:
    for name in _UNARY:
        op = getattr(torch, name)
        if name in _DOMAIN:
            yield of_function(name, lambda x, op=op: op(torch.sigmoid(x) * 0.9), B)
        elif name in _POSITIVE:
            yield of_function(name, lambda x, op=op: op(x.abs() + 1.1), B)
        else:
            yield of_function(name, op, B)
    for name in (
        "abs neg sign square relu floor round ceil trunc sgn exp sqrt sigmoid tanh sin "
        "reciprocal logical_not bitwise_not isnan isfinite positive rsqrt"
    ).split():
        if name not in ("sqrt", "rsqrt"):
            yield of_function(f"int {name}", getattr(torch, name), ints(4, 5))
        if name != "bitwise_not":
            yield of_function(
                f"half {name}", getattr(torch, name), lambda: torch.rand(4, 5).half() + 0.1
            )
    for name in "exp relu_ sigmoid_ tanh_ neg_ abs_ sqrt_ clamp_min_ round_ floor_ zero_".split():
        inplace = name if name.endswith("_") else name + "_"
        args = (0.1,) if "clamp" in name else ()
        yield of_function(f"in place {name}", lambda x, n=inplace, a=args: getattr(x * 1, n)(*a), B)
    yield of_function("round decimals", lambda x: torch.round(x, decimals=2), B)
    yield of_function("round decimals -1", lambda x: torch.round(x * 30, decimals=-1), B)
    yield of_function(
        "nan_to_num args", lambda x: torch.nan_to_num(x / x.round(), nan=1, posinf=2, neginf=-3), B
    )
    yield of_function("logit eps", lambda x: torch.logit(x, eps=0.1), B)
    yield of_function("clamp both", lambda x: x.clamp(-0.5, 0.7), B)
    yield of_function("clamp min kw", lambda x: x.clamp(min=0.2), B)
    yield of_function(
        "clamp tensors",
        lambda x: torch.clamp(x, torch.full((6,), -0.4), torch.full((5, 1), 0.3)),
        B,
    )
    yield of_function("clamp min > max", lambda x: x.clamp(0.7, 0.2), B)
    yield of_function("int clamp float", lambda x: x.clamp(1.5, 3.2), ints(4, 5))
    yield of_function("clip tensor None", lambda x: torch.clip(x, None, torch.tensor(0.2)), B)
    yield of_function("polygamma", lambda x: torch.polygamma(1, x.abs() + 1), B)
    yield of_function("mvlgamma", lambda x: torch.mvlgamma(x.abs() + 3, 2), B)
    yield of_function(
        "special",
        lambda x: (
            torch.special.expit(x),
            torch.special.entr(x.abs()),
            torch.special.xlogy(x, x.abs() + 1),
            torch.special.ndtr(x),
            torch.special.log_softmax(x, 1),
            torch.special.softmax(x, -1),
            torch.special.logsumexp(x, 1),
            torch.special.i0e(x),
            torch.special.erfcx(x),
        ),
        B,
    )
