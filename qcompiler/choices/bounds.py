"""`LossBound`: how much predicted loss the next plan may have."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MARGIN = 0.97
"""Predictions may be this much of the limit: they are right to a few percent at best."""
_TIGHTER = 0.8
_LEAST_STEP = 0.3
_CLOSE = 1.08
"""Ratio of rejected to accepted loss at which the two have met."""
_STEP = 3.0
"""Divisor of the bound while a score has rejected everything (5 dB)."""


@dataclass
class LossBound:
    """The limit on the noise-to-signal ratio, or a bracket inside it where a score decides.

    Attributes:
        limit: Most loss that any plan may have.
        accepted: Highest loss that the score accepted.
        rejected: Lowest loss within the limit that the score rejected.
    """

    limit: float
    accepted: float = 0.0
    rejected: float = math.inf
    _factor: float = _MARGIN

    def record(self, loss: float, good: bool, predicted: bool = True) -> None:
        """Takes over how a plan of this loss was judged.

        Where a plan breaks the limit that was predicted within it, the next one gets that much
        less, until a plan is good again.
        """
        if good:
            self.accepted = max(self.accepted, loss)
            self._factor = _MARGIN
        elif loss <= self.limit:
            self.rejected = min(self.rejected, loss)
        elif predicted:
            self._factor *= max(_TIGHTER * self.limit / loss, _LEAST_STEP)

    def tighten(self) -> None:
        """Asks for less, after a plan that is known to be bad was proposed again."""
        self._factor *= _TIGHTER

    @property
    def value(self) -> float:
        """Most predicted loss of the next plan."""
        if math.isinf(self.rejected):
            return self._factor * self.limit
        below = math.sqrt(self.accepted * self.rejected) or self.rejected / _STEP
        return self._factor / _MARGIN * below

    @property
    def closed(self) -> bool:
        """Whether nothing is left between what the score accepted and what it rejected."""
        return self.rejected <= self.accepted * _CLOSE
