"""Pooling in integers, any number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.elementwise import emit
from qcompiler.execution.integer.operand import (
    Array,
    Attributes,
    Operand,
    QuantizedOperand,
    as_quantized,
    as_real,
    integers,
)
from qcompiler.quantization.numerics import dequantize, quantize, requantize, round_saturate
from qcompiler.quantization.qspace import QParams


@dataclass(frozen=True)
class _Pooling:
    """Windows over the spatial axes; `pads` (before, after) include what ceil_mode reads."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    out: tuple[int, ...]

    @classmethod
    def of(cls, attributes: Attributes, size: Sequence[int]) -> _Pooling:
        """Geometry for an input of spatial `size` (ONNX MaxPool: output shape formula)."""
        if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", b"NOTSET", b"VALID"):
            raise ConfigurationError("auto_pad must be turned into pads first")
        kernel = integers(attributes, "kernel_shape", ())
        rank = len(size)
        strides = integers(attributes, "strides", [1] * rank)
        dilations = integers(attributes, "dilations", [1] * rank)
        given = integers(attributes, "pads", [0] * (2 * rank))
        out, pads = [], []
        for axis in range(rank):
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            before, after = given[axis], given[axis + rank]
            free = size[axis] + before + after - reach
            count = (
                -(-free // strides[axis])
                if attributes.get("ceil_mode", 0)
                else free // strides[axis]
            ) + 1
            if (count - 1) * strides[axis] >= size[axis] + before:
                count -= 1  # a window must start inside the input or its left padding
            needed = (count - 1) * strides[axis] + reach - size[axis] - before
            out.append(count)
            pads.append((before, max(after, needed)))
        return cls(kernel, strides, dilations, tuple(pads), tuple(out))

    def beyond(self, given: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        """What ceil_mode reads beyond the given pads, which no count includes."""
        return tuple((0, own[1] - each[1]) for own, each in zip(self.pads, given, strict=True))

    def taps(self, values: Array, fill: float) -> Iterator[Array]:
        """For every kernel position in row order, what the windows see there [N, C, *out]."""
        padded = np.pad(values, [(0, 0), (0, 0), *self.pads], constant_values=fill)
        for position in np.ndindex(*self.kernel):
            cuts = [
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, d, n, s in zip(position, self.dilations, self.out, self.strides, strict=True)
            ]
            yield padded[(slice(None), slice(None), *cuts)]


def max_pool(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """ONNX MaxPool on the integers; brought to other parameters only if the output has others."""
    operand = as_quantized(inputs[0], 0)
    plan = _Pooling.of(attributes, operand.data.shape[2:])
    lowest = operand.params.space.qmin
    best = np.maximum.reduce(list(plan.taps(operand.data.astype(np.int32), lowest)))
    data = best.astype(operand.data.dtype)
    if output is not None and output.same_as(operand.params):
        return np.asarray(data)
    real = dequantize(data, operand.params)
    return real if output is None else quantize(real, output)


def average_pool(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """QLinearAveragePool: float32 sums in window order, the zero point added before rounding.

    The rule is that of onnxruntime/contrib_ops/cpu/quantization/qlinear_pool.cc:
    round(mean / scale + zero point).
    """
    real = as_real(inputs[0])
    plan = _Pooling.of(attributes, real.shape[2:])
    total = np.zeros((*real.shape[:2], *plan.out), np.float32)
    for seen in plan.taps(real, 0.0):
        total = total + seen
    inside = np.ones((1, 1, *real.shape[2:]), np.float32)
    if attributes.get("count_include_pad", 0):
        rank = len(plan.out)
        flat = integers(attributes, "pads", [0] * (2 * rank))
        given = list(zip(flat[:rank], flat[rank:], strict=True))
        inside = np.pad(inside, [(0, 0), (0, 0), *given], constant_values=1.0)
        plan = replace(plan, pads=plan.beyond(given))
    counted = sum(plan.taps(inside, 0.0), np.zeros((1, 1, *plan.out), np.float32))
    mean = total / counted
    if output is None or output.space.storage_bits != 8:
        return emit(mean, output)
    shifted = mean / output.scale + output.zero_point.astype(np.float32)
    return round_saturate(shifted, np.int64(0), output.space)


def global_average_pool(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """QLinearGlobalAveragePool: int32 sum times scale / (output scale * pixels)."""
    operand = as_quantized(inputs[0], 0)
    axes = tuple(range(2, operand.data.ndim))
    sums = operand.centred.sum(axis=axes, keepdims=True).astype(np.int32)
    pixels = np.float32(np.prod(operand.data.shape[2:]))
    if output is None:
        return np.asarray(sums.astype(np.float32) * (operand.params.scale / pixels))
    multiplier = operand.params.scale / (output.scale * pixels)
    return requantize(sums, multiplier, int(output.zero_point), output.space)
