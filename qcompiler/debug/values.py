"""Ranges over what calibration saw, and how much the channels of a value differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qcompiler.calibration.instrument import float_model
from qcompiler.calibration.run import run_calibration
from qcompiler.calibration.sites import find_sites
from qcompiler.debug.rows import DebuggedValue
from qcompiler.decisions.clipping import Clipping, clippings
from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import rank, values_by_name
from qcompiler.quantization.chosen import Chosen, histogram_of
from qcompiler.quantization.histogram import Histogram
from qcompiler.quantization.observer import Observer
from qcompiler.statistics.kinds import ChannelExtremes

_BINS = 24
_CHANNELS = "channel-extremes"


def debugged_values(
    base: Program, placed: Program, feeds: Sequence[Feed]
) -> tuple[DebuggedValue, ...]:
    """Rows of the values that a placed program stores in integers per tensor.

    Args:
        base: The float program, calibrated.
        placed: What became of it.
        feeds: Samples that channels are looked at on.
    """
    found = list(clippings(placed))
    channels = _channels(base, [each.value for each in found], feeds)
    fixed = _fixed(placed)
    return tuple(
        _row(each, base.observations.get(each.value), channels.get(each.value), fixed)
        for each in found
    )


def _row(
    clipping: Clipping,
    seen: Observer | None,
    channels: ChannelExtremes | None,
    fixed: Mapping[str, str],
) -> DebuggedValue:
    origin = None if seen is None else histogram_of(seen)
    widest, spread, count = _spread(channels)
    return DebuggedValue(
        clipping.value,
        clipping.type,
        fixed.get(clipping.value) or _chosen_by(seen),
        clipping.range.low,
        clipping.range.high,
        clipping.seen.low,
        clipping.seen.high,
        clipping.elements,
        clipping.energy,
        () if origin is None else _coarse(origin.histogram()),
        count,
        widest,
        spread,
    )


def _chosen_by(seen: Observer | None) -> str:
    if seen is None:
        return ""
    if not isinstance(seen, Chosen):
        return seen.name
    return seen.by if seen.picks.name == "given" else f"{seen.by}: {seen.picks}"


def _fixed(placed: Program) -> dict[str, str]:
    """Values whose range is the kernel's own."""
    regions = {} if placed.placement is None else placed.placement.regions
    return {
        each.output: "the kernel" for each in regions.values() if each.form.output_range is not None
    }


def _coarse(histogram: Histogram) -> tuple[int, ...]:
    """Counts in `_BINS` equal bins between the extremes."""
    if histogram.is_empty or histogram.low == histogram.high:
        return ()
    centres = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    ends = (histogram.low, histogram.high)
    counts, _ = np.histogram(centres, bins=_BINS, range=ends, weights=histogram.counts)
    return tuple(int(each) for each in counts)


def _channels(
    base: Program, names: Sequence[str], feeds: Sequence[Feed]
) -> dict[str, ChannelExtremes]:
    """Extremes of the channels of values that have some, over the feeds."""
    program = base.clone()
    values = values_by_name(program.model)
    ranks = {name: rank(values[name]) or 0 for name in dict.fromkeys(names) if name in values}
    program.requests = {
        Request.of(name, _CHANNELS, axis=1 if dims in (3, 4, 5) else -1): None
        for name, dims in ranks.items()
        if dims >= 2
    }
    if not program.requests or not feeds:
        return {}
    result = run_calibration(float_model(program, find_sites(program)), program.signature, feeds)
    return {
        request.value: found
        for request, found in result.statistics.items()
        if isinstance(found, ChannelExtremes)
    }


def _spread(channels: ChannelExtremes | None) -> tuple[int | None, float | None, int | None]:
    """Widest channel, its magnitude over the median one, and how many there are."""
    if channels is None or channels.low is None or channels.high is None:
        return None, None, None
    sizes = np.maximum(np.abs(channels.low), np.abs(channels.high)).astype(np.float64)
    middle = float(np.median(sizes))
    spread = float(sizes.max() / middle) if middle > 0 else None
    return int(np.argmax(sizes)), spread, int(sizes.size)
