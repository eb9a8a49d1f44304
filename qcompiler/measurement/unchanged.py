"""Which values a rewritten float program computes as before, seen on one feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.instrument import float_model
from qcompiler.calibration.recorder import Recorder
from qcompiler.calibration.sites import Site, find_sites
from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.ir.signature import Feed
from qcompiler.quantization.histogram import sample_rows
from qcompiler.statistics.statistic import Arrays, Statistic

_ROUNDING = 1e-4
"""How far values may be apart for float rounding, as a share of what all of them span."""


@dataclass(frozen=True, eq=False)
class Trace(Statistic):
    """What a value was in one run: its extremes and evenly spread elements, in their order.

    Attributes:
        parts: float32, one per time that it was computed: elements, then smallest and largest.
        sizes: Elements of each.
    """

    parts: tuple[npt.NDArray[np.float32], ...] = ()
    sizes: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return len(self.parts)

    def update(self, batch: npt.ArrayLike) -> Self:
        values = np.asarray(batch, np.float32).reshape(1, -1)
        ends = (values.min(), values.max()) if values.size else ()
        part = np.append(sample_rows(values).ravel(), np.asarray(ends, np.float32))
        return replace(self, parts=(*self.parts, part), sizes=(*self.sizes, values.size))

    def merge(self, other: Self) -> Self:
        return replace(self, parts=self.parts + other.parts, sizes=self.sizes + other.sizes)

    def state(self) -> Arrays:
        return {str(index): part for index, part in enumerate(self.parts)}

    def restored(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        parts = tuple(state[str(index)] for index in range(len(state)))
        return replace(self, parts=parts, sizes=tuple(each.size for each in parts))

    def alike(self, other: Trace) -> bool:
        """Whether both are of the same values, but for float rounding."""
        if self.sizes != other.sizes:
            return False
        return all(_close(*pair) for pair in zip(self.parts, other.parts, strict=True))


class _Traced(Site):
    def collector(self) -> Trace:
        return Trace()


Traces = Mapping[str, Trace]
"""By name of the value."""


def traces(program: Program, feed: Feed) -> Traces:
    """What one feed makes of the values that a program wants observed."""
    probe = replace(program, requests={Request.of(each.value): None for each in program.requests})
    sites = tuple(
        _Traced(each.request, each.dtype, each.nested, each.producer, each.live)
        for each in find_sites(probe)
    )
    recorder = Recorder(float_model(probe, sites))
    recorder.observe(feed)
    seen = recorder.take()
    return {request.value: found for request, found in seen.items() if isinstance(found, Trace)}


@dataclass(eq=False)
class Glimpse:
    """Traces of one program, which are taken once for all that is compared with them."""

    program: Program
    _found: Traces | None = None

    def traces(self, feed: Feed) -> Traces:
        """Of the feed that is asked for first."""
        if self._found is None:
            self._found = traces(self.program, feed)
        return self._found


def same_values(before: Traces, after: Traces) -> set[str]:
    """Names of values that are alike in both."""
    return {name for name in before.keys() & after.keys() if before[name].alike(after[name])}


def _close(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> bool:
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], two[~finite], equal_nan=True):
        return False
    a, b = one[finite].astype(np.float64), two[finite].astype(np.float64)
    return not a.size or float(np.abs(a - b).max()) <= _ROUNDING * float(np.ptp(a))
