"""Rounding to integers and back: quantize, dequantize, requantize.

Rounding is half to even everywhere. Division and multiplication by a scale are done in float32, in
the order ONNX Runtime does them (its QuantizeLinear divides, it does not multiply by a reciprocal),
so results are bit-equal with it. Formulas: ONNX operator specification, QuantizeLinear; Jacob et
al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", equations 1 and 5. `parameters` has scales from ranges, `biases` int32 biases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.quantization import nonuniform
from qcompiler.quantization.qspace import FloatArray, QParams, QSpace

Array = npt.NDArray[Any]

_BLOCK = 1 << 18
"""Elements quantized at a time: what is between stays in the cache, and memory small."""
_EXACT_BITS = 16
"""Integers of as many bits are exact in float32, and so are their differences."""


def quantize(array: Array, params: QParams) -> Array:
    """Returns round(array / scale) + zero point, saturated to the space; as ORT, bit by bit.

    Infinities saturate; NaN becomes the lowest value, as it does in ORT. The quotient is float32,
    float64 for INT32 (which ORT does not quantize to; 24 bits would not do).

    Returns:
        An array of the space's storage type (ml_dtypes types for 2 and 4 bits and float8).
    """
    values = np.asarray(array, np.float32)
    if params.levels is not None:
        scale = expand(params.scale, values.shape, params)
        return nonuniform.indices(_steps(values, scale, params.space), params)
    if values.size <= _BLOCK or values.ndim == 0:
        return _quantized(values, params)
    found = np.empty(values.shape, params.space.dtype.numpy())
    for part in _parts(values, params):
        found[part] = _quantized(values[part], _of_rows(params, values, part))
    return found


def _parts(values: FloatArray, params: QParams) -> Iterator[slice]:
    """Rows that make up a block of elements, in whole groups where these lie along the rows."""
    rows = max(1, _BLOCK * len(values) // values.size)
    group = params.space.group_size
    if group is not None and _is_along_rows(params, values):
        rows = max(group, rows - rows % group)
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)


def _is_along_rows(params: QParams, values: FloatArray) -> bool:
    return params.axis is not None and params.axis % values.ndim == 0


def _of_rows(params: QParams, values: FloatArray, part: slice) -> QParams:
    """The parameters of these rows."""
    if params.axis is None or params.scale.ndim == 0:
        return params
    group = params.space.group_size
    if _is_along_rows(params, values):
        step = group or 1
        part = slice(part.start // step, -(-part.stop // step))
    elif group is None:
        return params
    return replace(params, scale=params.scale[part], zero_point=params.zero_point[part])


def _quantized(values: FloatArray, params: QParams) -> Array:
    scale, zero = (expand(each, values.shape, params) for each in (params.scale, params.zero_point))
    return _stored(values, scale, zero, params.space)


def _stored(values: FloatArray, scale: Array, zero: Array, space: QSpace) -> Array:
    """Float32 values in the space's storage type."""
    steps = _steps(values, scale, space)
    if not space.is_float:
        return round_saturate(steps, zero, space)
    np.clip(steps, space.qmin, space.qmax, out=steps)
    return np.asarray(steps.astype(space.dtype.numpy()))


def _steps(values: FloatArray, scale: Array, space: QSpace) -> Array:
    """Multiples of the scale, in float64 where 24 bits would not do."""
    exact = values.astype(np.float64) if space.storage_bits > 16 else values
    with np.errstate(over="ignore"):  # x / tiny scale may be inf, which saturates
        return np.asarray(exact / scale)


def dequantize(array: Array, params: QParams) -> FloatArray:
    """Returns scale * (array - zero point) in float32; the difference is exact."""
    if params.levels is not None:
        found = nonuniform.looked_up(array, params)
        return np.asarray(found * expand(params.scale, array.shape, params), np.float32)
    zero = expand(params.zero_point, array.shape, params)
    difference: FloatArray
    if params.space.is_float:
        difference = array.astype(np.float32)
    elif params.space.storage_bits <= _EXACT_BITS:
        difference = array.astype(np.float32)
        difference -= zero.astype(np.float32)
    else:
        difference = (array.astype(np.int64) - zero).astype(np.float32)
    scale = expand(params.scale, array.shape, params)
    return np.multiply(difference, scale, out=difference if scale.dtype == np.float32 else None)


def fake_quantize(array: Array, params: QParams) -> FloatArray:
    """`dequantize(quantize(array))`: the float values that the integers stand for."""
    return dequantize(quantize(array, params), params)


def round_saturate(steps: Array, zero: npt.NDArray[np.int64] | np.int64, space: QSpace) -> Array:
    """Returns round(steps) + zero, saturated to the space; NaN becomes the lowest value.

    Args:
        steps: float32 or float64 multiples of the scale.
        zero: Zero point, added after rounding; 0 for kernels that added it before.
        space: An integer space.
    """
    low = (space.qmin - zero).astype(steps.dtype)
    high = (space.qmax - zero).astype(steps.dtype)
    # fmax takes the number when the other operand is NaN. Clamping first keeps the cast defined.
    bounded = np.asarray(np.fmax(steps, low))
    np.rint(np.fmin(bounded, high, out=bounded), out=bounded)
    integers = bounded.astype(np.int32)
    integers += zero.astype(np.int32)
    return np.asarray(integers.astype(space.dtype.numpy()))


def requantize(
    accumulator: npt.NDArray[np.integer[Any]], multiplier: Array, zero_point: int, space: QSpace
) -> Array:
    """Accumulators to output integers: round(float32(acc) * multiplier) + zero point, saturated.

    The rule of ONNX Runtime's QLinear kernels (MlasRequantizeOutput): the accumulator is rounded to
    float32 first, then multiplied in float32, then rounded half to even.

    Args:
        accumulator: int32 or int64, any shape.
        multiplier: float32 input scale * weight scale / output scale, broadcast against it.
        zero_point: Of the output.
        space: Of the output.
    """
    product = accumulator.astype(np.float32) * np.asarray(multiplier, np.float32)
    return round_saturate(product, np.asarray(zero_point, np.int64), space)


def expand(values: Array, shape: tuple[int, ...], params: QParams) -> Array:
    """Scales or zero points in a shape that broadcasts against a tensor of `shape`.

    Raises:
        ConfigurationError: The parameters do not fit the tensor.
    """
    if params.axis is None or values.ndim == 0:
        if values.size != 1:
            raise ConfigurationError("per-channel parameters need an axis")
        return values
    axis = params.axis % len(shape) if shape else 0
    if params.space.group_size is not None and not params.space.is_table:
        spread = np.repeat(values, params.space.group_size, axis=axis)
        spread = spread[(slice(None),) * axis + (slice(0, shape[axis]),)]
        fits = spread.shape == shape
    else:
        fits = axis < len(shape) and values.shape == (shape[axis],)
        spread = values.reshape((-1,) + (1,) * (len(shape) - axis - 1))
    if not fits:
        raise ConfigurationError(f"parameters {values.shape} do not fit {shape} on axis {axis}")
    return spread
