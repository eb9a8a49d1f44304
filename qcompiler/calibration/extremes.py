"""`Extremes`: running bounds of many values at once, from what ONNX Runtime reduced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.instrument import STACKED, carried_output
from qcompiler.calibration.sites import Site
from qcompiler.quantization.bounds import SENTINEL_LIMIT
from qcompiler.quantization.peaks import KEPT, Peaks

Array = npt.NDArray[Any]
_NOTHING = (np.inf, -np.inf, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Run:
    """Bounds of every site in one run: float64[sites] each, (+inf, -inf, 0, 0) for empty ones.

    Attributes:
        low: Least value.
        high: Largest value.
        total: Sum.
        size: Elements.
        rows: int64[sites], rows whose extremes are known one by one: none of a site in a body.
        row_lows: float32, least value of every row, of one site after the other.
        row_highs: Largest value of every row, likewise.
    """

    low: Array
    high: Array
    total: Array
    size: Array
    rows: Array
    row_lows: Array
    row_highs: Array

    @classmethod
    def read(cls, sites: Sequence[Site], outputs: Mapping[str, Any]) -> Run:
        """From the outputs of a model that was instrumented for these sites, plain ones first."""
        nested = [site for site in sites if site.nested]
        folded = [_fold(outputs[carried_output(site.value)]) for site in nested]
        parts = [np.asarray(folded, np.float64).reshape(-1, 4).T]
        rows, lows, highs = np.zeros(0, np.int64), *(2 * [np.zeros(0, np.float32)])
        if len(nested) < len(sites):
            lows, highs, total, size, rows = (outputs[name] for name in STACKED)
            ends = [_by_site(np.minimum, lows, rows), _by_site(np.maximum, highs, rows)]
            parts.insert(0, np.stack([*ends, total.astype(np.float64), size.astype(np.float64)]))
        low, high, total, size = np.concatenate(parts, axis=1)
        rows = np.append(rows, np.zeros(len(nested), np.int64))
        return cls(low, high, total, size, rows, lows, highs)

    @property
    def doubtful(self) -> Array:
        """Where the extremes do not say all.

        Something is not finite (ReduceMin and ReduceMax may skip a NaN, the sum does not; a sum
        may also overflow, which only costs time), or may be an attention-mask sentinel.
        """
        finite = np.isfinite(self.low) & np.isfinite(self.high) & np.isfinite(self.total)
        return (self.size > 0) & ~(finite & (self.low > SENTINEL_LIMIT))


def _by_site(reduce: np.ufunc, values: Array, rows: Array) -> Array:
    """One extreme per site of those of its rows; NaN is kept, and of no rows it is the neutral one.

    Args:
        reduce: np.minimum or np.maximum.
        values: [rows of all sites].
        rows: Rows of every site.
    """
    found = np.full(len(rows), np.inf if reduce is np.minimum else -np.inf)
    some = np.flatnonzero(rows)
    if len(some):
        found[some] = reduce.reduceat(values, (np.cumsum(rows) - rows)[some])
    return found


def _fold(rows: Sequence[Array]) -> tuple[float, ...]:
    """Bounds of all arrays that a value in a body was, empty ones left out; NaN is kept."""
    found = np.asarray([row for row in rows if row[3]], np.float64)
    if not len(found):
        return _NOTHING
    low, high = found[:, 0].min(), found[:, 1].max()
    return float(low), float(high), float(found[:, 2].sum()), float(found[:, 3].sum())


@dataclass(frozen=True, eq=False)
class Extremes:
    """Running bounds; the arrays are updated in place.

    Attributes:
        low: float64[sites], +inf where nothing was seen.
        high: float64[sites], -inf where nothing was seen.
        count: int64[sites], values seen.
        rows: int64[sites], rows seen.
        lows: float32[sites, KEPT], the least row minima in any order, +inf where there are fewer.
        highs: float32[sites, KEPT], the largest row maxima, -inf where there are fewer.
    """

    low: Array
    high: Array
    count: Array
    rows: Array
    lows: Array
    highs: Array

    @classmethod
    def empty(cls, sites: int) -> Extremes:
        """Nothing seen of this many sites."""
        ends = [np.full((sites, KEPT), end, np.float32) for end in (np.inf, -np.inf)]
        counts = [np.zeros(sites, np.int64) for _ in range(2)]
        return cls(np.full(sites, np.inf), np.full(sites, -np.inf), *counts, *ends)

    def add(self, run: Run) -> None:
        """Takes in what is beyond doubt."""
        take = ~run.doubtful & (run.size > 0)
        np.minimum(self.low, run.low, out=self.low, where=take)
        np.maximum(self.high, run.high, out=self.high, where=take)
        np.add(self.count, run.size.astype(np.int64), out=self.count, where=take)
        np.add(self.rows, run.rows, out=self.rows, where=take)
        starts = np.cumsum(run.rows) - run.rows
        for count in np.unique(run.rows[take & (run.rows > 0)]):
            sites = np.flatnonzero(take & (run.rows == count))
            rows = starts[sites, None] + np.arange(count)
            joined = np.concatenate([self.lows[sites], run.row_lows[rows]], axis=1)
            self.lows[sites] = np.partition(joined, KEPT - 1, axis=1)[:, :KEPT]
            joined = np.concatenate([self.highs[sites], run.row_highs[rows]], axis=1)
            self.highs[sites] = np.partition(joined, -KEPT, axis=1)[:, -KEPT:]

    def peaks(self, site: int) -> Peaks:
        """The rows of a site that reach furthest."""
        rows = int(self.rows[site])
        kept = min(rows, KEPT)
        lows, highs = np.sort(self.lows[site]), np.sort(self.highs[site])
        return Peaks.of(lows[:kept], highs[KEPT - kept :], rows)
