"""Elementwise arithmetic, comparison, logic and type conversion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, TypeAlias

import onnx_ir as ir
import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.element_types import FLOAT8, NARROW, torch_dtype


def divide(a: Tensor, b: Tensor) -> Tensor:
    """Div; integers truncate towards zero."""
    if a.dtype.is_floating_point:
        return torch.div(a, b)
    return torch.div(a, b, rounding_mode="trunc")


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """Pow; the result has the base's type."""
    return torch.pow(base, exponent).to(base.dtype)


def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """Mod: sign of the divisor, or of the dividend with `fmod`."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def bit_shift(a: Tensor, b: Tensor, *, direction: str) -> Tensor:
    """BitShift, on unsigned integers (torch shifts them in int64)."""
    wide, by = a.to(torch.int64), b.to(torch.int64)
    shifted = torch.bitwise_left_shift(wide, by) if direction == "LEFT" else wide >> by
    return shifted.to(a.dtype)


def variadic_sum(*values: Tensor) -> Tensor:
    """Sum."""
    return reduce(torch.add, values)


def variadic_max(*values: Tensor) -> Tensor:
    """Max."""
    return reduce(torch.maximum, values)


def variadic_min(*values: Tensor) -> Tensor:
    """Min."""
    return reduce(torch.minimum, values)


def variadic_mean(*values: Tensor) -> Tensor:
    """Mean over the operands."""
    return reduce(torch.add, values) / len(values)


Bound: TypeAlias = "Tensor | float | Sequence[float] | None"


def _only(bound: Bound) -> Any:
    return bound[0] if isinstance(bound, Sequence) else bound


def clip(x: Tensor, low: Bound = None, high: Bound = None) -> Tensor:
    """Clip; with low > high everything becomes `high`, as `torch.clamp` does.

    Constant bounds are numbers: exporters know clamps by numbers, not by tensors.
    """
    if low is None and high is None:
        return x
    mixed = isinstance(low, Tensor) != isinstance(high, Tensor)
    if mixed and low is not None and high is not None:
        return clip(clip(x, low), None, high)
    return torch.clamp(x, _only(low), _only(high))


def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """Cast; `saturate` concerns float8 only, `round_mode` no type that torch has."""
    del round_mode
    dtype = torch_dtype(to)
    if dtype in FLOAT8:
        return to_float8(x, dtype, bool(saturate))
    if x.dtype.is_complex and not dtype.is_complex:
        x = x.real
    if x.dtype in FLOAT8 and not dtype.is_floating_point:
        x = x.to(torch.float32)
    return narrowed(x.to(dtype), to)


_E4M3_END = 464.0
"""Half a step above 448, the largest number of float8e4m3fn."""


def to_float8(x: Tensor, dtype: torch.dtype, saturate: bool) -> Tensor:
    """float8; what is too large becomes the largest number, or NaN or infinity."""
    wide = x.to(torch.float32)
    largest = torch.finfo(dtype).max
    if not saturate:
        if dtype == torch.float8_e4m3fn:  # torch saturates; ties at the end are rounded down
            wide = torch.where(wide.abs() > _E4M3_END, float("nan"), wide)
        return wide.to(dtype)
    return wide.clamp(-largest, largest).to(dtype)


def narrowed(x: Tensor, code: int) -> Tensor:
    """Integers of 4 and 2 bits, held in 8: the bits beyond are dropped."""
    kind = NARROW.get(ir.DataType(code))
    if kind is None:
        return x
    bits, signed = kind
    low = x & ((1 << bits) - 1)
    half = 1 << (bits - 1)
    return (low ^ half) - half if signed else low


def cast_like(
    x: Tensor, like: Tensor, *, to: int = 0, saturate: int = 1, round_mode: str = "up"
) -> Tensor:
    """CastLike; `to` is the ONNX type where it is known when the graph is built."""
    if to:
        return cast(x, to=to, saturate=saturate, round_mode=round_mode)
    if like.dtype in FLOAT8:
        return to_float8(x, like.dtype, bool(saturate))
    return x.to(like.dtype)


def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """IsInf, of either sign."""
    found = torch.zeros_like(x, dtype=torch.bool)
    if detect_positive:
        found = found | torch.isposinf(x)
    return found | torch.isneginf(x) if detect_negative else found
