"""What is known of a value's distribution, and what a range or a rounding loses of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.decisions.roundings import Rounding
from qcompiler.quantization.histogram import Histogram
from qcompiler.quantization.numerics import dequantize
from qcompiler.quantization.observers import HistogramObserver, Observer
from qcompiler.quantization.qspace import Granularity, QParams
from qcompiler.report.values import MOST_BINS, Distribution

Array = npt.NDArray[Any]
_MOST_ELEMENTS = 1 << 17
"""Elements of a weight that are looked at: enough for 64 bins, and cheap for any model."""


@dataclass(frozen=True)
class Loss:
    """What a quantization loses: shares of the data (clipped) and of its power (noise)."""

    clipped: float | None = None
    noise: float | None = None


def with_histograms(
    taken: Mapping[str, Observer], seen: Mapping[str, Observer]
) -> dict[str, Observer]:
    """What was taken, with the histograms of calibration where a variant takes ranges without.

    An observer of calibration stands in where it saw the same: the same extremes and count. What
    was calibrated anew, after a change of the float program, differs in them.

    Args:
        taken: What ranges were taken from, by value name.
        seen: What calibration saw.
    """
    found = dict(taken)
    for name, observer in taken.items():
        first = seen.get(name)
        if isinstance(observer, HistogramObserver) or not isinstance(first, HistogramObserver):
            continue
        if first.bounds == observer.bounds:
            found[name] = first
    return found


def of_activation(observer: Observer) -> Distribution | None:
    """What calibration saw; None where the method keeps extremes only."""
    if not isinstance(observer, HistogramObserver) or observer.count == 0:
        return None
    return _coarse(observer.histogram())


def of_weight(weight: Array) -> Distribution | None:
    """Of evenly spaced elements of a weight; None where it holds nothing finite to count."""
    sample = _sampled(weight)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return None
    low, high = float(sample.min()), float(sample.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(sample, bins=MOST_BINS, range=(low, high))
    return Distribution(low, high, tuple(map(int, counts)))


def loss_of_activation(observer: Observer, params: QParams) -> Loss:
    """Clipping and rounding of the observed values, each bin taken as its middle.

    Rounding within the range has the noise step^2 / 12 (Widrow & Kollár, Quantization Noise, 2008,
    ch. 1), exact zeros none; beyond the range it is the distance to its end.
    """
    if not isinstance(observer, HistogramObserver) or observer.count == 0:
        return Loss()
    if params.space.is_float or params.scale.size != 1:
        return Loss()
    found = observer.histogram()
    counts = found.nonzero_counts().astype(np.float64)
    middles = (found.edges[:-1] + found.edges[1:]) / 2
    kept, step = params.representable, float(params.scale.reshape(()))
    beyond = np.maximum(kept.low - middles, middles - kept.high)
    # Half a step beyond the last level still rounds to it.
    outside = beyond > step / 2
    signal = float(np.sum(counts * middles**2))
    noise = float(np.sum(np.where(outside, counts * beyond**2, counts * step**2 / 12)))
    clipped = float(np.sum(counts[outside])) / max(found.total, 1)
    return Loss(clipped, noise / signal if signal > 0 else None)


def noise_of_weight(weight: Array, rounding: Rounding) -> float | None:
    """Noise-to-signal ratio of the integers, on evenly spaced channels of a large weight.

    None where the integers are laid out otherwise than the weight, or there is no signal.
    """
    if rounding.integers.shape != weight.shape:
        return None
    exact, rounding = _some_channels(weight, rounding)
    exact = exact.astype(np.float64)
    signal = float(np.sum(exact**2))
    if not 0 < signal < math.inf:
        return None
    return float(np.sum((dequantize(rounding.integers, rounding.params) - exact) ** 2)) / signal


def _some_channels(weight: Array, rounding: Rounding) -> tuple[Array, Rounding]:
    """The weight and its integers at evenly spaced indices of one axis, scales taken along.

    Of an axis that blocks or tables of levels lie along, nothing is left out.
    """
    params = rounding.params
    grouped = params.space.granularity is Granularity.GROUP or params.space.is_table
    if weight.size <= _MOST_ELEMENTS or weight.ndim <= grouped:
        return weight, rounding
    axis = params.axis if params.axis is not None and not grouped else None
    if axis is None:  # any axis that is not divided into blocks
        free = [i for i in range(weight.ndim) if not grouped or i != params.axis]
        axis = max(free, key=lambda i: weight.shape[i], default=0)
    stride = -(-weight.size // _MOST_ELEMENTS)
    part: tuple[slice, ...] = tuple(
        slice(None, None, stride if i == axis else None) for i in range(weight.ndim)
    )
    scale, zero = params.scale, params.zero_point
    if scale.ndim == 1 and params.axis == axis:
        scale, zero = scale[::stride], zero[::stride]
    elif scale.ndim == weight.ndim:
        scale, zero = scale[part], zero[part]
    kept = replace(params, scale=scale, zero_point=zero)
    return weight[part], Rounding(kept, rounding.integers[part], rounding.how)


def _sampled(weight: Array) -> npt.NDArray[np.float32]:
    """At most about `_MOST_ELEMENTS` evenly spaced elements."""
    flat = np.asarray(weight).reshape(-1)
    stride = max(1, -(-flat.size // _MOST_ELEMENTS))
    while stride > 1 and flat.size % stride == 0:
        stride += 1  # not in step with a row
    return flat[::stride].astype(np.float32)


def _coarse(fine: Histogram) -> Distribution | None:
    """At most 64 bins: each fine bin is counted where its middle lies."""
    if fine.is_empty:
        return None
    edges = fine.edges
    low, high = float(edges[0]), float(edges[-1])
    if low == high:
        low, high = low - 0.5, high + 0.5
    middles = (edges[:-1] + edges[1:]) / 2
    bins = min(MOST_BINS, max(1, fine.counts.size))
    counts, _ = np.histogram(middles, bins=bins, range=(low, high), weights=fine.counts)
    return Distribution(low, high, tuple(int(each) for each in counts))
