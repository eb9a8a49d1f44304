"""What the page's sections show, worked out of a report: shares, bars, groups of reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qcompiler.report.numbers import show_noise, show_seconds, show_share
from qcompiler.report.palette import colours
from qcompiler.report.report import Report
from qcompiler.report.rows import PassRow, RegionRow

_MOST_BARS = 40
_MOST_NAMES = 200
_FULL_DB = 60.0
"""Noise below this level has no bar: it is that of 10 bits."""


@dataclass(frozen=True)
class Bar:
    """A bar from `start` with length `share`, both in percent of the width."""

    name: str
    told: str
    share: float
    start: float = 0.0
    colour: str = ""


@dataclass(frozen=True)
class Reasons:
    """What stays float for one kind of reason: names with the reason in full."""

    title: str
    count: int
    names: tuple[tuple[str, str], ...]


def precision_bars(report: Report) -> dict[str, tuple[Bar, ...]]:
    """Shares of the precisions, by regions and by time of the compiled program."""
    found = {"regions": _shares(report, lambda row: 1.0, lambda total: f"{total:.0f} regions")}
    if any(row.seconds for row in report.regions):
        found["time"] = _shares(report, lambda row: row.seconds or 0.0, show_seconds)
    if any(row.nbytes for row in report.regions):
        found["weights in float"] = _shares(
            report, lambda row: float(row.float_nbytes or 0), lambda total: f"{total:.0f} B"
        )
    return found


def _shares(
    report: Report, weight: Callable[[RegionRow], float], told: Callable[[float], str]
) -> tuple[Bar, ...]:
    palette = colours(row.precision for row in report.regions)
    totals = dict.fromkeys(report.counts(), 0.0)
    for row in report.regions:
        totals[row.precision] += weight(row)
    whole = sum(totals.values()) or 1.0
    return tuple(
        Bar(name, told(total), 100 * total / whole, colour=palette[name])
        for name, total in totals.items()
    )


def sensitivity_title(report: Report) -> str:
    """Which sensitivities there are to show; empty without any."""
    if any(_losses(row) for row in report.regions):
        return "Loss of the outputs when one region alone is quantized, measured; worst first"
    if any(row.noise for row in report.regions):
        return (
            "No sensitivities were measured, since no region had to be kept back. Noise that each "
            "region's own roundings add, estimated from weights and calibration; worst first"
        )
    return ""


def sensitivity_bars(report: Report) -> tuple[Bar, ...]:
    """The regions that lose most, longest bar first; see `sensitivity_title` for of what."""
    measured = [(row, max(losses)) for row in report.regions if (losses := _losses(row))]
    palette = colours(row.precision for row in report.regions)
    if measured:
        measured.sort(key=lambda each: -each[1])
        top = min(measured[0][1], 1.0) or 1.0
        return tuple(
            Bar(row.name, show_share(loss), 100 * min(1, loss / top), colour=palette[row.precision])
            for row, loss in measured[:_MOST_BARS]
        )
    noisy = sorted(
        ((row, row.noise) for row in report.regions if row.noise), key=lambda each: -(each[1])
    )
    return tuple(
        Bar(row.name, show_noise(noise), _noise_share(noise), colour=palette[row.precision])
        for row, noise in noisy[:_MOST_BARS]
    )


def _losses(row: RegionRow) -> list[float]:
    return [*row.losses.values(), *([] if row.loss is None else [row.loss])]


def _noise_share(noise: float) -> float:
    """100 % at 0 dB, nothing at 60 dB."""
    return max(0.0, min(100.0, 100 * (1 + 10 * math.log10(noise) / _FULL_DB)))


def pass_bars(rows: Sequence[PassRow], seconds: float | None) -> tuple[Bar, ...]:
    """The passes one after the other, and what is left of the wall time."""
    spent = sum(row.seconds for row in rows)
    whole = max(seconds or 0.0, spent) or 1.0
    bars, at = [], 0.0
    for row in rows:
        told = f"{show_seconds(row.seconds)}, {row.edits} edits"
        share = 100 * row.seconds / whole
        bars.append(Bar(f"{row.number} {row.name}", told, share, 100 * at / whole))
        at += row.seconds
    if whole > spent:
        rest = Bar(
            "search, timing, checks", show_seconds(whole - spent), 100 * (whole - spent) / whole,
            100 * at / whole,
        )  # fmt: skip
        bars.append(rest)
    return tuple(bars)


def float_reasons(report: Report) -> tuple[Reasons, ...]:
    """What stays float, grouped by the reason up to its figures, the largest group first."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in report.regions:
        if row.is_float:
            reason = row.reason or "no reason is known"
            groups.setdefault(_kind(reason), []).append((f"{row.name} ({row.ops})", reason))
    for vertex in report.network.outside:
        name = vertex.module or vertex.name
        groups.setdefault(vertex.note, []).append((f"{name} ({vertex.label})", ""))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return tuple(Reasons(title, len(names), tuple(names[:_MOST_NAMES])) for title, names in ordered)


def _kind(reason: str) -> str:
    """The reason without its figures: `float is faster: 201 µs against ...` → `float is faster`."""
    for mark in (": ", " would save "):
        head, found, _ = reason.partition(mark)
        if found and mark == ": " and head == "float is faster":
            return head
        if found and mark == " would save ":
            tail = "but lose signal" if " but lose " in reason else _LITTLE
            return f"{head} would save time {tail}"
    return reason


_LITTLE = "but less than its conversions cost"
