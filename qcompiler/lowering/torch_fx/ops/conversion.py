"""Quantize and dequantize in float, where no kernel takes them."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.element_types import FLOAT8, NARROW, torch_dtype
from qcompiler.lowering.torch_fx.ops.arithmetic import to_float8


def _along(parameter: Tensor, x: Tensor, axis: int, block_size: int) -> Tensor:
    """The parameter broadcast to `x`: per tensor, per axis or per block of `axis`."""
    if parameter.numel() == 1:
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
    """QuantizeLinear: clamp(round_half_even(x / scale) + zero point).

    `output_dtype` is the ONNX type of the result, which tells 4 bits from 8.
    """
    del precision
    dtype = zero_point.dtype if zero_point is not None else torch.uint8
    dtype = torch_dtype(output_dtype) if output_dtype else dtype
    steps = x / _along(scale, x, axis, block_size)
    if dtype in FLOAT8:
        return to_float8(steps, dtype, bool(saturate))
    y = torch.round(steps)
    if zero_point is not None:
        y = y + _along(zero_point.to(torch.float32), x, axis, block_size)
    low, high = _limits(dtype, output_dtype)
    return y.clamp(low, high).to(torch.int32).to(dtype)


def _limits(dtype: torch.dtype, code: int) -> tuple[int, int]:
    kind = NARROW.get(ir.DataType(code)) if code else None
    if kind is None:
        limits = torch.iinfo(dtype)
        return limits.min, limits.max
    bits, signed = kind
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


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
    wide = torch.float32 if x.dtype.is_floating_point else torch.int32
    y = x.to(wide)
    if zero_point is not None:
        y = y - _along(zero_point.to(wide), x, axis, block_size)
    real = y.to(scale.dtype) * _along(scale, x, axis, block_size)
    return real.to(torch_dtype(output_dtype)) if output_dtype else real


def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DynamicQuantizeLinear: uint8 over the operand's own range widened to hold 0."""
    low, high = torch.aminmax(x)
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round(torch.clamp(-low / scale, 0, 255)).nan_to_num(0)
    y = torch.clamp(torch.round(x / scale).nan_to_num(0) + zero, 0, 255)
    return y.to(torch.uint8), scale, zero.to(torch.uint8)
