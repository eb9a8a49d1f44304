"""Scale and zero point from ranges: of values, and of weights from their own extremes.

Formulas: ONNX operator specification, QuantizeLinear; Jacob et al. 2018, equation 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.quantization import nonuniform
from qcompiler.quantization.numerics import Array
from qcompiler.quantization.qspace import FloatArray, Granularity, QParams, QSpace, Range

SCALE_FLOOR = 2.0**-62
"""Smallest scale given out: the product of two scales is still a normal float32 (> 2**-126)."""

DEAD_CHANNEL_RATIO = 2.0**-24
"""A weight channel's range is taken to be at least this fraction of the largest channel's.

A channel below it moves the sum by less than a float32 rounding error of the largest one.
"""


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
