"""`Histogram`: bounded integer counts that depend on the values only, not on how they arrived."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError

Counts = npt.NDArray[np.int64]
DEFAULT_BINS = 2048
ROW_CAP = 8192
_EXPONENT_FLOOR = -100
_KEYS = ("low", "high", "zeros", "counts", "bins")


def _empty_counts() -> Counts:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts over bins [i * w, (i + 1) * w) of a power-of-two width w = 2**exponent.

    The exponent is the smallest one at which [low, high] and 0 together span at most `bins` bins,
    so it follows from the extremes alone. Widening is `index >> k`, which is exact. Hence the
    state after any order, split or merge tree of the same values is the same, bit for bit.

    Attributes:
        low: Smallest value seen, exact even if the values are sampled; +inf when empty.
        high: Largest value seen; -inf when empty.
        zeros: How many of the counted values are exactly 0 (they are in `counts` too).
        counts: int64, one per bin from `first` on; empty when nothing was seen.
        bins: Most bins kept.
    """

    low: float = math.inf
    high: float = -math.inf
    zeros: int = 0
    counts: Counts = field(default_factory=_empty_counts)
    bins: int = DEFAULT_BINS

    def __post_init__(self) -> None:
        if self.bins < 4:
            raise ConfigurationError(f"a histogram needs at least 4 bins, not {self.bins}")

    @property
    def is_empty(self) -> bool:
        return self.low > self.high

    @property
    def total(self) -> int:
        """Counted values; with sampling fewer than were seen."""
        return int(self.counts.sum())

    @cached_property
    def exponent(self) -> int:
        """Base-2 logarithm of the bin width."""
        bottom, top = min(self.low, 0.0), max(self.high, 0.0)
        exponent = max(_EXPONENT_FLOOR, math.frexp((top - bottom) / self.bins)[1] - 2)
        while _index(top, exponent) - _index(bottom, exponent) >= self.bins:
            exponent += 1
        return exponent

    @cached_property
    def first(self) -> int:
        """Index of the first bin."""
        return _index(self.low, self.exponent)

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Bin edges [len(counts) + 1], the outermost pulled in to the exact extremes."""
        inner = np.arange(self.first, self.first + self.counts.size + 1, dtype=np.float64)
        inner *= 2.0**self.exponent
        inner[0], inner[-1] = self.low, self.high
        return inner

    def nonzero_counts(self) -> Counts:
        """The counts without the exact zeros, which every quantizer represents exactly."""
        counts = self.counts.copy()
        if self.zeros:
            counts[-self.first] -= self.zeros
        return counts

    def update(self, values: npt.NDArray[np.float32], low: float, high: float) -> Histogram:
        """Adds finite values.

        Args:
            values: float32, any shape, possibly a sample.
            low: Exact minimum of what the values were sampled from.
            high: Exact maximum.
        """
        grown = self.widened(low, high)
        added = _count(values, grown.exponent, grown.first, grown.counts.size)
        zeros = values.size - int(np.count_nonzero(values))
        counts = grown.counts + added
        return Histogram(grown.low, grown.high, self.zeros + zeros, counts, self.bins)

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of values.

        Raises:
            ConfigurationError: Different numbers of bins.
        """
        if self.bins != other.bins:
            raise ConfigurationError(f"{self.bins} and {other.bins} bins do not merge")
        left = self.widened(other.low, other.high)
        right = other.widened(self.low, self.high)
        zeros, counts = self.zeros + other.zeros, left.counts + right.counts
        return Histogram(left.low, left.high, zeros, counts, self.bins)

    def widened(self, low: float, high: float) -> Histogram:
        """The same counts over bins that also span [low, high]."""
        if self.low <= low and high <= self.high:
            return self  # as most batches do
        span = Histogram(min(self.low, low), max(self.high, high), bins=self.bins)
        exponent, first = span.exponent, span.first
        counts = np.zeros(_index(span.high, exponent) - first + 1, np.int64)
        if self.counts.size and exponent == self.exponent:
            start = self.first - first
            counts[start : start + self.counts.size] = self.counts
        elif self.counts.size:
            old = np.arange(self.first, self.first + self.counts.size)
            np.add.at(counts, (old >> (exponent - self.exponent)) - first, self.counts)
        return Histogram(span.low, span.high, self.zeros, counts, self.bins)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for a checkpoint."""
        return {key: np.asarray(getattr(self, key)) for key in _KEYS}

    @classmethod
    def from_state(cls, state: dict[str, npt.NDArray[Any]]) -> Histogram:
        """Reads what `state` gave."""
        return cls(
            float(state["low"]),
            float(state["high"]),
            int(state["zeros"]),
            np.asarray(state["counts"], np.int64),
            int(state["bins"]),
        )


def sample_rows(values: npt.NDArray[np.float32], cap: int = ROW_CAP) -> npt.NDArray[np.float32]:
    """At most about `cap` evenly spaced elements of every row along axis 0.

    The stride depends on the row's own size only, so a batch and its rows one by one give the same
    elements. It shares no factor with the row's size, so it visits every channel and column
    instead of falling into step with one.

    Args:
        values: [rows, ...] or a scalar, which is one row.
        cap: Rows up to this size are taken whole.
    """
    rows = values.reshape(values.shape[0] if values.ndim else 1, -1)
    size = rows.shape[1]
    if size <= cap:
        return rows
    stride = -(-size // cap)
    while math.gcd(stride, size) != 1:
        stride += 1
    return np.ascontiguousarray(rows[:, ::stride])


def _index(value: float, exponent: int) -> int:
    """Bin of a value; multiplying a float32 value by a power of two is exact in float64."""
    return math.floor(value * 2.0**-exponent)


def _count(values: npt.NDArray[np.float32], exponent: int, first: int, length: int) -> Counts:
    # Scaling down could lose a negative denormal in float32 (-tiny is in bin -1, -0 in bin 0).
    wide = values.ravel() if exponent <= 0 else values.ravel().astype(np.float64)
    scaled = wide * wide.dtype.type(2.0**-exponent)
    index = np.floor(scaled, out=scaled).astype(np.int32)
    index -= np.int32(first)
    return np.bincount(index, minlength=length).astype(np.int64, copy=False)
