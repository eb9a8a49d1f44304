"""`ExactSum`: float32 numbers added without rounding, so that order does not matter."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

_LOWEST = -148  # np.frexp exponent of the smallest denormal, 2**-149
_SLOTS = 128 - _LOWEST + 1
_MANTISSA = 24


def _no_slots() -> npt.NDArray[np.int64]:
    return np.zeros(_SLOTS, np.int64)


@dataclass(frozen=True, eq=False)
class ExactSum:
    """Sum of float32 values as 24-bit mantissas added up per exponent.

    Exact up to 2**39 values; integer addition makes it associative and commutative.

    Attributes:
        slots: int64 [277], mantissa sums by exponent.
    """

    slots: npt.NDArray[np.int64] = field(default_factory=_no_slots)

    def update(self, values: npt.NDArray[np.float32]) -> ExactSum:
        """Adds finite float32 values, any shape."""
        slots = self.slots.copy()
        if values.size == 1:
            part, power = math.frexp(values.item())
            slots[power - _LOWEST] += int(math.ldexp(part, _MANTISSA))
            return ExactSum(slots)
        mantissa, exponent = np.frexp(values.ravel())
        whole = np.ldexp(mantissa, _MANTISSA).astype(np.int64)
        np.add.at(slots, exponent.astype(np.int64) - _LOWEST, whole)
        return ExactSum(slots)

    def merge(self, other: ExactSum) -> ExactSum:
        """The sum of both."""
        return ExactSum(self.slots + other.slots)

    def mean(self, count: int) -> float:
        """Sum / count, rounded once."""
        total = sum(int(slot) << position for position, slot in enumerate(self.slots))
        return float(Fraction(total, count) / 2 ** (_MANTISSA - _LOWEST))
