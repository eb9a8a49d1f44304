"""`Peaks`: how far samples reach, one by one, and what that says of samples that nobody saw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.bounds import SENTINEL_LIMIT, Bounds
from qcompiler.quantization.qspace import QSpace, Range

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]
KEPT = 16
"""Rows that are kept at each end: those that lie far out tell what lies further out."""
_LEAST = 3
"""Rows that tell a spread: the furthest is left out, and two are needed for one excess."""
_LARGEST = float(np.finfo(np.float32).max)
_STEPS = 8
"""Of Newton's method, which is exact after four or five."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """The rows (samples) of a value that reach furthest; a commutative monoid under `merge`.

    Attributes:
        rows: Rows with a finite value.
        lows: float32, the least row minima, ascending, at most `KEPT`.
        highs: float32, the largest row maxima, ascending, at most `KEPT`.
    """

    rows: int = 0
    lows: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    highs: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def of(cls, lows: Floats, highs: Floats, rows: int | None = None) -> Peaks:
        """From the minimum and the maximum of every row, or of those that count.

        Args:
            lows: float32 [rows], finite.
            highs: Likewise.
            rows: How many rows there were, where these are some of them.
        """
        # + 0.0 turns -0.0 into 0.0: which zero a minimum is depends on the order.
        kept = np.sort(lows)[:KEPT] + 0.0, np.sort(highs)[-KEPT:] + 0.0
        return cls(lows.size if rows is None else rows, *kept)

    def merge(self, other: Peaks) -> Peaks:
        """Those of both sets of rows."""
        lows, highs = (self.lows, other.lows), (self.highs, other.highs)
        return Peaks.of(np.concatenate(lows), np.concatenate(highs), self.rows + other.rows)

    def state(self) -> Arrays:
        """Arrays for a checkpoint."""
        return {"rows": np.asarray(self.rows), "lows": self.lows, "highs": self.highs}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Peaks:
        """Reads what `state` gave."""
        return cls(int(state["rows"]), state["lows"], state["highs"])

    def tails(self) -> tuple[Tail, Tail]:
        """What lies below the least and above the largest value."""
        if self.lows.size < _LEAST:
            return Tail(), Tail()
        lows, highs = -self.lows[::-1].astype(np.float64), self.highs.astype(np.float64)
        return _tail(lows), _tail(highs)


@dataclass(frozen=True)
class Tail:
    """How the rows are spread at one end.

    Attributes:
        spread: How far a row that goes beyond a high threshold reaches beyond it, on average.
        gap: How far the furthest row lies beyond the next.
    """

    spread: float = 0.0
    gap: float = 0.0

    def further(self, pays: float, most: float, reach: float) -> float:
        """How far beyond the furthest row an end goes if the range is to be `reach`.

        Not by more than `most`, the range that was seen: a spread is a guess itself.
        """
        if self.spread <= 0:
            return 0.0
        far = self.spread * math.log(pays * self.spread / reach) - self.gap
        return min(max(far, 0.0), most)


def _tail(reached: npt.NDArray[np.float64]) -> Tail:
    """Of rows by how far they reach, ascending; the furthest has no say in the spread.

    Beyond a high threshold every light tail is exponential (Pickands, Statistical inference using
    extreme order statistics, 1975); the threshold is the least of these rows, the mean excess of
    the others the most likely spread.
    """
    others = reached[:-1]
    spread = float((others - others[0]).sum() / (others.size - 1))
    return Tail(spread, float(reached[-1] - others[-1]))


def row_ends(values: Floats, bounds: Bounds) -> tuple[Floats, Floats]:
    """Minimum and maximum of every row of [rows, ...] (a scalar is one row) that has a finite one.

    Args:
        values: float32.
        bounds: Of them.
    """
    rows = values.reshape(values.shape[0] if values.ndim else 1, -1)
    if not any(bounds.nonfinite):
        if len(rows) == 1:  # the bounds are those of the row
            return np.asarray([bounds.low], np.float32), np.asarray([bounds.high], np.float32)
        return rows.min(axis=1), rows.max(axis=1)
    finite = np.isfinite(rows)
    lows = rows.min(axis=1, where=finite, initial=np.float32(np.inf))
    highs = rows.max(axis=1, where=finite, initial=np.float32(-np.inf))
    return lows[finite.any(axis=1)], highs[finite.any(axis=1)]


def foreseen(found: Range, bounds: Bounds, peaks: Peaks, space: QSpace) -> Range:
    """A range that also suits rows like those that were seen, but not among them.

    Of n rows the furthest is left out, so that one outlier stretches nothing. One row more goes
    beyond the others with probability 1 / n, whatever their distribution, and then by an excess
    that is exponential of mean beta (`Tail.spread`). An end d beyond them leaves
    2 beta² / n · exp(-d / beta) of squared error there, and makes all m values of a row coarser:
    m · step² / 12. Each end goes where the sum is least,

        d = beta · ln(12 levels² · beta / (n · m · R)),   R the whole range,

    but not below what was seen, nor further out by more than R was. That is nothing for large maps
    and many rows, and as much as half of the range for vectors of ten values and a dozen rows. Ends
    at 0, mask sentinels, and what every row reaches alike stay.

    Args:
        found: What a method picked; an end within what was seen stays if seen rows suffice.
        bounds: Of all values.
        peaks: Of their rows.
        space: What the range is for; float8 has no one step, so its ranges stay.
    """
    low, high = bounds.low_without_sentinel, bounds.high
    below, above = peaks.tails()
    below = below if SENTINEL_LIMIT < low < 0 and not bounds.has_sentinel else Tail()
    above = above if high > 0 else Tail()
    if space.is_float or max(below.spread, above.spread) <= 0:
        return found
    pays = 12.0 * float(space.qmax - space.qmin) ** 2 / bounds.count
    if space.symmetric:  # R grows by two where an end moves by one
        most, pays = max(-low, high), pays / 2
        down, up = (_reach(2.0 * most, (each, each), pays, most) for each in (below, above))
    else:
        most = whole = max(high, 0.0) - min(low, 0.0)
        down = up = _reach(whole, (below, above), pays, most)
    less, more = below.further(pays, most, down), above.further(pays, most, up)
    return Range(
        max(low - less, -_LARGEST) if less > 0 else found.low,
        min(high + more, _LARGEST) if more > 0 else found.high,
    )


def _reach(seen: float, tails: tuple[Tail, Tail], pays: float, most: float) -> float:
    """The whole range where both ends go where the error is least; it was `seen` before.

    They go less far the wider it is; Newton's method comes to where both agree from below.
    """
    reach = seen
    for _ in range(_STEPS):
        further = [each.further(pays, most, reach) for each in tails]
        moving = sum(each.spread for each, far in zip(tails, further, strict=True) if far > 0)
        reach += (seen + sum(further) - reach) / (1.0 + moving / reach)
    return max(reach, seen)
