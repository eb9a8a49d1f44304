"""Averages of quantized tensors, with output levels of their own.

torch's quantized pools keep the operand's scale, so a mean, whose range is much narrower, lost most
of its bits, and they round ties by memory layout and channel (measured, docs/torch-engines.md).
Here the operand is dequantized, averaged in float and quantized again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.ops import pooling, reduction


def average_pool(x: Tensor, scale: float, zero_point: int, **attributes: Any) -> Tensor:
    """AveragePool."""
    return _quantized(pooling.average_pool(x.dequantize(), **attributes), scale, zero_point)


def global_average(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """GlobalAveragePool."""
    return _quantized(pooling.global_average_pool(x.dequantize()), scale, zero_point)


def reduce_mean(
    x: Tensor,
    scale: float,
    zero_point: int,
    *,
    axes: Sequence[int] | None = None,
    **attributes: Any,
) -> Tensor:
    """ReduceMean."""
    return _quantized(reduction.reduce_mean(x.dequantize(), axes, **attributes), scale, zero_point)


def _quantized(real: Tensor, scale: float, zero_point: int) -> Tensor:
    return torch.quantize_per_tensor(real, scale, zero_point, torch.quint8)
