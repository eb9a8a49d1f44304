"""Ranges from a histogram: percentile, least squared error, least Kullback-Leibler divergence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.histogram import Histogram
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.qspace import QSpace, Range

Floats = npt.NDArray[np.float64]

_STEPS = 0.93 ** np.arange(64, dtype=np.float64)
"""Factors tried on each end of the range: 1 down to 0.0103, 7 % apart."""

_SHORTLIST = 12

_CUT_OFF = 4.0
"""What a squared error of clipping counts beside one of rounding.

Rounding errors of neighbours have nothing to do with each other, and add up in squares behind a
product; those of values that are cut off have one sign and come in the same places (a loud or a
silent passage), so they add up themselves. New samples also reach further than those that were
seen.
"""


def percentile_range(histogram: Histogram, percentile: float) -> Range:
    """The range that leaves (100 - percentile) % of the values out at each end.

    Ends are bin edges, rounded outwards; a tail that ends in an outermost bin gives the exact
    extreme. Both tails are cut alike (ORT issue 10571: the negative side must not be dropped).
    """
    counts, edges = histogram.counts, histogram.edges
    below = np.cumsum(counts)
    tail = below[-1] * (100.0 - percentile) / 100.0
    # Tolerance of one part in 1e9, as 100 - percentile is itself rounded.
    first = int(np.searchsorted(below, tail * (1 + 1e-9), side="right"))
    above = np.cumsum(counts[::-1])
    last = int(np.searchsorted(above, tail * (1 + 1e-9), side="right"))
    if first >= counts.size or last >= counts.size:
        return Range(histogram.low, histogram.high)
    low, high = float(edges[first]), float(edges[counts.size - last])
    return Range(min(low, high), max(low, high))


def mse_range(histogram: Histogram, space: QSpace) -> Range:
    """The range whose quantizer has the least expected squared error over the histogram.

    What is cut off counts `_CUT_OFF` times. Both ends are shrunk independently, [low, high] itself
    is a candidate. A first pass over all pairs uses step**2 / 12 inside and the moments of the
    tails outside; the best of it, and equal shrinking of both ends, are then evaluated exactly.
    float8 spaces keep [low, high]: their step grows with the value, so clipping does not buy
    resolution.
    """
    if space.is_float or histogram.low == histogram.high:
        return Range(histogram.low, histogram.high)
    lows, highs = _candidates(histogram, space)
    rough = _rough_error(histogram, *_intervals(lows, highs, space))
    best = np.argsort(rough, kind="stable")[:_SHORTLIST]
    diagonal = np.arange(0, lows.size, _diagonal_step(histogram, space))
    chosen = np.unique(np.concatenate([[0], diagonal[::3], best]))
    exact = squared_error(histogram, lows[chosen], highs[chosen], space, _CUT_OFF)
    winner = chosen[int(np.argmin(exact))]
    # Ends that are not on both sides of 0 are reported as they are; the step is the same.
    low, high = float(lows[winner]), float(highs[winner])
    low = max(low, min(histogram.low, high))
    return Range(low, max(low, min(high, histogram.high)))


def squared_error(
    histogram: Histogram, lows: Floats, highs: Floats, space: QSpace, cut_off: float = 1.0
) -> Floats:
    """Expected squared quantization error of ranges [lows, highs], per value counted.

    The density is taken to be uniform within a bin, zeros are exact. With u = x / scale and r = u -
    round(u), the integral of r**2 from 0 to u is round(u) / 12 + r**3 / 3, so bins may be narrower
    or wider than a step. Beyond the ends the error is (x - end)**2.

    Args:
        histogram: Not empty, low < high.
        lows: [candidates] lower ends.
        highs: [candidates] upper ends.
        space: An integer space.
        cut_off: How many times errors beyond the ends count.

    Returns:
        float64 [candidates].
    """
    scale, bottom, top = _intervals(lows, highs, space)
    counts, edges = histogram.nonzero_counts(), histogram.edges
    used = np.flatnonzero(counts)
    if used.size == 0:
        return np.zeros(lows.shape)
    edges = edges[used[0] : used[-1] + 2]
    counts = counts[used[0] : used[-1] + 1]
    widths = np.diff(edges)
    step = scale[:, None]
    inside = np.clip(edges, bottom[:, None], top[:, None])
    under, over = np.minimum(edges - bottom[:, None], 0.0), np.maximum(edges - top[:, None], 0.0)
    cubes = under * under * under + over * over * over  # `**` is slow on arrays
    outside = cut_off * cubes / 3.0
    integral = step * step * step * _sawtooth(inside / step) + outside
    density = np.divide(counts, widths, out=np.zeros(widths.shape), where=widths > 0)
    points = np.flatnonzero(widths == 0)  # an extreme that is the edge of its own bin
    error = np.diff(integral, axis=1) @ density
    for point in points:
        clipped = np.clip(edges[point], bottom, top)
        rounded = np.rint(clipped / scale) * scale
        weight = np.where(clipped == edges[point], 1.0, cut_off)
        error = error + weight * counts[point] * (edges[point] - rounded) ** 2
    return np.asarray(error / max(histogram.total, 1))


def entropy_range(histogram: Histogram, space: QSpace) -> Range:
    """The clipped range whose quantized distribution is closest to the clipped original.

    Migacz 2017, "8-bit inference with TensorRT": P is the histogram with everything beyond the
    threshold added to its outermost bins, Q the histogram inside the threshold with each level's
    mass spread evenly over its non-empty bins; the threshold of least KL(P || Q) wins, the
    larger one on a tie. The threshold is on |x|, the real levels of the space are used, and exact
    zeros are left out. float8 spaces keep [low, high].
    """
    if space.is_float or histogram.low == histogram.high:
        return Range(histogram.low, histogram.high)
    thresholds = _STEPS * max(abs(histogram.low), abs(histogram.high))
    lows, highs = np.maximum(histogram.low, -thresholds), np.minimum(histogram.high, thresholds)
    # Where 0 is not between the extremes, a threshold may pass all of the mass.
    keep = lows < highs
    lows, highs = lows[keep], highs[keep]
    scale, bottom, top = _intervals(lows, highs, space)
    counts = histogram.nonzero_counts().astype(np.float64)
    centres = (histogram.edges[:-1] + histogram.edges[1:]) / 2.0
    losses = [
        _divergence(counts, centres, float(s), float(b), float(t))
        for s, b, t in zip(scale, bottom, top, strict=True)
    ]
    winner = int(np.argmin(losses))
    return Range(float(lows[winner]), float(highs[winner]))


def _divergence(counts: Floats, centres: Floats, scale: float, bottom: float, top: float) -> float:
    """KL(P || Q) of one threshold; Q is smoothed, so that clipped mass costs much but not inf."""
    half = scale / 2.0
    start = int(np.searchsorted(centres, bottom - half))
    stop = int(np.searchsorted(centres, top + half, side="right"))
    inner = counts[start:stop]
    if inner.sum() == 0.0:
        return float("inf")
    reference = inner.copy()
    reference[0] += counts[:start].sum()
    reference[-1] += counts[stop:].sum()
    level = np.rint(np.clip(centres[start:stop], bottom, top) / scale).astype(np.int64)
    level -= level[0]
    filled = inner > 0
    mass = np.bincount(level, weights=inner)
    width = np.bincount(level, weights=filled)
    spread = np.where(filled, (mass / np.maximum(width, 1.0))[level], 0.0)
    p, q = reference / reference.sum(), spread / spread.sum()
    q = np.maximum(q, 1e-9)
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))


def _candidates(histogram: Histogram, space: QSpace) -> tuple[Floats, Floats]:
    """Shrunken ranges; the first is the whole one."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if _one_dimensional(histogram, space):
        reach = _STEPS * max(-low, high)
        return np.maximum(-reach, low), np.minimum(reach, high)
    lows, highs = np.meshgrid(low * _STEPS, high * _STEPS, indexing="ij")
    return lows.ravel(), highs.ravel()


def _one_dimensional(histogram: Histogram, space: QSpace) -> bool:
    return space.symmetric or histogram.low >= 0.0 or histogram.high <= 0.0


def _diagonal_step(histogram: Histogram, space: QSpace) -> int:
    """Distance in the candidate list between ranges with both ends shrunk alike."""
    return 1 if _one_dimensional(histogram, space) else _STEPS.size + 1


def _intervals(lows: Floats, highs: Floats, space: QSpace) -> tuple[Floats, Floats, Floats]:
    """Scale, lowest and highest representable value, after the zero point was rounded."""
    params = choose_qparams(lows, highs, space)
    scale = params.scale.astype(np.float64)
    return (
        scale,
        scale * (space.qmin - params.zero_point),
        scale * (space.qmax - params.zero_point),
    )


def _rough_error(histogram: Histogram, scale: Floats, bottom: Floats, top: Floats) -> Floats:
    """`squared_error` with step**2 / 12 for all values and the tails' moments, from bins."""
    edges, counts = histogram.edges, histogram.nonzero_counts().astype(np.float64)
    centres = (edges[:-1] + edges[1:]) / 2.0
    moments = np.stack([counts, counts * centres, counts * centres**2])
    running = np.concatenate([np.zeros((3, 1)), np.cumsum(moments, axis=1)], axis=1)
    under = running[:, np.searchsorted(centres, bottom)]
    over = running[:, -1:] - running[:, np.searchsorted(centres, top)]
    noise = scale**2 / 12.0 * counts.sum()
    excess = _second_moment(under, bottom) + _second_moment(over, top)
    return np.asarray(noise + _CUT_OFF * excess)


def _second_moment(moments: Floats, about: Floats) -> Floats:
    return np.asarray(moments[2] - 2.0 * about * moments[1] + about**2 * moments[0])


def _sawtooth(steps: Floats) -> Floats:
    """Integral of (t - round(t))**2 from 0 to each of the values."""
    whole = np.rint(steps)
    rest = steps - whole
    return np.asarray(whole / 12.0 + rest * rest * rest / 3.0)
