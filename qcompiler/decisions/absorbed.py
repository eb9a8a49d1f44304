"""What the author of a quantized model decided: parameters of values, and the grids of weights.

`absorb-quantization` takes a quantized graph apart and keeps this of it. A weight is known by what
it holds, not by its name: passes reshape, turn and rename weights freely, and one whose numbers
still lie on the author's grid, bit by bit, still has the author's integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.decisions.activation_ends import cut
from qcompiler.quantization.numerics import dequantize, quantize
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.qspace import Granularity, QParams, QSpace, Range

Array = npt.NDArray[Any]
SOURCE, TRAINED, GIVEN = "source", "trained", "given"
"""Who fixed what: the author of a quantized model, training here, or overrides of a float one."""
GridKey = tuple[int, float, float]
"""Of a weight: how many elements, the least, the largest. No pass that only moves changes them."""


@dataclass(frozen=True, eq=False)
class Absorbed:
    """What a quantized source fixes.

    Attributes:
        values: Per-tensor parameters of values of the float program, by name.
        grids: Scales and zero points of stored weights.
        how: Who chose the grids, see `Rounding.how`.
    """

    values: Mapping[str, QParams] = field(default_factory=dict)
    grids: Mapping[GridKey, tuple[QParams, ...]] = field(default_factory=dict)
    how: str = SOURCE

    @property
    def is_of_source(self) -> bool:
        """Whether the source itself is quantized."""
        return self.how != GIVEN

    def joined(self, values: Mapping[str, QParams], grids: Iterable[Grid]) -> Absorbed:
        """The same with more; what is there already stays."""
        merged: dict[GridKey, tuple[QParams, ...]] = dict(self.grids)
        for each in grids:
            merged[each.key] = (*merged.get(each.key, ()), each.params)
        return replace(self, values={**values, **self.values}, grids=merged)

    def weight(self, array: Array, space: QSpace, axis: int | None) -> tuple[QParams, Array] | None:
        """The author's parameters and integers of a weight, if the space can express them.

        Args:
            array: The float weight, laid out in any way.
            space: What the form stores.
            axis: Its channel or blocked axis; None per tensor.

        Returns:
            Parameters and integers that stand for exactly these numbers; None if there are none.
        """
        if not self.grids or not array.size:
            return None
        for params in self.grids.get(grid_key(array), ()):
            for wide in (space, replace(space, narrow=False)) if space.narrow else (space,):
                found = _in_layout(params, wide, axis, array.shape)
                if found is None:
                    continue
                integers = quantize(array, found)
                if np.array_equal(dequantize(integers, found), array):
                    return found, integers
        return None


NOTHING = Absorbed()


@dataclass(frozen=True, eq=False)
class Grid:
    """A stored weight as the author quantized it."""

    key: GridKey
    params: QParams


def grid_key(array: Array) -> GridKey:
    """What the weight is known by."""
    return int(array.size), float(array.min()), float(array.max())


def _in_layout(
    params: QParams, space: QSpace, axis: int | None, shape: tuple[int, ...]
) -> QParams | None:
    """The same steps as a space lays them out, None where it shares a scale more widely."""
    if any(each.is_float or each.is_table for each in (space, params.space)):
        fits = params.space == space and params.axis == axis and _is_per_slice(params, shape)
        return params if fits else None
    if space.granularity is Granularity.GROUP:
        spread = _in_blocks(params, space, axis, shape)
    else:
        spread = _flat(params)
        if spread is not None and space.granularity is Granularity.TENSOR:
            spread = _same(spread)
        elif spread is not None:
            assert axis is not None
            count = shape[axis]
            spread = _repeated(spread, (count,)) if spread[0].size in (1, count) else None
    if spread is None:
        return None
    scale, zero = spread
    return QParams(scale, _zero_points(zero, params.space, space), space, axis)


def _is_per_slice(params: QParams, shape: tuple[int, ...]) -> bool:
    """Whether there is one step or table, or one for each slice or group of them on the axis."""
    if params.axis is not None and params.levels is not None and params.levels.ndim > 1:
        return len(params.levels) == -(-shape[params.axis] // (params.space.group_size or 1))
    return params.axis is None or params.scale.shape == (shape[params.axis],)


_Steps = tuple[Array, Array]
"""Scales and zero points."""


def _flat(params: QParams) -> _Steps | None:
    """One step per channel, or one for all; None for several blocks along an axis."""
    scale, zero = params.scale, params.zero_point
    if params.space.granularity is Granularity.GROUP and max(scale.shape, default=1) != scale.size:
        return None
    return scale.reshape(-1), zero.reshape(-1)


def _same(steps: _Steps) -> _Steps | None:
    scale, zero = steps
    if np.any(scale != scale[0]) or np.any(zero != zero[0]):
        return None
    return scale[0].reshape(()), zero[0].reshape(())


def _repeated(steps: _Steps, shape: tuple[int, ...]) -> _Steps:
    scale, zero = (np.broadcast_to(each, shape).copy() for each in steps)
    return scale, zero


def _in_blocks(
    params: QParams, space: QSpace, axis: int | None, shape: tuple[int, ...]
) -> _Steps | None:
    """Steps of a matrix in blocks: the author's own, or finer than those."""
    if len(shape) != 2 or axis is None:
        return None
    size = space.group_size
    assert size is not None
    wanted = list(shape)
    wanted[axis] = -(-shape[axis] // size)
    scale, zero = params.scale, params.zero_point
    if params.space.granularity is not Granularity.GROUP:
        side: list[int] = [1, 1]
        side[1 - axis] = scale.size
        if scale.size not in (1, shape[1 - axis]):
            return None
        return _repeated((scale.reshape(side), zero.reshape(side)), (wanted[0], wanted[1]))
    own = params.space.group_size
    assert own is not None
    if own % size:
        return None
    for turned in (False, True):
        steps: list[Array] = [each.T if turned else each for each in (scale, zero)]
        if steps[0].ndim != 2 or steps[0].shape[1 - axis] != shape[1 - axis]:
            continue
        steps = [np.repeat(each, own // size, axis=axis) for each in steps]
        if steps[0].shape[axis] >= wanted[axis]:
            first = [np.take(each, range(wanted[axis]), axis) for each in steps]
            return np.ascontiguousarray(first[0]), np.ascontiguousarray(first[1])
    return None


def _zero_points(zero: Array, own: QSpace, space: QSpace) -> npt.NDArray[np.int64]:
    """Zero points of the same levels: the middle stays the middle, the lowest the lowest."""
    if space.symmetric:
        return np.full(zero.shape, 0 if space.signed else (space.qmax + 1) // 2, np.int64)
    shift = _lowest(space) - _lowest(own)
    return np.asarray(np.clip(zero + shift, _lowest(space), space.qmax), np.int64)


def _lowest(space: QSpace) -> int:
    """The lowest integer, a narrow space's unused one included."""
    return -(space.qmax + 1) if space.signed else 0


def value_params(params: QParams, space: QSpace, bounds: Range | None) -> QParams | None:
    """Parameters of a value in another space with exactly the same levels; None if it has none.

    Signed with zero point 0 and unsigned with 128 are the same levels. Of a value that is never
    negative, so are signed with zero point 0 and unsigned with 0, up to where the former saturates.

    Args:
        params: The author's, per tensor.
        space: What the target stores.
        bounds: What the value's activation limits it to, if it has one.
    """
    own = params.space
    if own.is_float or space.is_float or own.storage_bits != space.storage_bits:
        return None
    if space.qmax - _lowest(space) != own.qmax - _lowest(own):
        return None
    zero = int(params.zero_point) - _lowest(own) + _lowest(space)
    middle = 0 if space.signed else (space.qmax + 1) // 2
    if space.symmetric:
        return _with(params, space, middle) if zero == middle else None
    positive = bounds is not None and bounds.low >= 0
    if positive and zero == middle:
        assert bounds is not None
        reach = float(params.scale) * (own.qmax - int(params.zero_point))
        # A bound that saturation did before has to be at the end of the levels again.
        return _with(params, space, space.qmin) if bounds.high > reach * 1e6 else None
    return _with(params, space, zero)


def _with(params: QParams, space: QSpace, zero: int) -> QParams:
    return QParams(params.scale, np.asarray(zero, np.int64), space)


def reranged(params: QParams, space: QSpace, bounds: Range | None) -> QParams:
    """Other levels over the same range."""
    found = cut(params.representable, bounds)
    return choose_qparams(found.low, found.high, space)
