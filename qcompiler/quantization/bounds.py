"""`Bounds`: exact extremes of what was observed, non-finite values and mask sentinels apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

SENTINEL_LIMIT = -8192.0
"""Values at or below it may come from an additive attention mask.

Masks in use are -10000, -65504 and the float32 minimum, after the scores were added to them.
"""

SENTINEL_GAP = 10.0
"""A mask must be this many times as far from 0 as everything else: a gap of 90 %."""


@dataclass(frozen=True)
class Bounds:
    """Extremes of the finite values of a set; a commutative monoid under `merge`.

    Attributes:
        count: Finite values seen.
        low: Smallest finite value, +inf when there is none.
        high: Largest finite value, -inf when there is none.
        body_low: Smallest value above `SENTINEL_LIMIT`; -inf when it is not known.
        masked_high: Largest value at or below `SENTINEL_LIMIT`, -inf when there is none.
        minus_inf: How many -inf were seen. They never enter a range.
        plus_inf: How many +inf.
        nan: How many NaN.
    """

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    body_low: float = math.inf
    masked_high: float = -math.inf
    minus_inf: int = 0
    plus_inf: int = 0
    nan: int = 0

    @property
    def has_sentinel(self) -> bool:
        """Whether the lowest values stand apart from the rest as a mask does."""
        if self.masked_high == -math.inf or not math.isfinite(self.body_low):
            return False
        body = max(abs(self.body_low), abs(self.high))
        return -self.masked_high >= SENTINEL_GAP * body

    @property
    def low_without_sentinel(self) -> float:
        """`low` without mask values, if there are any that stand apart."""
        return self.body_low if self.has_sentinel else self.low

    @property
    def nonfinite(self) -> tuple[int, int, int]:
        """Counts of -inf, +inf and NaN."""
        return self.minus_inf, self.plus_inf, self.nan

    @classmethod
    def of(cls, values: npt.NDArray[np.float32]) -> Bounds:
        """Bounds of a float32 array of any shape."""
        if values.size == 0:
            return cls()
        # + 0.0 turns -0.0 into 0.0: which zero min() gives depends on the order.
        low, high = float(values.min()) + 0.0, float(values.max()) + 0.0
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = values[np.isfinite(values)]
            return cls.of(finite).merge(_count_nonfinite(values))
        if low > SENTINEL_LIMIT:
            return cls(values.size, low, high, low)
        masked = values <= SENTINEL_LIMIT
        body_low = float(np.min(values, where=~masked, initial=np.inf)) + 0.0
        masked_high = float(np.max(values, where=masked, initial=-np.inf))
        return cls(values.size, low, high, body_low, masked_high)

    @classmethod
    def reduced(cls, low: float, high: float, count: int) -> Bounds:
        """Bounds that something else computed; what lies above a mask is then not known.

        NaN or infinite ends (a reduction over non-finite values) count as one such value each.
        """
        ends = np.asarray([low, high], np.float32)
        if not np.all(np.isfinite(ends)):
            return _count_nonfinite(ends)
        low, high = low + 0.0, high + 0.0
        if low > SENTINEL_LIMIT:
            return cls(count, low, high, low)
        return cls(count, low, high, -math.inf, low)

    def merge(self, other: Bounds) -> Bounds:
        """Bounds of both sets."""
        return Bounds(
            self.count + other.count,
            min(self.low, other.low),
            max(self.high, other.high),
            min(self.body_low, other.body_low),
            max(self.masked_high, other.masked_high),
            self.minus_inf + other.minus_inf,
            self.plus_inf + other.plus_inf,
            self.nan + other.nan,
        )

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for a checkpoint."""
        return {item.name: np.asarray(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, npt.NDArray[Any]]) -> Bounds:
        """Reads what `state` gave."""
        return cls(**{item.name: state[item.name].item() for item in fields(cls)})


def _count_nonfinite(values: npt.NDArray[np.float32]) -> Bounds:
    return Bounds(
        minus_inf=int(np.count_nonzero(np.isneginf(values))),
        plus_inf=int(np.count_nonzero(np.isposinf(values))),
        nan=int(np.count_nonzero(np.isnan(values))),
    )
