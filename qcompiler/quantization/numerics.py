"""The one module that rounds: parameters from ranges, quantize, dequantize, requantize, biases.

Rounding is half to even everywhere. Division and multiplication by a scale are done in float32, in
the order ONNX Runtime does them (its QuantizeLinear divides, it does not multiply by a reciprocal),
so results are bit-equal with it. Formulas: ONNX operator specification, QuantizeLinear; Jacob et
al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", equations 1 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.quantization import nonuniform
from qcompiler.quantization.qspace import FloatArray, Granularity, QParams, QSpace, Range

Array = npt.NDArray[Any]

SCALE_FLOOR = 2.0**-62
"""Smallest scale given out: the product of two scales is still a normal float32 (> 2**-126)."""

DEAD_CHANNEL_RATIO = 2.0**-24
"""A weight channel's range is taken to be at least this fraction of the largest channel's.

A channel below it moves the sum by less than a float32 rounding error of the largest one.
"""

BIAS_LIMIT = 2**30
"""Largest int32 bias the guard leaves: half the accumulator stays free for the products."""

_BLOCK = 1 << 18
"""Elements quantized at a time: what is between stays in the cache, and memory small."""


def choose_qparams(
    low: npt.ArrayLike, high: npt.ArrayLike, space: QSpace, axis: int | None = None
) -> QParams:
    """Parameters that represent [low, high], widened to hold 0, in a space.

    Affine: S = (high - low) / (qmax - qmin), Z = round(qmin - low / S), clamped (DESIGN section 5).
    Symmetric: Z is the middle, S the smallest scale that represents both ends. Zero is always
    exact. A range of exactly [0, 0] gets S = 1; others at least `SCALE_FLOOR`.

    Args:
        low: Lower ends, any float shape: () per tensor, (C,) per channel, group shape for groups.
        high: Upper ends, of the same shape.
        space: The quantized values.
        axis: Channel or blocked axis, recorded in the result.

    Raises:
        ConfigurationError: Ends that are not finite, are crossed or differ in shape.
    """
    bottom, top = np.asarray(low, np.float64), np.asarray(high, np.float64)
    if bottom.shape != top.shape:
        raise ConfigurationError(f"range ends differ in shape: {bottom.shape}, {top.shape}")
    if not (np.isfinite(bottom).all() and np.isfinite(top).all()) or (bottom > top).any():
        raise ConfigurationError("ranges must be finite with low <= high")
    bottom, top = np.minimum(bottom, 0.0), np.maximum(top, 0.0)
    middle = _middle(space)
    if space.symmetric:
        exact = np.maximum(bottom / (space.qmin - middle), top / (space.qmax - middle))
    else:
        exact = (top - bottom) / (space.qmax - space.qmin)
    exact = np.where((bottom == 0.0) & (top == 0.0), 1.0, np.maximum(exact, SCALE_FLOOR))
    scale = np.asarray(exact, np.float32)
    if space.symmetric:
        # One number, seen as many: there may be one for every 16 weights.
        zero = np.broadcast_to(np.asarray(middle, np.int64), scale.shape)
    else:
        wanted = np.rint(space.qmin - bottom / scale.astype(np.float64))
        zero = np.asarray(np.clip(wanted, space.qmin, space.qmax), np.int64)
    return QParams(scale, zero, space, axis)


def qparams_of_ranges(ranges: Sequence[Range], spaces: Sequence[QSpace]) -> list[QParams]:
    """`choose_qparams` of many values, each per tensor in its space: the same bits in less time."""
    found: dict[int, QParams] = {}
    for space in dict.fromkeys(spaces):
        places = [index for index, each in enumerate(spaces) if each == space]
        low, high = (np.array([getattr(ranges[i], e) for i in places]) for e in ("low", "high"))
        all_ = choose_qparams(low, high, space)
        for row, index in enumerate(places):
            one = slice(row, row + 1)
            scale, zero = all_.scale[one].reshape(()), all_.zero_point[one].reshape(())
            found[index] = QParams(scale, zero, space)
    return [found[index] for index in range(len(ranges))]


def weight_qparams(weight: Array, space: QSpace, axis: int | None = None) -> QParams:
    """Parameters of a constant from its own minimum and maximum.

    Dead and near-dead channels get the range `DEAD_CHANNEL_RATIO` of the largest channel's, so no
    scale is 0, denormal or so small that a bias divided by it overflows for nothing.

    Args:
        weight: Float weights of any shape.
        space: TENSOR, CHANNEL (one scale per index of `axis`) or GROUP (one per `group_size`
            consecutive elements of `axis`; the last group may be shorter). Levels that are not
            even are found by `nonuniform.table_params`.
        axis: Channel or blocked axis; ignored per tensor. Negative values count from the end.

    Raises:
        ConfigurationError: No axis where one is needed, or weights that are not finite.
    """
    values = np.asarray(weight, np.float32)
    if not np.isfinite(values).all():
        raise ConfigurationError("weights hold NaN or infinity and cannot be quantized")
    if space.is_table:
        return nonuniform.table_params(values, space, axis)
    if space.granularity is Granularity.TENSOR:
        return choose_qparams(values.min(initial=0.0), values.max(initial=0.0), space)
    if axis is None or not -values.ndim <= axis < values.ndim:
        raise ConfigurationError(f"no axis {axis} in weights {values.shape} for {space.name}")
    axis %= values.ndim
    low, high = _slice_ranges(values, space.group_size, axis)
    floor = np.max(np.maximum(-low, high), initial=0.0) * DEAD_CHANNEL_RATIO
    dead = np.maximum(-low, high) < floor
    return choose_qparams(np.where(dead, -floor, low), np.where(dead, floor, high), space, axis)


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
    if params.space.is_float:
        difference = array.astype(np.float32)
    else:
        difference = (array.astype(np.int64) - zero).astype(np.float32)
    result: FloatArray = difference * expand(params.scale, array.shape, params)
    return result


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


def bias_scale(input_scale: npt.ArrayLike, weight_scale: npt.ArrayLike) -> FloatArray:
    """float32 input scale * weight scale: the step of the accumulator and of an int32 bias."""
    return np.asarray(
        np.asarray(input_scale, np.float32) * np.asarray(weight_scale, np.float32), np.float32
    )


def quantize_bias(
    bias: Array, input_scale: npt.ArrayLike, weight_scale: npt.ArrayLike
) -> npt.NDArray[np.int32]:
    """Returns round(bias / (input scale * weight scale)) as int32, saturated.

    Args:
        bias: float32 [C].
        input_scale: Scalar.
        weight_scale: Scalar or [C].
    """
    steps = bias_steps(bias, input_scale, weight_scale)
    return np.clip(steps, -(2**31), 2**31 - 1).astype(np.int32)


def bias_steps(
    bias: Array, input_scale: npt.ArrayLike, weight_scale: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Returns round(bias / (input scale * weight scale)), whatever its size."""
    # float64: a float32 quotient has 24 bits only, an int32 bias has 31.
    step = bias_scale(input_scale, weight_scale).astype(np.float64)
    return np.asarray(np.rint(np.asarray(bias, np.float64) / step))


def bias_range_guard(
    bias: Array, input_scale: npt.ArrayLike, weight: QParams, limit: int = BIAS_LIMIT
) -> QParams:
    """Weight parameters under which every int32 bias is at most `limit`.

    A near-dead channel (T6; ORT issue 11415) has a tiny weight scale, and its bias does not fit.
    The scale of such a channel is raised just enough; its weights lose resolution that could not
    be seen in the sum beside the bias. Returns `weight` itself when every bias fits.

    Args:
        bias: float32 [C].
        input_scale: Scalar, positive.
        weight: Per tensor (then the largest bias counts) or per channel [C].
        limit: Largest |bias| in accumulator steps.

    Raises:
        ConfigurationError: Group-wise weights, which have no int32 accumulator of one scale.
    """
    if weight.space.granularity is Granularity.GROUP:
        raise ConfigurationError("a group-wise weight has no int32 bias", fix="keep it float")
    magnitude = np.abs(np.asarray(bias, np.float64))
    if weight.scale.ndim == 0:
        magnitude = np.max(magnitude, initial=0.0)
    needed = np.asarray(magnitude / (limit * np.asarray(input_scale, np.float64)))
    if np.all(weight.scale.astype(np.float64) >= needed):
        return weight
    # One ulp up, because the float32 rounding of the scale may go down.
    raised = np.nextafter(needed.astype(np.float32), np.float32(np.inf), dtype=np.float32)
    scale = np.where(weight.scale.astype(np.float64) >= needed, weight.scale, raised)
    return replace(weight, scale=np.asarray(scale, np.float32))


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


def _middle(space: QSpace) -> int:
    """Zero point of a symmetric space: 0, or the middle of an unsigned one."""
    return 0 if space.signed else (space.qmax + 1) // 2


def _slice_ranges(values: FloatArray, group: int | None, axis: int) -> tuple[Array, Array]:
    """Minimum and maximum per channel, or per group of consecutive elements of the axis."""
    if group is None:
        others = tuple(i for i in range(values.ndim) if i != axis)
        return values.min(axis=others, initial=0.0), values.max(axis=others, initial=0.0)
    starts = np.arange(0, values.shape[axis], group)
    low, high = np.minimum.reduceat(values, starts, axis), np.maximum.reduceat(values, starts, axis)
    return np.minimum(low, 0.0), np.maximum(high, 0.0)
