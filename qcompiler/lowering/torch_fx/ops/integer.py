"""Integer products that no quantized kernel takes: ConvInteger, QLinearConv, QLinearMatMul.

Sums are computed in float64, which holds every int32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.ops.convolution import conv


def _centred(values: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """values - zero point in float64; a vector of zero points lies along the axis."""
    wide = values.to(torch.float64)
    if zero is None:
        return wide
    return wide - _along(zero.to(torch.float64), wide, axis)


def _along(parameter: Tensor, x: Tensor, axis: int) -> Tensor:
    if parameter.numel() == 1:
        return parameter.reshape(())
    if parameter.dim() > 1:
        return parameter
    return parameter.reshape([-1 if i == axis % x.dim() else 1 for i in range(x.dim())])


def _requantized(real: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    limits = torch.iinfo(zero.dtype)
    steps = torch.round((real / scale.to(torch.float64)).to(torch.float32)) + zero
    return steps.clamp(limits.min, limits.max).to(torch.int32).to(zero.dtype)


def conv_integer(
    x: Tensor,
    w: Tensor,
    x_zero: Tensor | None = None,
    w_zero: Tensor | None = None,
    **attributes: Any,
) -> Tensor:
    """ConvInteger: int32 sums."""
    sums = conv(_centred(x, x_zero, 1), _centred(w, w_zero, 0), None, **attributes)
    return sums.to(torch.int32)


def qlinear_conv(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    b: Tensor | None = None,
    **attributes: Any,
) -> Tensor:
    """QLinearConv."""
    bias = None if b is None else b.to(torch.float64)
    sums = conv(_centred(x, x_zero, 1), _centred(w, w_zero, 0), bias, **attributes)
    step = x_scale.to(torch.float64) * _along(w_scale.to(torch.float64), sums, 1)
    return _requantized(sums * step, y_scale, y_zero)


def qlinear_matmul(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    """QLinearMatMul; parameters of `a` may be per row, of `b` per column."""
    sums = torch.matmul(_centred(a, a_zero, -2), _centred(b, b_zero, -1))
    left = _along(a_scale.to(torch.float64), sums, -2)
    right = _along(b_scale.to(torch.float64), sums, -1)
    return _requantized(sums * left * right, y_scale, y_zero)
