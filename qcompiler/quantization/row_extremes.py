"""`RowExtremes`: means of every sample's minimum and maximum, and what lies beyond them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.exact_sum import ExactSum
from qcompiler.quantization.qspace import Range

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class RowExtremes:
    """Sums over rows (samples) of each row's minimum and of its maximum.

    The usual exponential average depends on the order and the batch size; the mean of the rows is
    its order-free limit. Sums are exact, so the mean is the correctly rounded one.

    Attributes:
        rows: Rows with a finite value.
        lows: Sum of row minima.
        highs: Sum of row maxima.
    """

    rows: int = 0
    lows: ExactSum = field(default_factory=ExactSum)
    highs: ExactSum = field(default_factory=ExactSum)

    def update(self, lows: npt.NDArray[np.float32], highs: npt.NDArray[np.float32]) -> RowExtremes:
        """Adds rows by their minima and maxima, float32 [rows], finite."""
        seen = self.rows + lows.size
        return RowExtremes(seen, self.lows.update(lows), self.highs.update(highs))

    def merge(self, other: RowExtremes) -> RowExtremes:
        """Those of both sets of rows."""
        lows, highs = self.lows.merge(other.lows), self.highs.merge(other.highs)
        return RowExtremes(self.rows + other.rows, lows, highs)

    def mean(self) -> Range:
        """Mean minimum and mean maximum; there has to be a row."""
        return Range(self.lows.mean(self.rows), self.highs.mean(self.rows))

    def beyond(self, low: float, high: float, times: float) -> Range:
        """The extremes to expect of `times` as many rows, never within [low, high].

        Maxima of rows are taken to be Gumbel distributed (Gumbel, Statistics of Extremes, 1958):
        the largest of n lies beta * ln n above their mean, so extremes and means tell beta, and of
        `times` n rows the largest lies beta * ln(times) further out. An end at 0 stays there.

        Args:
            low: Smallest value of all rows.
            high: Largest one.
            times: How many times as many rows.
        """
        if self.rows < 2:
            return Range(low, high)
        mean = self.mean()
        share = math.log(times) / math.log(self.rows)
        down = share * max(mean.low - low, 0.0) if low < 0 else 0.0
        up = share * max(high - mean.high, 0.0) if high > 0 else 0.0
        return Range(low - down, high + up)

    def state(self) -> Arrays:
        """Arrays for a checkpoint."""
        rows = np.asarray(self.rows)
        return {"rows": rows, "lows": self.lows.slots, "highs": self.highs.slots}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> RowExtremes:
        """Reads what `state` gave."""
        return cls(int(state["rows"]), ExactSum(state["lows"]), ExactSum(state["highs"]))
