"""Reductions over axes; no axes means all, or none with `noop_with_empty_axes`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.ops.operands import Ints, axes_of, ints

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _reduce(x: Tensor, axes: Ints | None, keep: int, noop: int, function: Reduction) -> Tensor:
    if axes is None or not ints(axes):
        if noop:
            return function(x.unsqueeze(0), [0], False)
        axes = None
    if x.dim() == 0:
        return function(x.unsqueeze(0), [0], False)
    return function(x, axes_of(axes, x.dim()), bool(keep))


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(dim=axis, keepdim=keep, dtype=x.dtype)
    return x


def _extreme(x: Tensor, axes: list[int], keep: bool, sign: int) -> Tensor:
    """Maximum (sign 1) or minimum; over no elements the end of the type's range."""
    if all(x.shape[axis] for axis in axes):
        return x.amax(axes, keep) if sign > 0 else x.amin(axes, keep)
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    if not keep:
        shape = [size for axis, size in enumerate(x.shape) if axis not in axes]
    return torch.full(shape, _worst(x.dtype, sign), dtype=x.dtype)


def _worst(dtype: torch.dtype, sign: int) -> float | int | bool:
    if dtype.is_floating_point:
        return -sign * float("inf")
    if dtype == torch.bool:
        return sign < 0
    limits = torch.iinfo(dtype)
    return limits.min if sign > 0 else limits.max


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(dim=axes, keepdim=keep, dtype=x.dtype)


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    """Of integers the quotient towards zero; 0 over no elements, as ONNX Runtime has it."""
    if x.dtype.is_floating_point:
        return x.mean(axes, keep)
    count = math.prod(x.shape[axis] for axis in axes)
    return torch.div(_sum(x, axes, keep), max(count, 1), rounding_mode="trunc")


def _in_float(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of real numbers; its value at integers is cut to one (ONNX: output type T)."""
    return function(x) if x.dtype.is_floating_point else function(x.double()).to(x.dtype)


def _log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return _in_float(lambda real: real.logsumexp(axes, keep), x)


def reduce_sum(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceSum."""
    return _reduce(x, axes, keepdims, noop_with_empty_axes, _sum)


def reduce_mean(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceMean."""
    return _reduce(x, axes, keepdims, noop_with_empty_axes, _mean)


def reduce_max(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceMax."""
    return _reduce(
        x, axes, keepdims, noop_with_empty_axes, lambda y, along, keep: _extreme(y, along, keep, 1)
    )


def reduce_min(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceMin."""
    return _reduce(
        x, axes, keepdims, noop_with_empty_axes, lambda y, along, keep: _extreme(y, along, keep, -1)
    )


def reduce_prod(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceProd."""
    return _reduce(x, axes, keepdims, noop_with_empty_axes, _product)


def reduce_l1(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceL1: sum of magnitudes."""
    return reduce_sum(x.abs(), axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)


def reduce_l2(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceL2: root of the sum of squares."""
    squares = reduce_sum_square(
        x, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes
    )
    return _in_float(torch.sqrt, squares)


def reduce_sum_square(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceSumSquare."""
    return reduce_sum(x * x, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)


def reduce_log_sum(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceLogSum."""
    total = reduce_sum(x, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)
    return _in_float(torch.log, total)


def reduce_log_sum_exp(
    x: Tensor, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """ReduceLogSumExp."""
    return _reduce(x, axes, keepdims, noop_with_empty_axes, _log_sum_exp)
