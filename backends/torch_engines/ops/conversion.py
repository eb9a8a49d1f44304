"""Quantize and dequantize in float, where no kernel takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from qcompiler.backends.torch_engines.ops.operands import torch_dtype


def _along(parameter: Tensor, x: Tensor, axis: int, block_size: int) -> Tensor:
    """The parameter broadcast to `x`: per tensor, per axis or per block of `axis`."""
    if parameter.dim() == 0 or parameter.numel() == 1:
        return parameter.reshape(())
    if block_size:
        return parameter.repeat_interleave(block_size, dim=axis).narrow(axis, 0, x.shape[axis])
    return parameter.reshape([-1 if i == axis % x.dim() else 1 for i in range(x.dim())])


def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    saturate: int = 1,
    precision: int = 0,
) -> Tensor:
    """QuantizeLinear: clamp(round_half_even(x / scale) + zero point)."""
    del saturate, precision
    dtype = zero_point.dtype if zero_point is not None else torch.uint8
    dtype = torch_dtype(output_dtype) if output_dtype else dtype
    y = torch.round(x / _along(scale, x, axis, block_size))
    if zero_point is not None:
        y = y + _along(zero_point.to(torch.float32), x, axis, block_size)
    limits = torch.iinfo(dtype)
    return y.clamp(limits.min, limits.max).to(torch.int32).to(dtype)


def dequantize_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """DequantizeLinear: (x - zero point) * scale."""
    del output_dtype
    y = x.to(torch.int32)
    if zero_point is not None:
        y = y - _along(zero_point.to(torch.int32), x, axis, block_size)
    return y.to(scale.dtype) * _along(scale, x, axis, block_size)


def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DynamicQuantizeLinear: uint8 over the operand's own range widened to hold 0."""
    low, high = torch.aminmax(x)
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round(torch.clamp(-low / scale, 0, 255)).nan_to_num(0)
    y = torch.clamp(torch.round(x / scale).nan_to_num(0) + zero, 0, 255)
    return y.to(torch.uint8), scale, zero.to(torch.uint8)
