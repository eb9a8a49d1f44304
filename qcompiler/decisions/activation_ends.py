"""Ranges and parameters whose ends stand for the bounds of an absorbed activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qcompiler.ir.bounds import activation_bounds
from qcompiler.ir.regions import Region
from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.qspace import QParams, QSpace, Range

_NUDGE = np.float32(1 - 2.0**-20)
"""Moves a quotient of 8 bits across a tie, and no value by more than 1/4000 of a step."""


def reaching(params: QParams, region: Region | None) -> QParams:
    """Parameters whose lowest and highest integers stand for the bounds of a region's activation.

    Where the bounds lie half a step beyond the end levels, the rounding of the scale decides
    whether saturation does the activation's work; a hair finer scale makes it do so.
    """
    bounds = None if region is None else activation_bounds(region.activation_node)
    if bounds is None or params.space.symmetric or params.space.is_float:
        return params
    finer = replace(params, scale=np.asarray(params.scale * _NUDGE, np.float32))
    ends = np.asarray([bounds.low, bounds.high], np.float32)
    for each in (params, finer):
        low, high = (int(integer) for integer in quantize(ends, each))
        if (low, high) == (params.space.qmin, params.space.qmax):
            return each
    return params


def within_activation(found: Range, region: Region) -> Range:
    """The range cut to the bounds of the region's absorbed activation."""
    return cut(found, activation_bounds(region.activation_node))


def cut(found: Range, bounds: Range | None) -> Range:
    """The range without what lies beyond bounds."""
    if bounds is None:
        return found
    low, high = max(found.low, bounds.low), min(found.high, bounds.high)
    return Range(min(low, high), high)


def narrowest(spaces: Sequence[QSpace]) -> QSpace:
    """The space of a storage type that every demand accepts: symmetric, then the fewest levels."""
    return min(spaces, key=lambda space: (not space.symmetric, space.qmax - space.qmin))
