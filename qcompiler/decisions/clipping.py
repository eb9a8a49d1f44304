"""What the ranges of a placed program leave out of what calibration saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qcompiler.ir.program import Program
from qcompiler.quantization.chosen import histogram_of, is_users
from qcompiler.quantization.histogram import Histogram
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.qspace import QParams, Range

MOST_ELEMENTS = 1e-3
"""Share of the elements beyond a range from which it is told."""
MOST_ENERGY = 1e-2
"""Squared excess over squared signal from which it is told: clipping alone leaves 20 dB."""
_SHOWN = 3


@dataclass(frozen=True)
class Clipping:
    """What one range leaves out.

    Attributes:
        value: The value's name.
        type: What it is stored in, such as `uint8`.
        range: Lowest and highest number that the integers stand for.
        seen: Lowest and highest that calibration saw, masks aside.
        elements: Share of the elements beyond the range by more than half a step; None where
            calibration kept extremes only.
        energy: Squared excess over squared signal; None likewise.
        given: Whether the user gave the range.
    """

    value: str
    type: str
    range: Range
    seen: Range
    elements: float | None
    energy: float | None
    given: bool = False

    @property
    def is_told(self) -> bool:
        """Whether it is more than a good range leaves out."""
        if self.elements is None or self.energy is None:
            return self.given and (
                self.seen.low < self.range.low or self.seen.high > self.range.high
            )
        return self.elements > MOST_ELEMENTS or self.energy > MOST_ENERGY

    def __str__(self) -> str:
        share = "" if self.elements is None else f"{100 * self.elements:.2g} % "
        return (
            f"'{self.value}' {share}(from {self.range.low:.4g} to {self.range.high:.4g}, "
            f"seen {self.seen.low:.4g} to {self.seen.high:.4g})"
        )


def clippings(program: Program) -> Iterator[Clipping]:
    """Of every value that a placed program stores in integers per tensor, in graph order."""
    placement = program.placement
    for (name, _), params in () if placement is None else placement.values.items():
        seen = program.observations.get(name)
        if seen is None or seen.count == 0 or params.space.is_float or np.ndim(params.scale):
            continue
        yield _clipping(name, seen, params)


def told_of_clipping(program: Program) -> list[str]:
    """One sentence about the ranges that leave out much, the worst first."""
    found = [each for each in clippings(program) if each.is_told]
    if not found:
        return []
    found.sort(key=lambda each: -max(each.elements or 0.0, each.energy or 0.0))
    shown = ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
    several = "1 range leaves" if len(found) == 1 else f"{len(found)} ranges leave"
    return [f"{several} out more than {MOST_ELEMENTS:.1%} of what calibration saw: {shown}"]


def _clipping(name: str, seen: Observer, params: QParams) -> Clipping:
    ends, kind = params.representable, params.space.dtype.name.lower()
    extremes = Range(seen.low_without_sentinel, max(seen.low_without_sentinel, seen.high))
    origin = histogram_of(seen)
    if origin is None:
        return Clipping(name, kind, ends, extremes, None, None, is_users(seen))
    elements, energy = _beyond(origin.histogram(), ends, 0.5 * float(params.scale))
    return Clipping(name, kind, ends, extremes, elements, energy, is_users(seen))


def _beyond(histogram: Histogram, ends: Range, half: float) -> tuple[float, float]:
    """Shares of elements and of energy beyond the ends, by bins that lie there as a whole."""
    counts, edges = histogram.counts.astype(np.float64), histogram.edges
    if not counts.sum():
        return 0.0, 0.0
    centres = (edges[:-1] + edges[1:]) / 2
    outside = (edges[1:] <= ends.low - half) | (edges[:-1] >= ends.high + half)
    excess = np.maximum(ends.low - centres, 0.0) + np.maximum(centres - ends.high, 0.0)
    signal = float(np.sum(counts * centres**2))
    lost = float(np.sum(counts * np.square(np.where(outside, excess, 0.0))))
    return float(counts[outside].sum() / counts.sum()), lost / signal if signal > 0 else 0.0
