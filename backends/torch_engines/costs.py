"""What it costs on this machine to enter and to leave integers with torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch

from qcompiler.execution.timing import fastest
from qcompiler.target.artifact import ConversionCost

_SIZES = ((1, 16, 16, 16), (1, 64, 64, 64))
_KERNEL_SECONDS = 3e-6
"""Dispatch of one more call; the smallest quantized calls take 2-4 µs."""
_ROUNDS = 25


@cache
def measure_conversions(threads: int | None) -> ConversionCost:
    """Times quantize_per_tensor and dequantize at two sizes: seconds per element.

    Convolutions give channels-last results, so that is the layout they are left in.
    """
    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            return ConversionCost(_slope(_quantize), _slope(_dequantize), _KERNEL_SECONDS)
    finally:
        torch.set_num_threads(before)


def _slope(made: Callable[[tuple[int, ...]], Callable[[], object]]) -> float:
    small, large = (fastest(made(shape), _ROUNDS) for shape in _SIZES)
    elements = [torch.Size(shape).numel() for shape in _SIZES]
    return max(large - small, 0.0) / (elements[1] - elements[0])


def _quantize(shape: tuple[int, ...]) -> Callable[[], object]:
    x = torch.rand(shape).contiguous(memory_format=torch.channels_last)
    return partial(torch.quantize_per_tensor, x, 0.01, 0, torch.quint8)


def _dequantize(shape: tuple[int, ...]) -> Callable[[], object]:
    x = torch.quantize_per_tensor(torch.rand(shape), 0.01, 0, torch.quint8)
    return x.contiguous(memory_format=torch.channels_last).dequantize
