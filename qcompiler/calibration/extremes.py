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

Array = npt.NDArray[Any]
_NOTHING = (np.inf, -np.inf, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Run:
    """Bounds of every site in one run: float64[sites] each, (+inf, -inf, 0, 0) for empty ones."""

    low: Array
    high: Array
    total: Array
    size: Array

    @classmethod
    def read(cls, sites: Sequence[Site], outputs: Mapping[str, Any]) -> Run:
        """From the outputs of a model that was instrumented for these sites, plain ones first."""
        nested = [site for site in sites if site.nested]
        rows = [_fold(outputs[carried_output(site.value)]) for site in nested]
        parts = [np.asarray(rows, np.float64).reshape(-1, 4).T]
        if len(nested) < len(sites):
            parts.insert(0, np.stack([outputs[name].astype(np.float64) for name in STACKED]))
        return cls(*np.concatenate(parts, axis=1))

    @property
    def doubtful(self) -> Array:
        """Where the extremes do not say all.

        Something is not finite (ReduceMin and ReduceMax may skip a NaN, the sum does not; a sum
        may also overflow, which only costs time), or may be an attention-mask sentinel.
        """
        finite = np.isfinite(self.low) & np.isfinite(self.high) & np.isfinite(self.total)
        return (self.size > 0) & ~(finite & (self.low > SENTINEL_LIMIT))


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
    """

    low: Array
    high: Array
    count: Array

    @classmethod
    def empty(cls, sites: int) -> Extremes:
        """Nothing seen of this many sites."""
        return cls(np.full(sites, np.inf), np.full(sites, -np.inf), np.zeros(sites, np.int64))

    def add(self, run: Run) -> None:
        """Takes in what is beyond doubt."""
        take = ~run.doubtful & (run.size > 0)
        np.minimum(self.low, run.low, out=self.low, where=take)
        np.maximum(self.high, run.high, out=self.high, where=take)
        np.add(self.count, run.size.astype(np.int64), out=self.count, where=take)
