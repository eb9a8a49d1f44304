"""Numbers as a report shows them: seconds, bytes, shares, decibels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qcompiler.execution.timing import WIDE
from qcompiler.report.rows import Figure

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_TOLD = 1.02
"""Ends of an interval that are further apart than this are shown."""


def show_figure(value: float, unit: str) -> str:
    """A value with its unit: `1.24 ms`, `3.5 MiB`, `0.9821`."""
    if unit == "s":
        return show_seconds(value)
    if unit == "bytes":
        return show_bytes(value)
    return show_number(value) + (f" {unit}" if unit else "")


def show_seconds(value: float | None) -> str:
    """Seconds with three significant digits and a fitting unit; empty for None."""
    return "" if value is None else _scaled(value, _SECONDS)


def show_bytes(value: float) -> str:
    """Bytes with three significant digits and a binary unit."""
    return _scaled(value, _BYTES)


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    """The value in the largest unit of which there is at least one, else in the smallest."""
    fitting = [each for each in units if abs(value) >= each[0]]
    scale, unit = fitting[0] if fitting else units[-1]
    number = value / scale
    return (f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}") + f" {unit}"


def show_number(value: float) -> str:
    """A score with four decimals, what is very large or small with four digits."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.4g}"


def show_gain(figure: Figure) -> str:
    """`2.02× (1.90 to 2.11, 41 rounds)`, where it is wide the interval alone; empty without one."""
    if figure.gain is None:
        return ""
    shown = f"{figure.gain:.2f}×"
    if figure.interval is None or figure.interval[1] <= _TOLD * figure.interval[0]:
        return shown
    low, high = figure.interval
    ends = f"{low:.2f} to {high:.2f}"
    if high > WIDE * low:
        return f"busy: {ends}×"
    return f"{shown} ({ends}, {figure.rounds} rounds)"


def show_ratio(figure: Figure) -> str:
    """The gain alone: `2.02×`, or the ends of an interval that is too wide to name one."""
    if figure.gain is None:
        return ""
    if figure.interval is not None and figure.interval[1] > WIDE * figure.interval[0]:
        return f"{figure.interval[0]:.2f} to {figure.interval[1]:.2f}×"
    return f"{figure.gain:.2f}×"


def show_share(value: float | None) -> str:
    """A loss or a share with three digits; empty for None."""
    return "" if value is None else f"{value:.3g}"


def show_percent(percent: float) -> str:
    """Whole percent; what is not all or nothing is not told as that: `>99 %`, `<1 %`."""
    if 99.5 <= percent < 100:
        return ">99 %"
    return "<1 %" if 0 < percent < 0.5 else f"{percent:.0f} %"


def show_noise(noise: float | None) -> str:
    """A noise-to-signal ratio as signal over noise: `26.8 dB`, `exact` without any."""
    if noise is None:
        return ""
    if noise <= 0:
        return "exact"
    return "-inf dB" if math.isinf(noise) else f"{-10 * math.log10(noise):.1f} dB"


def show_measured(value: float | None, unit: str) -> str:
    """What a variant was judged by: seconds, or a noise-to-signal ratio."""
    return show_seconds(value) if unit == "s" else show_noise(value)
