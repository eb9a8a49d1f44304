"""Operands of the integer reference: integers with their parameters, and attribute access."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.quantization.biases import bias_scale, bias_steps, quantize_bias
from qcompiler.quantization.numerics import dequantize, expand, quantize, requantize
from qcompiler.quantization.qspace import FloatArray, QParams

Array = npt.NDArray[Any]
Attributes = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class QuantizedOperand:
    """Integers and what they stand for.

    Attributes:
        data: Integers of the space's storage type, any shape.
        params: Per tensor for activations; per tensor or channel for weights.
    """

    data: Array
    params: QParams

    @classmethod
    def of(cls, array: Array, params: QParams) -> QuantizedOperand:
        """Quantizes a float array."""
        return cls(quantize(array, params), params)

    @property
    def real(self) -> FloatArray:
        """The float32 values, as DequantizeLinear gives them."""
        return dequantize(self.data, self.params)

    @property
    def centred(self) -> npt.NDArray[np.float64]:
        """Integers minus zero point, in float64 for exact BLAS products."""
        zero = expand(self.params.zero_point, self.data.shape, self.params)
        return (self.data.astype(np.int64) - zero).astype(np.float64)


Operand = QuantizedOperand | Array
Kernel = Callable[
    [
        Attributes,
        Sequence[Operand],
        QuantizedOperand | None,
        Array | None,
        QParams | None,
    ],
    Array,
]
"""(attributes, activations, weight, bias, output parameters) to integers or float32."""


def as_quantized(operand: Operand, position: int) -> QuantizedOperand:
    """The operand, which must be quantized.

    Raises:
        ConfigurationError: It is a plain array.
    """
    if not isinstance(operand, QuantizedOperand):
        raise ConfigurationError(f"operand {position} of an integer kernel is not quantized")
    return operand


def as_real(operand: Operand) -> FloatArray:
    """Float32 values of a quantized or plain operand."""
    if isinstance(operand, QuantizedOperand):
        return operand.real
    return np.asarray(operand, np.float32)


def finish(
    accumulator: npt.NDArray[np.float64],
    left: QParams,
    right: QParams,
    bias: Array | None,
    output: QParams | None,
    channel_axis: int,
) -> Array:
    """Accumulator to output: int32 bias, float32 multiplier, half to even, clamp.

    Sums are int32 and wrap around as kernels' do; with 16-bit operands they are int64.

    The multiplier is (left scale * right scale) / output scale, each step in float32, as in ONNX
    Runtime's QLinearConv, QGemm and QLinearMatMul. Without `output` the result is float32.

    Args:
        accumulator: Exact sums of products; |values| < 2**53.
        left: Per tensor.
        right: Per tensor or per channel.
        bias: int32 accumulator steps or float32 values, [C] or broadcastable; None for none.
        output: Per tensor.
        channel_axis: Where the channels lie in the accumulator, counted from the end (negative).
    """
    step = bias_scale(left.scale, right.scale)
    total = accumulator.astype(np.int64)
    wide = is_wide(left, right)
    if bias is not None:
        rounded = bias_steps if wide else quantize_bias
        whole = bias if bias.dtype == np.int32 else rounded(bias, left.scale, right.scale)
        total = total + along_channels(whole, channel_axis).astype(np.int64)
    sums = total if wide else total.astype(np.int32)
    if output is None:
        return np.asarray(sums.astype(np.float32) * along_channels(step, channel_axis))
    multiplier = along_channels(np.asarray(step / output.scale), channel_axis)
    return requantize(sums, multiplier, int(output.zero_point), output.space)


def is_wide(left: QParams, right: QParams) -> bool:
    """Whether products leave int32 after a few: 16 by 8 or 16 bits have accumulators of 64."""
    return max(left.space.storage_bits, right.space.storage_bits) > 8


def along_channels(values: Array, channel_axis: int) -> Array:
    """Values per channel, shaped for an axis that is counted from the end; others as they are."""
    return values.reshape((-1,) + (1,) * (-channel_axis - 1)) if values.ndim == 1 else values


def integers(attributes: Attributes, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """A list attribute as a tuple of ints."""
    return tuple(int(item) for item in attributes.get(name, default))


def require_finite(x: Array) -> None:
    """Raises ConfigurationError for data without a range that it could be quantized by."""
    if not np.isfinite(x).all():
        raise ConfigurationError("its data is not finite, and has no range to be quantized by")
