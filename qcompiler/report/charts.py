"""The measured configurations as SVG, drawn here so that it needs no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from qcompiler.report.numbers import show_bytes, show_noise, show_seconds
from qcompiler.report.rows import FrontierRow

_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 16, 44
_EXACT_DB = 100.0
"""Where a configuration without any noise is drawn."""


@dataclass(frozen=True)
class _Axis:
    """From values to pixels, with a few round ticks."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    @property
    def ticks(self) -> list[float]:
        rough = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough)
        start = math.ceil(self.low / step)
        return [k * step for k in range(start, math.floor(self.high / step) + 1)]


def _axis(values: Sequence[float], first: float, last: float, zero: bool = False) -> _Axis:
    low, high = min(values), max(values)
    low = min(low, 0.0) if zero else low
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return _Axis(low if zero else low - room, high + room, first, last)


def frontier_chart(rows: Sequence[FrontierRow]) -> Markup:
    """Signal over noise against time, a dot for each configuration; empty without two of them."""
    known = [(row, row.seconds, _decibels(row.loss)) for row in rows if row.seconds is not None]
    dots = [(row, 1e3 * seconds, db) for row, seconds, db in known if db is not None]
    if len(dots) < 2:
        return Markup()
    across = _axis([x for _, x, _ in dots], _LEFT, _WIDTH - _RIGHT, zero=True)
    up = _axis([y for _, _, y in dots], _HEIGHT - _BOTTOM, _TOP)
    parts = [_grid(across, up, "ms per run", "SQNR, dB")]
    best = sorted((x, y) for row, x, y in dots if row.best)
    line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in best)
    parts.append(Markup('<polyline class="line" points="{}"/>').format(line))
    for row, x, y in dots:
        kind = "chosen" if row.chosen else "best" if row.best else "other"
        told = (
            f"configuration {row.index}: {show_seconds(row.seconds)}, {show_noise(row.loss)}, "
            f"{show_bytes(row.nbytes)}, {row.quantized} regions quantized"
        )
        radius = 7 if row.chosen else 5
        parts.append(
            Markup(
                '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>'
            ).format(kind, across(x), up(y), radius, told)
        )
    return _svg(parts, "configurations: signal over noise against time")


def _decibels(loss: float | None) -> float | None:
    if loss is None or math.isinf(loss) or math.isnan(loss):
        return None
    return _EXACT_DB if loss <= 0 else min(_EXACT_DB, -10 * math.log10(loss))


def _grid(across: _Axis, up: _Axis, below: str, beside: str) -> Markup:
    bottom, left, right = _HEIGHT - _BOTTOM, _LEFT, _WIDTH - _RIGHT
    upright = Markup(
        '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
        '<text x="{0:.1f}" y="{3}" text-anchor="middle">{4:g}</text>'
    )
    flat = Markup(
        '<line class="grid" x1="{1}" x2="{2}" y1="{0:.1f}" y2="{0:.1f}"/>'
        '<text x="{3}" y="{0:.1f}" text-anchor="end" dy="4">{4:g}</text>'
    )
    parts = [upright.format(across(x), _TOP, bottom, bottom + 16, x) for x in across.ticks]
    parts += [flat.format(up(y), left, right, left - 8, y) for y in up.ticks]
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        Markup(
            '<text x="{}" y="{}" text-anchor="middle">{}</text>'
            '<text transform="translate(16 {}) rotate(-90)" text-anchor="middle">{}</text>'
        ).format((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, below, middle, beside)
    )
    return Markup("").join(parts)


def _svg(parts: Sequence[Markup], label: str) -> Markup:
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        label, _WIDTH, _HEIGHT, Markup("").join(parts)
    )
